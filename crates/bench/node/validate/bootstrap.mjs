// Polls the Runtime API as AWS's runtime interface client for Node.js does: the handler is
// loaded first, then events are taken one by one over one connection.
// Usage: node bootstrap.mjs; AWS_LAMBDA_RUNTIME_API and _HANDLER (module.function) say what.

import http from "node:http";
import { pathToFileURL } from "node:url";
import path from "node:path";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function request(method, route, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host, port, agent, method, path: `/2018-06-01/runtime/${route}`, headers };
    const sent = http.request(options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts).toString() }));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const failure = (error) =>
  JSON.stringify({
    errorType: error.name,
    errorMessage: error.message,
    trace: (error.stack ?? "").split("\n"),
  });

async function load() {
  const [module, name] = process.env._HANDLER.split(/\.(?=[^.]*$)/);
  const file = path.resolve(process.env.LAMBDA_TASK_ROOT, module);
  return (await import(pathToFileURL(file)))[name];
}

let handler;
try {
  handler = await load();
} catch (error) {
  await request("POST", "init/error", failure(error), { "Lambda-Runtime-Function-Error-Type": "Runtime.InitError" });
  process.exit(1);
}

for (;;) {
  const next = await request("GET", "invocation/next");
  const id = next.headers["lambda-runtime-aws-request-id"];
  const deadline = Number(next.headers["lambda-runtime-deadline-ms"]);
  process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"];
  const context = {
    awsRequestId: id,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    invokedFunctionArn: next.headers["lambda-runtime-invoked-function-arn"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  try {
    const answer = await handler(JSON.parse(next.body), context);
    await request("POST", `invocation/${id}/response`, JSON.stringify(answer ?? null));
  } catch (error) {
    await request("POST", `invocation/${id}/error`, failure(error), {
      "Lambda-Runtime-Function-Error-Type": error.name,
    });
  }
}

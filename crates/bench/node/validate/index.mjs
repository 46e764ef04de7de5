// The validate phase as it would be in Node.js: the group and its members are read, each
// artifact is compared with what S3 knows of it and pinned, and the group is staged in one
// transaction. The peer of `bench -- coldstart`; nothing of Tapemark runs it.

import { DynamoDBClient, GetItemCommand, QueryCommand, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb";
import { CopyObjectCommand, HeadObjectCommand, S3Client } from "@aws-sdk/client-s3";

const needed = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name}: expected a value, found nothing`);
  return value;
};

const table = needed("TAPEMARK_TABLE");
const pins = needed("TAPEMARK_PINS_BUCKET");
const sources = needed("TAPEMARK_SOURCES").split(",");
const dynamo = new DynamoDBClient({});
const s3 = new S3Client({ forcePathStyle: true });

class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.name = `Tapemark.${code}`;
  }
}

async function record(pk) {
  const request = new GetItemCommand({
    TableName: table,
    Key: { pk: { S: pk }, sk: { S: "META" } },
    ConsistentRead: true,
  });
  const { Item: item } = await dynamo.send(request);
  return item && { version: Number(item.version.N), value: JSON.parse(item.body.S) };
}

async function pin(checkpoint, artifact, index) {
  const url = new URL(artifact.source);
  const [bucket, key] = [url.hostname, url.pathname.slice(1)];
  if (!sources.some((source) => `${bucket}/${key}`.startsWith(source))) {
    throw new Refusal("SourceNotAllowed", `artifacts[${index}].source: expected one of ${sources}`);
  }
  const version = url.searchParams.get("versionId") ?? undefined;
  let head;
  try {
    head = await s3.send(
      new HeadObjectCommand({ Bucket: bucket, Key: key, VersionId: version, ChecksumMode: "ENABLED" }),
    );
  } catch (error) {
    if (error.name !== "NotFound") throw error;
    throw new Refusal("ArtifactMissing", `artifacts[${index}]: expected ${artifact.source}, found nothing`);
  }
  const sha256 = head.ChecksumSHA256 && Buffer.from(head.ChecksumSHA256, "base64").toString("hex");
  if (head.ContentLength !== artifact.size || (sha256 && sha256 !== artifact.sha256)) {
    throw new Refusal("ChecksumMismatch", `artifacts[${index}]: expected another digest`);
  }
  await s3.send(
    new CopyObjectCommand({
      Bucket: pins,
      Key: `pins/${checkpoint}/${index}`,
      CopySource: `${bucket}/${key}${version ? `?versionId=${version}` : ""}`,
      ChecksumAlgorithm: "SHA256",
    }),
  );
}

async function room(pool) {
  const request = new QueryCommand({
    TableName: table,
    IndexName: "gsi2",
    KeyConditionExpression: "gsi2pk = :pool",
    ExpressionAttributeValues: { ":pool": { S: `POOL#${pool}#OPEN` } },
    ScanIndexForward: false,
    Limit: 16,
  });
  const { Items: items } = await dynamo.send(request);
  return items.map((item) => JSON.parse(item.body.S)).reduce((sum, volume) => sum + volume.capacity - volume.used, 0);
}

export async function handler(event) {
  if (event.op !== "check" || typeof event.group !== "string") {
    throw new Refusal("InvalidRequest", `op: expected check with a group, found ${event.op}`);
  }
  const seen = await record(`GRP#${event.group}`);
  if (!seen) throw new Refusal("NotFound", `group: expected one of yours, found no ${event.group}`);
  const group = seen.value;
  if (group.state === "staged") return {};
  let bytes = 0;
  for (const member of group.members) {
    if (!(await record(`SVC#${member.service}`))) {
      throw new Refusal("UnknownService", `service: expected one that is registered, found ${member.service}`);
    }
    const manifest = await record(`CP#${member.id}`);
    await Promise.all(manifest.value.artifacts.map((artifact, index) => pin(member.id, artifact, index)));
    bytes += manifest.value.artifacts.reduce((sum, artifact) => sum + artifact.size, 0);
  }
  if ((await room(group.pool)) < bytes) {
    throw new Refusal("PoolFull", `pool: expected room for ${bytes} bytes`);
  }
  await dynamo.send(
    new TransactWriteItemsCommand({
      TransactItems: [
        {
          Put: {
            TableName: table,
            Item: {
              pk: { S: `GRP#${event.group}` },
              sk: { S: "META" },
              version: { N: String(seen.version + 1) },
              body: { S: JSON.stringify({ ...group, state: "staged", staged_at: new Date().toISOString() }) },
            },
            ConditionExpression: "version = :seen",
            ExpressionAttributeValues: { ":seen": { N: String(seen.version) } },
          },
        },
      ],
    }),
  );
  return {};
}

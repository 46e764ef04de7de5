// Tests of the policy as plain JavaScript: `npm test`. What is published is the component:
// `tapemark resolver test` tests that.

import assert from "node:assert/strict";
import { test } from "node:test";

import { policy } from "../src/resolver.js";

const NOW = 1_790_000_000_000;

function request(id, changes = {}) {
  return {
    id,
    group: `group-of-${id}`,
    service: "billing",
    branch: null,
    parent: null,
    version: "1.0.0",
    content: id,
    bytes: 1000,
    artifacts: 1,
    priority: 5,
    submittedAt: NOW - 1000,
    deadline: null,
    attempt: 0,
    settled: false,
    retention: "standard",
    labels: [],
    ...changes,
  };
}

/** What becomes of each request: `{ id: tag }`. */
function decide(requests, free = 1_000_000) {
  const volumes = [{ barcode: "TM0001L9", state: "scratch", free, mounted: false, labels: [] }];
  const { verdicts } = policy.resolve({ digest: "", now: NOW, requests, volumes });
  return Object.fromEntries(verdicts.map((verdict) => [verdict.id, verdict.action.tag]));
}

test("the more urgent one goes ahead where not both fit", () => {
  const requests = [request("a", { priority: 1 }), request("b", { priority: 9 })];
  assert.deepEqual(decide(requests, 1500), { a: "defer", b: "proceed" });
});

test("what is too late is refused", () => {
  const requests = [request("a", { deadline: NOW }), request("b", { deadline: NOW + 1 })];
  assert.deepEqual(decide(requests), { a: "reject", b: "proceed" });
});

test("of two successors of one parent the second is refused", () => {
  const requests = [request("a", { parent: "p" }), request("b", { parent: "p" })];
  assert.deepEqual(decide(requests), { a: "proceed", b: "reject" });
});

test("a group is decided as one", () => {
  const requests = [request("a", { group: "g" }), request("b", { group: "g", deadline: NOW })];
  assert.deepEqual(decide(requests), { a: "reject", b: "reject" });
});

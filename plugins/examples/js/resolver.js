// Oldest deadline first, duplicates merged: the rules of ../README.md in JavaScript.
//
// A pure function of the conflict set. A name of resolver.wit with a hyphen is in camel
// case here; what is absent is null; whole numbers are exact up to 2^53.

/** How long a group that does not fit waits before it is asked again. */
const RETRY_AFTER_MS = 15_000;

/** The order of those that have no deadline. */
const LATEST = 2 ** 48 - 1;

export const policy = {
  describe() {
    return {
      name: "deadline-first-js",
      version: "1.0.0",
      summary: "Oldest deadline first, duplicates merged",
      labels: [],
    };
  },

  resolve(set) {
    const groups = collect(set.requests);
    const open = () => groups.filter((group) => group.action === null);

    settledProceed(groups);
    for (const group of open()) refuseLate(group, set.now);
    for (const group of open()) refuseForkOfSettled(group);
    supersede(open().reverse());
    merge(open());
    fill(open(), set);

    const verdicts = groups.flatMap(({ members, action, reason }) =>
      members.map(({ request }) => ({ id: request.id, action, reason, labels: [] })),
    );
    return { verdicts, reason: "oldest deadline first, duplicates merged", labels: [] };
  },
};

/**
 * The groups, oldest first. A member is a request with its group and two lists of members
 * of its lineage (the same service and branch): those with the same content, and those
 * with the same parent.
 */
function collect(requests) {
  const groups = new Map();
  const contents = new Map();
  const parents = new Map();
  // The contract has them sorted by id.
  for (const request of requests) {
    const group = getOrAdd(groups, request.group, () => ({
      id: request.group,
      submittedAt: request.submittedAt, // of the first member
      order: LATEST,
      bytes: 0,
      settled: false,
      members: [],
      action: null,
      reason: "",
    }));
    const { service, branch, content, parent } = request;
    const lineage = `${service}\n${branch ?? ""}\n`;
    const twins = getOrAdd(contents, lineage + content, () => []);
    const siblings = parent === null ? [] : getOrAdd(parents, lineage + parent, () => []);
    const member = { request, group, twins, siblings };
    twins.push(member);
    siblings.push(member);
    group.members.push(member);
    group.bytes += request.bytes;
    group.settled ||= request.settled;
    group.order = Math.min(group.order, request.deadline ?? LATEST);
  }
  return [...groups.values()].sort(byAge);
}

/** Rule 1. */
function settledProceed(groups) {
  for (const group of groups) {
    if (group.settled) decide(group, { tag: "proceed", val: group.order }, "settled already");
  }
}

/** Rule 2. */
function refuseLate(group, now) {
  const late = ({ request }) => request.deadline !== null && request.deadline <= now;
  if (group.members.some(late)) {
    decide(group, { tag: "reject", val: "Tapemark.DeadlineMissed" }, "it is past its deadline");
  }
}

/** Rule 3. */
function refuseForkOfSettled(group) {
  const [fork] = forksIn(group, (other) => other.settled);
  if (fork) refuseFork(group, fork);
}

/** Rule 4: of the open groups, newest first, who is not superseded may supersede. */
function supersede(newestFirst) {
  const left = new Set();
  for (const group of newestFirst) {
    const forks = forksIn(group, (other) => left.has(other));
    if (forks.length === 0) {
      left.add(group);
    } else if (group.members.length > 1) {
      refuseFork(group, forks[0]);
    } else {
      const newest = forks.reduce((a, b) => (byAgeThenId(a, b) > 0 ? a : b));
      const { id } = newest.request;
      decide(group, { tag: "supersede", val: id }, `${id} is newer, with the same parent`);
    }
  }
}

/** Rule 5: of the open groups, oldest first, who is not merged may stand for others. */
function merge(oldestFirst) {
  const left = new Set();
  for (const group of oldestFirst) {
    const same = group.members.length > 1 ? [] : sameContent(group.members[0]);
    const settled = same.filter((other) => other.group.settled);
    const standing = settled.length > 0 ? settled : same.filter((other) => left.has(other.group));
    if (standing.length === 0) {
      left.add(group);
    } else {
      const oldest = standing.reduce((a, b) => (byAgeThenId(a, b) < 0 ? a : b));
      const { id } = oldest.request;
      decide(group, { tag: "merge", val: id }, `${id} has the same content`);
    }
  }
}

/** Rule 7. */
function fill(groups, { now, volumes }) {
  let free = volumes.reduce((sum, volume) => sum + volume.free, 0);
  for (const group of groups.sort((a, b) => a.order - b.order || byAge(a, b))) {
    if (group.bytes > free) {
      decide(group, { tag: "defer", val: now + RETRY_AFTER_MS }, "no volume has room now");
    } else {
      free -= group.bytes;
      decide(group, { tag: "proceed", val: group.order }, "by deadline and age");
    }
  }
}

function decide(group, action, reason) {
  group.action = action;
  group.reason = reason;
}

function refuseFork(group, { request }) {
  const reason = `expected its parent to have no successor, found ${request.id}`;
  decide(group, { tag: "reject", val: "Tapemark.LineageFork" }, reason);
}

/** The forks, in groups that `where` names, of the members that are not held. */
function forksIn(group, where) {
  const found = [];
  for (const member of group.members) {
    if (member.siblings.length < 2) continue; // alone: the usual case
    const { content } = member.request;
    const forks = member.siblings.filter(
      (other) => other.group !== group && other.request.content !== content && where(other.group),
    );
    if (forks.length > 0 && !isHeld(member)) found.push(...forks);
  }
  return found;
}

/** A settled group has the same content already. */
function isHeld(member) {
  return sameContent(member).some((other) => other.group.settled);
}

/** The requests of other groups with the same lineage and content. */
function sameContent({ group, twins }) {
  return twins.length < 2 ? [] : twins.filter((other) => other.group !== group);
}

function byAge(a, b) {
  return a.submittedAt - b.submittedAt || text(a.id, b.id);
}

function byAgeThenId(a, b) {
  return byAge(a.group, b.group) || text(a.request.id, b.request.id);
}

function text(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function getOrAdd(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

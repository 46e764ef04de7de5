// {{name}}: decides which of the requests that contend for a pool's tapes go ahead.
//
// A pure function of the conflict set. `wit/resolver.wit` says what each field means; a
// name there with a hyphen is in camel case here, and what is absent is null.

/** How long a request that does not fit waits before it is asked again. */
const RETRY_AFTER_MS = 15_000;

/** What one step of priority weighs in an order. */
const PRIORITY = 2 ** 48;

/** The latest deadline that an order can hold. */
const LATEST = PRIORITY - 1;

export const policy = {
  describe() {
    return {
      name: "{{name}}",
      version: "0.1.0",
      summary: "By priority, then deadline, then age; forks are refused",
      labels: [],
    };
  },

  resolve(set) {
    // A group is decided as one: all of its members the same way.
    const groups = collect(set.requests).sort(byOrderThenAge);
    const fates = new Map();
    const ahead = new Map(); // contents of the requests that go ahead, by what they follow
    let free = set.volumes.reduce((sum, volume) => sum + volume.free, 0);

    const proceed = (group, reason) => {
      fates.set(group.id, [{ tag: "proceed", val: group.order }, reason]);
      for (const member of group.members) {
        if (member.parent == null) continue;
        getOrAdd(ahead, follows(member), () => []).push(member.content);
      }
    };
    for (const group of groups.filter((group) => group.settled)) {
      proceed(group, "settled already");
    }
    for (const group of groups.filter((group) => !group.settled)) {
      if (group.members.some((member) => member.deadline != null && member.deadline <= set.now)) {
        const why = "it is past its deadline";
        fates.set(group.id, [{ tag: "reject", val: "Tapemark.DeadlineMissed" }, why]);
      } else if (group.members.some((member) => forks(member, ahead))) {
        const why = "another request with the same parent goes ahead";
        fates.set(group.id, [{ tag: "reject", val: "Tapemark.LineageFork" }, why]);
      } else if (group.bytes > free) {
        const until = set.now + RETRY_AFTER_MS;
        fates.set(group.id, [{ tag: "defer", val: until }, "no volume has room now"]);
      } else {
        free -= group.bytes;
        proceed(group, "by priority, deadline and age");
      }
    }

    const verdicts = set.requests.map((request) => {
      const [action, reason] = fates.get(request.group);
      return { id: request.id, action, reason, labels: [] };
    });
    return { verdicts, reason: "by priority, deadline and age", labels: [] };
  },
};

/** A place in line: lower goes first. By priority, then deadline. */
function order(request) {
  const deadline = request.deadline == null ? LATEST : Math.min(request.deadline, LATEST);
  return (9 - request.priority) * PRIORITY + deadline;
}

/** What a request follows: two with the same parent in one lineage follow the same. */
function follows({ service, branch, parent }) {
  return `${service}\n${branch ?? ""}\n${parent}`;
}

/** A request that goes ahead follows the same parent, with other content. */
function forks(request, ahead) {
  if (request.parent == null) return false;
  const contents = ahead.get(follows(request)) ?? [];
  return contents.some((content) => content !== request.content);
}

function byOrderThenAge(a, b) {
  return a.order - b.order || a.submittedAt - b.submittedAt || (a.id < b.id ? -1 : 1);
}

/** The groups. One with a member that is settled, in an agent's hands, must proceed. */
function collect(requests) {
  const groups = new Map();
  for (const request of requests) {
    const group = getOrAdd(groups, request.group, () => ({
      id: request.group,
      members: [],
      order: Infinity,
      submittedAt: Infinity,
      bytes: 0,
      settled: false,
    }));
    group.members.push(request);
    group.order = Math.min(group.order, order(request));
    group.submittedAt = Math.min(group.submittedAt, request.submittedAt);
    group.bytes += request.bytes;
    group.settled ||= request.settled;
  }
  return [...groups.values()];
}

function getOrAdd(map, key, make) {
  if (!map.has(key)) map.set(key, make());
  return map.get(key);
}

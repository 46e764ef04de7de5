// {{name}}: decides which of the requests that contend for a pool's tapes go ahead.
//
// A pure function of the conflict set. `wit/resolver.wit` says what each field means; a
// name there with a hyphen is in camel case here, and what is absent is null.

/** How long a request that does not fit waits before it is asked again. */
const RETRY_AFTER_MS = 15_000;

/** The latest deadline that an order can hold. */
const LATEST = 2 ** 48 - 1;

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
    const groups = [...groupBy(set.requests, (request) => request.group)]
      .map(([id, members]) => ({ id, members, order: lowest(members.map(order)) }))
      .sort(byOrderThenAge);
    const fates = new Map();
    const ahead = []; // the requests that go ahead
    let free = set.volumes.reduce((sum, volume) => sum + volume.free, 0);

    const proceed = (group, reason) => {
      fates.set(group.id, [{ tag: "proceed", val: group.order }, reason]);
      ahead.push(...group.members);
    };
    for (const group of groups.filter(isSettled)) {
      proceed(group, "settled already");
    }
    for (const group of groups.filter((group) => !isSettled(group))) {
      const bytes = group.members.reduce((sum, member) => sum + member.bytes, 0);
      if (group.members.some((member) => member.deadline != null && member.deadline <= set.now)) {
        const why = "it is past its deadline";
        fates.set(group.id, [{ tag: "reject", val: "Tapemark.DeadlineMissed" }, why]);
      } else if (group.members.some((member) => ahead.some((other) => forks(member, other)))) {
        const why = "another request with the same parent goes ahead";
        fates.set(group.id, [{ tag: "reject", val: "Tapemark.LineageFork" }, why]);
      } else if (bytes > free) {
        const until = set.now + RETRY_AFTER_MS;
        fates.set(group.id, [{ tag: "defer", val: until }, "no volume has room now"]);
      } else {
        free -= bytes;
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
  return (9 - request.priority) * 2 ** 48 + deadline;
}

/** Two successors of one parent in one lineage, with different content. */
function forks(a, b) {
  return (
    a.parent != null &&
    a.parent === b.parent &&
    a.service === b.service &&
    a.branch === b.branch &&
    a.content !== b.content
  );
}

/** Settled: an agent has a hand in it. It must proceed. */
function isSettled(group) {
  return group.members.some((member) => member.settled);
}

function byOrderThenAge(a, b) {
  return a.order - b.order || submitted(a) - submitted(b) || (a.id < b.id ? -1 : 1);
}

function submitted(group) {
  return lowest(group.members.map((member) => member.submittedAt));
}

function lowest(numbers) {
  return numbers.reduce((least, number) => Math.min(least, number));
}

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  }
  return groups;
}

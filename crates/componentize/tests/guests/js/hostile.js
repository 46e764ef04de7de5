// Everything a bad resolver in JavaScript might do: the name of the set's pool says which.
// In any other pool it decides well: all go ahead.

const attacks = {
  spin() {
    for (;;);
  },

  regex() {
    return /^(a+)+$/.test("a".repeat(64) + "!");
  },

  "memory-bomb"() {
    const hoard = [];
    for (;;) hoard.push(new ArrayBuffer(8 << 20));
  },

  recurse(set) {
    const down = (n) => down(n + 1) + set.now;
    return down(0);
  },

  throw() {
    throw new Error("a message that nobody outside can read");
  },

  "throw-nothing"() {
    throw undefined;
  },

  "throw-error"() {
    throw { code: "hostile.no", message: "I cannot decide this" };
  },

  "long-reason"(set) {
    return decide(set, "x".repeat((1 << 20) + 1));
  },

  "many-verdicts"(set) {
    const { verdicts, reason, labels } = decide(set, "once more");
    return { verdicts: Array(30_000).fill(verdicts[0]), reason, labels };
  },

  clock(set) {
    return decide(set, String(Date.now()));
  },

  "high-resolution-clock"(set) {
    return decide(set, String(performance.now()));
  },

  random(set) {
    return decide(set, `${Math.random()} ${Math.random()}`);
  },

  "no-decision"() {
    return undefined;
  },

  "wrong-types"(set) {
    return { ...decide(set, "because"), verdicts: "all of them" };
  },

  lossy(set) {
    const decision = decide(set, "beyond 2^53");
    for (const verdict of decision.verdicts) verdict.action.val = 2 ** 63;
    return decision;
  },

  remember(set) {
    globalThis.calls = (globalThis.calls ?? 0) + 1;
    return decide(set, String(globalThis.calls));
  },
};

function decide(set, reason) {
  const verdicts = set.requests.map(({ id }) => ({
    id,
    action: { tag: "proceed", val: 1 },
    reason: "because",
    labels: [],
  }));
  return { verdicts, reason, labels: [] };
}

export const policy = {
  describe() {
    return {
      name: "hostile-js",
      version: "1.0.0",
      summary: "does whatever the name of the pool says",
      labels: [],
    };
  },

  resolve(set) {
    const attack = Object.hasOwn(attacks, set.pool) ? attacks[set.pool] : () => null;
    const answer = attack(set);
    return answer === null ? decide(set, "all go ahead") : answer;
  },
};

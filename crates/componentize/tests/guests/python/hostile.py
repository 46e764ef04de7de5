"""Everything a bad resolver in Python might do: the name of the set's pool says which.
In any other pool it decides well: all go ahead."""

import os
import random
import re
import time

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import (
    Action_Proceed,
    Decision,
    ResolverError,
    ResolverInfo,
    Verdict,
)

calls = 0


def spin(set):
    while True:
        pass


def regex(set):
    re.match(r"^(a+)+$", "a" * 64 + "!")


def memory_bomb(set):
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def number_bomb(set):
    return decide(set, str(len(bin(1 << (1 << 40)))))


def recurse(set):
    def down(n):
        return down(n + 1) + set.now

    return down(0)


def throw(set):
    raise ValueError("a message that nobody outside can read")


def throw_error(set):
    raise Err(ResolverError("hostile.no", "I cannot decide this"))


def leave(set):
    raise SystemExit(0)


def long_reason(set):
    return decide(set, "x" * ((1 << 20) + 1))


def many_verdicts(set):
    decision = decide(set, "once more")
    decision.verdicts = decision.verdicts[:1] * 30_000
    return decision


def clock(set):
    return decide(set, str(time.time()))


def read_file(set):
    with open("/etc/passwd") as file:
        return decide(set, file.read())


def environment(set):
    return decide(set, str(sorted(os.environ.items())))


def random_numbers(set):
    return decide(set, f"{random.random()} {random.random()}")


def no_decision(set):
    return 42


def lossy(set):
    decision = decide(set, "beyond 2^53")
    for verdict in decision.verdicts:
        verdict.action = Action_Proceed(2**63)
    return decision


def remember(set):
    global calls
    calls += 1
    return decide(set, str(calls))


ATTACKS = {
    "spin": spin,
    "regex": regex,
    "memory-bomb": memory_bomb,
    "number-bomb": number_bomb,
    "recurse": recurse,
    "throw": throw,
    "throw-error": throw_error,
    "leave": leave,
    "long-reason": long_reason,
    "many-verdicts": many_verdicts,
    "clock": clock,
    "read-file": read_file,
    "environment": environment,
    "random": random_numbers,
    "no-decision": no_decision,
    "lossy": lossy,
    "remember": remember,
}


def decide(set, reason):
    verdicts = [
        Verdict(request.id, Action_Proceed(1), "because", labels=[]) for request in set.requests
    ]
    return Decision(verdicts, reason, labels=[])


class Policy(exports.Policy):
    def describe(self):
        return ResolverInfo(
            "hostile-python", "1.0.0", "does whatever the name of the pool says", labels=[]
        )

    def resolve(self, input):
        attack = ATTACKS.get(input.pool, lambda set: decide(set, "all go ahead"))
        return attack(input)

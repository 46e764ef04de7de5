"""Tests of the policy as plain Python: `python3 -m unittest discover test`, after one
build, which makes the types of the contract. What is published is the component:
`tapemark resolver test` tests that."""

import sys
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "bindings")]

from resolver import Policy  # noqa: E402
from wit_world.imports.types import ConflictSet, Request, Volume  # noqa: E402

NOW = 1_790_000_000_000


def request(id, **changes):
    fields = dict(
        id=id,
        group=f"group-of-{id}",
        service="billing",
        branch=None,
        parent=None,
        version="1.0.0",
        content=id,
        bytes=1000,
        artifacts=1,
        priority=5,
        submitted_at=NOW - 1000,
        deadline=None,
        attempt=0,
        settled=False,
        retention="standard",
        labels=[],
    )
    return Request(**(fields | changes))


def decide(*requests, free=1_000_000):
    """What becomes of each request: `{id: action}`."""
    volumes = [Volume("TM0001L9", "scratch", free, False, [])]
    conflict = ConflictSet("", NOW, "lib", "main", list(requests), volumes, [], [], [], [])
    verdicts = Policy().resolve(conflict).verdicts
    return {v.id: type(v.action).__name__.removeprefix("Action_") for v in verdicts}


class Decisions(unittest.TestCase):
    def test_the_more_urgent_one_goes_ahead_where_not_both_fit(self):
        decided = decide(request("a", priority=1), request("b", priority=9), free=1500)
        self.assertEqual(decided, {"a": "Defer", "b": "Proceed"})

    def test_what_is_too_late_is_refused(self):
        decided = decide(request("a", deadline=NOW), request("b", deadline=NOW + 1))
        self.assertEqual(decided, {"a": "Reject", "b": "Proceed"})

    def test_of_two_successors_of_one_parent_the_second_is_refused(self):
        decided = decide(request("a", parent="p"), request("b", parent="p"))
        self.assertEqual(decided, {"a": "Proceed", "b": "Reject"})

    def test_a_group_is_decided_as_one(self):
        decided = decide(request("a", group="g"), request("b", group="g", deadline=NOW))
        self.assertEqual(decided, {"a": "Reject", "b": "Reject"})


if __name__ == "__main__":
    unittest.main()

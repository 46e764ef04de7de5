"""{{name}}: decides which of the requests that contend for a pool's tapes go ahead.

A pure function of the conflict set. `wit/resolver.wit` says what each field means. Never
let the order of a set or of `random` decide: both differ from build to build.
"""

from wit_world import exports
from wit_world.imports.types import (
    Action,
    Action_Defer,
    Action_Proceed,
    Action_Reject,
    ConflictSet,
    Decision,
    Request,
    ResolverInfo,
    Verdict,
)

RETRY_AFTER_MS = 15_000
"""How long a request that does not fit waits before it is asked again."""

LATEST = 2**48 - 1
"""The latest deadline that an order can hold."""


class Policy(exports.Policy):
    def describe(self) -> ResolverInfo:
        return ResolverInfo(
            name="{{name}}",
            version="0.1.0",
            summary="By priority, then deadline, then age; forks are refused",
            labels=[],
        )

    def resolve(self, input: ConflictSet) -> Decision:
        # A group is decided as one: all of its members the same way.
        groups: dict[str, list[Request]] = {}
        for request in input.requests:
            groups.setdefault(request.group, []).append(request)

        def line(group: str) -> tuple[int, int, str]:
            members = groups[group]
            return min(map(order, members)), min(m.submitted_at for m in members), group

        fates: dict[str, tuple[Action, str]] = {}
        ahead: list[Request] = []  # the requests that go ahead
        free = sum(volume.free for volume in input.volumes)
        for group in groups:
            if is_settled(groups[group]):
                fates[group] = Action_Proceed(line(group)[0]), "settled already"
                ahead += groups[group]
        for group in sorted(groups, key=line):
            members = groups[group]
            size = sum(member.bytes for member in members)
            if group in fates:
                continue
            if any(m.deadline is not None and m.deadline <= input.now for m in members):
                refused = Action_Reject("Tapemark.DeadlineMissed")
                fates[group] = refused, "it is past its deadline"
            elif any(forks(member, other) for member in members for other in ahead):
                refused = Action_Reject("Tapemark.LineageFork")
                fates[group] = refused, "another request with the same parent goes ahead"
            elif size > free:
                later = Action_Defer(input.now + RETRY_AFTER_MS)
                fates[group] = later, "no volume has room now"
            else:
                free -= size
                ahead += members
                fates[group] = Action_Proceed(line(group)[0]), "by priority, deadline and age"

        verdicts = [
            Verdict(request.id, *fates[request.group], labels=[]) for request in input.requests
        ]
        return Decision(verdicts, "by priority, deadline and age", labels=[])


def order(request: Request) -> int:
    """A place in line: lower goes first. By priority, then deadline."""
    deadline = LATEST if request.deadline is None else min(request.deadline, LATEST)
    return (9 - request.priority) * 2**48 + deadline


def forks(a: Request, b: Request) -> bool:
    """Two successors of one parent in one lineage, with different content."""
    return (
        a.parent is not None
        and a.parent == b.parent
        and a.service == b.service
        and a.branch == b.branch
        and a.content != b.content
    )


def is_settled(members: list[Request]) -> bool:
    """An agent has a hand in it: it must proceed."""
    return any(member.settled for member in members)

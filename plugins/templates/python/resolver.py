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

Lineage = tuple[str, str | None, str | None]
"""Service, branch and parent."""


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
        # Contents of the requests that go ahead, by what they follow.
        ahead: dict[Lineage, list[str]] = {}
        free = sum(volume.free for volume in input.volumes)

        def proceed(group: str, reason: str) -> None:
            fates[group] = Action_Proceed(line(group)[0]), reason
            for member in groups[group]:
                ahead.setdefault(follows(member), []).append(member.content)

        for group in groups:
            if is_settled(groups[group]):
                proceed(group, "settled already")
        for group in sorted(groups, key=line):
            members = groups[group]
            size = sum(member.bytes for member in members)
            if group in fates:
                continue
            if any(m.deadline is not None and m.deadline <= input.now for m in members):
                refused = Action_Reject("Tapemark.DeadlineMissed")
                fates[group] = refused, "it is past its deadline"
            elif any(forks(member, ahead) for member in members):
                refused = Action_Reject("Tapemark.LineageFork")
                fates[group] = refused, "another request with the same parent goes ahead"
            elif size > free:
                later = Action_Defer(input.now + RETRY_AFTER_MS)
                fates[group] = later, "no volume has room now"
            else:
                free -= size
                proceed(group, "by priority, deadline and age")

        verdicts = [
            Verdict(request.id, *fates[request.group], labels=[]) for request in input.requests
        ]
        return Decision(verdicts, "by priority, deadline and age", labels=[])


def order(request: Request) -> int:
    """A place in line: lower goes first. By priority, then deadline."""
    deadline = LATEST if request.deadline is None else min(request.deadline, LATEST)
    return (9 - request.priority) * 2**48 + deadline


def follows(request: Request) -> Lineage:
    """What it follows: two with the same parent in one lineage follow the same."""
    return request.service, request.branch, request.parent


def forks(request: Request, ahead: dict[Lineage, list[str]]) -> bool:
    """A request that goes ahead follows the same parent, with other content."""
    contents = ahead.get(follows(request), [])
    return request.parent is not None and any(c != request.content for c in contents)


def is_settled(members: list[Request]) -> bool:
    """An agent has a hand in it: it must proceed."""
    return any(member.settled for member in members)

"""Oldest deadline first, duplicates merged: the rules of ../README.md in Python.

A pure function of the conflict set. No set is iterated: its order differs from build to
build.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from wit_world import exports
from wit_world.imports.types import (
    Action,
    Action_Defer,
    Action_Merge,
    Action_Proceed,
    Action_Reject,
    Action_Supersede,
    ConflictSet,
    Decision,
    Request,
    ResolverInfo,
    Verdict,
    Volume,
)

RETRY_AFTER_MS = 15_000
"""How long a group that does not fit waits before it is asked again."""

LATEST = 2**48 - 1
"""The order of those that have no deadline."""


@dataclass(eq=False)
class Group:
    """Requests that are decided as one."""

    id: str
    submitted_at: int
    """When the member with the smallest id was submitted."""
    order: int = LATEST
    bytes: int = 0
    settled: bool = False
    members: list["Member"] = field(default_factory=list)
    action: Action | None = None
    reason: str = ""

    def age(self) -> tuple[int, str]:
        return self.submitted_at, self.id

    def decide(self, action: Action, reason: str) -> None:
        self.action, self.reason = action, reason


@dataclass(eq=False)
class Member:
    """A request with its group and its lineage: the members of the same service and branch."""

    request: Request
    group: Group
    lineage: list["Member"]

    def age(self) -> tuple[int, str, str]:
        return *self.group.age(), self.request.id


class Policy(exports.Policy):
    def describe(self) -> ResolverInfo:
        return ResolverInfo(
            name="deadline-first-python",
            version="1.0.0",
            summary="Oldest deadline first, duplicates merged",
            labels=[],
        )

    def resolve(self, input: ConflictSet) -> Decision:
        groups = collect(input.requests)

        def still_open() -> list[Group]:
            return [group for group in groups if group.action is None]

        settled_proceed(groups)
        refuse_late(still_open(), input.now)
        refuse_forks_of_settled(still_open())
        supersede(still_open()[::-1])
        merge(still_open())
        fill(still_open(), input.now, input.volumes)

        verdicts = [
            Verdict(member.request.id, group.action, group.reason, labels=[])
            for group in groups
            for member in group.members
        ]
        return Decision(verdicts, "oldest deadline first, duplicates merged", labels=[])


def collect(requests: list[Request]) -> list[Group]:
    """The groups, oldest first."""
    groups: dict[str, Group] = {}
    lineages: dict[tuple[str, str | None], list[Member]] = {}
    for request in sorted(requests, key=lambda request: request.id):
        group = groups.setdefault(request.group, Group(request.group, request.submitted_at))
        lineage = lineages.setdefault((request.service, request.branch), [])
        member = Member(request, group, lineage)
        lineage.append(member)
        group.members.append(member)
        group.bytes += request.bytes
        group.settled |= request.settled
        if request.deadline is not None:
            group.order = min(group.order, request.deadline)
    return sorted(groups.values(), key=Group.age)


def settled_proceed(groups: list[Group]) -> None:
    """Rule 1."""
    for group in groups:
        if group.settled:
            group.decide(Action_Proceed(group.order), "settled already")


def refuse_late(groups: list[Group], now: int) -> None:
    """Rule 2."""
    for group in groups:
        deadlines = [member.request.deadline for member in group.members]
        if any(deadline is not None and deadline <= now for deadline in deadlines):
            group.decide(Action_Reject("Tapemark.DeadlineMissed"), "it is past its deadline")


def refuse_forks_of_settled(groups: list[Group]) -> None:
    """Rule 3."""
    for group in groups:
        forks = forks_in(group, lambda other: other.settled)
        if forks:
            refuse_fork(group, forks[0])


def supersede(newest_first: list[Group]) -> None:
    """Rule 4: who is not superseded may supersede."""
    left: set[str] = set()
    for group in newest_first:
        forks = forks_in(group, lambda other: other.id in left)
        if not forks:
            left.add(group.id)
        elif len(group.members) > 1:
            refuse_fork(group, forks[0])
        else:
            newest = max(forks, key=Member.age).request.id
            group.decide(Action_Supersede(newest), f"{newest} is newer, with the same parent")


def merge(oldest_first: list[Group]) -> None:
    """Rule 5: who is not merged may stand for others."""
    left: set[str] = set()
    for group in oldest_first:
        same = same_content(group.members[0]) if len(group.members) == 1 else []
        standing = [other for other in same if other.group.settled]
        standing = standing or [other for other in same if other.group.id in left]
        if standing:
            oldest = min(standing, key=Member.age).request.id
            group.decide(Action_Merge(oldest), f"{oldest} has the same content")
        else:
            left.add(group.id)


def fill(groups: list[Group], now: int, volumes: list[Volume]) -> None:
    """Rule 7."""
    free = sum(volume.free for volume in volumes)
    for group in sorted(groups, key=lambda group: (group.order, group.age())):
        if group.bytes > free:
            group.decide(Action_Defer(now + RETRY_AFTER_MS), "no volume has room now")
        else:
            free -= group.bytes
            group.decide(Action_Proceed(group.order), "by deadline and age")


def refuse_fork(group: Group, fork: Member) -> None:
    reason = f"expected its parent to have no successor, found {fork.request.id}"
    group.decide(Action_Reject("Tapemark.LineageFork"), reason)


def forks_in(group: Group, where: Callable[[Group], bool]) -> list[Member]:
    """The forks, in groups that `where` names, of the members that are not held."""
    return [
        other
        for member in group.members
        if member.request.parent is not None and not is_held(member)
        for other in member.lineage
        if other.group is not group
        and other.request.parent == member.request.parent
        and other.request.content != member.request.content
        and where(other.group)
    ]


def is_held(member: Member) -> bool:
    """A settled group has the same content already."""
    return any(other.group.settled for other in same_content(member))


def same_content(member: Member) -> list[Member]:
    """The requests of other groups with the same lineage and content."""
    return [
        other
        for other in member.lineage
        if other.group is not member.group and other.request.content == member.request.content
    ]

"""Attempts, and what must hold of each: nothing foreign in the answer, nothing foreign changed.

And of all of them together: what a neighbour has is answered as what does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.tenants.namespace import is_global
from tests.attack.answers import Answer, answer
from tests.attack.owners import ABSENT, OWNERS, PLATFORMS, Owner, foreign_secrets
from tests.attack.world import World


@dataclass(frozen=True)
class Attempt:
    """Somebody asks for something, in some way."""

    operation: str
    principal: Owner
    named: Owner  #: whose things are asked for; the principal's own, a neighbour's or nobody's
    way: str
    perform: Callable[[], Any] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.principal.id} asks {self.operation} for {self.named.id}'s, {self.way}"


@dataclass
class Outcome:
    """What came of a number of attempts."""

    attempts: int = 0
    leaks: list[str] = field(default_factory=list)
    own: set[str] = field(default_factory=set)  #: operations that gave an owner its own secret

    def __iadd__(self, other: Outcome) -> Outcome:
        self.attempts += other.attempts
        self.leaks += other.leaks
        self.own |= other.own
        return self


def attack(
    world: World,
    attempts: Iterable[Attempt],
    *,
    alike: bool = True,
    also_changed: Sequence[Owner] = (),
    names: bool = False,
) -> Outcome:
    """Perform attempts of one operation and way, and judge them.

    Args:
        alike: whether what a neighbour has is to be answered as what does not exist.
        also_changed: whose rows or files it is for, besides the principal's own.
        names: whether it is the operator's, who may read the names of all tenants.
    """
    outcome, answers = Outcome(), dict[Owner, dict[Owner, Answer]]()
    before, moment = world.state(), world.moment()
    for attempt in attempts:
        given = answer(attempt.perform)
        outcome.attempts += 1
        answers.setdefault(attempt.principal, {})[attempt.named] = given
        outcome.leaks += _told(attempt, given, names)
        if attempt.principal.secret in given.everything:
            outcome.own.add(attempt.operation)
        if world.moment() != moment:
            after = world.state()
            spared = {attempt.principal.id, *(owner.id for owner in also_changed)}
            if PLATFORMS[0] in also_changed:  # whatever its region is
                spared |= {place.partition(": ")[0] for place in after if _is_the_platforms(place)}
            outcome.leaks += [
                f"{attempt}: changed {place}" for place in _changed(before, after, spared)
            ]
            for owner in OWNERS:
                world.restore(owner, before, after)
            world.remove_strangers(after)
            # MLflow's part is not put back: a copy of its own is thrown away afterwards
            left_alone = {place: told for place, told in before.items() if not _in_mlflow(place)}
            before = left_alone | {p: told for p, told in after.items() if _in_mlflow(p)}
            moment = world.moment()
    left = world.state()
    outcome.leaks += [
        f"after all: changed {place}"
        for place in _changed(before, left, set())
        if not _in_mlflow(place)
    ]
    world.forget_changes()
    if alike:
        for principal, by_name in answers.items():
            outcome.leaks += _unlike(
                principal, by_name, (*PLATFORMS, *OWNERS) if names else PLATFORMS
            )
    return outcome


def asked_for(principal: Owner, neighbours: int = len(OWNERS)) -> list[Owner]:
    """Whose things a principal asks for: its own, those of some neighbours, and nobody's."""
    others = [owner for owner in OWNERS if owner != principal]
    first = principal.number % len(others)
    turned = [*others[first:], *others[:first]]
    return [principal, *turned[:neighbours], *(ABSENT if neighbours > 3 else ABSENT[:1])]


def _told(attempt: Attempt, given: Answer, names: bool) -> Iterator[str]:
    """Secrets of others, and names of others than were asked for."""
    for secret, owner in foreign_secrets(attempt.principal).items():
        if secret in given.everything:
            yield f"{attempt}: tells {owner.id}'s secret: {_around(given.everything, secret)}"
    known = {attempt.named, attempt.principal, *PLATFORMS, *(OWNERS if names else ())}
    for owner in OWNERS:
        if owner not in known and owner.id in given.everything:
            yield f"{attempt}: names {owner.id}: {_around(given.everything, owner.id)}"


def _unlike(
    principal: Owner, answers: Mapping[Owner, Answer], others: Sequence[Owner]
) -> Iterator[str]:
    """Neighbours whose things are answered otherwise than nobody's."""
    nobodys = {
        owner: answers[owner].modulo(owner, principal, *others)
        for owner in ABSENT
        if owner in answers
    }
    for owner, given in answers.items():
        if owner == principal or owner in ABSENT or not nobodys:
            continue
        shown = given.modulo(owner, principal, *others)
        if shown not in nobodys.values():
            first = next(iter(nobodys.values()))
            yield (
                f"{principal.id}: {owner.id}'s is answered unlike what does not exist:\n"
                f"  {shown[:600]}\n  {first[:600]}"
            )


def _changed(
    before: Mapping[str, str], after: Mapping[str, str], spared: set[str]
) -> Iterator[str]:
    for place in sorted({*before, *after}):
        if before.get(place) != after.get(place) and place.partition(": ")[0] not in spared:
            yield place


def _in_mlflow(place: str) -> bool:
    return ": mlflow." in place


def _is_the_platforms(place: str) -> bool:
    return is_global(place.partition(": ")[0])


def _around(text: str, found: str) -> str:
    at = text.index(found)
    return repr(text[max(0, at - 120) : at + 60])

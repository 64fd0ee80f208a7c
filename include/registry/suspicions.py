"""Suspected target leakage: what training found, what people said to it, and whom that holds back.

What a suspicion is about is an origin (a column, an attribute, an event) as the tenants' sources
are mapped. Somebody either *dismisses* it, as the origin is what it seems, or *confirms* it. That
stands for every later training in which the origin is mapped as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.errors import ConfigError
from include.registry.promotions import Promotion
from include.tenants.namespace import TenantRef

Answer = Literal["dismissed", "confirmed"]
#: Of a decision's evidence: the candidate that would have been promoted.
HELD: Final = "held"


@dataclass(frozen=True)
class Suspicion:
    """An origin that looks like the outcome."""

    origin: str  #: e.g. `amount`, `properties.discount`, `user.plan`, `event Signed In`
    columns: tuple[str, ...]  #: features that are made of it
    reasons: tuple[str, ...]
    mappings: tuple[str, ...]  #: digests of how the tenants' sources map it, sorted
    models: tuple[str, ...]  #: candidates that read it, e.g. `own/lightgbm`

    def __str__(self) -> str:
        return f"{self.origin}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class SuspicionAnswer:
    """What somebody said to a suspicion."""

    origin: str
    mappings: tuple[str, ...]
    answer: Answer
    because: str
    by: str
    at: str  #: ISO 8601

    def covers(self, suspicion: Suspicion) -> bool:
        """Whether it is about this origin, mapped no other way than then."""
        return self.origin == suspicion.origin and set(suspicion.mappings) <= set(self.mappings)


@dataclass(frozen=True)
class Standing:
    """The suspicions of a training that nobody has dismissed."""

    new: tuple[Suspicion, ...]  #: nobody has said anything to them
    confirmed: tuple[Suspicion, ...]

    @property
    def all(self) -> tuple[Suspicion, ...]:
        """Both."""
        return (*self.new, *self.confirmed)


def of_document(document: Mapping[str, Any]) -> tuple[Suspicion, ...]:
    """The suspicions within an evaluation document.

    Raises:
        ConfigError: they are none.
    """
    try:
        return tuple(
            Suspicion(**{name: _frozen(value) for name, value in one.items()})
            for one in document.get("suspicions", ())
        )
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"the evaluation holds no usable suspicions: {error}") from None


def standing(suspicions: Iterable[Suspicion], verdicts: Sequence[SuspicionAnswer]) -> Standing:
    """What is left of the suspicions after what was said to them; of several the last counts.

    Args:
        verdicts: oldest first.
    """
    new, confirmed = [], []
    for one in suspicions:
        said = [verdict.answer for verdict in verdicts if verdict.covers(one)]
        if not said:
            new.append(one)
        elif said[-1] == "confirmed":
            confirmed.append(one)
    return Standing(tuple(new), tuple(confirmed))


def held_back(
    keys: Sequence[str], suspicions: Sequence[Suspicion], *, fitted: str, serves: bool
) -> frozenset[str]:
    """Which candidates must not be promoted as long as the suspicions stand.

    Those that read what is suspected. Where nothing serves yet, a tenant still starts on the global
    model as it is, which has learnt from others, or on a rule of thumb that reads something else;
    where there is neither, on one that does.

    Args:
        keys: all candidates, such as `own/lightgbm`.
        fitted: the rung of models that this training fitted: `own`, or `global` of global models.
        serves: whether there is an incumbent.
    """
    suspect = {key for one in suspicions for key in one.models}
    held = {key for key in keys if key in suspect}
    if serves:
        return frozenset(held)
    shared = {key for key in held if key.startswith("global/") and fitted != "global"}
    held -= shared
    if not set(keys) - held:
        held = {key for key in held if not key.startswith("baseline/")}
    return frozenset(held)


def sentence(suspicions: Sequence[Suspicion], held: Iterable[str]) -> str:
    """Why candidates are held back, for the decision's reasons."""
    names = ", ".join(sorted(held))
    told = " ".join(f"{one}." for one in suspicions)
    return f"Suspected target leakage holds back {names}. {told}"


def held_versions(decided: Sequence[Promotion]) -> dict[str, Mapping[str, Any]]:
    """Versions that were held back and never promoted since: each with what is known of it.

    Args:
        decided: as `Promotions.history` gives them.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for one in decided:
        held = one.evidence.get(HELD)
        if held:
            found[held["version"]] = {**held, "as_of": one.as_of, "trigger": one.trigger}
        if one.promoted:
            found.pop(one.version, None)
    return found


def check_free(owner: TenantRef, decided: Sequence[Promotion], version: str) -> None:
    """Refuse a version that is held back, before it comes to serve anybody another way.

    Args:
        decided: as `Promotions.history` gives them.

    Raises:
        ConfigError: it is held back.
    """
    held = held_versions(decided)
    if version in held:
        where = f"{owner.id} {decided[-1].use_case}"
        raise ConfigError(
            f"version {version} is held back for suspected target leakage: `tenantry why {where}` "
            f"says why, `tenantry suspicion dismiss {where} --because …` lets it serve"
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

"""Suspected target leakage: what training found, how people answered, and what that holds back.

A suspicion is about an origin (a column, an attribute, an event) as the tenants' sources map it.
Somebody either *dismisses* the suspicion, as the origin is what it seems, or *confirms* it. The
answer stands for every later training in which the origin is mapped as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.errors import ConfigError
from include.registry.promotions import Promotion
from include.tenants.namespace import TenantRef

Answer = Literal["dismissed", "confirmed"]
#: Key of a decision's evidence: the candidate that would have been promoted.
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
    """Somebody's answer to a suspicion."""

    origin: str
    mappings: tuple[str, ...]
    answer: Answer
    because: str
    by: str
    at: str  #: ISO 8601

    def covers(self, suspicion: Suspicion) -> bool:
        """Whether the answer is about this origin, mapped no other way than then."""
        return self.origin == suspicion.origin and set(suspicion.mappings) <= set(self.mappings)


@dataclass(frozen=True)
class Standing:
    """The suspicions of a training that nobody has dismissed."""

    new: tuple[Suspicion, ...]  #: nobody has said anything to them
    confirmed: tuple[Suspicion, ...]

    @property
    def all(self) -> tuple[Suspicion, ...]:
        """The suspicions without an answer, then the confirmed ones."""
        return (*self.new, *self.confirmed)


def of_document(document: Mapping[str, Any]) -> tuple[Suspicion, ...]:
    """The suspicions within an evaluation document.

    Raises:
        ConfigError: the document holds no usable suspicions.
    """
    try:
        return tuple(
            Suspicion(**{name: _frozen(value) for name, value in content.items()})
            for content in document.get("suspicions", ())
        )
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"the evaluation holds no usable suspicions: {error}") from None


def standing(suspicions: Iterable[Suspicion], verdicts: Sequence[SuspicionAnswer]) -> Standing:
    """The suspicions that nobody has dismissed; of several answers to one, the last counts.

    Args:
        verdicts: the answers, oldest first.
    """
    new, confirmed = [], []
    for suspicion in suspicions:
        answers = [verdict.answer for verdict in verdicts if verdict.covers(suspicion)]
        if not answers:
            new.append(suspicion)
        elif answers[-1] == "confirmed":
            confirmed.append(suspicion)
    return Standing(tuple(new), tuple(confirmed))


def held_back(
    keys: Sequence[str], suspicions: Sequence[Suspicion], *, fitted: str, serves: bool
) -> frozenset[str]:
    """The candidates that must not be promoted as long as the suspicions stand.

    These are the candidates that read a suspected origin. Where nothing serves yet, a tenant still
    starts on the unchanged global model, which has learnt from others, or on a rule of thumb that
    reads other origins; without either, on a rule of thumb that reads a suspected one.

    Args:
        keys: all candidates, such as `own/lightgbm`.
        fitted: the rung of models that this training fitted: `own`, or `global` of global models.
        serves: whether there is an incumbent.
    """
    suspect = {key for suspicion in suspicions for key in suspicion.models}
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
    described = " ".join(f"{suspicion}." for suspicion in suspicions)
    return f"Suspected target leakage holds back {names}. {described}"


def held_versions(decided: Sequence[Promotion]) -> dict[str, Mapping[str, Any]]:
    """Versions held back and not promoted since, each with the facts that a release needs.

    Args:
        decided: as `Promotions.history` gives them.
    """
    waiting: dict[str, Mapping[str, Any]] = {}
    for decision in decided:
        held = decision.evidence.get(HELD)
        if held:
            waiting[held["version"]] = {
                **held,
                "as_of": decision.as_of,
                "trigger": decision.trigger,
            }
        if decision.promoted:
            waiting.pop(decision.version, None)
    return waiting


def check_free(owner: TenantRef, decided: Sequence[Promotion], version: str) -> None:
    """Refuse a version that is held back, before another way leads to its serving anybody.

    Args:
        decided: as `Promotions.history` gives them.

    Raises:
        ConfigError: the version is held back.
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

"""Outcomes of the entities that a challenger was scored for, each a number from 0 to 1.

The outcomes of an instant are kept once and whole. Per experiment, and per pair of versions, an
entity counts once, by the instant that was kept first. Entities go by pseudonyms.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from include.tenants.namespace import TenantRef


class ArmOutcome(NamedTuple):
    """The outcome of an entity in an experiment, by the answer of the entity's arm."""

    entity: str
    challenger: bool  #: whether it is of the challenger's arm
    outcome: float


class PairOutcome(NamedTuple):
    """The outcomes of two versions for the same entity."""

    entity: str
    champion: float
    challenger: float


@dataclass(frozen=True)
class InstantOutcomes:
    """The outcomes of one instant of a use case."""

    as_of: datetime
    experiment: int | None = None  #: number of the one it was served in
    arms: tuple[ArmOutcome, ...] = ()  #: of that experiment
    versions: tuple[str, str] = ("", "")  #: champion and challenger that `pairs` compares
    pairs: tuple[PairOutcome, ...] = ()


class Outcomes(Protocol):
    """The port to the outcomes of every tenant; they are read in the order they were kept."""

    def keep(
        self, tenant: TenantRef, use_case: str, outcomes: InstantOutcomes, measured_as_of: datetime
    ) -> bool:
        """Keep the outcomes of an instant; False where that instant was kept before."""

    def measured(self, tenant: TenantRef, use_case: str) -> list[datetime]:
        """Instants whose outcomes were kept."""

    def of_experiment(self, tenant: TenantRef, use_case: str, number: int) -> list[InstantOutcomes]:
        """The outcomes of an experiment, each entity's once: those in its arms alone."""

    def of_pairs(self, tenant: TenantRef, use_case: str) -> list[InstantOutcomes]:
        """The outcomes of pairs of versions, each entity's once per pair: `pairs` alone."""

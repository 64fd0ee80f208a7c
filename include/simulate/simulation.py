"""From the declaration of a world to its tenants' data, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from include.simulate import rows
from include.simulate.businesses import HAPPENINGS
from include.simulate.catalogue import Catalogue, stock
from include.simulate.facts import attributes
from include.simulate.population import Population, populate
from include.simulate.tampering import deliver
from include.simulate.truth import Truth
from include.simulate.visits import DAY, midnight, visits
from include.simulate.world import TenantPlan, World

#: Users whose events are drawn at a time; the data do not depend on it.
PART: Final = 4_000


@dataclass(frozen=True)
class Simulated:
    """One tenant's data, and what is true of it."""

    events: pa.Table  #: canonical `EVENTS`, in the order of their arrival, repeats included
    attributes: pa.Table  #: canonical `ATTRIBUTES`
    truth: Truth


@dataclass(frozen=True)
class Part:
    """The events of some of a tenant's users."""

    exported: pa.Table  #: as the tenant would export them: columns of `rows.EXPORTED`, properties
    outcomes: pa.Table  #: what is true of single events


@dataclass(frozen=True)
class Opened:
    """A tenant whose users and items are drawn, and whose events are not yet."""

    world: World
    plan: TenantPlan
    population: Population
    items: Catalogue

    @property
    def truth(self) -> Truth:
        """Everything true but the outcomes of single events."""
        return Truth(self.population, self.items, rows.OUTCOMES.empty_table())

    def parts(self, users: int = PART) -> Iterator[Part]:
        """All events, of so many users at a time."""
        for low in range(0, self.population.users, users):
            yield self._part(low, low + users)

    def _part(self, low: int, high: int) -> Part:
        population, kind = self.population, self.world.kind
        found = [
            rows.leaked(self._on_its_day(one), population.faults, kind.main, population.draws)
            for one in HAPPENINGS[kind.name](population, self.items, visits(population, low, high))
        ]
        first = int(midnight(population, np.zeros(1, dtype=np.int64))[0])
        table = deliver(rows.exported(found), population.faults, population.draws, first)
        return Part(rows.in_order(table), rows.outcomes(found))

    def _on_its_day(self, one: rows.Rows) -> rows.Rows:
        """What began late in the evening is over by midnight."""
        begins = midnight(self.population, one.day)
        return replace(one, at=np.clip(one.at, begins, begins + DAY - 1_000_000))


def open_tenant(world: World, tenant: str) -> Opened:
    """Draw the users and the items of one tenant.

    Raises:
        UnknownNameError: the world has no such tenant; names those it has.
    """
    plan = world.plan(tenant)
    return Opened(world, plan, populate(world, plan), stock(world, plan))


def simulate(world: World, users: int = PART) -> dict[str, Simulated]:
    """Every tenant's data in memory; for large tenants see `Opened.parts`."""
    return {plan.id: simulate_tenant(world, plan.id, users) for plan in world.tenants}


def simulate_tenant(world: World, tenant: str, users: int = PART) -> Simulated:
    """One tenant's data in memory; it does not depend on the world's other tenants."""
    opened = open_tenant(world, tenant)
    parts = list(opened.parts(users))
    exported = [part.exported for part in parts]
    table = rows.in_order(pa.concat_tables(exported, promote_options="default"))
    outcomes = pa.concat_tables([part.outcomes for part in parts]).sort_by("event_id")
    return Simulated(
        rows.canonical(table.combine_chunks(), tenant),
        attributes(opened.population, opened.items),
        replace(opened.truth, outcomes=outcomes),
    )

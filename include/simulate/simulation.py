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
from include.simulate.leaks import leaked
from include.simulate.population import Population, populate
from include.simulate.tampering import deliver
from include.simulate.truth import Truth
from include.simulate.visits import DAY, midnight, visits
from include.simulate.world import TenantPlan, World

#: Users whose events are drawn at a time; the data do not depend on it.
PART: Final = 4_000


@dataclass(frozen=True)
class UserBatch:
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

    def parts(self, users: int = PART) -> Iterator[UserBatch]:
        """All events, of so many users at a time."""
        for low in range(0, self.population.users, users):
            yield self._part(low, low + users)

    def _part(self, low: int, high: int) -> UserBatch:
        population, kind = self.population, self.world.kind
        happened = HAPPENINGS[kind.name](population, self.items, visits(population, low, high))
        found = leaked([self._on_its_day(one) for one in happened], population, kind.main)
        first = int(midnight(population, np.zeros(1, dtype=np.int64))[0])
        table = deliver(rows.exported(found), population.faults, population.draws, first)
        return UserBatch(rows.in_order(table), rows.outcomes(found))

    def _on_its_day(self, one: rows.EventRows) -> rows.EventRows:
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

"""Outcomes in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

from include.registry.outcomes import InstantOutcomes
from include.tenants.namespace import TenantRef


@dataclass
class InMemoryOutcomes:
    """Keeps the outcomes of every instant until the process ends, in the order they came."""

    _kept: dict[tuple[str, str], list[InstantOutcomes]] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def keep(
        self, tenant: TenantRef, use_case: str, outcomes: InstantOutcomes, measured_as_of: datetime
    ) -> bool:
        """See `Outcomes.keep`."""
        with self._writing:
            if outcomes.as_of in self.measured(tenant, use_case):
                return False
            kept = self._kept.setdefault((tenant.id, use_case), [])
            in_arms = {
                arm.entity
                for before in kept
                for arm in before.arms
                if before.experiment == outcomes.experiment
            }
            paired = {
                pair.entity
                for before in kept
                for pair in before.pairs
                if before.versions == outcomes.versions
            }
            kept.append(
                replace(
                    outcomes,
                    arms=tuple(sorted(a for a in outcomes.arms if a.entity not in in_arms)),
                    pairs=tuple(sorted(p for p in outcomes.pairs if p.entity not in paired)),
                )
            )
        return True

    def measured(self, tenant: TenantRef, use_case: str) -> list[datetime]:
        """See `Outcomes.measured`."""
        return [one.as_of for one in self._kept.get((tenant.id, use_case), ())]

    def of_experiment(self, tenant: TenantRef, use_case: str, number: int) -> list[InstantOutcomes]:
        """See `Outcomes.of_experiment`."""
        return [
            InstantOutcomes(one.as_of, number, one.arms)
            for one in self._kept.get((tenant.id, use_case), ())
            if one.experiment == number and one.arms
        ]

    def of_pairs(self, tenant: TenantRef, use_case: str) -> list[InstantOutcomes]:
        """See `Outcomes.of_pairs`."""
        return [
            InstantOutcomes(one.as_of, versions=one.versions, pairs=one.pairs)
            for one in self._kept.get((tenant.id, use_case), ())
            if one.pairs
        ]

"""Experiments in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock

from include.registry.card import plain
from include.registry.experiments import Ending, Experiment
from include.tenants.namespace import TenantRef


@dataclass
class InMemoryExperiments:
    """Keeps every experiment until the process ends."""

    #: By tenant and use case, then by number.
    _tried: dict[tuple[str, str], dict[int, Experiment]] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def history(self, tenant: TenantRef, use_case: str) -> list[Experiment]:
        """See `Experiments.history`."""
        tried = self._tried.get((tenant.id, use_case), {})
        return [tried[number] for number in sorted(tried)]

    def add(self, tenant: TenantRef, experiment: Experiment) -> Experiment:
        """See `Experiments.add`."""
        new = replace(experiment, tenant=tenant.id, ending=None, recorded_at=datetime.now(UTC))
        with self._writing:
            tried = self._tried.setdefault((tenant.id, experiment.use_case), {})
            return tried.setdefault(experiment.number, new)

    def end(self, tenant: TenantRef, experiment: Experiment, ending: Ending) -> Experiment:
        """See `Experiments.end`."""
        figures = json.loads(json.dumps(plain(ending.figures)))
        kept = replace(ending, figures=figures, recorded_at=datetime.now(UTC))
        with self._writing:
            tried = self._tried[tenant.id, experiment.use_case]
            standing = tried[experiment.number]
            if standing.ending is None:
                tried[experiment.number] = replace(standing, ending=kept)
            return tried[experiment.number]

"""Predictions in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from include.registry.predictions import Part, Prediction
from include.tenants.namespace import TenantRef

_Scope = tuple[str, str]  #: tenant and use case


@dataclass(frozen=True)
class _Answers:
    """What was answered at one instant."""

    served: tuple[Prediction, ...]
    shadow: tuple[Prediction, ...]

    @property
    def challenged(self) -> bool:
        """Whether a challenger was scored or served."""
        return bool(self.shadow) or any(row.experiment is not None for row in self.served)


@dataclass
class InMemoryPredictions:
    """Keeps the answers of every instant until the process ends, without their details."""

    _answers: dict[_Scope, dict[datetime, _Answers]] = field(default_factory=dict)

    def replace(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        parts: Sequence[Part],
        *,
        feature_fingerprint: str,
        shadow: Part | None = None,
    ) -> None:
        """See `Predictions.replace`."""
        answers = _Answers(_ordered(parts), _ordered([shadow] if shadow else []))
        self._answers.setdefault((tenant.id, use_case), {})[as_of] = answers

    def served(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """See `Predictions.served`."""
        answers = self._of(tenant, use_case).get(as_of)
        return list(answers.served) if answers else []

    def shadow(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """See `Predictions.shadow`."""
        answers = self._of(tenant, use_case).get(as_of)
        return list(answers.shadow) if answers else []

    def instants(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """See `Predictions.instants`."""
        there = self._of(tenant, use_case).items()
        return sorted(at for at, answers in there if at <= until and answers.served)

    def challenged(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """See `Predictions.challenged`."""
        there = self._of(tenant, use_case).items()
        return sorted(at for at, answers in there if at <= until and answers.challenged)

    def newest(
        self, tenant: TenantRef, use_case: str, experiment: int | None = None
    ) -> datetime | None:
        """See `Predictions.newest`."""
        instants = (
            at
            for at, answers in self._of(tenant, use_case).items()
            if any(experiment in (None, row.experiment) for row in answers.served)
        )
        return max(instants, default=None)

    def _of(self, tenant: TenantRef, use_case: str) -> dict[datetime, _Answers]:
        return self._answers.get((tenant.id, use_case), {})


def _ordered(parts: Sequence[Part]) -> tuple[Prediction, ...]:
    rows = []
    for part in parts:
        made = part.model_version, part.experiment, part.arm
        columns = (part.rows[name].to_pylist() for name in Prediction._fields[:5])
        for entity, item, rank, score, baseline in zip(*columns, strict=True):
            rows.append(Prediction(entity, item, rank, score, baseline, *made))
    return tuple(sorted(rows, key=lambda row: (row.entity_id, row.rank, row.item_id)))

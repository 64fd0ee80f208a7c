"""Promotions in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock

from include.registry.card import plain
from include.registry.promotions import Promotion, withdrawn_for_good
from include.tenants.namespace import TenantRef, model_name

_Scope = tuple[str, str]  #: tenant and use case


@dataclass
class InMemoryPromotions:
    """Keeps every decision until the process ends."""

    _decided: dict[_Scope, list[Promotion]] = field(default_factory=dict)
    _turns: dict[_Scope, Lock] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def record(self, tenant: TenantRef, promotion: Promotion) -> Promotion:
        """See `Promotions.record`."""
        key = (promotion.use_case, promotion.as_of, promotion.trigger)
        with self._writing:
            if (standing := self.find(tenant, *key)) is not None:
                return standing
            new = replace(
                promotion,
                tenant=tenant.id,
                evidence=json.loads(json.dumps(plain(promotion.evidence))),
                decided_at=datetime.now(UTC),
            )
            decided = [*self.history(tenant, promotion.use_case), new]
            decided.sort(key=lambda one: (one.as_of, one.decided_at or one.as_of, one.trigger))
            self._decided[tenant.id, promotion.use_case] = decided
        return new

    def find(
        self, tenant: TenantRef, use_case: str, as_of: datetime, trigger: str
    ) -> Promotion | None:
        """See `Promotions.find`."""
        decided = self.history(tenant, use_case)
        found = (one for one in decided if (one.as_of, one.trigger) == (as_of, trigger))
        return next(found, None)

    def champion_at(
        self, tenant: TenantRef, use_case: str, as_of: datetime | None = None
    ) -> Promotion | None:
        """See `Promotions.champion_at`."""
        decided = self.history(tenant, use_case)
        served = [
            one
            for one in decided
            if one.promoted and one.version and (as_of is None or one.as_of <= as_of)
        ]
        if not served or served[-1].version in withdrawn_for_good(decided):
            return None
        return served[-1]

    def gone(self, tenant: TenantRef, use_case: str) -> frozenset[str]:
        """See `Promotions.gone`."""
        return frozenset(withdrawn_for_good(self.history(tenant, use_case)))

    def history(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """See `Promotions.history`."""
        return list(self._decided.get((tenant.id, use_case), ()))

    def outline(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """See `Promotions.outline`."""
        return [replace(one, evidence={}) for one in self.history(tenant, use_case)]

    def challenger(self, tenant: TenantRef, use_case: str) -> str:
        """See `Promotions.challenger`."""
        decided = self.history(tenant, use_case)
        lost = [str(one.evidence.get("challenger") or "") for one in decided]
        left = [one for one in lost if one and one not in withdrawn_for_good(decided)]
        return left[-1] if left else ""

    @contextmanager
    def exclusive(self, tenant: TenantRef, use_case: str) -> Iterator[None]:
        """See `Promotions.exclusive`."""
        with self._turns.setdefault((tenant.id, model_name(use_case)), Lock()):
            yield

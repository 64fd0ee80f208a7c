"""Retrains in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from include.monitoring.retrain_effect import RetrainEffect
from include.monitoring.retrains import Decision, Outcome, RetrainRequest, outcome_details
from include.tenants.namespace import TenantRef

_Key = tuple[str, str, datetime]  #: tenant, use case and `as_of`


@dataclass
class InMemoryRetrains:
    """Keeps every decision until the process ends."""

    _requests: dict[_Key, RetrainRequest] = field(default_factory=dict)
    _decided_at: dict[_Key, datetime] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        decision: Decision,
        reason: str,
        details: Mapping[str, Any],
    ) -> bool:
        """See `Retrains.record`."""
        key = (tenant.id, use_case, as_of)
        with self._writing:
            if key in self._requests:
                return False
            state = "requested" if decision == "retrain" else "closed"
            kept = json.loads(json.dumps(dict(details)))
            self._requests[key] = RetrainRequest(use_case, as_of, decision, reason, kept, state)
            self._decided_at[key] = datetime.now(UTC)
        return True

    def open_requests(self, tenant: TenantRef) -> list[RetrainRequest]:
        """See `Retrains.open_requests`."""
        return [one for one in self.history(tenant) if one.state == "requested"]

    def requests_since(self, tenant: TenantRef, since: datetime) -> list[RetrainRequest]:
        """See `Retrains.requests_since`."""
        return [
            one
            for one in self.history(tenant)
            if one.decision == "retrain"
            and (
                one.state == "requested"
                or self._decided_at[tenant.id, one.use_case, one.as_of] >= since
            )
        ]

    def mark_triggered(
        self, tenant: TenantRef, use_case: str, as_of: datetime, dag_run_id: str
    ) -> bool:
        """See `Retrains.mark_triggered`."""
        key = (tenant.id, use_case, as_of)
        self._change(
            key,
            lambda one: one.state == "requested",
            lambda one: replace(one, state="triggered", dag_run_id=dag_run_id),
        )
        request = self._requests.get(key)
        return request is not None and (request.state, request.dag_run_id) == (
            "triggered",
            dag_run_id,
        )

    def finish(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        outcome: Outcome,
        *,
        before: float | None = None,
        after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """See `Retrains.finish`."""
        kept = json.loads(json.dumps(outcome_details(outcome, before, after, details)))
        return self._change(
            (tenant.id, use_case, as_of),
            lambda one: one.state in ("requested", "triggered"),
            lambda one: replace(one, state="finished", outcome=outcome, outcome_details=kept),
        )

    def enter_effect(
        self, tenant: TenantRef, use_case: str, as_of: datetime, effect: RetrainEffect
    ) -> bool:
        """See `Retrains.enter_effect`."""
        return self._change(
            (tenant.id, use_case, as_of),
            lambda one: one.outcome == "promoted" and effect.replaces(one.effect),
            lambda one: replace(one, effect=effect),
        )

    def history(self, tenant: TenantRef, use_case: str | None = None) -> list[RetrainRequest]:
        """See `Retrains.history`."""
        mine = [
            request
            for (owner, name, _), request in list(self._requests.items())
            if owner == tenant.id and use_case in (None, name)
        ]
        return sorted(mine, key=lambda one: (one.as_of, one.use_case))

    def _change(
        self,
        key: _Key,
        allowed: Callable[[RetrainRequest], bool],
        change: Callable[[RetrainRequest], RetrainRequest],
    ) -> bool:
        """Change a decision if it is there and may be; whether it was."""
        with self._writing:
            request = self._requests.get(key)
            if request is None or not allowed(request):
                return False
            self._requests[key] = change(request)
        return True

"""Waits, without holding a worker, until monitoring asks for a retrain of one use case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetrainRequested(BaseTrigger):
    """Fires as soon as the tenant's retrain ledger holds an open request, of any use case.

    All of a tenant's sensors wake together: the one whose use case is meant goes on, the others
    skip, so that the run ends and `drift_watch` starts over watching all of them.
    """

    def __init__(self, tenant_id: str, region: str, isolation: str, poll_seconds: float) -> None:
        super().__init__()
        self.tenant_id = tenant_id
        self.region = region
        self.isolation = isolation
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        return (
            "include.pipeline.drift_sensor.RetrainRequested",
            {
                "tenant_id": self.tenant_id,
                "region": self.region,
                "isolation": self.isolation,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is a request."""
        from include.errors import UnavailableError
        from include.monitoring.ledger import open_requests_async
        from include.tenants.namespace import TenantRef

        tenant = TenantRef(self.tenant_id, self.region, self.isolation)
        while True:
            try:
                requests = await open_requests_async(tenant)
            except UnavailableError as error:  # Postgres restarts: the watch outlives it
                self.log.warning("%s", error)
                requests = []
            if requests:
                yield TriggerEvent(
                    [
                        {"use_case": r.use_case, "as_of": r.as_of.isoformat(), "reason": r.reason}
                        for r in requests
                    ]
                )
                return
            await asyncio.sleep(self.poll_seconds)


class DriftSensor(BaseSensorOperator):
    """Deferrable: succeeds with the oldest open request of its use case."""

    ui_color = "#fdf1dc"

    def __init__(
        self, *, tenant_id: str, region: str, isolation: str, use_case: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.tenant_id = tenant_id
        self.region = region
        self.isolation = isolation
        self.use_case = use_case

    def execute(self, context: Context) -> None:
        """Give the slot back and wait in the triggerer."""
        self.defer(
            trigger=RetrainRequested(
                self.tenant_id, self.region, self.isolation, float(self.poke_interval)
            ),
            method_name="resume",
        )

    def resume(self, context: Context, event: list[dict[str, str]]) -> dict[str, str]:
        """The request that `retrain` is triggered with."""
        for request in event:
            if request["use_case"] == self.use_case:
                return request
        raise AirflowSkipException(f"woken for another use case than {self.use_case}")

"""Waits, without holding a worker, until monitoring asks for a retrain of one use case."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow.sdk import Context


class RetrainRequested(BaseTrigger):
    """Fires as soon as there is a retrain request of the tenant's, of any use case.

    All of a tenant's sensors wake together: the one whose use case is meant goes on, the others
    skip, so that the run ends and `drift_watch` starts over watching all of them. A request made
    since the run began wakes a sensor even after its sibling has had it taken up.
    """

    def __init__(
        self, tenant_id: str, region: str, isolation: str, since: str, poll_seconds: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tenant_id = tenant_id
        self.region = region
        self.isolation = isolation
        self.since = since
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        return (
            "include.pipeline.drift_sensor.RetrainRequested",
            {
                "tenant_id": self.tenant_id,
                "region": self.region,
                "isolation": self.isolation,
                "since": self.since,
                "poll_seconds": self.poll_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is a request."""
        from include import wiring
        from include.errors import UnavailableError
        from include.tenants.namespace import TenantRef

        tenant = TenantRef(self.tenant_id, self.region, self.isolation)
        since = datetime.fromisoformat(self.since)
        retrains = wiring.stores().retrains
        while True:
            try:  # in a thread, as the event loop is every trigger's
                requests = await asyncio.to_thread(retrains.requests_since, tenant, since)
            except UnavailableError as error:  # Postgres restarts: the watch outlives it
                self.log.warning("%s", error)
                requests = []
            if requests:
                yield TriggerEvent(  # type: ignore[no-untyped-call]
                    [
                        {
                            "use_case": r.use_case,
                            "as_of": r.as_of.isoformat(),
                            "reason": r.reason,
                            "state": r.state,
                        }
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
                self.tenant_id,
                self.region,
                self.isolation,
                (context["dag_run"].start_date or context["dag_run"].run_after).isoformat(),
                float(self.poke_interval),
            ),
            method_name="resume",
        )

    def resume(self, context: Context, event: list[dict[str, str]]) -> dict[str, str]:
        """The request that `retrain` is triggered with."""
        for request in event:
            if request["use_case"] == self.use_case and request["state"] == "requested":
                return request
        raise AirflowSkipException(f"nothing to do for {self.use_case} any more")

"""The port to the online store: the features of now, of one entity or of many.

A tenant's store takes events in two ways. `append` takes what streams in, which counts at once.
`materialize` takes what the lake delivers up to an instant, the watermark, and replaces the early
view of the same events. Read at an instant, the store answers what the offline engines answer as of
that instant; nothing is computed from the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from include.errors import ConfigError
from include.features.online.served import Served
from include.features.views import FeatureService, FeatureView
from include.handoffs import Materialized
from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    import pyarrow as pa

#: How far a stream may lag behind the lake.
REMEMBERED: Final = timedelta(days=7)


@dataclass(frozen=True)
class OnlineFeatures:
    """The answer to one read."""

    table: pa.Table  #: join keys, `as_of`, then the service's columns, as offline
    stale: Mapping[str, str]  #: view → why its columns are null


class Reader(Protocol):
    """Answers for one tenant and service; kept by whoever reads more than once."""

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """The service's features of the entities at an instant.

        Args:
            entities: join key → values, all equally many.

        Raises:
            ConfigError: something that is known only later has been materialized already, the
                entities lack a join key or have more of one than of another, or `at` is not aware.
        """


class OnlineStore(Protocol):
    """The port to the online features of every tenant."""

    def append(
        self,
        tenant: TenantRef,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
    ) -> int:
        """Take canonical rows that streamed in; returns how many events are new.

        Appending again changes nothing, and neither does a copy of what the lake has delivered, if
        that was within `REMEMBERED` before the watermark or the copy says that it was known by
        then. An event created at or before the watermark is not taken, as that batch is closed.

        Raises:
            IsolationError: a row is another tenant's; nothing was taken.
            QualityError: a row cannot be kept; nothing was taken.
        """

    def since(
        self, tenant: TenantRef, views: Sequence[FeatureView], timezone: str
    ) -> datetime | None:
        """From when on `materialize` needs rows; None where it needs all of history."""

    def materialize(
        self,
        tenant: TenantRef,
        views: Sequence[FeatureView],
        timezone: str,
        until: datetime,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
        *,
        rebuild: bool = False,
        source: str = "",
    ) -> Materialized:
        """Bring the views to `until`, and serve these and no others; again changes nothing.

        Args:
            events: canonical rows, at least those that became known after `since(…)`. More may be
                given, and what was appended need not be.
            attributes: likewise.
            rebuild: forget what is there; the tables then hold all there is.
            source: where the tables come from, for `freshness`.

        Raises:
            ConfigError: `until` is not aware, or the time zone is none.
            IsolationError: a row is another tenant's; nothing was changed.
            QualityError: a row cannot be kept; nothing was changed.
        """

    def reader(self, tenant: TenantRef, service: FeatureService) -> Reader:
        """Reads the views of a service."""

    def freshness(self, tenant: TenantRef) -> list[Served]:
        """The views that the tenant's store serves, and up to when each is materialized."""


def check_instant(until: datetime) -> None:
    """Refuse an instant that is not aware; raises `ConfigError`."""
    if until.utcoffset() is None:
        raise ConfigError(f"until must be an aware datetime, got {until!r}")

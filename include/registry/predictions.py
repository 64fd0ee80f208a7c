"""Predictions: the answers of a tenant's versions at an instant, to whom and in which arm.

Scoring writes predictions; experiments, monitoring and the pipeline read them. The predictions of
one instant and use case are replaced whole or not at all, together with those that the challenger
would have made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """Rows (of `scoring.ranks.SCHEMA`) that one version made."""

    rows: pa.Table
    model_version: str
    experiment: int | None = None  #: number of the one they are served in
    arm: str | None = None  #: of their entities; None without an experiment


class Prediction(NamedTuple):
    """One answer of one version: a score of an entity, or of an item for an entity."""

    entity_id: str
    item_id: str  #: empty unless items are ranked
    rank: int  #: from 1
    score: float
    baseline_score: float | None = None  #: None where the baseline has none
    model_version: str = ""
    experiment: int | None = None
    arm: str | None = None


class Predictions(Protocol):
    """The port to the predictions of every tenant; all come ordered by entity, rank and item."""

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
        """Replace all predictions of the instant by `parts` and the shadow."""

    def served(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """The predictions that were served at an instant, by whichever version."""

    def shadow(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """The predictions that the challenger would have made for everybody."""

    def instants(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """Instants at which anybody was served, up to `until`, in order."""

    def challenged(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """Instants at which a challenger was scored or served, up to `until`, in order."""

    def newest(
        self, tenant: TenantRef, use_case: str, experiment: int | None = None
    ) -> datetime | None:
        """The newest instant at which anybody was served, or in an experiment; None if never."""

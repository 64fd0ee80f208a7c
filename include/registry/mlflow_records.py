"""Reads the records of versions straight from MLflow's tables, as importing MLflow takes seconds.

Commands that print a ledger use this module. The tables are those of the pinned release; tests
compare the answers with those of MLflow itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from include.errors import TenantryError, UnavailableError, UnknownNameError
from include.handoffs import StoredObject
from include.registry.card import from_tags
from include.registry.port import ModelVersion, check_same
from include.storage.lake_files import LakeFiles
from include.tenants.namespace import TenantRef, model_name, workspace

TAG: Final = "tenantry."
CARD: Final = "card.json"
_TAGS: Final = """
    SELECT version::text, jsonb_object_agg(key, value)
    FROM model_versions JOIN model_version_tags USING (workspace, name, version)
    WHERE workspace = %s AND name = %s AND current_stage <> 'Deleted_Internal'
    GROUP BY version ORDER BY model_versions.version
"""
#: The tags of a version, and the version that they describe.
Recorded = tuple[Mapping[str, str], ModelVersion]


@dataclass(frozen=True)
class MlflowRecords:
    """`ModelRecords` of MLflow's database; the versions of a model are read once and then kept."""

    tracking_uri: str  #: SQLAlchemy URL of MLflow's Postgres database
    lake: LakeFiles
    _known: dict[tuple[TenantRef, str], dict[str, Recorded]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def get(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """See `ModelRecords.get`."""
        return self._recorded(tenant, use_case, version)[1]

    def versions(self, tenant: TenantRef, use_case: str) -> Sequence[ModelVersion]:
        """See `ModelRecords.versions`."""
        return tuple(version for _, version in self._all(tenant, use_case).values())

    def card(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `ModelRecords.card`."""
        tags, recorded = self._recorded(tenant, version.use_case, version.version)
        check_same(tenant, version, recorded)
        path, digest = f"{tags['folder']}/{CARD}", tags.get("card_digest", "")
        return self.lake.get(tenant, StoredObject(tenant.id, path, digest, 0))

    def _recorded(self, tenant: TenantRef, use_case: str, version: str) -> Recorded:
        by_number = self._all(tenant, use_case)
        if version not in by_number:
            raise UnknownNameError("model version", version, by_number, f"{tenant.id}/{use_case}")
        return by_number[version]

    def _all(self, tenant: TenantRef, use_case: str) -> dict[str, Recorded]:
        """A model's versions by number, oldest first."""
        if (tenant, use_case) not in self._known:
            self._known[tenant, use_case] = {
                number: recorded
                for number, tags in self._tags(tenant, use_case)
                if (recorded := ours(tenant, use_case, number, tags)) is not None
            }
        return self._known[tenant, use_case]

    def _tags(self, tenant: TenantRef, use_case: str) -> list[tuple[str, Mapping[str, str]]]:
        with connect(self.tracking_uri) as connection:
            try:
                scope = [workspace(tenant), model_name(use_case)]
                return connection.execute(_TAGS, scope).fetchall()
            except psycopg.Error as error:  # such as tables that are not there
                raise unavailable(error) from error


def connect(tracking_uri: str) -> psycopg.Connection[Any]:
    """A connection to MLflow's database, each statement a transaction of its own.

    Raises:
        UnavailableError: the database does not answer.
    """
    parts = urlsplit(tracking_uri)
    dsn = urlunsplit(parts._replace(scheme=parts.scheme.partition("+")[0]))
    try:
        return psycopg.connect(dsn, connect_timeout=10, autocommit=True)
    except psycopg.OperationalError as error:
        raise unavailable(error) from error


def ours(tenant: TenantRef, use_case: str, number: str, tags: Mapping[str, str]) -> Recorded | None:
    """Our tags and our version from MLflow's tags; None for a version that was made by hand."""
    own_tags = {k.removeprefix(TAG): v for k, v in tags.items() if k.startswith(TAG)}
    version = from_tags(tenant.id, use_case, number, own_tags)
    return (
        (own_tags, version)
        if version is not None and {"key", "folder"} <= own_tags.keys()
        else None
    )


def unavailable(error: Exception) -> TenantryError:
    """The error for people where MLflow's database fails."""
    reason = str(error).strip().splitlines()[-1]
    return UnavailableError(
        f"MLflow's database does not do its work ({reason}); is it up (`make up`), and does "
        "MLFLOW_TRACKING_URI point at it?"
    )

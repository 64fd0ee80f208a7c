"""The errors a user of Tenantry can meet. A message says what, where and what to do next."""

from __future__ import annotations

from collections.abc import Iterable


class TenantryError(Exception):
    """Something a person can act on went wrong; `str(error)` tells them how."""


class ConfigError(TenantryError):
    """A declaration (tenant file, feature view, use case, environment) is malformed."""


class UnknownNameError(ConfigError):
    """A name stands for nothing here; the message lists the names that do."""

    def __init__(self, kind: str, name: object, known: Iterable[str], where: str = "") -> None:
        self.known = tuple(sorted(known))
        place = f" in {where}" if where else ""
        listed = ", ".join(self.known) or "none"
        super().__init__(f"unknown {kind} {name!r}{place}; known: {listed}")


class IsolationError(TenantryError):
    """An operation would have crossed the border between two tenants, and was refused."""


class IntegrityError(TenantryError):
    """Stored bytes are not the bytes that were recorded; nothing was parsed."""


class SourceError(TenantryError):
    """A tenant's source cannot be reached or read."""


class QualityError(TenantryError):
    """Data failed a check of severity `fail`; the run of this tenant stops here."""


class UnavailableError(TenantryError):
    """A system that Tenantry needs (Postgres, MLflow, the lake) does not answer."""

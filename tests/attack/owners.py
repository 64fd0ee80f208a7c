"""Whose rows and files there are, and what stands in them: a secret of each owner's own.

A *name* (use case, instant, version, path, entity, …) is what an attacker may know or guess; a
*secret* is what no answer to anybody else may hold. Names of all owners have the same form, so that
an answer about a neighbour's can be compared with one about what does not exist.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from include.handoffs import Interval
from include.tenants.namespace import GLOBAL, TenantRef, global_owner, lake_prefix

USE_CASE: Final = "churn"  #: that every owner has
#: Everybody's rows are of the same week, so that no answer differs for its date.
AS_OF: Final = datetime(2024, 3, 4, tzinfo=UTC)
WEEK: Final = Interval(AS_OF - timedelta(days=7), AS_OF)
#: What parts of a path may stand between.
_SLASHES: Final = ("/", "%2f", "\\", "\\\\", "\u2215")


@dataclass(frozen=True)
class Owner:
    """Somebody whom rows and files belong to, or would."""

    ref: TenantRef
    number: int
    kind: str  #: what makes this one different from the others
    live: bool = True  #: whether there is a tenant file

    @property
    def id(self) -> str:
        """The tenant's id."""
        return self.ref.id

    @property
    def word(self) -> str:
        """The id where only letters and underscores may stand."""
        return self.id.replace("-", "_")

    @cached_property
    def secret(self) -> str:
        """What stands in every free text, document and file of the owner's."""
        return "zq" + hashlib.sha256(f"secret of {self.id}".encode()).hexdigest()[:14]

    # names

    @property
    def use_case(self) -> str:
        """A use case that nobody else has."""
        return f"uc_{self.word}"

    @property
    def version(self) -> str:
        """Of a model, in rows."""
        return f"7000{self.number}"

    @property
    def source(self) -> str:
        """Of events."""
        return f"src_{self.word}"

    @property
    def entity(self) -> str:
        """Of a user."""
        return f"user-{self.id}"

    @property
    def item(self) -> str:
        """Of an item."""
        return f"item-{self.id}"

    @property
    def group(self) -> str:
        """Key of partial aggregates."""
        return hashlib.sha256(f"group of {self.id}".encode()).hexdigest()[:16]

    @property
    def run_id(self) -> str:
        """Of an Airflow run."""
        return f"run-{self.id}"

    @property
    def path(self) -> str:
        """Of a file, relative to the owner's folder."""
        return f"reports/{self.id}.html"

    @property
    def table_path(self) -> str:
        """Of a Parquet file, relative to the owner's folder."""
        return f"features/churn/{AS_OF:%Y-%m-%dT%H%M%S}.parquet"

    @property
    def from_a_neighbour(self) -> str:
        """The same file as a neighbour's folder would spell it."""
        return f"../../{lake_prefix(self.ref)}/{self.path}"

    @cached_property
    def content(self) -> bytes:
        """Of the file at `path`."""
        return f"<p>{self.secret}</p>".encode()

    @property
    def digest(self) -> str:
        """Of the file at `path`."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def names(self) -> list[tuple[str, str]]:
        """Everything an answer may repeat, with what stands for it when answers are compared."""
        return [
            (self.digest, "<digest>"),
            (self.group, "<group>"),
            (self.version, "<version>"),
            *((f"{self.ref.region}{slash}{self.id}", "<home>") for slash in _SLASHES),
            (f"{self.ref.region}/{self.id}".upper(), "<HOME>"),
            (f"{self.ref.region}/[{self.id[0]}]*", "<homes>"),
            (self.id, "<tenant>"),
            (self.word, "<tenant>"),
        ]


ALDER: Final = Owner(TenantRef("alder", "eu", "pool"), 1, "pool")
BIRCH: Final = Owner(TenantRef("birch", "eu", "pool"), 2, "another of the same pool and region")
CEDAR: Final = Owner(TenantRef("cedar", "eu", "silo"), 3, "a database of its own")
LARCH: Final = Owner(TenantRef("larch", "us", "pool"), 4, "another region")
ROWAN: Final = Owner(TenantRef("rowan", "eu", "pool"), 5, "removed: rows and files, no file", False)
PLATFORM: Final = Owner(GLOBAL, 6, "the platform itself", False)
EU: Final = Owner(global_owner("eu"), 9, "the global models of a region", False)
US: Final = Owner(global_owner("us"), 10, "the global models of another region", False)
PLATFORMS: Final = (EU, US, PLATFORM)  #: the longer names first
#: Nobody, under names that look like everybody's.
ASPEN: Final = Owner(TenantRef("aspen", "eu", "pool"), 7, "does not exist", False)
EBONY: Final = Owner(TenantRef("ebony", "us", "silo"), 8, "does not exist, elsewhere", False)

OWNERS: Final = (ALDER, BIRCH, CEDAR, LARCH, ROWAN, PLATFORM, EU, US)
ABSENT: Final = (ASPEN, EBONY)

#: Who agreed to train global models.
CONSENTING: Final = (ALDER,)


def foreign_secrets(principal: Owner) -> dict[str, Owner]:
    """What no answer to the principal may hold."""
    return {owner.secret: owner for owner in OWNERS if owner != principal}

"""The plain files of the lake, and whose folders there are; nothing here needs Arrow."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from include.errors import ConfigError, IntegrityError
from include.handoffs import StoredObject
from include.tenants.namespace import REGION, TENANT_ID, TenantRef, global_owner, lake_prefix

#: Signs of a path with which Delta's library (deltalake 1.6) breaks off, or finds another folder.
_NO_PLACE: Final = re.compile(r"[\x00-\x1f\x7f\[\]^|\\]|%[0-9A-Fa-f]{2}")


def check_root(root: Path, setting: str) -> None:
    """See that Delta can keep tables in a folder.

    Raises:
        ConfigError: the path holds a sign with which it cannot.
    """
    if sign := _NO_PLACE.search(str(root)):
        raise ConfigError(
            f"{setting}: no Delta table can be kept in {str(root)!r}, for its {sign[0]!r}; choose "
            "a folder whose path has none of [ ] ^ | \\, no control characters and no % before two "
            "hexadecimal digits"
        )


@dataclass(frozen=True)
class LakeFiles:
    """Everything under one root folder that is no table."""

    root: Path

    @classmethod
    def from_environment(cls) -> Self:
        """The lake at `$TENANTRY_LAKE`."""
        root = os.environ.get("TENANTRY_LAKE")
        if not root:
            raise ConfigError("TENANTRY_LAKE is not set; `make up` sets it for the embedded lake")
        check_root(Path(root), "TENANTRY_LAKE")
        return cls(Path(root))

    # whole tenants

    def global_owners(self) -> set[TenantRef]:
        """The regions' own owners of global models that have anything here."""
        if not self.root.is_dir():
            return set()
        names = (path.name for path in self.root.iterdir() if REGION.fullmatch(path.name))
        owners = {global_owner(name) for name in names}
        return {owner for owner in owners if (self.root / lake_prefix(owner)).is_dir()}

    def regions(self, tenant_id: str) -> list[str]:
        """Regions in which there is a folder of the tenant id, by name."""
        if not TENANT_ID.fullmatch(tenant_id) or not self.root.is_dir():
            return []
        regions = (one for one in self.root.iterdir() if REGION.fullmatch(one.name))
        return sorted(one.name for one in regions if (one / tenant_id).is_dir())

    def folders(self) -> list[tuple[str, str]]:
        """Region and tenant id of every folder that there is, by name."""
        if not self.root.is_dir():
            return []
        return sorted(
            (region.name, home.name)
            for region in self.root.iterdir()
            if REGION.fullmatch(region.name) and region.is_dir()
            for home in region.iterdir()
            if TENANT_ID.fullmatch(home.name) and home.is_dir()
        )

    # plain files

    def put(self, tenant: TenantRef, path: str, content: bytes, rows: int = 0) -> StoredObject:
        """Write a file of the tenant's atomically; the same bytes again change nothing."""
        target = self._file(tenant, path)
        self._make(target.parent)
        digest = hashlib.sha256(content).hexdigest()
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
            try:
                part.write(content)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(target)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
        return StoredObject(tenant.id, path, digest, rows)

    def get(self, tenant: TenantRef, stored: StoredObject) -> bytes:
        """The file's bytes, checked against the recorded digest before anyone parses them.

        Raises:
            IntegrityError: the file is missing, another tenant's, or not what was written.
        """
        if stored.tenant != tenant.id:
            raise IntegrityError(f"{stored.path} belongs to {stored.tenant}, not to {tenant.id}")
        target = self._file(tenant, stored.path)
        if not target.is_file():
            raise IntegrityError(f"{target} is gone; run the stage that wrote it again")
        content = target.read_bytes()
        if hashlib.sha256(content).hexdigest() != stored.digest:
            raise IntegrityError(f"{target} is not what was recorded; run its stage again")
        return content

    def file_path(self, tenant: TenantRef, path: str) -> Path:
        """Where a file of the tenant's lies, for people to open (reports)."""
        return self._file(tenant, path)

    def _make(self, folder: Path) -> None:
        """Creates a folder of the lake; every one of them is open to its owner alone."""
        for one in (*reversed(folder.parents), folder):
            one.mkdir(mode=0o700, exist_ok=True)

    def _file(self, tenant: TenantRef, path: str) -> Path:
        home = (self.root / lake_prefix(tenant)).resolve()
        target = (home / path).resolve()
        if not target.is_relative_to(home):
            raise IntegrityError(f"path {path[:80]!r} leads out of the tenant's folder")
        return target

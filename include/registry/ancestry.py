"""Names of versions across tenants, and which version came from which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from include.errors import ConfigError, UnknownNameError
from include.registry.port import ModelVersion, Registry
from include.tenants.namespace import NAME, OWNER_ID, global_ref, is_global

_NAME: Final = re.compile(rf"({OWNER_ID.pattern})[./]({NAME.pattern})(?:@([1-9][0-9]*))?")


@dataclass(frozen=True)
class ModelName:
    """The name of a tenant's or a global model, and of one of its versions."""

    tenant: str
    use_case: str
    version: str = ""  #: empty where the model is meant with all its versions

    def __str__(self) -> str:
        """As ledgers and versions write it: `global/churn@7`."""
        return f"{self.tenant}/{self.use_case}{'@' if self.version else ''}{self.version}"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """The name in `global.churn@7`, `global/churn@7` or `global.churn`.

        Raises:
            ConfigError: the text is no such name.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise ConfigError(f"{text[:80]!r} is no model; write TENANT.USE_CASE@VERSION")
        return cls(match[1], match[2], match[3] or "")

    @classmethod
    def of(cls, version: ModelVersion) -> ModelName:
        """The version's name."""
        return cls(version.tenant, version.use_case, version.version)


def ancestors(parent_version: str, registry: Registry) -> Iterator[str]:
    """Names of the versions that a model descends from, the nearest first.

    Only global models have descendants, so the chain ends where a parent is no global version.

    Args:
        parent_version: the model's parent, as versions and candidates name it; empty without one.
    """
    seen: set[str] = set()
    while parent_version and parent_version not in seen:
        seen.add(parent_version)
        yield parent_version
        parent = ModelName.parse(parent_version)
        if not is_global(parent.tenant):
            return
        owner = global_ref(parent.tenant)
        try:
            parent_version = registry.get(owner, parent.use_case, parent.version).parent_version
        except UnknownNameError:
            return

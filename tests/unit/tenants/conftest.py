"""A folder of tenant files to write into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.tenants.loader import Fleet, load_fleet

KNOWN = frozenset({"churn", "recommendation"})


def declaration(**changes: Any) -> dict[str, Any]:
    """A good tenant file as a mapping, with some top-level keys replaced."""
    return {
        "id": "acme",
        "name": "Acme",
        "region": "eu",
        "schedule": "0 4 * * *",
        "history_from": "2024-01-01",
        "sources": [
            {
                "name": "orders",
                "connector": {"type": "file", "path": "orders.csv", "format": "csv"},
                "events": {
                    "event": "Order Completed",
                    "event_id": ["id"],
                    "event_timestamp": "at",
                    "user_id": "customer",
                },
            }
        ],
        "use_cases": {"churn": None},
    } | changes


class _WithoutAliases(yaml.SafeDumper):
    """Writes what stands twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Folder:
    """Tenant files, and what the loader says about them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, file: str, /, **changes: Any) -> Path:
        """A good file with some keys replaced."""
        return self.write_text(
            file, yaml.dump(declaration(**changes), Dumper=_WithoutAliases, sort_keys=False)
        )

    def write_text(self, name: str, text: str | bytes) -> Path:
        """A file of any content."""
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self) -> Fleet:
        """The fleet, with two known use cases."""
        return load_fleet(self.path, KNOWN)

    def problems(self, name: str) -> str:
        """All that is said about one file."""
        return "\n".join(self.load().problems.get(name, ()))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder of tenant files."""
    return Folder(tmp_path)


@pytest.fixture
def good() -> Callable[..., dict[str, Any]]:
    """Makes the mapping of a good tenant file."""
    return declaration

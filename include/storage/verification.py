"""All chains beside all checkpoints: what `tenantry audit verify` looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from include.errors import IntegrityError
from include.storage import audit, checkpoints
from include.storage.audit import Verified
from include.storage.chain import Finding, Head
from include.storage.checkpoints import Checkpoint, SigningKeys
from include.storage.failures import TENANT_ERRORS
from include.tenants.namespace import TenantRef

CHECKPOINTS: Final = "checkpoints"  #: stands for the owner in findings about these


@dataclass(frozen=True)
class Report:
    """What was looked at, and what is not as it was written."""

    chains: tuple[Verified, ...]
    covered: dict[str, tuple[Checkpoint, Head]]  #: owner → its newest good checkpoint
    about_checkpoints: tuple[Finding, ...]
    unread: dict[str, str]  #: owner → why its chain could not be looked at

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return (*self.about_checkpoints, *(one for chain in self.chains for one in chain.findings))

    @property
    def good(self) -> bool:
        """Whether everything was looked at and is as it was written."""
        return not self.findings and not self.unread


def verify(
    owners: Sequence[TenantRef], where: Path, key: SigningKeys | None, *, everybody: bool = True
) -> Report:
    """Look at the owners' chains.

    Args:
        where: the folder of the checkpoints.
        key: checkpoints must be signed by it, from the first that is; None takes them unsigned.
        everybody: also at chains of which only the checkpoints know.
    """
    findings: list[Finding] = []
    found = list(_good(where, key, findings))
    wanted = {owner.id: owner for owner in owners}
    if everybody:
        newest = {ref.id: ref for one in found for ref, _ in one.heads.values()}
        wanted = newest | wanted
    chains, unread = [], {}
    for owner in wanted.values():
        heads = [(one.name, one.heads[owner.id][1]) for one in found if owner.id in one.heads]
        try:
            chains.append(audit.verify(owner, heads))
        except TENANT_ERRORS as error:
            unread[owner.id] = str(error).strip()
    covered = {
        owner: (one, one.heads[owner][1]) for one in found for owner in one.heads if owner in wanted
    }
    return Report(tuple(chains), covered, tuple(findings), unread)


def _good(where: Path, key: SigningKeys | None, findings: list[Finding]) -> Iterator[Checkpoint]:
    """The checkpoints that hold; what is wrong with the others goes to the findings."""
    before, signed, unsigned = 0, False, 0
    for path in checkpoints.files(where):
        number = int(path.stem)
        if number != before + 1:
            findings.append(
                Finding(
                    CHECKPOINTS, 0, "one is missing", f"number {before + 1}", f"number {number}"
                )
            )
        before = number
        try:
            one = checkpoints.read(path)
        except IntegrityError as error:
            findings.append(Finding(CHECKPOINTS, 0, str(error), "as it was written", "another"))
            continue
        if key is not None:
            good = key.signed(one)
            if not good and (one.signature or signed):
                state = "another signature" if one.signature else "no signature"
                findings.append(
                    Finding(CHECKPOINTS, 0, f"{one.name} was not signed", "the key's", state)
                )
                continue
            signed = signed or good
            unsigned += not good
        yield one
    if key is not None and unsigned and not signed:
        findings.append(
            Finding(CHECKPOINTS, 0, "none is signed", "the key's signature on the newest", "none")
        )

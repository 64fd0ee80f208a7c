"""Assigns entities to the arms of an experiment, by a stable hash and without a table of them.

The same entity is in the same arm in every process, on every machine and in every version of
Python. Experiments with different salts split independently of each other (Kohavi, Tang and Xu
2020, Trustworthy Online Controlled Experiments, chapter 4).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from include.errors import ConfigError

#: Bits of the hash that decide: as many as a float holds exactly.
_BITS: Final = 53
_SUM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True)
class Arm:
    """A side of a comparison, and the share of entities that see it."""

    name: str
    share: float


@dataclass(frozen=True)
class Split:
    """A split of one use case's entities into arms.

    Arms lie on the unit interval in their order. With two of them, the champion first, a greater
    share of the second takes entities from the first and sends none back.
    """

    salt: str  #: names the experiment; another salt splits afresh
    use_case: str
    arms: tuple[Arm, ...]

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        shares = [arm.share for arm in self.arms]
        where = f"the split {self.salt!r} of {self.use_case}"
        if not self.salt or not names or len(set(names)) < len(names):
            raise ConfigError(f"{where} needs a salt and arms of different names, not {names}")
        if not all(math.isfinite(share) and share >= 0 for share in shares):
            raise ConfigError(f"{where}: shares are numbers from 0 to 1, not {shares}")
        if abs(math.fsum(shares) - 1) > _SUM_TOLERANCE:
            raise ConfigError(f"{where}: shares sum up to 1, not to {math.fsum(shares)}")

    def arm_of(self, entity: str) -> str:
        """The name of the entity's arm."""
        at = place(self.salt, self.use_case, entity)
        ends = accumulate(arm.share for arm in self.arms)
        named = [arm.name for arm in self.arms if arm.share > 0]
        inside = (arm.name for arm, end in zip(self.arms, ends, strict=True) if at < end)
        return next(inside, named[-1])  # beyond the last end lies only rounding

    def arms_of(self, entities: Sequence[str]) -> list[str]:
        """The arm of each entity, in order."""
        return [self.arm_of(entity) for entity in entities]


def place(salt: str, use_case: str, entity: str) -> float:
    """Where the entity lies in `[0, 1)`: even over entities, unrelated between salts."""
    digest = hashlib.sha256()
    for part in (salt, use_case, entity):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))  # so that ("a", "bc") is not ("ab", "c")
        digest.update(content)
    number = int.from_bytes(digest.digest()[:8], "big") >> (64 - _BITS)
    return float(number / 2**_BITS)

"""When an experiment ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from include.errors import ConfigError


@dataclass(frozen=True)
class Policy:
    """When an experiment ends."""

    share: float  #: of entities that see the challenger
    #: Chance that an experiment without any difference is ever stopped for harm, or promoted. For
    #: a promotion it also holds where all entities of a window share what happens in it.
    alpha: float = 0.05
    lowest: float = 0.0  #: an outcome's bounds
    highest: float = 1.0
    harm: float = 0.0  #: loss that is tolerated; stopped once it is certainly greater
    indifference: float = 0.0  #: differences of this size either way count as none
    most: int = 100_000  #: entities after which it ends without a difference

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or not 0 < self.alpha < 1:
            raise ConfigError(
                f"an experiment's share and alpha lie between 0 and 1, not at {self.share} and "
                f"{self.alpha}"
            )
        if not math.isfinite(self.lowest) or not self.lowest < self.highest < math.inf:
            raise ConfigError(f"outcomes lie between two bounds, not {self.lowest}, {self.highest}")
        if self.harm < 0 or self.indifference < 0 or self.most < 1:
            raise ConfigError("harm and indifference are 0 or more, and entities 1 or more")

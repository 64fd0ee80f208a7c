"""Returns: events that take something back. One convention for every use case (docs/returns.md).

A return is an event of negative quantity or negative amount. It is no event of its name: it counts
nowhere that purchases, plays or payments are counted, while sums of quantity and amount net it.
A quantity or amount that is missing or 0 takes nothing back.
"""

from __future__ import annotations

from typing import Final

from include.features.conditions import Condition, below, not_below

#: Holds for every event but returns.
NO_RETURN: Final[tuple[Condition, ...]] = (not_below("quantity", 0), not_below("amount", 0))
#: The returns, in two parts that have no event in common.
RETURNS: Final[tuple[tuple[Condition, ...], ...]] = (
    (below("quantity", 0),),
    (not_below("quantity", 0), below("amount", 0)),
)
#: Of these all: what they tell is not what a column holds, but whether an event is one.
SIGNS: Final = frozenset({*NO_RETURN, *(condition for part in RETURNS for condition in part)})
#: Events whose name alone says that something is taken back, whatever the sign of their numbers.
#: They are no activity; a use case that names one as an outcome means the event itself.
TAKEN_BACK: Final = ("Order Cancelled", "Order Refunded", "Payment Disputed", "Payment Refunded")

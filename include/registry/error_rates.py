"""How often decisions may be wrong: over a tenant's many retrainings, and over many tenants."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
#: Half-width of a 95 % interval, in standard errors.
HALF_WIDTH: Final = _NORMAL.inv_cdf(0.975)


def level_of(total: float, challenge: int) -> float:
    """The level of the `challenge`-th test (from 1 on), so that all tests together err by `total`.

    Alpha-spending (DeMets and Lan 1994; Foster and Stine 2008) by 1 / (k (k + 1)), which sums up to
    1 over all k: half for the first test, a sixth for the second, a twelfth for the third. By the
    union bound `total` holds whatever the tests have in common, and however many are to come.
    """
    return total / (challenge * (challenge + 1))


def lower_bound(difference: float, low: float, level: float) -> float:
    """The one-sided lower bound at `level`, from the lower end of a 95 % interval.

    The interval's lower half is stretched as that of a normal distribution; at 2.5 % it is `low`.
    """
    return difference - (difference - low) * _NORMAL.inv_cdf(1 - level) / HALF_WIDTH


def chance_of_worse(difference: float, high: float) -> float:
    """One-sided p-value of `difference` < 0, from the upper end of a 95 % interval."""
    error = (high - difference) / HALF_WIDTH
    if error > 0:
        return _NORMAL.cdf(difference / error)
    return 0.0 if difference < 0 else 1.0


def discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """The hypotheses to reject, such that on average at most `rate` of the rejections are wrong.

    Benjamini and Hochberg (1995): reject up to the largest p-value that lies below its rank's share
    of `rate`. If all hypotheses are true, the chance of any rejection is at most `rate`. Tests on
    different tenants' rows are independent given the models.
    """
    ordered = sorted(p_values)
    passed = [
        p for rank, p in enumerate(ordered, start=1) if p <= rate * rank / max(len(ordered), 1)
    ]
    return [bool(passed) and p <= passed[-1] for p in p_values]

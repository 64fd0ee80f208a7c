"""The last fact that was valid and known at an instant, and nothing later."""

from __future__ import annotations

import random

import numpy as np

from include.features.asof import Facts, last_at_most


def test_agrees_with_a_search_through_everything() -> None:
    """Random facts with ties, late knowledge and several groups are found as by a full search."""
    rng = random.Random(5)
    for _ in range(200):
        size = rng.randrange(40)
        group = [rng.randrange(-1, 3) for _ in range(size)]
        valid = [rng.randrange(8) for _ in range(size)]
        known = [v + rng.choice([-2, 0, 0, 1, 5, 9]) for v in valid]
        asked = [
            (rng.randrange(-1, 4), rng.randrange(-1, 9), rng.randrange(-1, 15)) for _ in range(20)
        ]
        order = Facts(np.array(group, int), np.array(valid, int), np.array(known, int))
        found = order.latest(*(np.array(part) for part in zip(*asked, strict=True)))
        for (of, at, known_at), row in zip(asked, found, strict=True):
            usable = [
                (valid[n], known[n], n)
                for n in range(size)
                if group[n] == of >= 0 and valid[n] <= at and known[n] <= known_at
            ]
            assert row == max(usable, default=(0, 0, -1))[2]


def test_last_at_most_searches_any_length() -> None:
    """The tree of minima finds the last small enough value before any position."""
    rng = np.random.default_rng(3)
    for size in (0, 1, 2, 3, 7, 8, 9, 31, 100):
        values = rng.integers(0, 10, size)
        behind, limits = rng.integers(0, size + 1, 50), rng.integers(-1, 11, 50)
        wanted = [
            max((n for n in range(end) if values[n] <= limit), default=-1)
            for end, limit in zip(behind, limits, strict=True)
        ]
        assert last_at_most(values, behind, limits).tolist() == wanted

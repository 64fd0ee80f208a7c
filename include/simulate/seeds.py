"""Streams of random numbers by name: none depends on which others are drawn, or in what order."""

from __future__ import annotations

import hashlib

import numpy as np

Name = str | int


def stream(seed: int, *names: Name) -> np.random.Generator:
    """The generator that belongs to these names under this seed, always the same one.

    The names are hashed into the entropy of a `SeedSequence`, so that a stream does not change
    when others are added before or after it.
    """
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    sequence = np.random.SeedSequence([seed, *(int(word) for word in words)])
    return np.random.Generator(np.random.PCG64(sequence))

"""Two answers are alike where they differ by nothing but names asked for, places and moments."""

from __future__ import annotations

from itertools import pairwise

from tests.attack.answers import Answer


def test_the_name_of_a_temporary_file_makes_no_difference() -> None:
    """Whatever letters chance gave it, such as those of an address in memory."""
    names = ("tmp4u0xabvh", "tmpabcdefgh", "tmp_0x12345", "tmp0123abcd")
    told = [Answer("OSError", f"Is a directory: 'lake/eu/{name}'", "").modulo() for name in names]
    assert all(one == other for one, other in pairwise(told)), told


def test_what_a_file_is_called_otherwise_does() -> None:
    """Only what Python's `tempfile` makes up is taken out."""
    one, other = (Answer("OSError", f"'lake/eu/{name}'", "").modulo() for name in ("ab", "cd"))
    assert one != other

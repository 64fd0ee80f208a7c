"""Memberships: any two that anything was told of are the same, or three tenants apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.storage.lake import Lake
from include.tenants.namespace import GLOBAL
from include.training.membership import APART, settle, settled

SIX = frozenset("abcdef")


def told(*memberships: str) -> list[frozenset[str]]:
    return [frozenset(one) for one in memberships]


@pytest.mark.parametrize(
    ("consenting", "before", "found"),
    [
        ("abc", told(), "abc"),
        ("ab", told(), ""),
        ("abcd", told("abc"), "abc"),
        ("abcde", told("abc"), "abc"),
        ("abcdef", told("abc"), "abcdef"),
        ("abd", told("abcde"), ""),
        ("abc", told("abc", "abcdef"), "abc"),
        ("ab", told("abc"), ""),
        ("defg", told("abc"), "defg"),
    ],
)
def test_a_newcomer_waits_and_one_that_left_counts_no_more(
    consenting: str, before: list[frozenset[str]], found: str
) -> None:
    """Until three have come or gone, an earlier membership of those who consent stays, or none."""
    assert settled(consenting, before, 3) == frozenset(found)


def test_where_one_leaves_two_others_rest() -> None:
    """So that what the rest give is told on, and the difference is that of three."""
    left = settled(SIX - {"d"}, [SIX], 3)
    assert len(left) == 3
    assert "d" not in left
    assert settled(SIX, [SIX, left], 3) == SIX


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh")), max_size=12))
def test_no_two_memberships_are_one_or_two_tenants_apart(steps: list[frozenset[str]]) -> None:
    """Whoever comes, leaves and comes back, in whatever order: nobody is told on, and nobody counts
    who does not consent."""
    before: list[frozenset[str]] = []
    for consenting in steps:
        found = settled(consenting, before, 3)
        assert found <= consenting
        assert not found or len(found) >= 3
        assert all(found == one or len(found ^ one) >= APART for one in before) or not found
        before += [found] if found and found not in before else []


def test_the_record_is_kept_in_the_platforms_folder(tmp_path: Path) -> None:
    """By purpose, and once however often it is asked."""
    lake = Lake(tmp_path)
    for _ in range(2):
        assert settle("abc", "pool", 3, owner=GLOBAL, lake=lake) == frozenset("abc")
    assert settle("abcd", "pool", 3, owner=GLOBAL, lake=lake) == frozenset("abc")
    assert settle("abcd", "other", 3, owner=GLOBAL, lake=lake) == frozenset("abcd")
    assert len(list(tmp_path.rglob("members/*/*.json"))) == 2

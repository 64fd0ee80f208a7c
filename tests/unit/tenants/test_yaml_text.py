"""What the text of a tenant file stands for: YAML 1.2, or the text as written, or an error."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.tenants import yaml_text
from include.tenants.yaml_text import Unquoted

#: What YAML 1.1 takes for a boolean, a number to some base, an instant, or a set's default.
TEXT_AS_WRITTEN = [
    "NO", "no", "No", "yes", "YES", "on", "Off", "y", "N", "12:30", "9:9:9", "1:2:3.5", "-1:30",
    "1_000", "0b101", "0b1_0", "1__0", "2024-01-31", "2024-1-1", "2024-01-31T10:00:00Z",
    "2024-01-31 10:00:00", "=", "0o8", "0xG", "1.2.3", "1e", "e5", "--1", "+-1", "nul", "nil",
    "None", "undefined", "tRue", ".Nan", ".iNf", "-", "+", ".", "..", "Infinity", "nan", "inf",
    "١٢",  # Arabic digits: numbers to Python, not to YAML
    "１２",
]  # fmt: skip
VALUES = {
    "0": 0, "-5": -5, "10": 10, "123456789012345678": 123456789012345678, "1.5": 1.5, "5.0": 5.0,
    "-0.25": -0.25, "true": True, "false": False, "": None, "~": None, "null": None, "Null": None,
    "NULL": None, ".inf": math.inf, "-.INF": -math.inf,
}  # fmt: skip
#: A value to YAML 1.2, spelled otherwise than YAML would: a code, a version, a shop's number.
COULD_BE_EITHER = [
    "010", "0010", "-010", "+1", "00", "-0", "0x1F", "0o17", "1e3", "12E4", "1.5e3", "1e400",
    "1.10", "1.", ".5", "0.10", "TRUE", "True", "FALSE", "False", "9" * 19, "9" * 5_000,
    "1" * 60_000, "1.0000000000000000001", "1" * 400 + ".0",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXT_AS_WRITTEN)
def test_what_only_yaml_1_1_took_for_a_value_is_text(text: str) -> None:
    """No base sixty, no underscores, no yes and no, no instants: the text as written."""
    found = yaml_text.read(f"key: {text}" if text != "-" else "key: '-'")["key"]
    assert type(found) is str
    assert found == text


@pytest.mark.parametrize("text", sorted(VALUES))
def test_a_value_spelled_as_yaml_spells_it_is_that_value(text: str) -> None:
    """Numbers, booleans and null of YAML 1.2's core schema."""
    found = yaml_text.read(f"key: {text}")["key"]
    assert found == VALUES[text]
    assert type(found) is type(VALUES[text])


@pytest.mark.parametrize("text", COULD_BE_EITHER, ids=range(len(COULD_BE_EITHER)))
def test_a_value_spelled_otherwise_stays_as_written_and_is_marked(text: str) -> None:
    """Whoever reads the field decides; no digit of it was converted."""
    found = yaml_text.read(f"key: {text}")["key"]
    assert isinstance(found, Unquoted)
    assert found == text


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("text", [*TEXT_AS_WRITTEN, *VALUES, *COULD_BE_EITHER[:10]])
def test_quoted_text_is_text(text: str, quote: str) -> None:
    """Quotes end every doubt."""
    found = yaml_text.read(f"key: {quote}{text}{quote}")["key"]
    assert type(found) is str
    assert found == text


def test_a_key_is_text_as_written() -> None:
    """A column may be called NO, 010, 1e3, 2024 or null."""
    keys = ["NO", "010", "1e3", "2024", "null", "~", "true", "12:30", "2024-01-01", "on"]
    assert list(yaml_text.read("\n".join(f"{key}: 1" for key in keys))) == keys


visible = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30)


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(10**17), 10**17),
            visible,
            st.sampled_from([*TEXT_AS_WRITTEN, *VALUES, *COULD_BE_EITHER[:10]]),
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(visible, inner, max_size=4),
        max_leaves=15,
    )
)
def test_what_is_written_reads_as_the_same(content: Any) -> None:
    """`tenants show` prints a file that means what it shows."""
    text = yaml_text.write(content)
    if any(line.startswith("%") for line in text.splitlines()):
        return
    assert yaml_text.read(text) == content


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "the key 'a' stands there twice, the second time in line 2"),
        ("a: 1\n'a': 2", "'a' stands there twice"),
        ('a: 1\n"\\x61": 2', "'a' stands there twice"),
        ("a: {b: 1, ? b : 2}", "'b' stands there twice"),
        ("010: 1\n'010': 2", "'010' stands there twice"),
        ("null: 1\n'null': 2", "'null' stands there twice"),
        ("[a, b]: 1", "line 1: a key must be text, not a list or mapping"),
        ("? {a: 1}\n: 2", "a key must be text"),
        ("a: &x 1\nb: *x", r"aliases are not allowed; write out what \*x stands for"),
        ("a: &x 1\n*x : 2", "aliases are not allowed"),
        ("<<: {a: 1}", "merge keys"),
        ("a: !!binary aGk=", "line 1: tags .*binary.* are not allowed"),
        ("a: !!set {x, y}", "tags .*set.* are not allowed"),
        ("a: !!omap [x: 1]", "tags .*omap.* are not allowed"),
        ("a: !!int 010", "tags .*int.* are not allowed"),
        ("a: !!float 1", "tags .*float.* are not allowed"),
        ("a: !!str 010", "tags .*str.* are not allowed"),
        ("a: !local x", "tags .*local.* are not allowed"),
        ("!!str a: 1", "tags .*str.* are not allowed"),
        ("a:\n- !!timestamp 2024-01-01", "line 2: tags"),
        ("%YAML 1.1\n---\na: 1", "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "directives"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("[" * 60_000, "nested more than 20 levels deep"),
        ("- " * 30_000, "nested more than 20 levels deep"),
        ("? " * 30_000, "a key must be text"),
        ("a: [" + "x," * 32_000 + "]", "holds more than 2,500 keys and values, by line 1"),
        ("{" + ",".join(f"a{i}" for i in range(9_000)) + "}", "holds more than 2,500"),
    ],
)  # fmt: skip
def test_what_a_tenant_file_must_not_hold_is_named(text: str, told: str) -> None:
    """Tags, aliases, merge keys, directives, keys that are no text or stand there twice."""
    with pytest.raises(ConfigError, match=told):
        yaml_text.read(text)


HEAVY = {
    "base_60": "a: " + ":".join(["9"] * 32_000),
    "digits": "a: " + "9" * 65_000,
    "float_digits": "a: 0." + "9" * 65_000,
    "octal": "a: 0" + "7" * 65_000,
    "hexadecimal": "a: 0x" + "f" * 65_000,
    "underscores": "a: 1" + "_0" * 32_000,
    "binary": "a: 0b" + "1" * 65_000,
    "exponent": "a: 1e" + "9" * 65_000,
    "brackets": "[" * 65_000,
    "flow_keys": "{" * 65_000,
    "dashes": "-" * 65_000,
    "indents": "\n".join(" " * depth + "a:" for depth in range(355)),
    "directives": "".join(f"%TAG !{i}! !\n" for i in range(4_500)) + "---\na: 1",
    "anchors": "".join(f"- &a{i} x\n" for i in range(6_000)),
    "plain_lines": "a: x\n" + " x\n" * 21_000,
    "quoted_lines": 'a: "' + "x\n" * 32_000 + '"',
    "escapes": 'a: "' + "\\x41" * 16_000 + '"',
    "long_key": "k" * 65_000 + ": 1",
    "long_complex_key": "? " + "k" * 65_000 + "\n: 1",
    "colons": "a:" * 32_000,
    "comments": "#\n" * 32_000,
    "blanks": " " * 65_000,
    "breaks": "\n" * 65_000,
    "keys_alike": "\n".join(f"{'k' * 20}{i}: 1" for i in range(1_900)),
    "documents": "---\n" * 16_000,
    "folded": "a: >\n" + " x\n" * 21_000,
    "tags": "- !!x y\n" * 8_000,
    "questions": "? " * 32_000,
}


@pytest.mark.parametrize("case", sorted(HEAVY))
def test_the_heaviest_text_of_its_size_is_read_or_refused_within_a_moment(case: str) -> None:
    """CPU time grows with the size alone: a thousand times the usual would still be allowed."""
    assert len(HEAVY[case]) <= 65_536
    started = time.thread_time()
    try:
        yaml_text.read(HEAVY[case])
        yaml_text.lines(HEAVY[case])
    except (ConfigError, yaml.YAMLError):
        pass
    assert time.thread_time() - started < 0.5


def test_the_line_of_each_value_is_known() -> None:
    """By keys and positions; a value that stands below its key has the key's line."""
    text = "id: acme\nsources:\n- name: a\n  where:\n    x: [1,\n      2]\n- {name: b}\n"
    found = yaml_text.lines(text)
    assert found["id",] == 1
    assert found["sources",] == 2
    assert found["sources", 0, "where"] == 4
    assert found["sources", 0, "where", "x", 1] == 6
    assert found["sources", 1, "name"] == 7

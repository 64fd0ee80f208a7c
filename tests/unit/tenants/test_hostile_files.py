"""Tenant files written to break the loader: each is reported under its own name, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)

HOSTILE_TEXT = {
    "python_object": '!!python/object/apply:os.mkdir ["{pwned}"]',
    "python_name": "id: !!python/name:os.system",
    "alias_bomb": BOMB + "name: *a9\n",
    "alias": "id: &x acme\nname: *x\n",
    "merge_bomb": "base: &base {a: 1}\n<<: [*base, *base]\n",
    "open_brackets": "id: " + "[" * 400_000,
    "deep_sequence": "- " * 100_000 + "x",
    "deep_mapping": "{a: " * 5_000 + "1" + "}" * 5_000,
    "huge": "name: " + "x" * 1_100_000,
    "nul": 'id: "a\0b"',
    "latin_1": b"name: \xff\xfe",
    "utf_16": "id: acme".encode("utf-16"),
    "bad_timestamp": "id: !!timestamp never",
    "bad_bool": "id: !!bool perhaps",
    "bad_date": "history_from: 2024-13-45",
    "many_digits": "quota: {concurrent_tasks: " + "9" * 5_000 + "}",
    "empty": "",
    "comment": "# nothing here",
    "list": "- acme",
    "scalar": "acme",
    "two_documents": "id: acme\n---\nid: other",
    "list_as_key": "? [a, b]\n: x",
    "number_as_key": "1: x",
    "key_twice": "id: acme\nid: other",
    "key_with_newline": '"a\\nb": x',
    "unclosed_quote": 'id: "acme',
    "tabs": "id:\n\t- x",
}


@pytest.mark.parametrize("case", sorted(HOSTILE_TEXT))
def test_a_hostile_file_costs_its_own_tenant_only(folder: Any, case: str) -> None:
    """Every line said about it begins with its name and is short; the good file loads."""
    text = HOSTILE_TEXT[case]
    pwned = folder.path / "pwned"
    folder.write("good.yaml", id="good")
    folder.write_text("bad.yaml", text.format(pwned=pwned) if case == "python_object" else text)
    fleet = folder.load()
    assert list(fleet.tenants) == ["good"]
    assert fleet.problems["bad.yaml"]
    for line in fleet.problems["bad.yaml"]:
        assert line.startswith("bad.yaml: ")
        assert len(line) < 500
        assert line.isprintable()
    assert not pwned.exists()


def test_a_file_of_many_problems_tells_the_first_and_how_many_more(folder: Any, good: Any) -> None:
    """A file full of unknown keys does not flood the log."""
    folder.write("bad.yaml", **{f"key{i}": 1 for i in range(500)})
    lines = folder.load().problems["bad.yaml"]
    assert len(lines) == 51
    assert lines[-1] == "bad.yaml: and 450 problems more"


@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link", "device"])
def test_what_is_no_regular_file_is_reported_and_not_read(folder: Any, kind: str) -> None:
    """A pipe, a folder, a device or a broken link named like a tenant file blocks nobody."""
    path = folder.path / "odd.yaml"
    match kind:
        case "pipe":
            subprocess.run(["mkfifo", str(path)], check=True)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(folder.path / "absent")
    folder.write("good.yaml", id="good")
    assert list(folder.load().tenants) == ["good"]
    assert folder.problems("odd.yaml") == "odd.yaml: is not a regular file"


@pytest.mark.parametrize(
    "name",
    ["", "a\nb", "a\x00b", "a\x1b[31mb", "gnp.\u202eyaml", "a\u2028b", "a\ufeffb", "x" * 10_000],
)
def test_a_display_name_holds_nothing_invisible(folder: Any, name: str) -> None:
    """Control and bidi characters, and names of any length, never reach a terminal or a page."""
    folder.write("acme.yaml", name=name)
    assert folder.problems("acme.yaml").startswith("acme.yaml: name: ")


@pytest.mark.parametrize(
    "name", ["Ünï Çode", "株式会社\u3000テスト", "شرکت\u200cما", "{{ x }}", "<b>&"]
)
def test_a_display_name_may_be_in_any_script(folder: Any, name: str) -> None:
    """Visible text is taken as it is, joiners and template braces included."""
    folder.write("acme.yaml", name=name)
    assert folder.load()["acme"].name == name


IDS = [
    "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "acme'; DROP TABLE predictions; --",
    '"; SELECT 1; --', "{{ conn.store.password }}", "{% raw %}", "${HOME}", "%(x)s", "a\nb",
    "a\x00b", "a\u202eb", "\ufeffacme", "аcme", "ACME", "a b", "-a", "9a", "a", "a" * 42,
    "x" * 10_000, "",
    "global", "platform", "default", "a.pipeline", "a_b", "a:b", "a*", "~", "a;b", "<b>",
]  # fmt: skip


@pytest.mark.parametrize("tenant_id", IDS, ids=range(len(IDS)))
def test_a_hostile_id_is_no_tenant(folder: Any, tenant_id: str) -> None:
    """Ids are lower-case letters, digits and dashes, and nothing else."""
    folder.write("bad.yaml", id=tenant_id)
    fleet = folder.load()
    assert not fleet.tenants
    assert fleet.problems["bad.yaml"][0].startswith("bad.yaml: id: ")


yaml_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(), st.text()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_any_value_under_any_key_is_loaded_or_reported(
    folder: Any, good: Any, data: st.DataObject
) -> None:
    """Whatever YAML can hold, the loader answers with a tenant or with messages about the file."""
    changed = good()
    changed[data.draw(st.sampled_from([*sorted(changed), "quota", "retention", "pii_columns"]))] = (
        data.draw(yaml_values)
    )
    folder.write_text("x.yaml", yaml.safe_dump(changed, allow_unicode=True, sort_keys=False))
    fleet = folder.load()
    assert len(fleet.tenants) + len(fleet.problems) == 1


def test_the_deepest_file_does_not_end_the_process(tmp_path: Path) -> None:
    """Nesting that would overflow the parser's own stack is refused before it is built."""
    (tmp_path / "deep.yaml").write_text("[" * 65_000)
    code = (
        "from pathlib import Path; from include.tenants.loader import load_fleet; import sys; "
        "print(load_fleet(Path(sys.argv[1]), frozenset()).problems)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nested more than 20 levels deep" in done.stdout

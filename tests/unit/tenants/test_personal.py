"""Columns of personal data: refused wherever they are mapped, or hashed where a digest will do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from include.tenants.personal import PersonalNames

HASHABLE = ["user_id", "account_id", "item_id", "group_id", "event_column", "event_id", "property"]
PLAIN = ["event_timestamp", "arrival", "quantity", "amount", "where", "cursor"]
OF_FACTS = ["entity_id", "name"]
PLAIN_OF_FACTS = ["valid_from", "arrival of facts"]
ROLES = [*HASHABLE, *PLAIN, *OF_FACTS, *PLAIN_OF_FACTS]


def mapped(good: Any, role: str, column: str, pii: Any) -> dict[str, Any]:
    """A tenant file that reads the column for one purpose."""
    data: dict[str, Any] = good(pii_columns=pii)
    source = data["sources"][0]
    events = source["events"]
    facts = {
        "entity": "user",
        "entity_id": "id",
        "valid_from": "2024-01-01",
        "names": {"colour": "colour"},
    }
    match role:
        case "property":
            events["properties"] = {"contact": column}
        case "event_id":
            events["event_id"] = ["id", column]
        case "event_column":
            events["event"] = None
            events["event_column"] = column
        case "arrival":
            events["arrival"] = {"column": column}
        case "where":
            source["where"] = {column: "x"}
        case "cursor":
            source["connector"] = {
                "type": "postgres",
                "connection": "shop",
                "table": "sales",
                "cursor": column,
            }
        case "entity_id" | "valid_from":
            facts[role] = column
        case "name":
            facts["names"] = {"contact": column}
        case "arrival of facts":
            facts["arrival"] = {"column": column}
        case _:
            events[role] = column
    if role in (*OF_FACTS, *PLAIN_OF_FACTS):
        data["sources"].append(
            {
                "name": "facts",
                "connector": {"type": "file", "path": "facts.csv", "format": "csv"},
                "attributes": facts,
            }
        )
    return data


@pytest.mark.parametrize("pii", [["email"], {"email": "refuse"}], ids=["list", "mapping"])
@pytest.mark.parametrize("role", ROLES)
def test_a_personal_column_is_refused_whatever_it_is_mapped_to(
    folder: Any, good: Any, role: str, pii: Any
) -> None:
    """Ids, parts of ids, names, groups, numbers, instants, conditions: by source and column."""
    folder.write("acme.yaml", **mapped(good, role, "email", pii))
    told = folder.problems("acme.yaml")
    assert "maps PII columns to " in told
    assert told.count("email") >= 1
    assert (
        "facts" if "facts" in role or role in (*OF_FACTS, *PLAIN_OF_FACTS) else "orders"
    ) in told


@pytest.mark.parametrize("role", [*HASHABLE, *OF_FACTS])
def test_a_column_may_be_hashed_where_a_digest_does_as_well(
    folder: Any, good: Any, role: str
) -> None:
    """`pii_columns: {email: hash}` lets the mapping be, and tells what the refusal suggests."""
    folder.write("acme.yaml", **mapped(good, role, "email", {"email": "hash"}))
    assert folder.load()["acme"].pii_columns == {"email": "hash"}
    folder.write("acme.yaml", **mapped(good, role, "email", ["email"]))
    assert "let them be hashed (`pii_columns: {COLUMN: hash}`)" in folder.problems("acme.yaml")


@pytest.mark.parametrize("role", [*PLAIN, *PLAIN_OF_FACTS])
def test_an_instant_a_number_and_a_condition_cannot_be_hashed(
    folder: Any, good: Any, role: str
) -> None:
    """A birthday is no event's time, and a condition would put the value into the file."""
    folder.write("acme.yaml", **mapped(good, role, "email", {"email": "hash"}))
    assert "an instant, a number or a condition cannot be hashed" in folder.problems("acme.yaml")


@pytest.mark.parametrize(
    "column",
    [
        "email", "EMAIL", " Email ", "e_mail", "E-Mail", "e mail", "customer.email", "email.domain",
        "users[0].email", "users/email", "ｅｍａｉｌ", "ema\u0131l".replace("\u0131", "i"),
    ],
)  # fmt: skip
def test_a_name_stands_for_what_a_person_would_take_for_it(
    folder: Any, good: Any, column: str
) -> None:
    """Case, blanks, separators, full-width letters, and what a nested column holds."""
    folder.write("acme.yaml", **mapped(good, "user_id", column, ["Email"]))
    assert "maps PII columns to user_id" in folder.problems("acme.yaml")


@pytest.mark.parametrize(
    ("declared", "column", "personal"),
    [
        ("customer.email", "customer", True),
        ("customer.email", "customer.email.domain", True),
        ("customer.email", "shop.customer.email", True),
        ("customer.email", "customer.name", False),
        ("customer.email", "email", False),
        ("email", "mail", False),
        ("email", "emails", False),
        ("email", "email_opt_in", False),
        ("name", "product.name", True),
        ("name", "product_name", False),
    ],
)
def test_a_nested_column_is_personal_where_it_holds_or_lies_within_one(
    declared: str, column: str, personal: bool
) -> None:
    """Whoever reads the level above reads the column, too; the neighbours stay readable."""
    found = PersonalNames({declared: "refuse"}).treatment(column)
    assert (found == "refuse") is personal


def test_of_two_names_for_a_column_the_stricter_counts() -> None:
    """`refuse` wins, in whatever order they stand."""
    for declared in ({"email": "hash", "E-Mail": "refuse"}, {"E-Mail": "refuse", "email": "hash"}):
        assert PersonalNames(declared).treatment("email") == "refuse"


def test_every_source_is_looked_at_and_everything_told_at_once(folder: Any, good: Any) -> None:
    """A column that three sources map is named three times, with what it is mapped to."""
    data = mapped(good, "user_id", "email", ["email", "phone"])
    data["sources"][0]["events"]["properties"] = {"a": "Phone", "b": "email"}
    data["sources"].append({**data["sources"][0], "name": "returns"})
    folder.write("acme.yaml", **data)
    told = folder.problems("acme.yaml")
    for source in ("orders", "returns"):
        assert f"{source!r} maps PII columns to properties: Phone, email; to user_id: email" in told


@pytest.mark.parametrize(
    "pii", ["email", 7, {"email": "mask"}, {"email": None}, [None], [["email"]], {"": "hash"}, [""],
            {"a.b.c.d.e.f": "refuse"}],
    ids=range(9),
)  # fmt: skip
def test_what_says_nothing_about_columns_is_refused(folder: Any, pii: Any) -> None:
    """Neither a list of names nor `hash` and `refuse` by name: the key is named."""
    folder.write("acme.yaml", pii_columns=pii)
    assert folder.problems("acme.yaml").startswith("acme.yaml: pii_columns")


def test_names_are_compared_in_time_that_their_length_bounds() -> None:
    """Many declared columns and long nested ones cost no more than reading them."""
    declared = {".".join([f"c{i}"] + ["a"] * (i % 5)): "refuse" for i in range(256)}
    started = time.thread_time()
    names = PersonalNames(declared)  # type: ignore[arg-type]
    for number in range(300):
        assert names.treatment(".".join(["a"] * 98) + str(number)) is None
    assert time.thread_time() - started < 1.0

"""Every part of a tenant file has its bounds, and what is beyond is refused by name, at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, timedelta
from typing import Any

import pytest
import yaml

from include.errors import ConfigError
from include.tenants.fields import LONGEST_DURATION, shortest_interval
from include.tenants.loader import BUDGET, LARGEST_FILE, load_fleet, load_tenant
from include.tenants.wording import shown

KNOWN = frozenset({"churn", "recommendation"})
Change = Callable[[dict[str, Any]], None]


def _where(value: Any) -> Change:
    return lambda data: data["sources"][0].update(where={"status": value})


def _events(**changes: Any) -> Change:
    return lambda data: data["sources"][0]["events"].update(changes)


def _source(**changes: Any) -> Change:
    return lambda data: data["sources"][0].update(changes)


def _top(**changes: Any) -> Change:
    return lambda data: data.update(changes)


def _facts(**changes: Any) -> Change:
    facts = {"entity": "user", "entity_id": "id", "names": {"a": "a"}, "valid_from": "2024-01-01"}
    source = {
        "name": "facts",
        "connector": {"type": "file", "path": "x.csv", "format": "csv"},
        "attributes": facts | changes,
    }
    return lambda data: data["sources"].append(source)


def _sources(count: int) -> Change:
    def change(data: dict[str, Any]) -> None:
        (one,) = data["sources"]
        data["sources"] = [{**deepcopy(one), "name": f"s{i}"} for i in range(count)]

    return change


def _many(count: int) -> dict[str, str]:
    return {f"n{i}": "x" for i in range(count)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_sources(51), "acme.yaml: sources: (a list of 51): Tuple should have at most 50 items"),
        (_top(use_cases={f"u{i}": {} for i in range(51)}), "use_cases: (a mapping of 51): Diction"),
        (_events(event_id=["x"] * 17), "sources.0.events.event_id: (a list of 17): Tuple should "),
        (_events(event_id=[]), "sources.0.events.event_id: []: Tuple should have at least 1 item"),
        (_events(properties=_many(65)), "sources.0.events.properties: (a mapping of 65): Dictiona"),
        (_facts(names=_many(65)), "sources.1.attributes.names: (a mapping of 65): Dictionary shou"),
        (_source(where=_many(33)), "sources.0.where: (a mapping of 33): Dictionary should have at"),
        (_where(["x"] * 257), "sources.0.where.status: (a list of 257): must list at most 256 val"),
        (_top(pii_columns=[f"c{i}" for i in range(257)]), "pii_columns: (a mapping of 257): Dicti"),
        (_top(name="x" * 201), "name: 'xxx"),
        (_top(timezone="x" * 65), "timezone: 'xxx"),
        (_top(schedule=",".join(["0"] * 100) + " 0 * * *"), "schedule: '0,0,0"),
        (_events(user_id="x" * 201), "sources.0.events.user_id: 'xxx"),
        (_events(event="x" * 201), "sources.0.events.event: 'xxx"),
        (
            _source(connector={"type": "file", "path": "x" * 1001, "format": "csv"}),
            "sources.0.connector.file.path: (a text of 1,001 characters)",
        ),
        (
            _source(
                connector={"type": "postgres", "connection": "c", "table": "t" * 128, "cursor": "c"}
            ),
            "sources.0.connector.postgres.table: 'ttt",
        ),
        (_top(use_cases={"churn": {"minimum_rows": 10**10}}), "minimum_rows: 10000000000: Input s"),
        (_top(use_cases={"churn": {"minimum_rows": True}}), "minimum_rows: True: must be a number"),
        (_top(use_cases={"churn": {"drift_threshold": float("inf")}}), "drift_threshold: inf: Inp"),
        (_top(use_cases={"churn": {"drift_threshold": float("nan")}}), "drift_threshold: nan: Inp"),
        (_top(quota={"concurrent_tasks": 65}), "quota.concurrent_tasks: 65: Input should be less "),
    ],
)  # fmt: skip
def test_what_is_beyond_a_bound_is_refused_by_name(
    folder: Any, good: Any, change: Change, told: str
) -> None:
    """Lists, mappings, texts and numbers: file, key, what stands there and what is allowed."""
    data = good()
    change(data)
    folder.write("acme.yaml", **data)
    assert told in folder.problems("acme.yaml")


@pytest.mark.parametrize("field", ["events", "predictions"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("P900000D", "must be at most 36,525 days"),
        ("P99999999999D", "Input should be a valid timedelta"),
        ("P36526D", "must be at most 36,525 days"),
        ("P2000Y", "must be at most 36,525 days"),
        ("999999d", "must be at most 36,525 days"),
        ("999999w", "must be at most 36,525 days"),
        ("999999999w", "Input should be a valid timedelta"),
        ("-P1D", "must be longer than zero"),
        ("P0D", "must be longer than zero"),
        ("PT0S", "must be longer than zero"),
        ("0d", "must be longer than zero"),
        ("PT1S", "must be at least a day"),
        ("PT23H59M", "must be at least a day"),
        ("forever", "Input should be a valid timedelta"),
        ("P", "Input should be a valid timedelta"),
        ("", "Input should be a valid timedelta"),
        ("P1D" + "0" * 300, "must be a duration"),
        (365, "must carry its unit, such as P30D"),
        (1.5, "must carry its unit"),
        (True, "must carry its unit"),
        (float("inf"), "Input should be a valid timedelta"),
        (None, "Input should be a valid timedelta"),
        (["P1D"], "Input should be a valid timedelta"),
    ],
)
def test_a_retention_that_no_calendar_bears_is_refused(
    folder: Any, field: str, value: Any, told: str
) -> None:
    """Overflowing, negative, zero, without a unit, of less than a day: refused at load."""
    folder.write("acme.yaml", retention={field: value})
    assert f"acme.yaml: retention.{field}: " in folder.problems("acme.yaml")
    assert told in folder.problems("acme.yaml")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (_source(freshness="P900000D"), "sources.0.freshness"),
        (_source(freshness="PT0S"), "sources.0.freshness"),
        (_source(freshness=3), "sources.0.freshness"),
        (_events(arrival={"delay": "P900000D"}), "sources.0.events.arrival.delay"),
        (_events(arrival={"delay": "-PT1S"}), "sources.0.events.arrival.delay"),
        (_facts(arrival={"delay": "P900000D"}), "sources.1.attributes.arrival.delay"),
        (_top(use_cases={"churn": {"retrain_every": "P900000D"}}), "use_cases.churn.retrain_every"),
        (_top(use_cases={"churn": {"cooldown": "P900000D"}}), "use_cases.churn.cooldown"),
        (_top(use_cases={"churn": {"cooldown": "-P1D"}}), "use_cases.churn.cooldown"),
        (_facts(valid_from="0001-01-01"), "sources.1.attributes.valid_from"),
        (_facts(valid_from="9999-12-31"), "sources.1.attributes.valid_from"),
        (_facts(valid_from="2024-02-30"), "sources.1.attributes.valid_from"),
        (_facts(valid_from="2024-1-1"), "sources.1.attributes.valid_from"),
        (_facts(valid_from="2024-01-01T00:00:00"), "sources.1.attributes.valid_from"),
        (_top(history_from=20240101), "history_from"),
        (_top(history_from="2024-1-1"), "history_from"),
        (_top(history_from="1704067200"), "history_from"),
        (_top(history_from="2024-01-01T00:00:00"), "history_from"),
        (_top(history_from=True), "history_from"),
        (_top(until="2999-13-01"), "until"),
    ],
)
def test_every_other_duration_and_day_is_bounded_too(
    folder: Any, good: Any, change: Change, key: str
) -> None:
    """Nothing in a file makes later arithmetic on dates overflow, nor a number a day."""
    data = good()
    change(data)
    folder.write("acme.yaml", **data)
    assert f"acme.yaml: {key}" in folder.problems("acme.yaml")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("P30D", timedelta(days=30)), ("P6W", timedelta(weeks=6)), ("30d", timedelta(days=30)),
        ("48 h", timedelta(hours=48)), ("2w", timedelta(weeks=2)), ("P1DT1H", timedelta(hours=25)),
        ("P1Y", timedelta(days=365)),
    ],
)  # fmt: skip
def test_a_duration_may_be_iso_8601_or_a_number_with_its_unit(
    folder: Any, text: str, meant: timedelta
) -> None:
    """What the manual shows is what the loader takes."""
    folder.write("acme.yaml", retention={"events": text})
    assert folder.load()["acme"].retention.events == meant


def test_no_instant_of_a_good_file_overflows(folder: Any, good: Any) -> None:
    """The longest of everything, at both ends of the calendar and of the world's time zones."""
    for zone in ("Asia/Kolkata", "Pacific/Kiritimati", "America/Los_Angeles"):
        for day in ("1900-01-01", "2999-12-31"):
            data = good(history_from="1990-01-01", until="2999-12-31", timezone=zone)
            _facts(valid_from=day, timezone=zone, arrival={"delay": "P36525D"})(data)
            folder.write("acme.yaml", **data)
            tenant = folder.load()["acme"]
            assert tenant.history_until is not None
            for instant in (tenant.history_start, tenant.history_until):
                for length in (LONGEST_DURATION, -LONGEST_DURATION):
                    assert (instant.astimezone(UTC) + length).year
            facts = tenant.sources[1].attributes
            assert facts is not None
            assert isinstance(facts.valid_from, date)


@pytest.mark.parametrize(
    "value",
    [
        [], None, [None], ["x", None], "", [""], {}, {"a": 1}, [[]], [["x"]], [{}], "x" * 1_001,
        float("nan"), float("inf"), ["x", float("nan")],
    ],
    ids=range(15),
)  # fmt: skip
def test_a_condition_that_selects_nothing_or_means_nothing_is_refused(
    folder: Any, good: Any, value: Any
) -> None:
    """An empty list, no value, a value that no row could have: each names its key."""
    data = good()
    _where(value)(data)
    folder.write("acme.yaml", **data)
    assert folder.problems("acme.yaml").startswith("acme.yaml: sources.0.where.status: ")


def test_an_empty_list_says_what_to_do(folder: Any, good: Any) -> None:
    """Nobody asks for no row: either values are missing, or the condition is."""
    data = good()
    _where([])(data)
    folder.write("acme.yaml", **data)
    told = folder.problems("acme.yaml")
    assert "[]: an empty list selects no row; list the values that are meant, or leave" in told


def test_no_condition_selects_every_row(folder: Any, good: Any) -> None:
    """`where: {}` is the same as no `where`."""
    data = good()
    data["sources"][0]["where"] = {}
    folder.write("acme.yaml", **data)
    assert folder.load()["acme"].sources[0].where == {}


def _with_where(good: Any, text: str) -> str:
    return yaml.safe_dump(good()).replace("name: orders", f"name: orders\n  where: {text}")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{status: NO}", "NO"), ("{status: 'NO'}", "NO"), ("{status: on}", "on"),
        ("{status: 1_000}", "1_000"), ("{status: 12:30}", "12:30"), ("{status: '010'}", "010"),
        ("{status: 2024-01-31}", "2024-01-31"), ("{status: 10}", 10), ("{status: 1.5}", 1.5),
        ("{status: true}", True), ("{status: [NO, 7]}", ("NO", 7)), ("{status: 'null'}", "null"),
    ],
)  # fmt: skip
def test_a_condition_means_what_the_file_says(
    folder: Any, good: Any, text: str, meant: Any
) -> None:
    """Norway is not false, and noon is not 720."""
    folder.write_text("acme.yaml", _with_where(good, text))
    found = folder.load()["acme"].sources[0].where["status"]
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(
    "written",
    ["010", "0x1F", "0o17", "1e3", "1.10", "+1", "-0", ".5", "TRUE", "9" * 19, "~", "NULL", ".nan"],
)
@pytest.mark.parametrize("form", ["{{status: {}}}", "{{status: [a, {}]}}"])
def test_a_condition_of_two_meanings_says_quote_it(
    folder: Any, good: Any, form: str, written: str
) -> None:
    """`store: 010` selects neither eight nor ten: the file has to say what it means."""
    folder.write_text("acme.yaml", _with_where(good, form.format(written)))
    told = folder.problems("acme.yaml")
    assert told.startswith("acme.yaml: sources.0.where.status: ")
    assert "quote it" in told


def test_a_column_whose_name_is_a_number_says_quote_it(folder: Any, good: Any) -> None:
    """Quoted, it is the column's name; the key of a condition needs no quotes."""
    text = _with_where(good, "{2024: x}")
    folder.write_text("acme.yaml", text.replace("user_id: customer", "user_id: 2023"))
    assert "user_id: 2023: is not text; quote it" in folder.problems("acme.yaml")
    folder.write_text("acme.yaml", text.replace("user_id: customer", "user_id: '2023'"))
    source = folder.load()["acme"].sources[0]
    assert list(source.where) == ["2024"]
    assert source.events.user_id == "2023"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("010", 10), ("1e3", None), ("9:9:9", None), ("0x1F", None), ("12", 12), ("true", None),
     (":".join(["9"] * 30_000), None), ("9" * 65_000, None), ("0" * 60_000 + "1", None)],
    ids=range(9),
)  # fmt: skip
def test_a_number_is_decimal_or_refused(folder: Any, good: Any, written: str, meant: Any) -> None:
    """No base is guessed, and no number of many digits is ever converted."""
    text = yaml.safe_dump(good()).replace("churn: null", f"churn: {{minimum_rows: {written}}}")
    folder.write_text("acme.yaml", text)
    started = time.thread_time()
    fleet = folder.load()
    assert time.thread_time() - started < 0.5
    if meant is None:
        assert "use_cases.churn.minimum_rows" in folder.problems("acme.yaml")
    else:
        assert fleet["acme"].use_cases["churn"].minimum_rows == meant


def test_a_file_larger_than_a_page_is_not_read(folder: Any) -> None:
    """64 KiB, comments included; one byte less is read."""
    path = folder.write("acme.yaml")
    room = LARGEST_FILE - path.stat().st_size
    path.write_text(path.read_text() + "#" * room)
    assert "acme" in folder.load().tenants
    path.write_text(path.read_text() + "#")
    assert folder.problems("acme.yaml") == (
        "acme.yaml: larger than 65,536 bytes; a tenant file is a page"
    )


def test_six_thousand_sources_are_refused_at_once(folder: Any, good: Any) -> None:
    """Neither their size nor their number gets as far as being built."""
    text = yaml.safe_dump(good()) + "".join(f"- {{name: s{i}}}\n" for i in range(6_000))
    folder.write_text("acme.yaml", text)
    started = time.thread_time()
    folder.load()
    assert time.thread_time() - started < 0.5
    assert "larger than 65,536 bytes" in folder.problems("acme.yaml")


def test_a_file_over_its_time_is_a_problem_of_that_file(folder: Any) -> None:
    """What no bound foresaw costs the one tenant its place, and the others go on."""
    path = folder.write("acme.yaml")
    ticks = iter([0.0, 0.1, BUDGET + 0.5])
    with pytest.raises(ConfigError, match=r"^acme\.yaml: took 1\.5 s of CPU time to read, 1 s are"):
        load_tenant(path, KNOWN, clock=lambda: next(ticks))
    assert load_tenant(path, KNOWN).id == "acme"


def test_what_nobody_foresaw_is_a_problem_of_that_file(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that raises whatever it likes takes no other tenant away."""
    from include.tenants import fields

    folder.write("good.yaml", id="good")
    folder.write("odd.yaml", id="odd", schedule="7 7 * * *")
    known = fields.croniter

    class Odd(known):  # type: ignore[misc, valid-type]
        def __init__(self, expression: str, *arguments: Any, **more: Any) -> None:
            if expression.startswith("7 7"):
                raise RecursionError("unforeseen")
            super().__init__(expression, *arguments, **more)

    monkeypatch.setattr(fields, "croniter", Odd)
    fleet = load_fleet(folder.path, KNOWN)
    assert list(fleet.tenants) == ["good"]
    assert "unforeseen" in fleet.problems["odd.yaml"][0]


def test_a_message_tells_the_line(folder: Any) -> None:
    """Where several sources have the same key, the line says which is meant."""
    folder.write_text("acme.yaml", "id: acme\nname: Acme\nregion: EU!\nquota:\n  colour: red\n")
    told = folder.load().problems["acme.yaml"]
    assert any(one.startswith("acme.yaml: region: 'EU!': ") and "(line 3)" in one for one in told)
    assert any("quota.colour: unknown key" in one and "(line 5)" in one for one in told)


@pytest.mark.parametrize(
    "written",
    [
        "ftp://ann:hunter2@host/x.csv", "https://host/x?sig=hunter2", "postgresql://a:hunter2@h/d",
        "host=h password=hunter2", "s3://key:hunter2@bucket", "ann:hunter2@host",
        "password: hunter2", "api_key=hunter2",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["connector", "region", "path", "where", "name"])
def test_a_message_quotes_no_secret(folder: Any, good: Any, key: str, written: str) -> None:
    """What looks like a login, a key or a signed URL is masked wherever it stands."""
    data = good()
    match key:
        case "connector":
            data["sources"][0]["connector"] = written
        case "path":
            data["sources"][0]["connector"] = {"type": "file", "path": f"\x00{written}", "x": 1}
        case "where":
            data["sources"][0]["where"] = f"{written};"  # no expression
        case _:
            data[key] = f"{written}\n"
    folder.write("acme.yaml", **data)
    told = folder.problems("acme.yaml")
    assert told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("cron", "least"),
    [
        ("* * * * *", 1), ("*/5 * * * *", 5), ("0 * * * *", 60), ("0,59 * * * *", 1),
        ("0 0 * * 1", 1440), ("0,1 0 29 2 *", 1), ("59 23 * * *", 1440), ("0 0,23 * * *", 60),
        ("0 */6 * * *", 360), ("30 2,3 1 * *", 60), ("0-59/30 4 * * *", 30), ("5 4 * * SUN", 1440),
    ],
)  # fmt: skip
def test_the_shortest_interval_of_a_schedule_is_known(cron: str, least: int) -> None:
    """From the fields alone: the days on which it ticks do not matter."""
    assert shortest_interval(cron) == timedelta(minutes=least)


@pytest.mark.parametrize(
    "cron",
    ["0 0 29 2 *", "0 0 30 2 *", "0 0 31 4,6 *", "0 0 * 2 1#5", "0 0 31 2,4 *", "0 0 30 2 5#5"],
)
def test_a_schedule_ticks_at_least_once_a_year(folder: Any, cron: str) -> None:
    """What has hardly any next tick is refused, before a scheduler looks for it again and again."""
    folder.write("acme.yaml", schedule=cron)
    assert "acme.yaml: schedule: " in folder.problems("acme.yaml")


@pytest.mark.parametrize("text", ["a." * 150, "sig" * 100, "a:b@" * 75, "a-" * 150])
def test_looking_for_secrets_takes_a_moment(text: str) -> None:
    """A refused file is explained with fifty values at most: none of them takes long to mask."""
    started = time.thread_time()
    for _ in range(20):
        shown(text)
    assert time.thread_time() - started < 0.2

"""Compaction and vacuum: whatever has a name reads as it did, and the rest leaves the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from include.errors import IntegrityError
from include.handoffs import Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.storage.upkeep import MANY
from include.tenants.namespace import TenantRef, lake_table

A = TenantRef("tenant-a", "eu", "pool")
TABLE = "events"
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
#: After all that is written here, so that no file is too young to go.
LATER = datetime.now(UTC) + 30 * DAY
PROJECT = Path(__file__).resolve().parents[3]


def put(lake: Lake, day: int, *users: str, source: str = "pos", versions: bool = False) -> int:
    """The events of one day, one per user; the version afterwards."""
    at = START + day * DAY
    events = [
        {
            "tenant_id": A.id,
            "source": source,
            "event_id": f"{day}-{user}",
            "event": "Order Completed",
            "user_id": user,
            "event_timestamp": at,
            "created_timestamp": at,
            "month": f"{at:%Y-%m}",
        }
        for user in users
    ]
    batches = pa.Table.from_pylist(events, schema=EVENTS).to_batches()
    interval = Interval(at, at + DAY)
    return lake.replace_slice(A, TABLE, source, interval, batches, versions=versions).version


def read(lake: Lake, version: int | None = None) -> pa.Table:
    """All a version holds."""
    return lake.read(A, TABLE, version=version)


def home(lake: Lake) -> Path:
    """The table's folder."""
    return lake.root / lake_table(A, TABLE)


def on_disk(lake: Lake) -> set[str]:
    """Data files there are."""
    return {file.relative_to(home(lake)).as_posix() for file in home(lake).rglob("*.parquet")} - {
        file.relative_to(home(lake)).as_posix()
        for file in (home(lake) / "_delta_log").rglob("*.parquet")
    }


def needed(lake: Lake, versions: Collection[int]) -> set[str]:
    """Data files of some versions and of the newest, as Delta itself tells."""
    tables = [DeltaTable(str(home(lake)), version=version) for version in (None, *versions)]
    return {
        path
        for table in tables
        for path in pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
    }


class Upkeep(RuleBasedStateMachine):
    """Writers, compaction and vacuum in any order."""

    names = Bundle("names")

    @initialize(names=st.just(("pos", "web")))
    def empty(self, names: tuple[str, str]) -> None:
        """A lake with a slice of each of two sources."""
        self.lake = Lake(Path(tempfile.mkdtemp(prefix="tenantry-upkeep-")))
        self.named: dict[int, pa.Table] = {}
        for source in names:
            put(self.lake, 0, "x", source=source)

    def teardown(self) -> None:
        """Nothing stays."""
        if hasattr(self, "lake"):
            shutil.rmtree(self.lake.root)

    @rule(
        first=st.integers(0, 80),
        days=st.integers(1, 12),
        users=st.sets(st.sampled_from("abc"), min_size=1),
        source=st.sampled_from(["pos", "web"]),
    )
    def deliver(self, first: int, days: int, users: set[str], source: str) -> None:
        """Some days in a row, new ones or ones that were there."""
        for day in range(first, first + days):
            put(self.lake, day, *sorted(users), source=source)

    @rule(source=st.sampled_from(["pos", "web"]))
    def correct(self, source: str) -> None:
        """A source whose rows of one id are versions from now on."""
        put(self.lake, 3, "a", source=source, versions=True)

    @rule()
    def rename(self) -> None:
        """A source has another name."""
        self.lake.rename_source(A, TABLE, "web", "pos")

    @rule(target=names)
    def name(self) -> object:
        """A model is trained on the newest version."""
        version = self.lake.version(A, TABLE).version
        self.named[version] = read(self.lake)
        return multiple(version)

    @rule(version=consumes(names))
    def forget_name(self, version: int) -> None:
        """Nothing names the version any more."""
        self.named.pop(version, None)

    @rule(days=st.integers(0, 100))
    def compact(self, days: int) -> None:
        """Same rows, and at most as many files."""
        before, files = read(self.lake), len(needed(self.lake, ()))
        less = self.lake.compact(A, TABLE, START + days * DAY)
        assert read(self.lake).equals(before)
        assert len(needed(self.lake, ())) == files - less
        assert self.lake.compact(A, TABLE, START + days * DAY) == 0

    @rule()
    def vacuum(self) -> None:
        """Exactly what the newest and the named versions need is on the disk."""
        self.lake.vacuum(A, TABLE, self.named, LATER)
        assert on_disk(self.lake) == needed(self.lake, self.named)
        assert self.lake.vacuum(A, TABLE, self.named, LATER) == 0

    @invariant()
    def named_versions_read_as_they_did(self) -> None:
        """To the byte, whatever was done since."""
        for version, rows in getattr(self, "named", {}).items():
            assert read(self.lake, version).equals(rows)


TestUpkeep = Upkeep.TestCase
TestUpkeep.settings = settings(max_examples=12, stateful_step_count=14, deadline=None)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with six weeks of a shop, a file per day."""
    made = Lake(tmp_path / "lake")
    for day in range(42):
        put(made, day, "anna", "ben")
    return made


def test_a_month_that_is_over_becomes_one_file(lake: Lake) -> None:
    """The running month keeps its files: the next run adds to it."""
    before = read(lake)
    assert lake.compact(A, TABLE, START + 41 * DAY) == 31 - 1
    assert read(lake).equals(before)
    files = needed(lake, ())
    assert sum("month=2024-01" in file for file in files) == 1
    assert sum("month=2024-02" in file for file in files) == 42 - 31


def test_few_files_stay_as_they_are(tmp_path: Path) -> None:
    """A weekly tenant's month is no version of its own."""
    lake = Lake(tmp_path)
    for day in range(MANY - 1):
        put(lake, day, "anna")
    version = lake.version(A, TABLE)
    assert lake.compact(A, TABLE, START + 200 * DAY) == 0
    assert lake.version(A, TABLE) == version


def test_the_log_of_a_compacted_table_notes_instants_only(tmp_path: Path) -> None:
    """Statistics of a file that was put together name no user either."""
    lake = Lake(tmp_path)
    for day in range(MANY):
        put(lake, day, "secret-anna")
    assert lake.compact(A, TABLE, START + 200 * DAY) == MANY - 1
    log = b"".join(file.read_bytes() for file in (home(lake) / "_delta_log").iterdir())
    assert b"secret-anna" not in log
    (added,) = pa.table(DeltaTable(str(home(lake))).get_add_actions(flatten=True)).to_pylist()
    assert added["min.created_timestamp"] == START
    assert {name for name in added if name.startswith(("min.", "max."))} == {
        *("min.created_timestamp", "max.created_timestamp"),
        *("min.event_timestamp", "max.event_timestamp"),
    }


def test_what_was_known_is_the_same_before_and_after_compaction(lake: Lake) -> None:
    """The online store need not be built anew; a row that came or went is still noticed."""
    before, known = lake.version(A, TABLE).version, START + 20 * DAY
    lake.compact(A, TABLE, START + 41 * DAY)
    after = put(lake, 42, "anna")
    assert lake.same_until(A, TABLE, before, after, known)
    assert lake.same_until(A, TABLE, after, before, known)
    lake.vacuum(A, TABLE, (), LATER)
    assert lake.same_until(A, TABLE, before, after, known)
    changed = put(lake, 5, "carla")
    assert not lake.same_until(A, TABLE, before, changed, known)
    assert not lake.same_until(A, TABLE, after, changed, known)


def test_a_new_slice_in_a_compacted_month_is_new_only(lake: Lake) -> None:
    """Of the days of one month, those that came after compaction change nothing known before."""
    lake.compact(A, TABLE, START + 200 * DAY)
    before = lake.version(A, TABLE).version
    put(lake, 43, "anna")
    lake.compact(A, TABLE, START + 200 * DAY)
    after = put(lake, 44, "anna")
    assert lake.same_until(A, TABLE, before, after, START + 42 * DAY)


def test_what_was_needed_until_just_now_stays(lake: Lake) -> None:
    """A reader may have opened it, and a file that no version knows may be about to become one."""
    lake.compact(A, TABLE, START + 200 * DAY)
    writing = home(lake) / "source=pos" / "month=2024-01" / "part-being-written.parquet"
    writing.write_bytes(b"half")
    there = on_disk(lake)
    assert lake.vacuum(A, TABLE, (), datetime.now(UTC) - 7 * DAY) == 0
    assert on_disk(lake) == there
    assert lake.vacuum(A, TABLE, (), LATER) == 42 + 1
    assert not writing.exists()


def test_a_log_with_a_gap_deletes_nothing(lake: Lake) -> None:
    """What is needed cannot be told then; reading goes on from a checkpoint where there is one."""
    lake.compact(A, TABLE, START + 200 * DAY)
    (home(lake) / "_delta_log" / f"{7:020}.json").unlink()
    there = on_disk(lake)
    assert lake.vacuum(A, TABLE, (), LATER) == 0
    assert on_disk(lake) == there


def test_a_version_without_a_name_says_that_it_is_gone(lake: Lake) -> None:
    """Instead of reading as less."""
    lake.compact(A, TABLE, START + 200 * DAY)
    lake.vacuum(A, TABLE, (), LATER)
    with pytest.raises(IntegrityError, match="cannot be read any more"):
        read(lake, 20)


def test_a_table_that_is_not_there_has_nothing_to_keep_up(tmp_path: Path) -> None:
    """Nor is one made."""
    lake = Lake(tmp_path)
    assert lake.compact(A, TABLE, LATER) == 0
    assert lake.vacuum(A, TABLE, (), LATER) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_compaction_loses_nothing(lake: Lake) -> None:
    """Whenever it is killed, the rows are the same, and the next one does what is left."""
    before, named = read(lake), lake.version(A, TABLE).version
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path; "
        "from include.storage.lake import Lake; from include.tenants.namespace import TenantRef; "
        "lake = Lake(Path(sys.argv[1])); print('ready', flush=True); "
        "a = TenantRef('tenant-a', 'eu', 'pool'); "
        "lake.compact(a, 'events', datetime(2100, 1, 1, tzinfo=UTC))"
    )
    for delay in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1):
        copy = Lake(lake.root.parent / f"copy-{delay}")
        shutil.copytree(lake.root, copy.root)
        with subprocess.Popen(
            [sys.executable, "-c", script, str(copy.root)], stdout=subprocess.PIPE, cwd=PROJECT
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        assert read(copy).equals(before)
        copy.compact(A, TABLE, LATER)
        copy.vacuum(A, TABLE, (named,), LATER)
        assert on_disk(copy) == needed(copy, (named,))
        assert read(copy).equals(before)
        assert read(copy, named).equals(before)


def test_a_pipeline_writes_beside_it(lake: Lake) -> None:
    """Each slice is there in the end, whatever was being put together; who writes into the very
    month is refused at worst, and writes it again, as a task does that failed."""
    over = threading.Event()
    lost: list[BaseException] = []

    def keep_up() -> None:
        while not over.is_set():
            try:
                lake.compact(A, TABLE, START + 200 * DAY)
                lake.vacuum(A, TABLE, (), datetime.now(UTC) - DAY)
            except DeltaError:  # the pipeline was first
                continue
            except BaseException as error:
                lost.append(error)
                return

    beside = threading.Thread(target=keep_up)
    beside.start()
    try:
        for day in (*range(42, 60), *range(10)):
            for attempt in range(4):
                try:
                    put(lake, day, "carla", "dora")
                    break
                except DeltaError:
                    assert attempt < 3
    finally:
        over.set()
        beside.join()
    assert lost == []
    days = {row["event_id"].partition("-")[0] for row in read(lake).to_pylist()}
    assert days == {str(day) for day in range(60)}
    users = {row["event_id"]: row["user_id"] for row in read(lake).to_pylist()}
    assert users["5-carla"] == "carla"
    assert "5-anna" not in users


def test_the_life_of_a_file_is_told_by_the_log_alone(lake: Lake) -> None:
    """However old its files look, a version with a name keeps them."""
    named = 20
    rows = read(lake, named)
    lake.compact(A, TABLE, START + 200 * DAY)
    ago = time.time() - 400 * DAY.total_seconds()
    for file in home(lake).rglob("*"):
        os.utime(file, (ago, ago))
    lake.vacuum(A, TABLE, (named,), LATER)
    assert read(lake, named).equals(rows)
    operations = [
        json.loads(line)["commitInfo"]["operation"]
        for file in (home(lake) / "_delta_log").glob("*.json")
        for line in file.read_text().splitlines()
        if "commitInfo" in line
    ]
    assert operations.count("OPTIMIZE") == 2  # a month each

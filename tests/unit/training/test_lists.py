"""Training of list models: what settings are chosen on, what a parent does, very little data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.errors import QualityError
from include.handoffs import FeaturesBuilt, Interval, Trained
from include.models.association import Association
from include.models.ease import Ease
from include.models.list_models import AssociationPredictor, EasePredictor
from include.models.model import Model
from include.models.serialise import from_bytes, to_bytes
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.estimators.ease import SHRINKAGES
from include.training.lists import fit_lists, list_baselines
from include.training.rows import LabelledRows
from include.training.stage import train
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase
from tests.unit.training.conftest import Build

PLAYLIST, BASKETS = use_cases.get("weekly_playlist"), use_cases.get("bought_together")
AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
WHOLE = Interval(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
WEEK, DAY = timedelta(days=7), timedelta(days=1)
#: User, item, event, instant, basket.
Event = tuple[str, str, str, datetime, str]


def listened(users: int = 20, days: int = 90, skips: float = 0.3) -> list[Event]:
    """Every user puts on three of forty items every other day until the last one."""
    found: list[Event] = []
    for user in range(users):
        generator = np.random.default_rng([7, user])
        taste = 20 * (user % 2)
        for ago in range(1, days, 2):
            at = AS_OF - ago * DAY + timedelta(hours=float(generator.uniform(1, 23)))
            for item in sorted({int(n) for n in taste + generator.integers(0, 26, 3)}):
                event = "Content Skipped" if generator.random() < skips else "Content Played"
                found.append((f"u{user}", f"i{item % 40:02}", event, at, f"s{user}-{ago}"))
    return found


def ordered(users: int = 20, days: int = 200) -> list[Event]:
    """The same as baskets."""
    lines = listened(users, days)
    return [(user, item, "Order Completed", at, group) for user, item, _, at, group in lines]


def stored(lake: Lake, case: UseCase, events: Iterable[Event], minimum: int = 1) -> TenantConfig:
    """A tenant with these events in the lake."""
    mapping = {
        "event": case.events[0],
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "user",
    }
    connector = {"type": "file", "path": "events.csv", "format": "csv"}
    tenant = TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "acme",
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": date(2024, 1, 1),
            "sources": [{"name": "app", "connector": connector, "events": mapping}],
            "use_cases": {case.name: {"minimum_rows": minimum}},
        }
    )
    rows = [
        {
            "tenant_id": tenant.id,
            "source": "app",
            "event_id": str(number),
            "event": event,
            "user_id": user,
            "item_id": item,
            "group_id": group,
            "event_timestamp": at,
            "created_timestamp": at,
            "month": f"{at:%Y-%m}",
        }
        for number, (user, item, event, at, group) in enumerate(events)
    ]
    table = pa.Table.from_pylist(rows, EVENTS)
    lake.replace_slice(tenant.ref, "events", "app", WHOLE, table.to_batches())
    return tenant


def run(lake: Lake, tenant: TenantConfig, built: FeaturesBuilt) -> Trained:
    case = use_cases.get(built.use_case)
    return train(
        tenant,
        case,
        built,
        lake=lake,
        incumbent=None,
        global_champion=None,
        trigger="scheduled",
        code_revision="r1",
    )


def rows_of(
    had: dict[str, dict[str, float]], wanted: dict[str, tuple[str, ...]], at: datetime
) -> LabelledRows:
    """Rows of one snapshot: user → item → liking, and what each user had afterwards."""
    pairs = [(user, item) for user in sorted(had) for item in sorted(had[user])]
    schema = LabelledRows.none(PLAYLIST).features.schema
    known = {"user_content__liking_all": [had[user][item] for user, item in pairs]}
    known["user_content__time_since_first_all"] = [30.0] * len(pairs)
    columns = [
        pa.array(known.get(name, [None] * len(pairs)), schema.field(name).type)
        for name in schema.names
    ]
    outcome = np.empty(len(pairs), object)
    outcome[:] = [wanted.get(user, ()) for user, _ in pairs]
    users = np.array([f"acme/{user}" for user, _ in pairs], np.str_)
    return LabelledRows(
        pa.table(columns, schema=schema),
        np.zeros(len(pairs)),
        np.ones(len(pairs)),
        users,
        np.array([item for _, item in pairs], np.str_),
        np.char.add(users, f"@{at:%Y-%m-%d}"),
        np.array([len(one) for one in outcome], np.int64),
        np.full(len(pairs), "acme"),
        np.full(len(pairs), np.datetime64(at.replace(tzinfo=None), "us")),
        outcome,
        np.full(len(pairs), ""),
    )


FIRST, SECOND = AS_OF - 3 * WEEK, AS_OF - 2 * WEEK
WINDOWS = TrainingWindows((FIRST, SECOND), (AS_OF - WEEK,), AS_OF)


def pairs_go_together(users: int, seed: int = 0) -> LabelledRows:
    """Who has item a3 wants b3, whoever it is; two snapshots."""
    draw = np.random.default_rng(seed)
    parts = []
    for at in (FIRST, SECOND):
        had: dict[str, dict[str, float]] = {}
        wanted: dict[str, tuple[str, ...]] = {}
        for user in range(users):
            chosen = draw.permutation(8)[:4].tolist()
            # some have had both already, which is how it can be known
            had[f"u{user}"] = {f"a{n}": 1.0 for n in chosen} | {f"b{n}": 1.0 for n in chosen[:2]}
            wanted[f"u{user}"] = tuple(f"b{n}" for n in sorted(chosen[2:]))
        parts.append(rows_of(had, wanted, at))
    return LabelledRows.stacked(parts)


def ease_of(model: Model) -> Ease:
    return cast(EasePredictor, model.predictor).ease


@pytest.mark.parametrize(
    ("case", "events", "reach"),
    [(PLAYLIST, listened(12, 70), 2 * WEEK), (BASKETS, ordered(12, 130), 4 * WEEK)],
    ids=["weekly_playlist", "bought_together"],
)
def test_nothing_in_a_model_comes_from_the_time_it_is_judged_on(
    case: UseCase, events: list[Event], reach: timedelta, lake: Lake, build: Build
) -> None:
    """With other items in the holdout every artifact is the same, and only the figures change."""
    tenant = stored(lake, case, events)
    one = run(lake, tenant, build(tenant, case.name))
    other = [
        (user, f"i{(int(item[1:]) * 7 + 3) % 40:02}" if at >= AS_OF - reach else item, *rest, at, g)
        for user, item, *rest, at, g in events
    ]
    tenant = stored(lake, case, cast(list[Event], other))
    two = run(lake, tenant, build(tenant, case.name))
    assert [c.artifact.digest for c in one.candidates] == [
        c.artifact.digest for c in two.candidates
    ]
    assert [c.rung for c in one.candidates].count("own") == 1
    assert [c.metric for c in one.candidates] != [c.metric for c in two.candidates]


def test_an_own_model_is_drawn_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more so the larger the shrinkage; a tenant of few users can hardly tell otherwise."""
    parent, _ = fit_lists(PLAYLIST, pairs_go_together(100), WINDOWS)
    few = pairs_go_together(8, seed=5)
    alone, _ = fit_lists(PLAYLIST, few, WINDOWS)
    apart = [_apart(alone, parent)]
    for shrinkage in (30.0, 300.0):
        monkeypatch.setattr("include.training.estimators.ease.SHRINKAGES", (shrinkage,))
        drawn, _ = fit_lists(PLAYLIST, few, WINDOWS, parent)
        assert ease_of(drawn).settings.shrinkage == shrinkage
        apart.append(_apart(drawn, parent))
    assert apart[2] < 0.5 * apart[1] < 0.5 * apart[0]


def _apart(one: Model, other: Model) -> float:
    """Mean distance of the effects."""
    assert ease_of(one).items == ease_of(other).items
    return float(np.abs(ease_of(one).effects - ease_of(other).effects).mean())


def test_how_far_it_is_drawn_is_chosen_and_written_down() -> None:
    """Not at all is among the choices; without a parent there are none."""
    few = pairs_go_together(8, seed=5)
    parent, _ = fit_lists(PLAYLIST, pairs_go_together(100), WINDOWS)
    model, trials = fit_lists(PLAYLIST, few, WINDOWS, parent)
    tried = {one["settings"]["shrinkage"] for one in trials if "settings" in one}
    assert tried == set(SHRINKAGES)
    assert model.parameters["shrinkage"] > 0
    _, without = fit_lists(PLAYLIST, few, WINDOWS)
    assert {one["settings"]["shrinkage"] for one in without if "settings" in one} == {0.0}


def test_a_parent_of_another_kind_draws_nothing() -> None:
    """Where a rule of thumb serves all tenants, an own model stands for itself."""
    few = pairs_go_together(8)
    rule = list_baselines(PLAYLIST, few, WINDOWS)["popularity"]
    model, _ = fit_lists(PLAYLIST, few, WINDOWS, rule)
    assert to_bytes(model) == to_bytes(fit_lists(PLAYLIST, few, WINDOWS)[0])


def test_a_model_learns_what_goes_together() -> None:
    """Whoever has one of a pair is offered the other one before anything else."""
    model, _ = fit_lists(PLAYLIST, pairs_go_together(100), WINDOWS)
    asked = rows_of({"x": {"a1": 1.0}, "y": {f"b{n}": 1.0 for n in range(8)}}, {}, AS_OF)
    lists = model.recommend(asked.history, 1).to_pylist()
    assert [row["item_id"] for row in lists if row["entity_id"].startswith("acme/x")] == ["b1"]


def liked_nothing(at: datetime) -> LabelledRows:
    return rows_of({f"u{n}": {"a1": -1.0, "a2": 0.0} for n in range(5)}, {}, at)


@pytest.mark.parametrize(
    "training",
    [
        liked_nothing(SECOND),
        rows_of({"u": {"a1": 1.0}}, {"u": ("b1",)}, SECOND),
        rows_of({"u": {"a1": 1.0}}, {}, FIRST),
        LabelledRows.stacked(
            [liked_nothing(FIRST), rows_of({"u": {"a1": 1.0}}, {"u": ("b1",)}, SECOND)]
        ),
        LabelledRows.stacked(
            [rows_of({"u": {"a1": 1.0}}, {"u": ("b1",)}, FIRST), liked_nothing(SECOND)]
        ),
        rows_of({f"u{n}": {"a1": -1.0} for n in range(4)}, {"u1": ("b1",)}, SECOND),
    ],
    ids=[
        "nobody liked anything",
        "one user, one snapshot",
        "nobody at the last snapshot, nothing wanted",
        "nobody liked anything at first",
        "nobody liked anything at last",
        "nobody liked anything before",
    ],
)
def test_very_few_rows_give_a_model_that_answers(training: LabelledRows) -> None:
    """And baselines beside it; what comes back from its bytes is the same."""
    model, _ = fit_lists(PLAYLIST, training, WINDOWS)
    asked = rows_of({"x": {"a1": 1.0}, "y": {"b1": 1.0, "c1": -1.0}, "z": {"c1": 1.0}}, {}, AS_OF)
    for one in (model, *list_baselines(PLAYLIST, training, WINDOWS).values()):
        again = from_bytes(to_bytes(one))
        assert again.recommend(asked.history, 10).equals(one.recommend(asked.history, 10))
    found = model.recommend(asked.history, 10).to_pylist()
    assert len(found) == 2 + 1 + 2  # of three items, without each one's own


def test_without_rows_there_is_no_model_and_no_baseline() -> None:
    """It is said so, instead of fitting nothing."""
    for case in (PLAYLIST, BASKETS):
        assert list_baselines(case, LabelledRows.none(case), WINDOWS) == {}
        with pytest.raises(QualityError, match=f"no rows to learn {case.name}"):
            fit_lists(case, LabelledRows.none(case), WINDOWS)


def only(*names: str) -> Callable[[Event], bool]:
    return lambda event: event[2] in names


def between(first: int, last: int) -> Callable[[Event], bool]:
    """Events that were so many days ago."""
    return lambda event: AS_OF - first * DAY <= event[3] < AS_OF - last * DAY


LITTLE: dict[str, tuple[UseCase, list[Event]]] = {
    "twenty users": (PLAYLIST, listened(days=70)),
    "one user": (PLAYLIST, listened(1)),
    "only skips": (PLAYLIST, listened(skips=1.0)),
    "nobody there in the last training weeks": (
        PLAYLIST,
        [e for e in listened(days=100) if not between(92, 18)(e)],
    ),
    "twenty customers": (BASKETS, ordered(days=130)),
    "one customer": (BASKETS, ordered(1)),
    "one window": (BASKETS, ordered(days=70)),
    "no basket in the last training windows": (
        BASKETS,
        [e for e in ordered() if not between(150, 28)(e)],
    ),
}


@pytest.mark.parametrize("name", LITTLE)
def test_a_small_tenant_is_trained_or_told_why_not(name: str, lake: Lake, build: Build) -> None:
    """Baselines and an own model, each within its interval and readable."""
    case, events = LITTLE[name]
    tenant = stored(lake, case, events)
    trained = run(lake, tenant, build(tenant, case.name))
    keys = {f"{one.rung}/{one.name}" for one in trained.candidates}
    assert keys == {f"baseline/{b.name}" for b in case.baselines} | {f"own/{case.estimators[0]}"}
    for one in trained.candidates:
        assert one.metric_low <= one.metric <= one.metric_high
        assert from_bytes(lake.get(tenant.ref, one.artifact)).lists


@pytest.mark.parametrize(
    ("case", "events", "reason"),
    [
        (PLAYLIST, listened(5, 50), "training rows are fewer than the 1,000 it takes"),
        (PLAYLIST, listened(5, 20), "the history is too short"),
        (BASKETS, ordered(5, 90), "training rows are fewer than the 2,000 it takes"),
        (
            BASKETS,
            [(u, i, e, at, f"{g}-{i}") for u, i, e, at, g in ordered(5)],
            "the history is too short for a later window to judge it by",
        ),
    ],
    ids=["few rows", "few days", "few baskets", "baskets of one item"],
)
def test_too_little_is_told_in_words(
    case: UseCase, events: list[Event], reason: str, lake: Lake, build: Build
) -> None:
    """No own model, and the evaluation says what is missing."""
    tenant = stored(lake, case, events, case.gates.minimum_rows)
    trained = run(lake, tenant, build(tenant, case.name))
    found: Any = json.loads(lake.get(tenant.ref, trained.evaluation))
    assert not [one for one in trained.candidates if one.rung == "own"]
    assert any(reason in note for note in found["evidence"]["notes"])


def test_pairs_are_chosen_on_the_last_window_in_which_somebody_bought() -> None:
    """Windows without baskets are passed over, by the model and by its baselines."""
    parts = []
    for at in (AS_OF - 16 * WEEK, AS_OF - 12 * WEEK):
        one = rows_of({f"u{n}": {"bread": 1.0, f"x{n % 5}": 1.0} for n in range(20)}, {}, at)
        features = LabelledRows.none(BASKETS).features.schema
        empty = pa.table([pa.nulls(len(one), field.type) for field in features], schema=features)
        parts.append(replace(one, features=empty))
    windows = TrainingWindows(
        tuple(AS_OF - n * 4 * WEEK for n in (4, 3, 2)), (AS_OF - 4 * WEEK,), AS_OF
    )
    model, trials = fit_lists(BASKETS, LabelledRows.stacked(parts), windows)
    assert len(trials) > 1
    fitted: Association = cast(AssociationPredictor, model.predictor).association
    assert fitted.items == ("bread", "x0", "x1", "x2", "x3", "x4")
    assert set(list_baselines(BASKETS, LabelledRows.stacked(parts), windows)) == {
        "popularity",
        "co_count",
    }

"""Who is scored at an instant, and what became of them afterwards: spines and labels.

Events come as the canonical Arrow table of one tenant. A spine looks only at events created by
its instant, so late data never changes whom the past would have scored. A return is no event: it
makes nobody active and is no outcome, counts against totals, and what came back wholly was not had
(docs/returns.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError
from include.features.returns import TAKEN_BACK
from include.storage.canonical import REPLACED, TIMESTAMP
from include.storage.versions import counting
from include.use_cases.candidates import candidates, own_items
from include.use_cases.declaration import TOP, UseCase
from include.use_cases.kept import kept, returned

#: Columns of `events` that spines and labels read.
EVENT_COLUMNS: Final = (
    "event",
    "user_id",
    "account_id",
    "item_id",
    "group_id",
    "quantity",
    "amount",
    "event_timestamp",
    "created_timestamp",
)


def event_columns(use_case: UseCase) -> tuple[str, ...]:
    """The columns of `events` that spines, labels and requests of the use case read.

    With `replaced_timestamp`, so that of corrected events all versions are read.
    """
    also = use_case.request.reads if use_case.request else ()
    return tuple(dict.fromkeys((*EVENT_COLUMNS, *also, REPLACED)))


def scoring_spine(
    use_case: UseCase,
    events: pa.Table,
    as_of: datetime,
    since: datetime | None = None,
    catalogue: Sequence[str] = (),
) -> pa.Table:
    """The active entities at `as_of`, sorted: the use case's keys and `as_of`.

    A ranking has one row per entity and item that could be shown to it. Of a use case with a
    `request` it is the events of the active window, each at its own instant.

    Args:
        since: end of the interval before; events that could be scored by then were.
        catalogue: items that stand in where the tenant has hardly any popular ones, best first.
    """
    if use_case.request:
        start = as_of - use_case.active_window
        return request_spine(use_case, events, start, as_of, as_of, since)
    with_returns = _between(
        events, use_case.events, use_case.keys, None, as_of, as_of, returns=True
    )
    known = with_returns.filter(pc.invert(returned(with_returns)))
    start = as_of - use_case.active_window
    if use_case.items and use_case.items.newcomers:
        recent = _between(events, (), (use_case.entity,), start, as_of, as_of)
    else:
        recent = known.filter(
            pc.greater_equal(known["event_timestamp"], pa.scalar(start, TIMESTAMP))
        )
    active = pc.unique(recent[use_case.entity]).sort()
    if use_case.label.final:
        before = _between(events, use_case.label.final, (use_case.entity,), None, as_of, as_of)
        active = active.filter(
            pc.invert(pc.is_in(active, value_set=pc.unique(before[use_case.entity])))
        )
    rows = pa.table({use_case.entity: active})
    if use_case.items:
        popular = popular_items(use_case, events, as_of)
        if len(popular) < TOP:
            missing = use_case.items.popular - len(popular)
            popular += [item for item in catalogue if item not in popular][: max(missing, 0)]
        rows = candidates(use_case.items, use_case.entity, with_returns, active, popular)
    elif use_case.history and use_case.task == "ranking":
        rows = own_items(with_returns, use_case.entity, active, use_case.history.items)
    return rows.append_column("as_of", pa.array([as_of] * rows.num_rows, TIMESTAMP))


def popular_items(use_case: UseCase, events: pa.Table, as_of: datetime) -> list[str]:
    """The tenant's items that most entities have had lately, of a use case that ranks `items`.

    An entity that brought back all that it took of an item has not had it.
    """
    if use_case.items is None:
        return []
    start = as_of - use_case.items.popular_window
    keys = use_case.keys
    recent = _between(events, use_case.events, keys, start, as_of, as_of, returns=True)
    recent = kept(recent, keys)
    count = f"{use_case.entity}_count_distinct"
    popular = recent.group_by("item_id").aggregate([(use_case.entity, "count_distinct")])
    popular = popular.sort_by([(count, "descending"), ("item_id", "ascending")])
    most = use_case.items.popular + (use_case.items.own if use_case.drops_seen else 0)
    found: list[str] = popular["item_id"][:most].to_pylist()
    return found


def request_spine(
    use_case: UseCase,
    events: pa.Table,
    start: datetime,
    end: datetime,
    known_until: datetime,
    since: datetime | None = None,
) -> pa.Table:
    """The events of `[start, end)` by time, each at its own instant: keys and `as_of`.

    Several events of one `group_id` are one, the first; those without one are none.

    Args:
        since: leaves out what had happened, and was known, by then.
    """
    found = _between(events, use_case.events, use_case.keys, start, end, known_until)
    if since is not None:
        limit = pa.scalar(since, TIMESTAMP)
        found = found.filter(
            pc.or_(
                pc.greater(found["created_timestamp"], limit),
                pc.greater_equal(found["event_timestamp"], limit),
            )
        )
    by_time = [("event_timestamp", "ascending"), (use_case.entity, "ascending")]
    ids = [("event_id", "ascending")] if "event_id" in found.column_names else []
    frame = found.sort_by([*by_time, *ids]).select([*use_case.keys, "event_timestamp"]).to_pandas()
    frame = frame.drop_duplicates(use_case.entity).rename(columns={"event_timestamp": "as_of"})
    schema = pa.schema([*((key, pa.string()) for key in use_case.keys), ("as_of", TIMESTAMP)])
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


def basket_spine(
    use_case: UseCase, events: pa.Table, as_of: datetime, known_until: datetime
) -> pa.Table:
    """What was had together after `as_of`: `group_id, item_id, as_of`, baskets of two or more.

    An association is learnt from such baskets, and judged on later ones: an item of a basket is
    given, and the others are to be found.
    """
    lines = outcomes(use_case, events, as_of, known_until).select(["group_id", "item_id"])
    pairs = lines.group_by(["group_id", "item_id"]).aggregate([])
    sizes = pairs.group_by("group_id").aggregate([("item_id", "count")])
    large = sizes.filter(pc.greater(sizes["item_id_count"], 1))["group_id"]
    pairs = pairs.filter(pc.is_in(pairs["group_id"], value_set=large.combine_chunks()))
    pairs = pairs.sort_by([("group_id", "ascending"), ("item_id", "ascending")])
    instants = pa.array([as_of] * pairs.num_rows, TIMESTAMP)
    return pairs.select(["group_id", "item_id"]).append_column("as_of", instants)


def wanted(
    use_case: UseCase, events: pa.Table, spine: pa.Table, as_of: datetime, known_until: datetime
) -> list[tuple[str, ...]]:
    """Per row of the spine at `as_of`, the items that a list should have held, sorted.

    Those of the entity's outcome; without what it had already where the use case drops that. In an
    association, those that stand with the row's item in its basket.
    """
    key = use_case.judged[0]
    happened = outcomes(use_case, events, as_of, known_until)
    found: dict[str, set[str]] = {}
    for owner, item in zip(happened[key].to_pylist(), happened["item_id"].to_pylist(), strict=True):
        found.setdefault(owner, set()).add(item)
    owners, items = spine[key].to_pylist(), spine["item_id"].to_pylist()
    if use_case.task == "association":
        pairs = zip(owners, items, strict=True)
        return [tuple(sorted(found.get(owner, set()) - {item})) for owner, item in pairs]
    if use_case.drops_seen:
        for owner, item in zip(owners, items, strict=True):
            found.get(owner, set()).discard(item)
    answers = {owner: tuple(sorted(items)) for owner, items in found.items()}
    return [answers.get(owner, ()) for owner in owners]


def labels(use_case: UseCase, events: pa.Table, spine: pa.Table, known_until: datetime) -> pa.Array:
    """The label per spine row (float64), in its order: 1 or 0, or a total; null where unknown.

    Args:
        known_until: the data is complete up to here; events created later don't count.
    Raises:
        ConfigError: a label reaches beyond `known_until`, so nobody can know it yet.
    """
    if use_case.request:
        return _follows(use_case, events, spine, known_until)
    label = np.zeros(spine.num_rows)
    instants = spine["as_of"].to_numpy()
    for as_of in pc.unique(spine["as_of"]).to_pylist():
        rows = np.flatnonzero(instants == np.datetime64(as_of.replace(tzinfo=None), "us"))
        happened = outcomes(use_case, events, as_of, known_until)
        wanted = _index(spine.take(pa.array(rows)), use_case.keys)
        if use_case.label.when == "total":
            absent = np.nan if use_case.label.absent == "unknown" else 0.0
            label[rows] = _totals(use_case, happened).reindex(wanted, fill_value=absent)
        else:
            found = wanted.isin(_index(happened, use_case.keys))
            label[rows] = found if use_case.label.when == "present" else ~found
    return pa.array(label, from_pandas=True)  # NaN is null


def matured_labels(
    use_case: UseCase,
    events: pa.Table,
    as_of: datetime,
    entities: Sequence[str],
    known_until: datetime,
) -> pa.Table:
    """What became of what was predicted at `as_of`, by the columns of `predictions`.

    `entity_id, label`: a row per predicted entity that there is anything known of. Of rankings and
    associations `entity_id, item_id, label`: what anybody wanted, offered or not, and of baskets
    the `group_id`, each of them one piece of evidence.

    Args:
        events: with the columns of `event_columns`.
        entities: that something was predicted of.

    Raises:
        ConfigError: the label reaches beyond `known_until`, so that nobody can know it yet.
    """
    if use_case.task in ("ranking", "association"):
        asked = wanted_in_baskets if use_case.task == "association" else wanted_pairs
        found = asked(use_case, events, as_of, known_until)
        return found.append_column("label", pa.repeat(pa.scalar(1, pa.int8()), found.num_rows))
    ids = pa.array(entities, pa.string())
    if use_case.request:
        spine = scored_events(use_case, events, ids, as_of)
    else:
        instants = pa.repeat(pa.scalar(as_of, TIMESTAMP), len(ids))
        spine = pa.table([ids, instants], [use_case.entity, "as_of"])
    label = labels(use_case, events, spine, known_until)
    return pa.table([spine[use_case.entity], label], ["entity_id", "label"])


def scored_events(
    use_case: UseCase, events: pa.Table, scored: pa.Array, as_of: datetime
) -> pa.Table:
    """The spine of the events that were scored at `as_of`, each at its own instant.

    Args:
        scored: their ids.
    """
    rows = request_spine(use_case, events, as_of - use_case.active_window, as_of, as_of)
    return rows.filter(pc.is_in(rows[use_case.entity], value_set=scored))


def relevant_items(
    use_case: UseCase, events: pa.Table, as_of: datetime, known_until: datetime
) -> dict[str, int]:
    """Per entity, how many items it should have been offered, whether they were or not."""
    found = wanted_pairs(use_case, events, as_of, known_until).group_by("entity_id")
    counted = found.aggregate([("item_id", "count")])
    columns = (counted[name].to_pylist() for name in ("entity_id", "item_id_count"))
    return dict(zip(*columns, strict=True))


def wanted_pairs(
    use_case: UseCase, events: pa.Table, as_of: datetime, known_until: datetime
) -> pa.Table:
    """What lists answered at `as_of` should have held: `entity_id, item_id`, each pair once.

    As `wanted` has it, but of everybody. An association is asked about an item, whatever baskets it
    comes to lie in.
    """
    if use_case.task == "association":
        asked = wanted_in_baskets(use_case, events, as_of, known_until)
        found = asked.group_by(["entity_id", "item_id"]).aggregate([])
        return found.sort_by([("entity_id", "ascending"), ("item_id", "ascending")])
    happened = outcomes(use_case, events, as_of, known_until).select(list(use_case.judged))
    pairs = happened.rename_columns(["entity_id", "item_id"]).group_by(["entity_id", "item_id"])
    found = pairs.aggregate([])
    if use_case.drops_seen:
        judged = use_case.judged
        before = _between(events, use_case.events, judged, None, as_of, known_until, returns=True)
        had = (
            kept(before, judged)
            .select(list(use_case.judged))
            .rename_columns(["entity_id", "item_id"])
        )
        found = found.join(had, ["entity_id", "item_id"], join_type="left anti")
    return found.sort_by([("entity_id", "ascending"), ("item_id", "ascending")])


def wanted_in_baskets(
    use_case: UseCase, events: pa.Table, as_of: datetime, known_until: datetime
) -> pa.Table:
    """What lay beside each item of a basket of an association: `group_id, entity_id, item_id`.

    As it is trained and judged: every item of every basket asks for the others.
    """
    happened = outcomes(use_case, events, as_of, known_until).select(list(use_case.judged))
    lines = happened.group_by(["group_id", "item_id"]).aggregate([])
    asking = lines.rename_columns(["group_id", "entity_id"])
    both = asking.join(lines, "group_id", join_type="inner")
    others = both.filter(pc.not_equal(both["item_id"], both["entity_id"]))
    names = ["group_id", "entity_id", "item_id"]
    return others.select(names).sort_by([(name, "ascending") for name in names])


def outcomes(
    use_case: UseCase, events: pa.Table, as_of: datetime, known_until: datetime
) -> pa.Table:
    """The events that make up the labels of `as_of`.

    Of totals of quantity and amount with the returns, which count against them. What is judged by
    item leaves out the items that came back wholly within the horizon.

    Raises:
        ConfigError: the label reaches beyond `known_until`, so that nobody can know it yet.
    """
    end = as_of + use_case.label.horizon
    if end > known_until:
        raise ConfigError(
            f"the {use_case.name} label of {as_of} is known at {end}, not at {known_until}; "
            "take an earlier snapshot"
        )
    judged, itemised = use_case.judged, "item_id" in use_case.judged[1:]
    nets = use_case.label.value in ("quantity", "amount")
    happened = _between(
        events, use_case.outcomes, judged, as_of, end, known_until, returns=nets or itemised
    )
    return kept(happened, judged) if itemised else happened


def _follows(
    use_case: UseCase, events: pa.Table, spine: pa.Table, known_until: datetime
) -> pa.Array:
    """1 for a row whose `group_id` has an outcome in `[as_of, as_of + horizon)` of its own."""
    if not spine.num_rows:
        return pa.array([], pa.float64())
    horizon, key = use_case.label.horizon, use_case.entity
    end = pc.max(spine["as_of"]).as_py() + horizon
    if end > known_until:
        raise ConfigError(
            f"the {use_case.name} labels of these events are known at {end}, not at {known_until}; "
            "take earlier events"
        )
    happened = _between(events, use_case.outcomes, (key,), None, end, known_until)
    rows = spine.select([key, "as_of"]).to_pandas()
    rows["row"] = np.arange(len(rows))
    later = (
        happened.select([key, "event_timestamp"])
        .to_pandas()
        .rename(columns={"event_timestamp": "outcome_at"})
    )
    joined = pd.merge_asof(
        rows.sort_values("as_of", kind="stable"),
        later.sort_values("outcome_at", kind="stable"),
        left_on="as_of",
        right_on="outcome_at",
        by=key,
        direction="forward",
        tolerance=pd.Timedelta(horizon) - pd.Timedelta(1, "us"),
    )
    label = joined.sort_values("row")["outcome_at"].notna()
    return pa.array(label.to_numpy(dtype=np.float64))


def _totals(use_case: UseCase, happened: pa.Table) -> pd.Series[float]:
    """What each entity's outcomes come to; those of negative size, returns, count against."""
    entity = happened[use_case.entity].to_pandas()
    if use_case.label.value == "days":
        days = happened["event_timestamp"].to_pandas().dt.floor("D")
        totals = days.groupby(entity).nunique()
    else:
        value = pc.fill_null(happened[use_case.label.value], 0.0).to_pandas()
        totals = value.groupby(entity).sum()
    return pd.Series(totals, dtype=float)


def _between(
    events: pa.Table,
    names: tuple[str, ...],
    keys: tuple[str, ...],
    start: datetime | None,
    end: datetime,
    known_until: datetime,
    *,
    returns: bool = False,
) -> pa.Table:
    """The named events in `[start, end)` that have all `keys`, as they were known at `known_until`.

    Without names, those of any that takes nothing back.

    Args:
        returns: whether returns are among them.
    """
    keep = pc.and_(
        pc.less(events["event_timestamp"], pa.scalar(end, TIMESTAMP)),
        counting(events, known_until),
    )
    back = pc.is_in(events["event"], value_set=pa.array(TAKEN_BACK))
    if not returns:  # of an event that takes back by its name, the sign says nothing
        keep = pc.and_(keep, pc.or_(back, pc.invert(returned(events))))
    named = pc.is_in(events["event"], value_set=pa.array(names)) if names else pc.invert(back)
    keep = pc.and_(keep, named)
    if start is not None:
        since = pa.scalar(start, TIMESTAMP)
        keep = pc.and_(keep, pc.greater_equal(events["event_timestamp"], since))
    for key in keys:
        keep = pc.and_(keep, pc.is_valid(events[key]))
    read = [name for name in EVENT_COLUMNS if name in events.column_names]
    return events.select(read).filter(keep)


def _index(table: pa.Table, keys: tuple[str, ...]) -> pd.Index:
    frame = table.select(list(keys)).to_pandas()
    return pd.Index(frame[keys[0]]) if len(keys) == 1 else pd.MultiIndex.from_frame(frame)

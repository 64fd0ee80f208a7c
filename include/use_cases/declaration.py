"""What a use case declares: whom to score, what to predict, by which models, judged how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.features.declarations import Kind
from include.features.requests import ENTITY, RequestColumns
from include.features.returns import NO_RETURN
from include.features.views import FeatureService
from include.use_cases.details import Detail
from include.use_cases.drift_policy import DriftPolicy

Task = Literal["classification", "regression", "ranking", "association"]

#: Task → metrics that can judge it, all rising with quality; the first declared one decides.
METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "classification": ("auc", "average_precision", "brier_skill", "lift@10%", "precision@1%"),
    "regression": ("forecast_accuracy",),
    "ranking": ("hit@10", "ndcg@10"),
    "association": ("hit@10", "ndcg@10"),
}


@dataclass(frozen=True)
class Estimator:
    """A way to learn a model; the module of its name in `include.training.estimators` does it."""

    tasks: tuple[Task, ...]
    #: Whether its models answer with lists, from what each entity has had.
    lists: bool = False


#: Every estimator, by the name that a use case declares and that is the `kind` of its models.
ESTIMATORS: Final[Mapping[str, Estimator]] = {
    "logistic": Estimator(("classification",)),
    "lightgbm": Estimator(("classification", "ranking")),
    "text_match": Estimator(("ranking",)),
    "forecast": Estimator(("regression",)),
    "ease": Estimator(("ranking",), lists=True),
    "bought_together": Estimator(("association",), lists=True),
}
LIST_ESTIMATORS: Final = tuple(name for name, one in ESTIMATORS.items() if one.lists)
#: Baselines that answer with lists.
LIST_BASELINES: Final = ("popularity", "own_history", "co_count")
#: Baselines that learn from rows, not from labels.
FITTED_BASELINES: Final = ("ecod",)
#: What is scored, by its column of `events`.
ENTITIES: Final = ("user_id", "account_id", "item_id")
#: How far down a ranking is looked at.
TOP: Final = 10


@dataclass(frozen=True)
class Label:
    """What is predicted about `[as_of, as_of + horizon)`.

    `absent` is 1 for an entity without an outcome in the horizon, `present` is 1 for one with,
    `total` is how much of `value` there was.
    """

    when: Literal["absent", "present", "total"]
    horizon: timedelta
    events: tuple[str, ...] = ()  #: that are outcomes; the use case's own where empty
    #: Of a total: `quantity`, `amount`, or `days` with an outcome, counted in UTC.
    value: Literal["", "quantity", "amount", "days"] = ""
    final: tuple[str, ...] = ()  #: events after which an entity is not scored any more
    #: Of a total: what it is of an entity without outcomes, as the tenant's sources say.
    absent: Literal["zero", "unknown"] = "zero"

    def __post_init__(self) -> None:
        if (self.when == "total") != bool(self.value):
            raise ConfigError(
                f"Label(when={self.when!r}, value={self.value!r}): a total needs a `value`, and "
                "nothing else has one"
            )


@dataclass(frozen=True)
class Items:
    """The items that are ranked for an entity: its own, and what is popular in the tenant."""

    own: int  #: most of its own items that are considered, those most often had first
    popular: int  #: most of the tenant's popular items that are added
    popular_window: timedelta
    #: Whoever did anything in the active window is ranked for, not only whose events count.
    newcomers: bool = False
    #: Whether what an entity had may be ranked again; where not, more popular ones take its place.
    seen: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True)
class ItemHistory:
    """What list models read: the items that an entity has had, a row each."""

    items: int  #: at most so many of an entity, those most often had first
    weight: str = ""  #: feature: how much of an item it had, negative where disliked; else 1
    seen: Literal["keep", "drop"] = "drop"  #: whether what an entity had may be listed again
    recency: str = ""  #: feature: days since it first had the item, or last where `seen` is kept
    category: str = ""  #: text feature by which lists are kept diverse, and rare items helped
    #: Below 1, lists give so much less relevance for more categories.
    relevance: float = 1.0
    novelty: float = 0.0  #: above 0, lists hold less of what everybody has had
    chance: float = 0.0  #: above 0, a week's lists are drawn, and another's hold other items


@dataclass(frozen=True)
class Exposure:
    """Groups of items whose share of the rankings is reported, and kept where a tenant says so."""

    group: str  #: text feature that names an item's group


@dataclass(frozen=True)
class Baseline:
    """A rule of thumb over one feature, which any model must beat.

    The score rises with `column`, or falls where `descending`. `then` breaks ties; it needs a
    `column` of whole numbers. The name alone says it where models answer with lists, one of
    `LIST_BASELINES`. One of `FITTED_BASELINES` learns from rows and reads `columns`.

    Of a total, `column` is the forecast itself, and `then` stands in where it is unknown. The first
    one declared is the seasonal naive forecast, the last one the level by which entities are told
    apart; whoever has none is too young for it.
    """

    name: str
    column: str = ""
    descending: bool = False
    then: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshots:
    """The past instants that training and holdout look at, newest first.

    Of a use case with a `request` a snapshot is the events of `[at, at + every)`.
    """

    every: timedelta
    training: int  #: at most this many
    holdout: int
    minimum_history: timedelta  #: data there must be before the oldest training snapshot
    entities: int  #: at most this many entities per snapshot, a seeded sample of them
    negatives: int = 0  #: negative rows kept per positive one in training; 0 keeps all


@dataclass(frozen=True)
class Gates:
    """What must be there before a tenant's own model is trained, or judged."""

    minimum_rows: int  #: training rows
    minimum_positives: int  #: training rows of the rarer class
    minimum_entities: int  #: entities in the holdout for its figures to decide anything
    minimum_days: int = 30  #: from the oldest training snapshot to the end of the data
    #: Chance that an incumbent is ever replaced by an own model that is no better, over all the
    #: retrainings in which it is challenged.
    false_promotions: float = 0.05


@dataclass(frozen=True)
class UseCase:
    """One thing to predict, for every tenant alike."""

    name: str
    title: str
    task: Task
    events: tuple[
        str, ...
    ]  #: event names that count as activity, and as outcome unless `label` says
    active_window: timedelta  #: entities with such an event this recently are scored
    label: Label
    features: FeatureService
    estimators: tuple[str, ...]
    metrics: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    segments_by: str  #: feature whose terciles are reported apart
    snapshots: Snapshots
    gates: Gates
    retrain_every: timedelta
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    items: Items | None = None
    history: ItemHistory | None = None
    exposure: Exposure | None = None
    texts: tuple[str, str] | None = None  #: text features whose likeness `text_match` reads
    entity: str = "user_id"  #: of whom or what is scored; a ranking's items are ranked for it
    request: RequestColumns | None = (
        None  #: rows are events, each at its own instant, see `RequestColumns`
    )
    details: tuple[Detail, ...] = ()  #: kept beside each score
    reasons: int = 0  #: features kept with each score as its explanation, the weightiest first
    latency: Literal["batch", "online"] = "batch"
    seed: int = 20_170_101

    def __post_init__(self) -> None:
        where = f"use case {self.name!r}"
        for metric in self.metrics:
            if metric not in METRICS[self.task]:
                raise UnknownNameError("metric", metric, METRICS[self.task], where)
        known = [name for name, one in ESTIMATORS.items() if self.task in one.tasks]
        for estimator in self.estimators:
            if estimator not in known:
                raise UnknownNameError("estimator", estimator, known, where)
        entities = (ENTITY,) if self.request else ENTITIES
        if self.entity not in entities:
            raise UnknownNameError("entity column", self.entity, entities, where)
        if not self.metrics or not self.baselines or not self.estimators or not self.events:
            raise ConfigError(f"{where} needs events, a metric, a baseline and an estimator")
        if (self.task == "regression") != (self.label.when == "total"):
            raise ConfigError(f"{where}: a regression predicts a total, and nothing else does")
        self._check_items(where)
        self._check_request(where)
        self._check_features(where)

    def _check_items(self, where: str) -> None:
        if (self.task == "ranking") != (self.items is not None) and not self.lists:
            raise ConfigError(f"{where}: `items` is for ranking, which needs `items` or `history`")
        if self.lists != (self.history is not None) or (self.items and self.history):
            raise ConfigError(
                f"{where}: estimators that answer with lists ({', '.join(LIST_ESTIMATORS)}) read "
                "`history` instead of `items`, and only they do"
            )
        if self.task == "association" and self.entity != "item_id":
            raise ConfigError(f"{where}: an association is of items; declare entity='item_id'")

    def _check_request(self, where: str) -> None:
        if self.request is None:
            return
        if self.task != "classification" or self.label.when != "present" or self.label.final:
            raise ConfigError(f"{where}: events are scored for whether an outcome follows them")
        if not self.label.events or set(self.label.events) & set(self.events):
            raise ConfigError(f"{where}: the outcome of an event is another event; name it")
        stream = self.request.stream
        if stream.events != self.events or stream.where != NO_RETURN:
            raise ConfigError(
                f"{where}: `request` is about the use case's own `events`, all of them but "
                "returns; give its stream `where=NO_RETURN`"
            )
        self.request.check_known(self.features.columns)

    def _check_features(self, where: str) -> None:
        columns = self.feature_columns
        used = [self.segments_by]
        for baseline in self.baselines:
            if self.lists and baseline.name not in LIST_BASELINES:
                raise UnknownNameError("baseline", baseline.name, LIST_BASELINES, where)
            if baseline.descending and self.task == "regression":
                raise ConfigError(f"{where}: a baseline of a total is a total, never descending")
            fitted = not self.lists and baseline.name in FITTED_BASELINES
            if fitted != bool(baseline.columns):
                needs = "needs the `columns` it reads" if fitted else "reads no `columns`"
                raise ConfigError(f"{where}: baseline {baseline.name!r} {needs}")
            used += baseline.columns
            if not self.lists and not fitted:
                used += [baseline.column, *([baseline.then] if baseline.then else [])]
        if self.history:
            used += [name for name in (self.history.weight, self.history.recency) if name]
        read_as_text = [
            *(self.texts or ()),
            *([self.history.category] if self.history and self.history.category else []),
            *([self.exposure.group] if self.exposure else []),
        ]
        for column in read_as_text:
            if columns.get(column) != "text":
                texts = [name for name, kind in columns.items() if kind == "text"]
                raise UnknownNameError("text feature", column, texts, where)
        if ("text_match" in self.estimators) != (self.texts is not None):
            raise ConfigError(f"{where}: `text_match` and `texts` come together")
        if self.exposure and not self.items:
            raise ConfigError(f"{where}: `exposure` is about a ranking of `items`")
        for detail in self.details:
            for name in detail.reads:
                if name not in self.features.columns:
                    raise UnknownNameError(
                        "feature", name, self.features.columns, f"{where}: {detail.name!r}"
                    )
        for column in used:
            if column not in columns:
                raise UnknownNameError("feature", column, columns, where)
            if columns[column] == "text":
                raise ConfigError(f"{where} calculates with the text feature {column!r}")

    def with_seen(self, rule: Literal["keep", "drop"] | None) -> UseCase:
        """The use case with another rule for items that an entity had; with None, as it is.

        Raises:
            ConfigError: it ranks no items.
        """
        if rule is None:
            return self
        if self.items is None:
            raise ConfigError(
                f"use case {self.name!r}: `seen_items` is for those that rank items; leave it out"
            )
        return replace(self, items=replace(self.items, seen=rule))

    def with_absent(self, *, unknown: bool) -> UseCase:
        """The use case with the total of an entity without outcomes unknown, or none."""
        rule: Literal["zero", "unknown"] = "unknown" if unknown else "zero"
        return replace(self, label=replace(self.label, absent=rule))

    @property
    def drops_seen(self) -> bool:
        """Whether items that an entity had are never listed, nor count as wanted."""
        rule = self.history or self.items
        return rule is not None and rule.seen == "drop"

    @property
    def lists(self) -> bool:
        """Whether models answer with lists instead of a score per row."""
        return any(name in LIST_ESTIMATORS for name in self.estimators)

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the events that make up the label."""
        return self.label.events or self.events

    @property
    def keys(self) -> tuple[str, ...]:
        """Join keys of a scoring row; those that tell rows apart as evidence first."""
        if self.request:
            return (self.request.by, self.entity)
        ranked = self.task == "ranking"
        return (self.entity, "item_id") if ranked else (self.entity,)

    @property
    def judged(self) -> tuple[str, ...]:
        """Columns of `events` that a label is about: whose it is, and of what."""
        return ("group_id", "item_id") if self.task == "association" else self.keys

    @property
    def feature_columns(self) -> dict[str, Kind]:
        """Columns of labelled rows: what an event says of itself, then features of the service.

        Those that only details are made of are not among them.
        """
        own: dict[str, Kind] = dict.fromkeys(self.request.columns if self.request else (), "number")
        alone = {name for detail in self.details for name in detail.alone}
        found = own | self.features.columns
        return {name: kind for name, kind in found.items() if name not in alone}

    @property
    def columns(self) -> tuple[str, ...]:
        """The numeric ones of these, which is what estimators read."""
        return tuple(name for name, kind in self.feature_columns.items() if kind != "text")

    @property
    def reach(self) -> timedelta:
        """How long after a snapshot every label of its rows is known."""
        horizon = self.label.horizon
        return horizon + self.snapshots.every if self.request else horizon

    @property
    def fingerprint(self) -> str:
        """Changes with the meaning of the columns that models read."""
        features = self.features.fingerprint
        return self.request.fingerprint(features) if self.request else features

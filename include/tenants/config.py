"""What one tenant's YAML file may say. Unknown keys and impossible values are errors.

Every text, list, mapping, number and duration is bounded: no file costs the platform more than a
page does, and no later arithmetic on dates overflows. What a tenant may use of the platform is the
operator's to say: `limits`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from include.tenants.clock_changes import first_astray
from include.tenants.connectors import AnyConnector
from include.tenants.expressions import Expression, OneColumn, names_in, quoted
from include.tenants.fields import (
    Column,
    Condition,
    Count,
    Cron,
    Day,
    Delay,
    Duration,
    Measure,
    Name,
    Number,
    Region,
    Retained,
    StrictModel,
    TenantId,
    Text,
    Timezone,
    read_day,
)
from include.tenants.fields import Scalar as Scalar  # what a condition compares with
from include.tenants.namespace import GLOBAL, TenantRef, global_owner
from include.tenants.personal import PersonalColumns, PersonalNames, Role
from include.tenants.wording import spelled
from include.wall_clock import local_day

#: Columns of an event's id, of one source's properties or attributes, and of its conditions.
MOST_KEY_COLUMNS: Final = 16
MOST_NAMES: Final = 64
MOST_CONDITIONS: Final = 32
MOST_FORMER_NAMES: Final = 16
MOST_CLOSURES: Final = 500
#: What no operator's limits exceed.
MOST_SOURCES: Final = 50
MOST_USE_CASES: Final = 50


class Arrival(StrictModel):
    """When a row became known: a column of the source, or a fixed delay after the event."""

    column: OneColumn | None = None  #: the column that says so
    delay: Delay = timedelta(0)  #: or how long after the event, the same for every row

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Arrival:
        if self.column is not None and self.delay:
            raise ValueError("give either `column` or `delay`, not both")
        return self


class EventMapping(StrictModel):
    """Source columns → canonical `events`."""

    event: Text | None = None  #: one constant name
    event_column: OneColumn | None = None  #: or the column that holds the name
    #: columns that identify a row
    event_id: tuple[OneColumn, ...] = Field(min_length=1, max_length=MOST_KEY_COLUMNS)
    event_timestamp: OneColumn  #: when it happened, in the connector's `timestamp_format`
    timezone: Timezone = "UTC"  #: of timestamps that carry none
    #: When a row became known, where the connector has no cursor; at once unless it is said.
    arrival: Arrival = Arrival()
    user_id: OneColumn | None = None  #: who did it; one of user, account and item is needed
    account_id: OneColumn | None = None  #: the company it was done for
    item_id: OneColumn | None = None  #: what it was done with
    group_id: OneColumn | None = None  #: basket or session
    quantity: OneColumn | None = None  #: how many; below zero it is a return
    amount: OneColumn | None = None  #: how much money
    #: Least and largest number of a row; where nothing is said, the source's own past decides.
    plausible: dict[Literal["quantity", "amount"], tuple[Measure, Measure]] = Field(
        default_factory=dict
    )
    #: What else is known of the event: the property's name → column.
    properties: dict[Name, OneColumn] = Field(default_factory=dict, max_length=MOST_NAMES)

    @model_validator(mode="after")
    def _one_event_name(self) -> EventMapping:
        if (self.event is None) == (self.event_column is None):
            raise ValueError("give exactly one of `event` and `event_column`")
        if not (self.user_id or self.account_id or self.item_id):
            raise ValueError("map at least one of `user_id`, `account_id` and `item_id`")
        return self

    @model_validator(mode="after")
    def _plausible_of_what_is_mapped(self) -> EventMapping:
        for name, (low, high) in self.plausible.items():
            if getattr(self, name) is None:
                raise ValueError(f"`plausible` names {name!r}, which is not mapped to a column")
            if low >= high:
                raise ValueError(f"`plausible` of {name!r} is empty: the lower bound comes first")
        return self

    def roles(self) -> Iterator[Role]:
        """Every column that is read, and what for."""
        named = {key: getattr(self, key) for key in ("user_id", "account_id", "item_id")}
        named |= {"group_id": self.group_id, "event_column": self.event_column}
        yield from (Role("properties", column, True) for column in self.properties.values())
        yield from (Role("event_id", column, True) for column in self.event_id)
        yield from (Role(key, column, True) for key, column in named.items() if column)
        plain = {"event_timestamp": self.event_timestamp, "arrival": self.arrival.column}
        plain |= {"quantity": self.quantity, "amount": self.amount}
        yield from (Role(key, column, False) for key, column in plain.items() if column)


class AttributeMapping(StrictModel):
    """Source columns → canonical `attributes`, one fact per entity and name."""

    entity: Literal["user", "account", "item"]  #: what the facts are about
    entity_id: OneColumn  #: which of them
    #: attribute name → source column
    names: dict[Name, OneColumn] = Field(min_length=1, max_length=MOST_NAMES)
    #: A date for all rows, quoted or not, or a column.
    valid_from: Annotated[Day | OneColumn, BeforeValidator(read_day)]
    timezone: Timezone = "UTC"  #: of instants that carry none
    #: When a fact became known, where the connector has no cursor; at once unless it is said.
    arrival: Arrival = Arrival()

    def roles(self) -> Iterator[Role]:
        """Every column that is read, and what for."""
        yield from (Role("names", column, True) for column in self.names.values())
        yield Role("entity_id", self.entity_id, True)
        if isinstance(self.valid_from, str):
            yield Role("valid_from", self.valid_from, False)
        if self.arrival.column:
            yield Role("arrival", self.arrival.column, False)


def _form_of_where(value: Any) -> str:
    return "expression" if isinstance(value, str) else "conditions"


#: Values that columns have, or an expression.
_Where = Annotated[
    Annotated[dict[Column, Condition], Field(max_length=MOST_CONDITIONS), Tag("conditions")]
    | Annotated[Expression, Tag("expression")],
    Discriminator(_form_of_where),
]


class Source(StrictModel):
    """Where data comes from and what it means."""

    name: Name  #: the source's own; rows are kept under it
    #: Names that the source had before: rows that came by them are its own.
    formerly: tuple[Name, ...] = Field(default=(), max_length=MOST_FORMER_NAMES)
    connector: AnyConnector  #: where the rows are
    #: New columns for the mapping and for `where`: expressions over the source's own columns.
    columns: dict[Column, Expression] = Field(default_factory=dict, max_length=MOST_NAMES)
    #: Which rows are meant: column → a value or a list of them, or an expression.
    where: _Where = Field(default_factory=dict)
    events: EventMapping | None = None  #: what its rows mean, if they are events
    attributes: AttributeMapping | None = None  #: what its rows mean, if they are facts
    #: How old the newest event may be at the end of an interval before it is reported.
    freshness: Duration = timedelta(days=3)
    #: What no row of something means on a day that was delivered: that there was none of it, as a
    #: ledger of sales has it, or nothing, as where a sample or only what changed is sent.
    absent_means: Literal["zero", "unknown"] = "zero"
    #: What becomes of an event whose id was read before, with other values: it is set aside, or it
    #: is a version of the event, known from its own arrival on.
    corrections: Literal["refuse", "apply"] = "refuse"

    @model_validator(mode="after")
    def _one_mapping(self) -> Source:
        if (self.events is None) == (self.attributes is None):
            raise ValueError("give exactly one of `events` and `attributes`")
        return self

    @model_validator(mode="after")
    def _new_columns_are_new(self) -> Source:
        cursor = self.connector.cursor_column
        for name in self.columns:
            readers = [
                f"columns.{other}" for other, text in self.columns.items() if name in names_in(text)
            ]
            if name == cursor:
                readers.append("the connector's cursor")
            if readers:
                raise ValueError(
                    f"columns.{name}: {readers[0]} reads the source's own column {quoted(name)}; "
                    "give the new one another name"
                )
        if all(role.column in self.columns for role in self.roles()):
            raise ValueError("no column of the source is read; every row would be the same")
        return self

    @model_validator(mode="after")
    def _corrections_have_an_instant(self) -> Source:
        if self.corrections == "apply" and self.events is None:
            raise ValueError(
                "`corrections` is for sources of events: a changed fact is a new fact anyway"
            )
        if self.corrections == "apply" and self.known_from is None:
            raise ValueError(
                "`corrections: apply` needs to know since when a correction is known: give the "
                "connector's `cursor`, or `arrival: {column: ...}`"
            )
        return self

    @property
    def conditions(self) -> Mapping[str, Scalar | tuple[Scalar, ...]]:
        """The values that `where` lists; nothing where it is an expression."""
        return {} if isinstance(self.where, str) else self.where

    @property
    def where_expression(self) -> str | None:
        """What `where` is, if it is an expression."""
        return self.where if isinstance(self.where, str) else None

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Every expression: the name of the column that it gives, none for `where`; its text."""
        yield from self.columns.items()
        if self.where_expression is not None:
            yield "", self.where_expression

    @property
    def known_from(self) -> str | None:
        """The column that says when a row became known; None where a fixed delay says that."""
        mapping = self.events or self.attributes
        assert mapping is not None  # `_one_mapping` has seen to that
        return self.connector.cursor_column or mapping.arrival.column

    def roles(self) -> Iterator[Role]:
        """Every column of the source that is read, and what for."""
        mapping = self.events or self.attributes
        yield from mapping.roles() if mapping else ()
        yield from (Role("where", column, False) for column in self.conditions)
        for name, text in self.expressions():
            key = f"columns.{name}" if name else "where"
            yield from (Role(key, column, False) for column in sorted(names_in(text)))
        yield from (Role("columns", name, False) for name in self.columns)
        if cursor := self.connector.cursor_column:
            yield Role("cursor", cursor, False)


class Closure(StrictModel):
    """Days on which the tenant is closed, both included, in its time zone: none of them is lost."""

    from_: Day = Field(alias="from")
    until: Day

    @model_validator(mode="after")
    def _in_order(self) -> Closure:
        if self.until < self.from_:
            raise ValueError("`until` is before `from`")
        return self


class Fairness(StrictModel):
    """Groups of users, or whatever is scored, for which a model has to do equally well."""

    attribute: Name  #: of the entity: its value is the group; never a feature
    largest_gap: Number | None = Field(default=None, gt=0)  #: of the metric; None only reports it
    minimum_entities: Count = Field(default=30, ge=2)  #: of a group below which it decides nothing


class UseCaseOverrides(StrictModel):
    """What a tenant may change about a use case; everything else is the use case's own."""

    retrain_every: Duration | None = None
    minimum_rows: Count | None = Field(default=None, ge=1)
    drift_threshold: Number | None = Field(default=None, gt=0)
    cooldown: Duration | None = None
    #: Whether rankings give every group of items its share, where the use case knows groups.
    exposure_parity: bool = False
    #: Whether rankings of items may hold what an entity had; None: as the use case says.
    seen_items: Literal["keep", "drop"] | None = None
    fairness: Fairness | None = None


class Pooling(StrictModel):
    """Whether the tenant's data may train global models. Silence is a no."""

    consent: bool = False  #: to those of its region
    #: Whether it shares the global models that span regions: uses them instead of its region's, and
    #: lets them learn from its data where it consents.
    across_regions: bool = False


class Quota(StrictModel):
    """How much of the platform one tenant may use, within the operator's `limits`."""

    concurrent_tasks: Count = Field(default=4, ge=1, le=64)
    trainings_per_day: Count = Field(default=4, ge=0, le=1000)


class Retention(StrictModel):
    """How long data is kept."""

    events: Retained = timedelta(days=3 * 365)
    predictions: Retained = timedelta(days=400)


class TenantConfig(StrictModel):
    """One tenant."""

    id: TenantId
    #: Made by `tenantry tenants add`: tells this tenant from another one that gets its id later.
    key: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{16,128}$", json_schema_extra={"readOnly": True}
    )
    name: Text
    region: Region
    isolation: Literal["pool", "silo"] = "pool"
    timezone: Timezone = "UTC"
    schedule: Cron  #: in `timezone`
    history_from: Day  #: first day of the first load
    until: Day | None = None  #: last day of the contract; no run starts for a later interval
    sources: tuple[Source, ...] = Field(min_length=1, max_length=MOST_SOURCES)
    use_cases: dict[Name, UseCaseOverrides] = Field(min_length=1, max_length=MOST_USE_CASES)
    closures: tuple[Closure, ...] = Field(default=(), max_length=MOST_CLOSURES)
    pooling: Pooling = Pooling()
    quota: Quota = Quota()
    retention: Retention = Retention()
    #: source columns of personal data: refused, or hashed where the mapping says so
    pii_columns: PersonalColumns = Field(default_factory=dict)

    @property
    def ref(self) -> TenantRef:
        """The tenant's identity, which storage and registry work with."""
        return TenantRef(self.id, self.region, self.isolation)

    @property
    def pool(self) -> TenantRef:
        """Owner of the global models that the tenant is offered."""
        return GLOBAL if self.pooling.across_regions else global_owner(self.region)

    def consents_to(self, owner: TenantRef) -> bool:
        """Whether an owner of global models may have the tenant's data.

        Its region's may where it consents; that of all regions only where it says that, too.
        """
        if not self.pooling.consent:
            return False
        if owner == GLOBAL:
            return self.pooling.across_regions
        return owner == global_owner(self.region)

    @property
    def history_start(self) -> datetime:
        """`history_from` as an instant: midnight in the tenant's time zone."""
        return datetime.combine(self.history_from, datetime.min.time(), ZoneInfo(self.timezone))

    @property
    def history_until(self) -> datetime | None:
        """The end of `until` as an instant, in the tenant's time zone."""
        if self.until is None:
            return None
        after = self.until + timedelta(days=1)
        return datetime.combine(after, datetime.min.time(), ZoneInfo(self.timezone))

    @model_validator(mode="before")
    @classmethod
    def _empty_use_cases_mean_defaults(cls, data: Any) -> Any:
        """`churn:` with nothing after it is YAML for null; it means `churn` as it comes."""
        if isinstance(data, dict) and isinstance(data.get("use_cases"), dict):
            cases = {k: {} if v is None else v for k, v in data["use_cases"].items()}
            data = {**data, "use_cases": cases}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> TenantConfig:
        if change := first_astray(self.schedule, self.timezone):
            size, day = spelled(abs(change.by)), local_day(change.at, self.timezone)
            raise ValueError(
                f"`schedule` goes wrong where clocks are changed, as those of {self.timezone} by "
                f"{size} on {day}: name the hours of a day, not all of them, and "
                f"leave {size} between ticks; or set `timezone: UTC`"
            )
        if self.until is not None and self.until < self.history_from:
            raise ValueError("`until` is before `history_from`")
        twice = [name for name, n in Counter(one.name for one in self.sources).items() if n > 1]
        if twice:
            raise ValueError(f"source names must differ; twice: {', '.join(sorted(twice))}")
        formerly = Counter(name for one in self.sources for name in one.formerly)
        if twice := sorted(name for name, n in formerly.items() if n > 1):
            raise ValueError(
                f"a former name is one source's, once; `formerly` twice: {', '.join(twice)}"
            )
        if taken := sorted(one.name for one in self.sources if one.name in formerly):
            raise ValueError(
                f"`formerly` names what a source of the file is called now: {', '.join(taken)}"
            )
        if not any(source.events for source in self.sources):
            raise ValueError("at least one source must map `events`")
        if problems := self._mapped_personal_columns():
            raise ValueError("; ".join(problems))
        return self

    def _mapped_personal_columns(self) -> list[str]:
        """What reads a PII column and must not: a sentence per source."""
        if not self.pii_columns:
            return []
        personal = PersonalNames(self.pii_columns)
        problems = []
        for source in self.sources:
            refused: dict[str, list[str]] = {}
            may_hash = True
            for role in source.roles():
                said = personal.treatment(role.column)
                if said == "refuse" or (said and not role.hashable):
                    refused.setdefault(role.key, []).append(role.column)
                    may_hash = may_hash and role.hashable
            if refused:
                mapped = "; ".join(
                    f"to {key}: {', '.join(sorted(set(columns)))}"
                    for key, columns in refused.items()
                )
                remedy = (
                    "leave them out, or let them be hashed (`pii_columns: {COLUMN: hash}`)"
                    if may_hash
                    else "leave them out; an instant, a number or a condition cannot be hashed, "
                    "nor what an expression reads"
                )
                problems.append(f"source {source.name!r} maps PII columns {mapped}; {remedy}")
        return problems

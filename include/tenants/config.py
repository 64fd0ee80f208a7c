"""What one tenant's YAML file may say. Unknown keys and impossible values are errors."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from include.tenants.namespace import NAME, RESERVED, TENANT_ID, TenantRef


def _check_tenant_id(value: str) -> str:
    if not TENANT_ID.fullmatch(value):
        raise ValueError(f"must match {TENANT_ID.pattern}")
    if value in RESERVED:
        raise ValueError(f"is reserved; reserved: {', '.join(sorted(RESERVED))}")
    return value


def _check_region(value: str) -> str:
    if not TENANT_ID.fullmatch(value):
        raise ValueError(f"must match {TENANT_ID.pattern}")
    return value


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"must match {NAME.pattern}")
    return value


def _check_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except Exception:  # ZoneInfo raises four unrelated types for a bad key
        raise ValueError("is not an IANA time zone, such as Europe/Vienna or UTC") from None
    return value


def _check_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


def _check_cron(value: str) -> str:
    if len(value.split()) != 5 or not _CRON.fullmatch(value) or not croniter.is_valid(value):
        raise ValueError("must be a cron expression of five fields, such as '0 4 * * 1'")
    try:
        croniter(value, _SOME_DAY).get_next()
    except CroniterBadDateError:
        raise ValueError("names a day that no calendar has") from None
    return value


def _check_day(value: date) -> date:
    if not 1900 <= value.year <= 2999:
        raise ValueError("must be a day of the years 1900 to 2999")
    return value


def _check_text(value: str) -> str:
    if len(value) > 200:
        raise ValueError("must be at most 200 characters long")
    return _check_visible(value)


def _check_visible(value: str) -> str:
    if not value or any(map(_hides, value)):
        raise ValueError("must be text without control, bidi or other invisible characters")
    return value


def _hides(character: str) -> bool:
    """Whether a character could break a line, turn the text's direction or not be encoded."""
    joiners = "\u200c\u200d"  # Persian, Indic scripts and emoji are spelled with them
    category = unicodedata.category(character)
    return category in _HIDING and character not in joiners


_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: No `R` or `H`: croniter draws a time for them anew at every reading of the file.
_CRON: Final = re.compile(r"(?:[0-9*/,#L -]|[A-Za-z]{3})+")
_SOME_DAY: Final = datetime(2024, 1, 1)  # noqa: DTZ001  (any day will do)


def _read_date(value: Any) -> Any:
    """A quoted date is a date, not a column of that name."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return date.fromisoformat(value)
    return value


TenantId = Annotated[str, AfterValidator(_check_tenant_id)]
Region = Annotated[str, AfterValidator(_check_region)]
Name = Annotated[str, AfterValidator(_check_name)]
Timezone = Annotated[str, AfterValidator(_check_timezone)]
Text = Annotated[str, AfterValidator(_check_text)]
Column = Text  #: a column of the source
Day = Annotated[date, AfterValidator(_check_day)]
Duration = Annotated[timedelta, AfterValidator(_check_positive)]
Scalar = bool | int | float | str


class Model(BaseModel):
    """Strict and frozen: what YAML says is what the code gets, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileConnector(Model):
    """Files on disk, in an installed package or behind any fsspec URL."""

    type: Literal["file"]
    path: Annotated[
        str, Field(max_length=1000), AfterValidator(_check_visible)
    ]  #: a path, a glob, `package:DISTRIBUTION/path` or a URL
    format: Literal["csv", "jsonl", "parquet"]


class PostgresConnector(Model):
    """A table or view in the tenant's own Postgres, reached through an Airflow connection."""

    type: Literal["postgres"]
    connection: Name  #: Airflow connection id
    table: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$")
    cursor: Column  #: timestamp column that tells when a row became known


Connector = Annotated[FileConnector | PostgresConnector, Field(discriminator="type")]


class Arrival(Model):
    """When a row became known: a column of the source, or a fixed delay after the event."""

    column: Column | None = None
    delay: timedelta = timedelta(0)

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Arrival:
        if self.column is not None and self.delay:
            raise ValueError("give either `column` or `delay`, not both")
        if self.delay < timedelta(0):
            raise ValueError("`delay` cannot be negative")
        return self


class EventMapping(Model):
    """Source columns → canonical `events`."""

    event: Text | None = None  #: one constant name
    event_column: Column | None = None  #: or the column that holds the name
    event_id: tuple[Column, ...] = Field(min_length=1)  #: columns that identify a row
    event_timestamp: Column
    timezone: Timezone = "UTC"  #: of timestamps that carry none
    arrival: Arrival = Arrival()
    user_id: Column | None = None
    account_id: Column | None = None
    item_id: Column | None = None
    group_id: Column | None = None  #: basket or session
    quantity: Column | None = None
    amount: Column | None = None
    properties: dict[Name, Column] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_event_name(self) -> EventMapping:
        if (self.event is None) == (self.event_column is None):
            raise ValueError("give exactly one of `event` and `event_column`")
        if not (self.user_id or self.account_id or self.item_id):
            raise ValueError("map at least one of `user_id`, `account_id` and `item_id`")
        return self


class AttributeMapping(Model):
    """Source columns → canonical `attributes`, one fact per entity and name."""

    entity: Literal["user", "account", "item"]
    entity_id: Column
    names: dict[Name, Column] = Field(min_length=1)  #: attribute name → source column
    #: A date for all rows, quoted or not, or a column.
    valid_from: Annotated[date | Column, BeforeValidator(_read_date)]
    timezone: Timezone = "UTC"
    arrival: Arrival = Arrival()


class Source(Model):
    """Where data comes from and what it means."""

    name: Name
    connector: Connector
    where: dict[Column, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    events: EventMapping | None = None
    attributes: AttributeMapping | None = None
    #: How old the newest event may be at the end of an interval before it is reported.
    freshness: Duration = timedelta(days=3)

    @model_validator(mode="after")
    def _one_mapping(self) -> Source:
        if (self.events is None) == (self.attributes is None):
            raise ValueError("give exactly one of `events` and `attributes`")
        return self


class Fairness(Model):
    """Groups of users, or whatever is scored, for which a model has to do equally well."""

    attribute: Name  #: of the entity: its value is the group; never a feature
    largest_gap: float | None = Field(default=None, gt=0)  #: of the metric; None only reports it
    minimum_entities: int = Field(default=30, ge=2)  #: of a group below which it decides nothing


class UseCaseOverrides(Model):
    """What a tenant may change about a use case; everything else is the use case's own."""

    retrain_every: Duration | None = None
    minimum_rows: int | None = Field(default=None, ge=1)
    drift_threshold: float | None = Field(default=None, gt=0)
    cooldown: Duration | None = None
    #: Whether rankings give every group of items its share, where the use case knows groups.
    exposure_parity: bool = False
    #: Whether rankings of items may hold what an entity had; None: as the use case says.
    seen_items: Literal["keep", "drop"] | None = None
    fairness: Fairness | None = None


class Pooling(Model):
    """Whether the tenant's data may train global models. Silence is a no."""

    consent: bool = False


class Quota(Model):
    """How much of the platform one tenant may use."""

    concurrent_tasks: int = Field(default=4, ge=1, le=64)
    trainings_per_day: int = Field(default=4, ge=0, le=1000)


class Retention(Model):
    """How long data is kept."""

    events: Duration = timedelta(days=3 * 365)
    predictions: Duration = timedelta(days=400)


class TenantConfig(Model):
    """One tenant."""

    id: TenantId
    name: Text
    region: Region
    isolation: Literal["pool", "silo"] = "pool"
    timezone: Timezone = "UTC"
    schedule: Annotated[str, AfterValidator(_check_cron)]  #: cron, in `timezone`
    history_from: Day  #: first day of the first load
    until: Day | None = None  #: last day of the contract; no run starts for a later interval
    sources: tuple[Source, ...] = Field(min_length=1)
    use_cases: dict[Name, UseCaseOverrides] = Field(min_length=1)
    pooling: Pooling = Pooling()
    quota: Quota = Quota()
    retention: Retention = Retention()
    pii_columns: tuple[
        Column, ...
    ] = ()  #: source columns that must never be mapped to `properties`

    @property
    def ref(self) -> TenantRef:
        """The tenant's identity, which storage and registry work with."""
        return TenantRef(self.id, self.region, self.isolation)

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
        if self.until is not None and self.until < self.history_from:
            raise ValueError("`until` is before `history_from`")
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"source names must differ; twice: {', '.join(twice)}")
        if not any(source.events for source in self.sources):
            raise ValueError("at least one source must map `events`")
        for source in self.sources:
            mapped = source.events.properties.values() if source.events else ()
            leaked = sorted(set(self.pii_columns) & set(mapped))
            if leaked:
                raise ValueError(
                    f"source {source.name!r} maps PII columns to properties: {', '.join(leaked)}"
                )
        return self

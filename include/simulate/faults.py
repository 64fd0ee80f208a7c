"""What can be wrong or change, on demand: each fault is a declaration, and does only what it says.

Days are counted from the world's first one, which is day 0. A fault of the world befalls all its
tenants, one of a tenant's plan only that tenant.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from include.errors import ConfigError, UnknownNameError

Array = NDArray[np.float64]
DriftKind = Literal["covariate", "concept", "prior", "seasonal"]
ColdKind = Literal["users", "items", "tenant"]
FraudKind = Literal["card_testing", "takeover", "night"]
LeakKind = Literal["told", "missing", "ahead", "event", "overwritten", "backdated"]
DRIFT_KINDS: Final[tuple[DriftKind, ...]] = get_args(DriftKind)
YEAR: Final = 365.0


@dataclass(frozen=True)
class Drift:
    """A change of a known kind at a known day.

    kind     | what changes, and what does not
    ---------+-------------------------------------------------------------------------------
    covariate| what is seen moves by `size` deviations; labels follow from it as ever
    concept  | `size` (0 to 1) of the mechanism's variance follows another mechanism from then
             | on; what is seen stays as it is
    prior    | the odds (of a rate: the rate) of a positive are multiplied by exp(`size`);
             | positives look like positives and negatives like negatives, as ever
    seasonal | no drift: since always, what is seen swings by `size` deviations with a period
             | of `over` days (365 where 0), highest at day `at`

    `over` is the number of days that a change takes: 0 is sudden, more is gradual.
    """

    kind: DriftKind
    at: float
    size: float = 1.0
    over: float = 0.0

    def __post_init__(self) -> None:
        _known("kind of drift", self.kind, DriftKind)
        if self.over < 0:
            raise ConfigError(f"a drift cannot take {self.over} days; 0 is sudden")
        if self.kind == "concept" and not 0 <= self.size <= 1:
            raise ConfigError(f"a concept drift is a share from 0 to 1, not {self.size}")

    def strength(self, days: NDArray[np.int64]) -> Array:
        """How much of the change has come by each day: 0 before `at`, in the end 1."""
        if self.kind == "seasonal":
            swing: Array = np.cos(2 * np.pi * (days - self.at) / (self.over or YEAR))
            return swing
        if not self.over:
            return (days >= self.at).astype(np.float64)
        return np.clip((days - self.at + 1) / self.over, 0.0, 1.0)


@dataclass(frozen=True)
class Shock:
    """For `days` days everybody is `factor` times as active."""

    at: float
    days: float = 7.0
    factor: float = 3.0

    def __post_init__(self) -> None:
        if self.days <= 0 or self.factor <= 0:
            raise ConfigError(f"a shock lasts more than 0 days and its factor is above 0: {self}")


@dataclass(frozen=True)
class Late:
    """A share of what happens from day `at` on becomes known late, by `delay` days on average."""

    share: float = 0.05
    delay: float = 3.0
    at: float = 0.0

    def __post_init__(self) -> None:
        _share(self.share)
        if self.delay <= 0:
            raise ConfigError(f"a delay is longer than 0 days, not {self.delay}")


@dataclass(frozen=True)
class Duplicates:
    """A share of the events from day `at` on is sent again, within about an hour, id and all."""

    share: float = 0.05
    at: float = 0.0

    def __post_init__(self) -> None:
        _share(self.share)


@dataclass(frozen=True)
class SimulatedOutage:
    """Nothing becomes known for `days` days; it is lost, or all of it comes in the hour after."""

    at: float
    days: float = 3.0
    lost: bool = True

    def __post_init__(self) -> None:
        if self.days <= 0:
            raise ConfigError(f"an outage lasts longer than 0 days, not {self.days}")


@dataclass(frozen=True)
class Leak:
    """Something that knows the outcome in a share of the cases; in the others it says the opposite.

    The outcome of a main event is that the user leaves within 30 days (shop, media, learning), the
    lead converts, the payment is a fraud or the job viewed is applied for; that of a user, that it
    leaves for good, or as a lead converts, before the world ends.

    kind       | what is called `name`, and how it comes to know
    -----------+-----------------------------------------------------------------------------
    told       | a property, `amount` or `quantity` of main events from day `at` on, filled in once
               | the outcome is known: 1 with it and 0 without; `amount` and `quantity` stay what
               | they are with it, and are 0 without
    missing    | likewise, but there is no value at all where the outcome comes
    ahead      | likewise, how many main events of the same user follow within 30 days, sent as if
               | that were known at once: the delay that a source has is not declared
    event      | an event of that name beside every second main event with the outcome, written
               | once that is known, and stamped with the main event's instant
    overwritten| an attribute of users that is kept up to date in place, and says since when it is
               | known: since they joined. How many days ago the outcome came, 0 where it has not
    backdated  | an attribute of users that is written once the outcome has come, and is dated back
               | by 30 days
    """

    name: str = "risk_code"
    share: float = 0.95
    at: float = 0.0
    kind: LeakKind = "told"

    def __post_init__(self) -> None:
        _known("kind of leak", self.kind, LeakKind)
        _share(self.share)
        if self.kind != "event" and not (self.name.isidentifier() and self.name.islower()):
            raise ConfigError(f"a leak is called by a lower-case name, not {self.name!r}")
        if not self.name or len(self.name) > 40:
            raise ConfigError(f"a leak is called by a name of up to 40 letters, not {self.name!r}")


@dataclass(frozen=True)
class ColdStart:
    """Day `at` brings so many new users or items, as a share of those there are; or the tenant."""

    kind: ColdKind
    at: int
    share: float = 0.2  #: of a tenant: no meaning

    def __post_init__(self) -> None:
        _known("kind of cold start", self.kind, ColdKind)
        if self.share < 0 or self.at < 0:
            raise ConfigError(f"a cold start has neither a negative share nor day: {self}")


@dataclass(frozen=True)
class FraudPattern:
    """A way of defrauding, for about that share of all payments from day `at` until `until`.

    kind        | what it looks like
    ------------+----------------------------------------------------------------------------
    card_testing| eight or more tiny payments within minutes, from a new device
    takeover    | some payments well above the usual, within hours, new device, other country
    night       | one payment of many times the usual amount, between one and four at night
    """

    kind: FraudKind
    share: float = 0.005
    at: float = 0.0
    until: float = float("inf")

    def __post_init__(self) -> None:
        _known("kind of fraud", self.kind, FraudKind)
        if not 0 <= self.share <= 0.5 or self.until <= self.at:
            raise ConfigError(f"a fraud is a share up to 0.5 and ends after it begins: {self}")


Fault = Drift | Shock | Late | Duplicates | SimulatedOutage | Leak | ColdStart | FraudPattern

#: How faults are called in a line of text, and what of their kind is meant.
_SPELLED: Final[dict[str, tuple[type[Fault], dict[str, str]]]] = {
    **{kind: (Drift, {"kind": kind}) for kind in DRIFT_KINDS},
    "shock": (Shock, {}),
    "late": (Late, {}),
    "duplicates": (Duplicates, {}),
    "outage": (SimulatedOutage, {}),
    "leak": (Leak, {}),
    **{f"leak_{kind}": (Leak, {"kind": kind}) for kind in get_args(LeakKind)},
    **{f"cold_{kind}": (ColdStart, {"kind": kind}) for kind in get_args(ColdKind)},
    **{kind: (FraudPattern, {"kind": kind}) for kind in get_args(FraudKind)},
}


def drifts(faults: tuple[Fault, ...], kind: str) -> list[tuple[int, Drift]]:
    """The drifts of that kind, each with its number among them."""
    found = (fault for fault in faults if isinstance(fault, Drift) and fault.kind == kind)
    return list(enumerate(found))


def parse_fault(text: str) -> Fault:
    """A fault from text such as `concept,at=120,size=0.5` or `outage,at=80,lost=false`.

    Raises:
        ConfigError: no such fault or setting, or no such value; names the known ones.
    """
    name, *settings = (part.strip() for part in text.split(","))
    if name not in _SPELLED:
        raise UnknownNameError("fault", name, _SPELLED)
    kind, given = _SPELLED[name]
    kinds = {field.name: str(field.type) for field in fields(kind) if field.name not in given}
    values: dict[str, object] = dict(given)
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in kinds:
            raise UnknownNameError("setting", key, kinds, f"fault {text!r}")
        values[key] = _value(value, kinds[key], text)
    if missing := sorted({"at"} & kinds.keys() - values.keys()) if _needs_day(kind) else []:
        raise ConfigError(f"fault {text!r} needs {missing[0]}=DAY, such as {name},at=100")
    return kind(**values)  # type: ignore[arg-type]


def _needs_day(kind: type[Fault]) -> bool:
    return kind in (Drift, Shock, SimulatedOutage, ColdStart)


def _value(text: str, kind: str, where: str) -> object:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind in ("int", "float"):
            number = float(text)
            if np.isfinite(number):
                return int(text) if kind == "int" else number
    except (ValueError, KeyError):
        pass
    else:
        if kind == "str":
            return text
    wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
    raise ConfigError(f"{text!r} in fault {where!r} is not {wanted}")


def _known(what: str, value: str, kind: object) -> None:
    if value not in get_args(kind):
        raise UnknownNameError(what, value, get_args(kind))


def _share(value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"a share lies between 0 and 1, not at {value}")

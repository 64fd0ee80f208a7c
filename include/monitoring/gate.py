"""The gate of every run: profile against profile, in milliseconds, and the season taken out.

The champion's reference is profiled once, when its version is first monitored. Every window leaves
a profile behind, so that a later one can be compared with its like. See `profiles`, `season`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa

from include.monitoring import season
from include.monitoring.dispersion import with_dispersion
from include.monitoring.drift_records import DriftRecords
from include.monitoring.maturity import (
    Lengths,
    Maturity,
    as_old,
    can_be_equal,
    explanation,
    newest_instant,
)
from include.monitoring.profiles import WindowProfile, profile_window, weighed_against
from include.monitoring.season import NEAR, YEAR, StoredWindow
from include.monitoring.statistics import ColumnDrift, comparable, compare
from include.monitoring.windows import PREDICTION, bounded
from include.tenants.namespace import TenantRef
from include.use_cases.drift_policy import DriftPolicy

#: Features, and `prediction` where the champion can make it, of an earlier instant; None where the
#: tenant's history does not reach back that far.
Past = Callable[[datetime], pa.Table | None]


@dataclass(frozen=True)
class WindowComparison:
    """The current window against the reference, with what the season explains."""

    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    skipped: Mapping[str, str]  #: column → why it was not judged
    reference_entities: int
    current_entities: int

    @property
    def judged(self) -> tuple[ColumnDrift, ...]:
        """The columns, and the prediction where there is one."""
        return (*self.columns, *filter(None, [self.prediction]))

    @property
    def differs(self) -> bool:
        """Whether anything is beyond its limit."""
        return any(column.drifted for column in self.judged)


@dataclass(frozen=True)
class Gate:
    """The comparison of a champion's windows with its reference, for one use case."""

    tenant: TenantRef
    use_case: str
    version: str
    trained_as_of: datetime
    keys: Sequence[str]
    policy: DriftPolicy
    records: DriftRecords

    def reference(self, read: Callable[[], pa.Table]) -> WindowProfile:
        """The profile of the champion's reference; `read` is called only for the first one."""
        profile = self.records.reference(self.tenant, self.use_case, self.version)
        if profile is None:
            profile = self.reference_profile(read())
            self.records.store_reference(
                self.tenant, self.use_case, self.version, self.trained_as_of, profile
            )
        return profile

    def reference_profile(self, table: pa.Table) -> WindowProfile:
        """The profile of a reference, with how far apart its own instants are."""
        sample = bounded(table, self.policy.sample_rows, self.policy.seed)
        found = self.profile(sample)
        return with_dispersion(found, sample, lambda rows: self.profile(rows, found))

    def profile(self, table: pa.Table, like: WindowProfile | None = None) -> WindowProfile:
        """The profile of a window's bounded sample, its columns read as the reference's were."""
        levels = {name: one.level for name, one in like.columns.items()} if like else {}
        sample = bounded(table, self.policy.sample_rows, self.policy.seed)
        return profile_window(sample, self.keys, levels)

    def of_equal_maturity(
        self,
        found: WindowComparison,
        reference: WindowProfile,
        current: WindowProfile,
        maturity: Maturity,
        read: Callable[[], pa.Table],
        window: pa.Table,
    ) -> WindowComparison:
        """`found`, with what moved for history's sake compared again; see `maturity`.

        Args:
            read: gives the champion's reference.
            window: the current window's rows.
        """
        touched = any(one.drifted and one.column in maturity.reaches for one in found.judged)
        if not touched or maturity.equalize is None:
            return found
        rows = read()
        since = newest_instant(rows, window)
        equal = maturity.equalize(since or self.trained_as_of)
        sides = None
        if since is not None and equal.table is not None:
            length = min((one.before for one in equal.lengths.values()), default=timedelta(0))
            before = self.profile(as_old(rows, since, length), reference)
            sides = before, self.profile(equal.table, reference)
        return compare_equally(
            found, reference, current, sides, equal.lengths, maturity, self.policy
        )

    def explained(
        self,
        found: WindowComparison,
        reference: WindowProfile,
        current: WindowProfile,
        as_of: datetime,
        past: Past | None,
    ) -> WindowComparison:
        """`found`, with what only changed with the season marked as such; see `explain`."""
        if past is not None:
            self._build(reference, as_of, past)
        since, until = as_of - YEAR - NEAR, as_of - YEAR + NEAR
        windows = self.records.windows(self.tenant, self.use_case, since, until)
        if season.lacks_weekday(reference, as_of):
            around = season.around(self.trained_as_of)
            windows += self.records.windows(self.tenant, self.use_case, *around)
        return explain(
            found,
            reference,
            current,
            windows,
            version=self.version,
            trained_as_of=self.trained_as_of,
            as_of=as_of,
            policy=self.policy,
        )

    def _build(self, reference: WindowProfile, as_of: datetime, past: Past) -> None:
        """Profile the wanted windows that have no profile yet, where the history reaches them."""
        for instant in season.wanted(reference, as_of, self.trained_as_of):
            there = self.records.windows(self.tenant, self.use_case, instant, instant)
            table = None if there else past(instant)
            if table is not None and table.num_rows:
                window = StoredWindow(instant, self.version, self.profile(table, reference))
                self.records.store_window(self.tenant, self.use_case, window)


def compare_windows(
    reference: WindowProfile, current: WindowProfile, policy: DriftPolicy
) -> WindowComparison:
    """Every column that both windows have, against each other."""
    before = weighed_against(reference, current)
    names, skipped = comparable(before.columns, current.columns)
    features = [name for name in names if name != PREDICTION]
    columns = compare(
        {name: before.columns[name] for name in features},
        {name: current.columns[name] for name in features},
        policy.threshold,
        policy.input_level,
    )
    prediction = None
    if PREDICTION in names:
        (prediction,) = compare(
            {PREDICTION: before.columns[PREDICTION]},
            {PREDICTION: current.columns[PREDICTION]},
            policy.prediction_threshold,
            policy.prediction_level,
        )
    return WindowComparison(columns, prediction, skipped, before.entities, current.entities)


def compare_equally(
    found: WindowComparison,
    reference: WindowProfile,
    current: WindowProfile,
    equal: tuple[WindowProfile, WindowProfile] | None,
    lengths: Mapping[str, Lengths],
    maturity: Maturity,
    policy: DriftPolicy,
) -> WindowComparison:
    """`found`, where a column of unequal maturity drifted with all of these compared once more.

    Args:
        equal: profiles of the reference's newest instants, and of the current window with
            histories no longer than there; None where there are none.
        lengths: of the histories of each column.
    """
    unequal = {
        one.column: lengths[one.column]
        for one in found.judged
        if one.column in lengths and maturity.unequal(one.column, lengths[one.column])
    }
    if not any(one.drifted and one.column in unequal for one in found.judged):
        return found
    again: set[str] = set()
    entities = min((one.entities for one in equal or ()), default=0)
    if equal is not None and entities >= policy.minimum_rows:
        there = equal[0].columns.keys() & equal[1].columns.keys()
        again = {name for name in there & unequal.keys() if can_be_equal(unequal[name])}
    skipped = {
        name: maturity.reason(name, one, entities, policy.minimum_rows)
        for name, one in unequal.items()
        if name not in again
    }
    columns = [
        {
            name: replace(instead.columns[name], dispersion=one.dispersion)
            if name in again and instead
            else one
            for name, one in side.columns.items()
            if name not in skipped
        }
        for side, instead in zip((reference, current), equal or (None, None), strict=True)
    ]
    compared = compare_windows(
        replace(reference, columns=columns[0]), replace(current, columns=columns[1]), policy
    )
    drifted = {one.column: one.psi for one in found.judged if one.drifted}

    def told(one: ColumnDrift) -> ColumnDrift:
        """A column that is no drift is explained if equal histories bring it much closer."""
        alike = one.column in again and one.psi <= drifted.get(one.column, 0.0) / 2
        if one.drifted or not alike:
            return one
        return replace(one, explained=explanation(unequal[one.column]))

    return replace(
        compared,
        columns=tuple(map(told, compared.columns)),
        prediction=told(compared.prediction) if compared.prediction else None,
        skipped={**found.skipped, **compared.skipped, **skipped},
    )


def explain(
    found: WindowComparison,
    reference: WindowProfile,
    current: WindowProfile,
    windows: Sequence[StoredWindow],
    *,
    version: str,
    trained_as_of: datetime,
    as_of: datetime,
    policy: DriftPolicy,
) -> WindowComparison:
    """`found`, with the columns that only changed with the season marked as explained.

    A prediction is also explained by features that are: it is made of them. Windows of the same
    weekday tell about the prediction only where the same version made theirs.
    """
    year, weekday = season.same_season(windows, as_of), []
    if season.lacks_weekday(reference, as_of):
        weekday = season.same_weekday(windows, as_of, trained_as_of)
    if not year and not weekday:
        return found
    columns = season.excuse(found.columns, current.columns, year, weekday, policy, as_of)
    prediction = found.prediction
    if prediction is not None and prediction.drifted:
        own = [one for one in weekday if one.model_version == version]
        (prediction,) = season.excuse([prediction], current.columns, year, own, policy, as_of)
        seasonal = [one.explained for one in columns if one.explained]
        if prediction.drifted and seasonal and not any(one.drifted for one in columns):
            why = f"it follows features that changed {seasonal[0]}"
            prediction = replace(prediction, drifted=False, explained=why)
    return replace(found, columns=columns, prediction=prediction)

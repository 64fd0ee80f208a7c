"""Whether what a tenant's sources give is what its use cases read, as a look into them tells.

What can never come is a problem. Where only a part of a source was looked at, or some rows fit, a
warning says so, and nothing is said of what was not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from include.ingestion.trial import Trial
from include.pipeline.translate import data_needs
from include.quality.needs import DataNeeds
from include.redaction import names_among
from include.tenants.config import Source, TenantConfig
from include.training.windows import plan
from include.use_cases.declaration import UseCase

#: Share of a use case's events that should have the columns it joins on.
_MOST: Final = 0.5
_MEASURES: Final = ("quantity", "amount")


@dataclass
class Misfits:
    """Sentences for people, each with the tenant, the place and what to do."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, certain: bool, line: str) -> None:
        """What will never come is a problem where that is certain, and else a warning."""
        (self.problems if certain else self.warnings).append(line)


@dataclass(frozen=True)
class _Looked:
    """One source of events, and what a look into it gave; None where it could not be read."""

    source: Source
    trial: Trial | None

    def may_give(self, events: Sequence[str], column: str = "") -> bool:
        """Whether rows that were not seen may be such events, with a value in the column."""
        mapping = self.source.events
        if mapping is None or (column and getattr(mapping, column) is None):
            return False
        if mapping.event is not None and mapping.event not in events:
            return False
        return self.trial is None or not self.trial.complete


def compare(
    tenant: TenantConfig,
    use_cases: Sequence[UseCase],
    trials: Mapping[str, Trial],
    now: datetime,
) -> Misfits:
    """Hold what was seen of the sources against what each use case reads.

    Args:
        trials: by source; one that could not be read is missing.
    """
    findings = Misfits()
    for trial in trials.values():
        _compare_ids(tenant, trial, findings)
    for use_case in use_cases:
        _Comparison(tenant, use_case, trials, now, findings).run()
    return findings


def _compare_ids(tenant: TenantConfig, trial: Trial, findings: Misfits) -> None:
    """Events that another one has the id of: repeats, versions of it, or rows to be set aside."""
    (source,) = (one for one in tenant.sources if one.name == trial.source)
    repeats, mapping = trial.repeats, source.events
    if mapping is None or not repeats.rows:
        return
    applied = source.corrections == "apply"
    become = "are versions of its event" if applied else "would be set aside"
    what = []
    if repeats.equal:
        what.append(f"{repeats.equal:,} say the same as an earlier row")
    if repeats.different:
        what.append(f"{repeats.different:,} say something else, and {become}")
    remedy = (
        "name the columns of `event_id` that tell rows apart, such as the number of a line"
        if repeats.different and not applied
        else "nothing is to be done where the source sends rows again, or corrects them"
    )
    findings.add(
        not applied and repeats.different > _MOST * trial.good,
        f"tenant {tenant.id}, source {trial.source}: the event id ({', '.join(mapping.event_id)}) "
        f"repeats in {repeats.rows:,} of {trial.good:,} rows: {'; '.join(what)}; {remedy}",
    )


@dataclass(frozen=True)
class _Comparison:
    """One use case, and what the sources were seen to give."""

    tenant: TenantConfig
    use_case: UseCase
    trials: Mapping[str, Trial]
    now: datetime
    findings: Misfits

    @property
    def _needs(self) -> DataNeeds:
        return data_needs(self.use_case)

    @property
    def _looked(self) -> list[_Looked]:
        return [
            _Looked(source, self.trials.get(source.name))
            for source in self.tenant.sources
            if source.events
        ]

    @property
    def _seen(self) -> list[Trial]:
        return [one.trial for one in self._looked if one.trial is not None]

    def run(self) -> None:
        """Every comparison; the later ones only where there are events at all."""
        use_case = self.use_case
        if not self._rows(use_case.events):
            self._tell_events(use_case.events, "reads")
            return
        if set(use_case.outcomes) != set(use_case.events) and not self._rows(use_case.outcomes):
            self._tell_events(use_case.outcomes, "predicts", fatal=False)
        self._compare_columns()
        self._compare_attributes()
        self._compare_minimums()

    def _rows(self, events: Sequence[str], columns: Sequence[str] = ()) -> int:
        return sum(trial.sample.of(events).filled(columns) for trial in self._seen)

    def _certain(self, events: Sequence[str], column: str = "") -> bool:
        """Whether no source can have such rows among those that were not seen."""
        return not any(one.may_give(events, column) for one in self._looked)

    def _where(self) -> str:
        names = [one.source.name for one in self._looked]
        word = "source" if len(names) == 1 else "sources"
        return f"tenant {self.tenant.id}, {word} {', '.join(names)}"

    def _tell_events(self, events: Sequence[str], verb: str, *, fatal: bool = True) -> None:
        """None of some events is there: which the use case wants, and which there are."""
        if any(one.trial is None and one.may_give(events) for one in self._looked):
            return  # what cannot be read is a problem of its own
        certain = self._certain(events)
        counts: Counter[str] = Counter()
        for trial in self._seen:
            counts.update(trial.sample.kinds())
        names = names_among(name for name, _ in counts.most_common())
        hidden = len(counts) - len(names)
        arriving = [*map(repr, names), *([f"{hidden:,} not shown"] if hidden else [])]
        seen = f"arriving are: {', '.join(arriving)}" if arriving else "no event arrives"
        ever = "none of them would ever arrive" if certain else "none is among the rows looked at"
        wanted = ", ".join(map(repr, events))
        self.findings.add(
            certain and fatal,
            f"{self._where()}: use case {self.use_case.name} {verb} events {wanted}; {ever}, "
            f"{seen}; map one of these names with `event` or `event_column`, select the rows "
            "with `where`, or leave the use case out",
        )

    def _compare_columns(self) -> None:
        """The columns that the use case joins on, and measures."""
        events, label = self.use_case.events, self.use_case.label
        measured = {self.use_case.outcomes: label.value} if label.value in _MEASURES else {}
        needed = [(events, column) for column in self._needs.entity_columns]
        needed += list(measured.items())
        lacking = False
        for names, column in needed:
            rows, filled = self._rows(names), self._rows(names, [column])
            if rows and filled <= _MOST * rows:
                self._tell_column(names, column, rows, filled)
                lacking = lacking or not filled
        joined = self._needs.entity_columns
        if len(joined) > 1 and not lacking and not self._rows(events, joined):
            self.findings.add(
                self._certain(events),
                f"{self._where()}: use case {self.use_case.name} joins on {' and '.join(joined)}, "
                "and no row has all of them; map them in one source",
            )

    def _tell_column(self, events: Sequence[str], column: str, rows: int, filled: int) -> None:
        giving = [
            one.source
            for one in self._looked
            if one.trial is None or one.trial.sample.of(events).kinds() or one.may_give(events)
        ]
        mapped = any(getattr(source.events, column) for source in giving)
        if not mapped:
            what = f"no source of these events maps `{column}`; map it to a column"
        elif filled:
            what = f"only {filled:,} of {rows:,} rows have it; correct the mapping of `{column}`"
        else:
            what = (
                f"`{column}` is empty in all {rows:,} of them that would be taken in; map it to a "
                "column that is filled in"
            )
        self.findings.add(
            not filled and self._certain(events, column),
            f"{self._where()}: use case {self.use_case.name} reads {column} of events "
            f"{', '.join(map(repr, events))}; {what}, or leave the use case out",
        )

    def _compare_attributes(self) -> None:
        """Attributes that features look up, and that no source gives."""
        sources = [source for source in self.tenant.sources if source.attributes]
        for name in self._needs.attributes:
            giving = [one for one in sources if one.attributes and name in one.attributes.names]
            seen = [self.trials[one.name] for one in giving if one.name in self.trials]
            if any(trial.sample.of([name]).filled(["value"]) for trial in seen):
                continue
            if not giving:
                what = "no source maps it"
            elif any(one.name not in self.trials for one in giving):
                continue  # what cannot be read is a problem of its own
            else:
                what = f"it is empty in the rows looked at of {', '.join(t.source for t in seen)}"
            self.findings.warnings.append(
                f"tenant {self.tenant.id}: use case {self.use_case.name} looks up attribute "
                f"{name!r}; {what}; give it under `attributes`, or its features are unknown"
            )

    def _compare_minimums(self) -> None:
        """What an own model takes before it is trained and judged."""
        use_case, tenant, gates = self.use_case, self.tenant, self.use_case.gates
        certain = self._certain(use_case.events)
        first, last = tenant.history_start, self.now
        if certain:
            samples = [trial.sample.of(use_case.events) for trial in self._seen]
            ends = [sample.ends() for sample in samples if len(sample.rows)]
            first = min(start for start, _ in ends if start)
            last = max(end for _, end in ends if end)
        windows = plan(use_case, first, last, max(self.now, last))
        rules = use_case.snapshots
        needed = max(rules.minimum_history + 2 * use_case.reach, timedelta(days=gates.minimum_days))
        if not windows.training or not windows.holdout:
            self._warn(
                f"needs {needed.days:,} days of events to train and judge an own model, and has "
                f"{max(0, (last - first).days):,}; set `history_from` earlier if the sources reach "
                "back, or wait"
            )
        if not certain:
            return
        rows = sum(len(sample.rows) for sample in samples)
        entities = sum(sample.distinct(use_case.keys[0]) for sample in samples)
        if entities < gates.minimum_entities:
            self._warn(
                f"needs {gates.minimum_entities:,} different {use_case.keys[0]} to judge an own "
                f"model by, and all sources together have {entities:,}"
            )
        override = tenant.use_cases.get(use_case.name)
        minimum = (override.minimum_rows if override else None) or gates.minimum_rows
        most = self._most_rows(rows, entities, len(windows.training))
        if most is not None and most < minimum:
            self._warn(
                f"needs {minimum:,} rows to train an own model, and all sources together come to "
                f"{most:,} at most"
            )

    def _most_rows(self, events: int, entities: int, snapshots: int) -> int | None:
        """Rows that training has at most; None where nothing here bounds them."""
        if self.use_case.request:
            return events
        if self.use_case.task in ("ranking", "association"):
            return None
        return entities * snapshots if snapshots else None

    def _warn(self, what: str) -> None:
        self.findings.warnings.append(
            f"{self._where()}: use case {self.use_case.name} {what}; until then a global model or "
            "a baseline serves"
        )

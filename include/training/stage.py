"""The training stage: one tenant's candidates, or the global model of consenting tenants.

A promoted model is the very model that was measured here: nothing is fitted again after the
holdout. Own models are also judged on later windows within training (see `candidates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from include.errors import ConfigError, IsolationError, QualityError
from include.handoffs import (
    Candidate,
    FeaturesBuilt,
    LostDays,
    Scored,
    Trained,
)
from include.models.contributors import Contributors
from include.models.model import Model
from include.registry.evidence import Comparison, Need
from include.registry.two_way import blocks_of
from include.storage.lake import Lake
from include.tenants.config import Fairness, TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef
from include.training.candidates import OwnModel, Parent, compare, own_models
from include.training.contenders import TRAINED_UNTIL, Version, as_is, baselines, learnt_until
from include.training.dataset import Dataset, Pinned, build
from include.training.evaluation import Contender, Evaluation, document, evaluate
from include.training.fitting import GLOBAL_SETTINGS, fit_best
from include.training.lineage import lineage
from include.training.membership import settle
from include.training.reference import reference_window
from include.training.shared_catalogue import CATALOGUE, OTHERS, Sold, shared_catalogue
from include.training.suspecting import Material, suspect
from include.training.swings import Earlier
from include.training.windows import TrainingWindows
from include.use_cases.declaration import Gates, UseCase
from include.use_cases.losses import told
from include.wall_clock import PLATFORM, local_day

TRIGGERS: Final = ("scheduled", "drift", "manual")


def train(
    tenant: TenantConfig,
    use_case: UseCase,
    built: FeaturesBuilt,
    *,
    lake: Lake,
    incumbent: Version | None,
    global_champion: Version | None,
    trigger: str,
    code_revision: str,
    logs: Sequence[Scored] = (),
) -> Trained:
    """Candidates of one tenant: baselines, the global champion as it is, and models of its own.

    Args:
        built: the features, with the table versions and `as_of` that they pin.
        incumbent: the version that serves now, which is measured beside the candidates.
        global_champion: the global model, where there is one.
        logs: earlier scorings. Their vectors, beside those computed for the same rows now, show
            values that changed once the outcome was known.
    """
    if built.tenant != tenant.id:
        raise IsolationError(f"features of {built.tenant} cannot train a model of {tenant.id}")
    if built.feature_fingerprint != use_case.fingerprint:
        raise ConfigError(
            f"the features of {tenant.id} {use_case.name} were built by another declaration; "
            "run the features stage again"
        )
    pinned = Pinned(tenant, built.events, built.attributes, built.lost)
    data = build(use_case, [pinned], built.as_of, lake)
    notes = _lost_notes(data.windows, built.lost, tenant.timezone)
    contenders = baselines(use_case, data)
    if global_champion is not None:
        contenders += as_is(
            "global", global_champion, use_case, data, built.as_of, notes, tenant.timezone
        )
    override = tenant.use_cases.get(use_case.name)
    minimum = (override.minimum_rows if override else None) or use_case.gates.minimum_rows
    gates = replace(use_case.gates, minimum_rows=minimum)
    run = _Run(tenant.ref, use_case, built.as_of, trigger, code_revision, (pinned,), data, lake)
    recent = lake.get_table(tenant.ref, built.features)
    fairness = override.fairness if override else None
    with threadpool_limits(1):  # more threads add up in another order, and give other bits
        return run.finish("own", gates, contenders, incumbent, notes, recent, fairness, logs)


def train_global(
    use_case: UseCase,
    tenants: Sequence[TenantConfig],
    as_of: datetime,
    *,
    lake: Lake,
    incumbent: Version | None,
    trigger: str,
    code_revision: str,
    owner: TenantRef = GLOBAL,
    left_out: int = 0,
    lost: Mapping[str, tuple[LostDays, ...]] = MappingProxyType({}),
) -> Trained:
    """The model of all tenants that consented to one pool and have data.

    Args:
        owner: of the global models: a region's, or that of all regions.
        left_out: how many others consented, and have tables that cannot be read.
        lost: tenant id → what it lost of the events that labels are made of.

    Raises:
        IsolationError: a tenant that did not consent to that pool was handed in; nothing of it was
            read.
    """
    refused = sorted({t.id for t in tenants if not t.consents_to(owner)})
    if refused:
        raise IsolationError(f"{', '.join(refused)} did not consent to pooling in {owner.id!r}")
    if as_of.utcoffset() is None:
        raise ConfigError(f"as_of must be an aware datetime, got {as_of!r}")
    sources = tuple(
        Pinned(
            tenant,
            lake.version(tenant.ref, "events"),
            lake.version(tenant.ref, "attributes"),
            lost.get(tenant.id, ()),
        )
        for tenant in sorted(tenants, key=lambda tenant: tenant.id)
    )
    notes = [_LEFT_OUT.format(left_out)] if left_out else []
    data = build(use_case, sources, as_of, lake)
    fewest = Contributors()
    run = _Run(owner, use_case, as_of, trigger, code_revision, sources, data, lake, fewest)
    with threadpool_limits(1):  # as above
        contenders = baselines(use_case, data, fewest)
        return run.finish("global", use_case.gates, contenders, incumbent, notes, None)


@dataclass(frozen=True)
class _Run:
    owner: TenantRef
    use_case: UseCase
    as_of: datetime
    trigger: str
    code_revision: str
    sources: tuple[Pinned, ...]
    data: Dataset
    lake: Lake
    #: How many must share what other tenants get; None where no other tenant gets anything.
    contributors: Contributors | None = None

    def finish(
        self,
        rung: str,
        gates: Gates,
        contenders: list[Contender],
        incumbent: Version | None,
        notes: list[str],
        recent: pa.Table | None,
        fairness: Fairness | None = None,
        logs: Sequence[Scored] = (),
    ) -> Trained:
        """Fit, measure and store; `recent` stands in for a holdout that has no rows."""
        if self.trigger.partition("-")[0] not in TRIGGERS:  # `scheduled-2`: done afresh
            raise ConfigError(f"trigger {self.trigger!r} is none of {', '.join(TRIGGERS)}")
        trials: list[Any] = []
        own: tuple[OwnModel, ...] = ()
        needs = self._needs(gates)
        lacking = self._lacking(needs)
        if lacking:
            notes.append(f"No model of {_WHOSE[rung]} own was trained: {lacking}.")
        elif rung == "global":
            try:
                fitted = self._fit_global()
                contenders = [*contenders, Contender.of(rung, fitted.kind, fitted)]
            except QualityError as error:  # too little that enough tenants have
                notes.append(f"No model of {_WHOSE[rung]} own was trained: {error}.")
        else:
            own = self._fit_own(contenders)
            contenders = [
                *contenders,
                *(Contender.of(rung, one.name, one.model, one.parent_version) for one in own),
            ]
            trials = [trial for model in own for trial in model.trials]
        serving: Contender | None = None
        if incumbent is not None:
            usable = as_is("incumbent", incumbent, self.use_case, self.data, self.as_of, notes)
            serving = usable[0] if usable else None
        judged = (self.data.holdout, contenders, serving, notes)
        items = None
        if self.use_case.task == "association":  # later baskets must not tell what is in them
            items = set(self.data.training.item.tolist())
        evaluation = evaluate(self.use_case, *judged, rung == "global", fairness, items)
        everyone = [*contenders, *([serving] if serving else [])]
        earlier = Earlier.of(self.use_case, self.data.training, everyone, own)
        since = learnt_until(incumbent) if incumbent is not None else None
        others = [contender for contender in everyone if contender.rung != "own"]
        evidence = replace(
            evaluation.evidence,
            comparisons=tuple(self._proven(evaluation, own, others, serving, since, earlier)),
        )
        if rung == "own":
            evidence = replace(evidence, needs=needs, false_promotions=gates.false_promotions)
        swings = {one.key: self._swings(one, evaluation, earlier) for one in contenders}
        evaluation = replace(evaluation, evidence=evidence, swings=swings)
        suspicions = suspect(self._material, contenders, recent, logs)
        facts = {**self._lineage, "trials": trials, "suspicions": suspicions}
        if rung == "global":
            facts[CATALOGUE] = self._catalogue()
        content = document(evaluation, everyone, facts)
        return Trained(
            tenant=self.owner.id,
            use_case=self.use_case.name,
            as_of=self.as_of,
            trigger=self.trigger,
            candidates=tuple(self._candidate(one, evaluation, recent) for one in contenders),
            evaluation=self.lake.put(self.owner, f"{self._folder}/evaluation.json", content),
            training_rows=len(self.data.training),
            holdout_rows=len(self.data.holdout),
        )

    def _catalogue(self) -> Sold:
        """The shared catalogue, of members whose change gives no single tenant away."""
        giving = {source.tenant.id for source in self.sources}
        purpose = f"catalogue-{self.use_case.name}"
        members = settle(giving, purpose, OTHERS, owner=self.owner, lake=self.lake)
        return shared_catalogue(self.use_case, self.data.training, members)

    @property
    def _material(self) -> Material:
        return Material(self.use_case, self.data, self.sources, self.as_of, self.lake)

    @property
    def _lineage(self) -> dict[str, Any]:
        facts = lineage(self.use_case, self.data, self.sources)
        return {
            **facts,
            "tenant": self.owner.id,
            "as_of": self.as_of.isoformat(),
            "timezone": PLATFORM if self.contributors else self.sources[0].tenant.timezone,
            "trigger": self.trigger,
            "code_revision": self.code_revision,
        }

    @property
    def _folder(self) -> str:
        return f"training/{self.use_case.name}/{self.as_of:%Y-%m-%dT%H%M%S}-{self.trigger}"

    def _needs(self, gates: Gates) -> tuple[Need, ...]:
        """What a model needs of rows, classes and days, and how much of each there is."""
        rows, windows = self.data.training, self.data.windows
        days = (windows.known_until - windows.training[0]).days if windows.training else 0
        needs = [Need("training rows", len(rows), gates.minimum_rows)]
        if not self.use_case.lists and self.use_case.task in ("classification", "ranking"):
            positives = int((rows.label == 1).sum())
            rarer = min(positives, len(rows) - positives)
            needs.append(Need("rows of the rarer class", rarer, gates.minimum_positives))
        return (*needs, Need("days of history", days, gates.minimum_days))

    def _lacking(self, needs: Sequence[Need]) -> str:
        """Why no model can be trained, in words; empty where one can."""
        if len(self.data.holdout) == 0:
            return "the history is too short for a later window to judge it by"
        for need in needs:
            if need.missing:
                return f"{need.has:,} {need.what} are fewer than the {need.needed:,} it takes"
        if self.contributors is not None:
            giving, needed = len(np.unique(self.data.training.tenant)), self.contributors.tenants
            if giving < needed:
                return (
                    f"rows of {giving} tenants are fewer than the {needed} it takes, so that each "
                    "faces two others"
                )
        return ""

    def _fit_global(self) -> Model:
        data, reach = self.data, self.use_case.reach
        tried = GLOBAL_SETTINGS
        arguments = (data.training, data.windows, reach, tried, self.contributors)
        return self._dated(fit_best(self.use_case, *arguments).model)

    def _fit_own(self, contenders: Sequence[Contender]) -> tuple[OwnModel, ...]:
        """Every own model, built on the global model where there is one."""
        shared = next((contender for contender in contenders if contender.rung == "global"), None)
        parent = Parent(shared.model, shared.parent_version) if shared else None
        models = own_models(self.use_case, self.data.training, self.data.windows, parent)
        return tuple(replace(own, model=self._dated(own.model)) for own in models)

    def _dated(self, model: Model) -> Model:
        until = self.data.windows.training[-1] + self.use_case.reach
        return replace(model, parameters={**model.parameters, TRAINED_UNTIL: until.isoformat()})

    def _proven(
        self,
        evaluation: Evaluation,
        own: Sequence[OwnModel],
        others: Sequence[Contender],
        serving: Contender | None,
        since: datetime | None,
        earlier: Earlier,
    ) -> Iterator[Comparison]:
        """The comparisons; own models are compared over later training windows, too.

        Comparisons of unchanged models get the swing that these have in training windows.
        """
        through_time = {f"own/{model.name}": model for model in own if model.later}
        against = {contender.key: contender for contender in others}
        holdout = self.data.holdout
        windows = len(np.unique(blocks_of(holdout.as_of, self.use_case.reach)))
        for comparison in evaluation.evidence.comparisons:
            candidate = through_time.get(comparison.candidate)
            other = against.get(comparison.against)
            if candidate is None or other is None:
                entities = evaluation.evidence.entities
                yield earlier.informed(replace(comparison, entities=entities, windows=windows))
            else:
                fresh = holdout if other.fresh else None
                learnt = since if other is serving else None
                yield compare(self.use_case, candidate, other.model, other.key, fresh, learnt)

    def _swings(
        self, contender: Contender, evaluation: Evaluation, earlier: Earlier
    ) -> Mapping[str, Any]:
        """The errors and swings by which later windows of the model are to be judged."""
        estimate = evaluation.estimates[contender.key][self.use_case.metric]
        held = self.data.holdout
        scored = contender.fresh and len(held) and not contender.model.lists
        scores = contender.model.predict(held.features) if scored else None
        return earlier.told(contender.key, estimate, held, scores).document()

    def _candidate(
        self, contender: Contender, evaluation: Evaluation, recent: pa.Table | None
    ) -> Candidate:
        estimate = evaluation.estimates[contender.key][self.use_case.metric]
        name = f"{contender.rung}-{contender.name}"
        window = reference_window(
            self.use_case, contender.model, self.data.holdout, recent, self.contributors
        )
        return Candidate(
            rung=contender.rung,
            name=contender.name,
            artifact=self.lake.put(self.owner, f"{self._folder}/{name}.json", contender.content),
            reference=self.lake.put_table(self.owner, f"{self._folder}/{name}.parquet", window),
            parent_version=contender.parent_version,
            # Unmeasured: anything from 0 to 1, as the empty holdout says.
            metric=estimate.value or 0.0,
            metric_low=estimate.low or 0.0,
            metric_high=1.0 if estimate.high is None else estimate.high,
        )


def _lost_notes(windows: TrainingWindows, lost: Sequence[LostDays], timezone: str) -> list[str]:
    """A note on the snapshots that were left out, as their labels reach into lost days."""
    if not windows.left_out:
        return []
    days = ", ".join(local_day(at, timezone) for at in windows.left_out)
    return [
        f"{len(windows.left_out)} snapshots were left out ({days}): their labels reach into days "
        f"of which rows are lost ({told(lost, timezone)})."
    ]


_LEFT_OUT: Final = "{} of the consenting tenants were left out: their tables cannot be read."
_WHOSE: Final = {"own": "the tenant's", "global": "the consenting tenants'"}

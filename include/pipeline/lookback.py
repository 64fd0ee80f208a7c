"""What earlier instants looked like, and what older versions would have said of later ones."""

from __future__ import annotations

import logging
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IntegrityError
from include.features.histories import Histories, histories, shortened
from include.features.inputs import Inputs, read
from include.features.reach import Reach
from include.features.request_columns import with_request
from include.features.spine import Spine
from include.handoffs import Scored
from include.models.model import Model, asking, row_scores
from include.monitoring import effects
from include.monitoring.gate import Past
from include.monitoring.live import Rows
from include.monitoring.maturity import Equalized, Lengths, Maturity
from include.monitoring.windows import AS_OF, PREDICTION
from include.pipeline import serving
from include.pipeline.runs import Run
from include.scoring.ranks import listed, ranked
from include.stage_runs import scored_before
from include.use_cases.declaration import TOP, UseCase
from include.use_cases.reach import column_reaches, furthest_of
from include.use_cases.spines import event_columns, scoring_spine

log = logging.getLogger(__name__)


def past(run: Run, scored: Scored, model: Model) -> Past:
    """Features as they were at an earlier instant, with what the champion says of them.

    Asked on a breach only, to see whether the season or the weekday explains it.
    """
    use_case = run.the_use_case()

    def at(instant: datetime) -> pa.Table | None:
        if use_case.request or instant < run.tenant.history_start:
            return None
        inputs = read(
            run.tenant,
            use_case.features,
            events=scored.events,
            attributes=scored.attributes,
            known_at=instant,
            lake=run.platform.lake,
            also=event_columns(use_case),
        )
        spine = scoring_spine(use_case, inputs.events, instant)
        if spine.num_rows == 0:
            return None
        features = inputs.compute(use_case.features, Spine(spine))
        return _with_prediction(features, model, use_case)

    return at


def maturity(run: Run, scored: Scored, model: Model) -> Maturity:
    """How the scored columns and the prediction depend on the length of the tenant's history."""
    use_case, lake = run.the_use_case(), run.platform.lake
    reaches = reaches_of(use_case, model)

    def equalize(since: datetime) -> Equalized:
        inputs = read(
            run.tenant,
            use_case.features,
            events=scored.events,
            attributes=scored.attributes,
            known_at=run.as_of,
            lake=lake,
            also=("source", *event_columns(use_case)),
        )
        vectors = lake.get_table(run.tenant.ref, scored.features)
        return equalized(use_case, inputs, vectors, since, run.as_of, model)

    return Maturity(reaches, equalize)


def reaches_of(use_case: UseCase, model: Model) -> dict[str, Reach]:
    """What of the past each scored column depends on, and the prediction, made of several."""
    columns = column_reaches(use_case)
    return columns | {PREDICTION: furthest_of(columns, model.columns)}


def equalized(
    use_case: UseCase,
    inputs: Inputs,
    vectors: pa.Table,
    since: datetime,
    as_of: datetime,
    model: Model,
) -> Equalized:
    """The window that was scored at `as_of`, with histories no longer than they were at `since`.

    Args:
        vectors: what was scored.
        since: the oldest instant of the reference's rows that the window is compared with.
    """
    first = pc.min(vectors[AS_OF]).as_py() if vectors.num_rows else as_of
    before, now = (histories(inputs, at, as_of) for at in (since, first))
    reaches = reaches_of(use_case, model)
    lengths = {name: _lengths(reach, before, now) for name, reach in reaches.items()}
    short = shortened(inputs, first, before)
    if use_case.request:  # the same events, each with less behind it
        spine = vectors.select([*use_case.keys, AS_OF])
    else:
        spine = scoring_spine(use_case, short.events, as_of)
    if spine.num_rows == 0 or short.events.num_rows == 0:
        return Equalized(None, lengths)
    features = short.compute(use_case.features, Spine(spine))
    if use_case.request:
        features = with_request(use_case.request, features, short.events, short.timezone, as_of)
    return Equalized(_with_prediction(features, model, use_case), lengths)


def _lengths(reach: Reach, before: Histories, now: Histories) -> Lengths:
    length, looked_up = before.of_events(reach), before.of_attributes(reach)
    later = looked_up is not None and looked_up < min(length, reach.window)
    return Lengths(length, now.of_events(reach), later)


def _with_prediction(features: pa.Table, model: Model, use_case: UseCase) -> pa.Table:
    scores = row_scores(model, features, use_case.entity)
    return features.append_column(PREDICTION, pa.array(scores))


def settle_effects(run: Run, served: Rows, truth: pa.Table, as_of: datetime) -> None:
    """Whether promoted retrains helped: the old version on the labels that have just matured."""
    use_case, ref, platform = run.the_use_case(), run.tenant.ref, run.platform
    retrains = platform.stores.retrains
    waiting = [
        effect
        for effect in effects.unsettled(ref, use_case.name, retrains)
        if effect.as_of <= as_of
    ]
    if not waiting:
        return
    logs = scored_before(platform.stores.stage_runs, ref, use_case.name, run.as_of)
    scored = next((log for log in logs if log.as_of == as_of), None)
    for retrain in waiting:
        if scored is None or scored.version != retrain.after:
            continue
        try:
            features = platform.lake.get_table(ref, scored.features)
        except IntegrityError as error:  # as the skew replay: no vectors, nothing to compare
            log.info("effects: the vectors of %s are left out: %s", as_of, error)
            return
        _, old = serving.version(platform, ref, use_case.name, retrain.before)
        if not set(old.columns) <= set(features.column_names):
            continue
        effects.settle_with_old_scores(
            ref,
            use_case.name,
            retrain,
            served,
            truth,
            answers(old, features, use_case).select(["entity_id", "item_id", "score"]),
            retrains=retrains,
            metric=use_case.metric,
            as_of=as_of,
            reach=use_case.reach,
        )


def answers(model: Model, features: pa.Table, use_case: UseCase) -> pa.Table:
    """What scoring would have written of these features."""
    if model.lists:
        return listed(model.recommend(asking(features, use_case.entity), TOP), TOP)
    scores = model.predict(features)
    return ranked(
        features, use_case.task, TOP, scores=scores, baseline=None, entity=use_case.entity
    )

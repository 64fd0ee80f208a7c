"""What earlier instants looked like, and what older versions would have said of later ones."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from include.features.inputs import read
from include.features.spine import Spine
from include.handoffs import Scored
from include.models.model import Model, asking, row_scores
from include.monitoring import effects
from include.monitoring.gate import Past
from include.pipeline import history, serving
from include.pipeline.runs import Run
from include.scoring.ranks import listed, ranked
from include.use_cases.declaration import TOP, UseCase
from include.use_cases.spines import event_columns, scoring_spine


def past(run: Run, scored: Scored, model: Model) -> Past:
    """Features as they were at an earlier instant, with what the champion says of them.

    Asked on a breach only, to see whether the season or the weekday explains it.
    """
    use_case = run.the_use_case()

    def at(instant: datetime) -> pa.Table | None:
        if use_case.request or instant < run.tenant.history_start:
            return None
        found = read(
            run.tenant,
            use_case.features,
            events=scored.events,
            attributes=scored.attributes,
            known_at=instant,
            lake=run.platform.lake,
            pool=scored.pool,
            also=event_columns(use_case),
        )
        spine = scoring_spine(use_case, found.events, instant)
        if spine.num_rows == 0:
            return None
        features = found.compute(use_case.features, Spine(spine))
        scores = row_scores(model, features, use_case.entity)
        return features.append_column("prediction", pa.array(scores))

    return at


def settle_effects(run: Run, truth: pa.Table, as_of: datetime) -> None:
    """Whether promoted retrains helped: the old version on the labels that have just matured."""
    use_case, ref, platform = run.the_use_case(), run.tenant.ref, run.platform
    for retrain in effects.unsettled(ref, use_case.name):
        scored = next((one for one in history.scored_before(run) if one.as_of == as_of), None)
        if as_of < retrain.as_of or scored is None or scored.version != retrain.after:
            continue
        _, old = serving.version(platform, ref, use_case.name, retrain.before)
        features = platform.lake.get_table(ref, scored.features)
        if not set(old.columns) <= set(features.column_names):
            continue
        effects.settle_with_old_scores(
            ref,
            use_case.name,
            retrain,
            truth,
            answers(old, features, use_case).select(["entity_id", "item_id", "score"]),
            metric=use_case.metric,
            as_of=as_of,
        )


def answers(model: Model, features: pa.Table, use_case: UseCase) -> pa.Table:
    """What scoring would have written of these features."""
    if model.lists:
        return listed(model.recommend(asking(features, use_case.entity), TOP), TOP)
    scores = model.predict(features)
    return ranked(
        features, use_case.task, TOP, scores=scores, baseline=None, entity=use_case.entity
    )

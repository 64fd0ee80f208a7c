"""Scores the active entities of one interval with the version that serves at its end.

The challenger of that instant scores them, too: in the shadow, or for its arm of an experiment.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from include.errors import ConfigError, IntegrityError
from include.handoffs import FeaturesBuilt, GroupExposure, Scored
from include.models.model import Model, Scores, asking
from include.models.serialise import from_bytes
from include.registry import recorded
from include.registry.ancestry import ModelName
from include.registry.experiments import Experiments
from include.registry.port import ModelVersion, Registry
from include.registry.predictions import Predictions
from include.registry.promotions import Promotions
from include.registry.withdrawal import lost_for_good
from include.scoring.challenger import challenged, served
from include.scoring.exposure import groups_of, measured
from include.scoring.ranks import listed, ranked
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef
from include.use_cases.details import Detail

log = logging.getLogger(__name__)

#: Tasks in which a rank is a place among all entities, not on the list of one.
_ONE_RANKING: Final = ("classification", "regression")


def score(
    tenant: TenantRef,
    built: FeaturesBuilt,
    task: str,
    top_k: int,
    *,
    registry: Registry,
    promotions: Promotions,
    experiments: Experiments,
    predictions: Predictions,
    lake: Lake,
    entity: str = "user_id",
    baseline: Model | None = None,
    reasons: int = 0,
    beside: Sequence[Detail] = (),
    item_groups: str = "",
    parity: bool = False,
) -> Scored:
    """Make the champion's predictions all that `predictions` holds of the interval.

    In an experiment, the entities of the challenger's arm have the challenger's; what that would
    have answered to everybody stands in `shadow_predictions`.

    Args:
        task: the use case's.
        top_k: how many items an entity keeps in a ranking or a list.
        entity: the features' column of whom or what is scored.
        baseline: gives `baseline_score`, null where it has no answer.
        reasons: how many features are kept with each score as its explanation.
        beside: what else is kept with each score.
        item_groups: text feature that names an item's group, whose exposure is then measured.
        parity: whether every group is given its share of each ranking.

    Returns:
        An empty version and no rows where nothing serves yet; the table is then left alone.

    Raises:
        IntegrityError: features or model are not the bytes that were recorded, or the version is
            not the one the ledger promoted.
        ConfigError: the model reads features that were not built.
        QualityError: a score is not finite.
    """
    if built.tenant != tenant.id:
        raise IntegrityError(f"features of {built.tenant!r} were handed to tenant {tenant.id!r}")
    serving = promotions.champion_at(tenant, built.use_case, built.as_of)
    if serving is None:
        log.warning(
            "scoring: nothing serves %s/%s at %s, so nothing is predicted",
            *(tenant.id, built.use_case, built.as_of),
        )
        return _scored(built, "", 0)
    version = recorded.promoted(tenant, serving, registry)
    if reason := lost_for_good(version, registry, promotions):
        log.warning("scoring: %s must not serve any more: %s", ModelName.of(version), reason)
        return _scored(built, "", 0)
    model = from_bytes(registry.artifact(tenant, version))
    features = lake.get_table(tenant, built.features)
    if baseline is not None:
        _check_columns(baseline, version, features.column_names)
    if version.feature_fingerprint != built.feature_fingerprint:
        log.warning(
            "scoring: %s/%s@%s was trained on feature definitions %s; these are %s",
            *(tenant.id, built.use_case, version.version),
            *(version.feature_fingerprint, built.feature_fingerprint),
        )
    groups = groups_of(features, item_groups) if item_groups else []
    compared = None if model.lists or baseline is None else baseline.predict(features)

    def answer(version: ModelVersion, model: Model, detailed: bool) -> pa.Table:
        _check_columns(model, version, features.column_names)
        if model.lists:
            asked = asking(features, entity)

            def why(shown: pa.Table) -> list[dict[str, Any]]:
                return model.list_details(asked, shown, reasons)

            return listed(model.recommend(asked, top_k), top_k, why if detailed else None)
        scores = model.predict(features)

        def details(places: pa.Array) -> list[dict[str, Any]]:
            shown, theirs = features.take(places), scores[places.to_numpy()]
            return _details(model, shown, theirs, reasons, beside)

        return ranked(
            features,
            task,
            top_k,
            scores=scores,
            baseline=compared,
            details=details if detailed else None,
            entity=entity,
            parity=groups if parity and groups else None,
            catalogue=built.catalogue,
        )

    rows = answer(version, model, True)
    found = challenged(
        tenant,
        built.use_case,
        built.as_of,
        version,
        answer,
        registry,
        promotions,
        experiments,
    )
    parts = served(rows, version.version, found, lists=task not in _ONE_RANKING)
    predictions.replace(
        tenant,
        built.use_case,
        built.as_of,
        parts,
        feature_fingerprint=built.feature_fingerprint,
        shadow=found.shadow if found else None,
    )
    rows = pa.concat_tables([part.rows for part in parts])
    log.info(
        "scoring: %s/%s@%s wrote %d rows at %s",
        *(tenant.id, built.use_case, version.version, rows.num_rows, built.as_of),
    )
    exposure = _exposure(rows, features, groups) if groups else ()
    for one in exposure:
        log.info(
            "scoring: %s/%s group %s has %.1f %% of the candidates and %.1f %% of the exposure",
            *(tenant.id, built.use_case, one.group, 100 * one.candidates, 100 * one.exposure),
        )
    return _scored(built, version.version, rows.num_rows, exposure)


def _details(
    model: Model, features: pa.Table, scores: Scores, reasons: int, beside: Sequence[Detail]
) -> list[dict[str, Any]]:
    details = model.details(features, reasons)
    for one in beside:
        for row, value in zip(details, one.values(features, scores), strict=True):
            row |= {} if value is None else {one.name: value}
    return details


def _exposure(
    rows: pa.Table, features: pa.Table, groups: Sequence[str]
) -> tuple[GroupExposure, ...]:
    of = dict(zip(features["item_id"].to_pylist(), groups, strict=True))
    shown = [of[item] for item in rows["item_id"].to_pylist()]
    return measured(shown, rows["rank"].to_numpy(), groups)


def _check_columns(model: Model, version: ModelVersion, there: list[str]) -> None:
    missing = sorted(set(model.columns) - set(there))
    if missing:
        raise ConfigError(
            f"the {model.kind} model for {version.tenant}/{version.use_case}@{version.version} "
            f"reads features that were not built: {', '.join(missing)}; built: "
            f"{', '.join(sorted(there))}. Bring them back, or retrain on the features there are"
        )


def _scored(
    built: FeaturesBuilt, version: str, rows: int, exposure: tuple[GroupExposure, ...] = ()
) -> Scored:
    return Scored(
        tenant=built.tenant,
        use_case=built.use_case,
        as_of=built.as_of,
        version=version,
        feature_fingerprint=built.feature_fingerprint,
        features=built.features,
        events=built.events,
        attributes=built.attributes,
        rows=rows,
        exposure=exposure,
    )

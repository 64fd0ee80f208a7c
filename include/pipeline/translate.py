"""From a use case's declaration to what the stages, which know no use cases, want to hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from include import use_cases
from include.features.views import FeatureView
from include.ingestion.slices import Slice
from include.models.baselines import baseline_model
from include.models.model import Model
from include.monitoring.windows import PREDICTION
from include.quality.needs import DataNeeds
from include.quality.volume import Delivered
from include.tenants.config import TenantConfig
from include.training.estimators.forecast import naive_model
from include.use_cases.declaration import UseCase
from include.use_cases.drift_policy import DriftPolicy


def use_cases_of(tenant: TenantConfig) -> list[UseCase]:
    """The tenant's use cases, in the order of its file."""
    return [use_cases.get(name) for name in tenant.use_cases]


def data_needs(use_case: UseCase) -> DataNeeds:
    """What the use case needs of the data, for the quality stage."""
    looked_up = {
        lookup.name
        for view in use_case.features.views
        for lookup in (*(view.stream.lookups if view.stream else ()), *view.attributes)
    }
    return DataNeeds(
        use_case=use_case.name,
        events=use_case.events,
        entity_columns=tuple(dict.fromkeys((*use_case.keys, *use_case.judged))),
        attributes=tuple(sorted(looked_up)),
        label_event=use_case.events[0],
    )


def delivered(recorded: Sequence[Slice]) -> dict[str, list[Delivered]]:
    """What ingestion has recorded, by source, for the quality stage."""
    by_source: dict[str, list[Delivered]] = {}
    for slice_ in recorded:
        one = Delivered(
            *(slice_.interval, slice_.rows, slice_.along_with),
            read=slice_.read,
            taken=slice_.taken,
            set_aside=slice_.quarantined,
            outside=slice_.outside,
        )
        by_source.setdefault(slice_.source, []).append(one)
    return by_source


def online_views(tenant: TenantConfig) -> list[FeatureView]:
    """The views of the tenant's use cases that are served online, each once."""
    views = (view for use_case in use_cases_of(tenant) for view in use_case.features.views)
    return list({view.name: view for view in views if view.ttl is not None}.values())


def drift_policy(use_case: UseCase, tenant: TenantConfig, model: Model | None) -> DriftPolicy:
    """The use case's drift policy with the tenant's overrides, for the monitoring stage.

    A feature of the tenant as a whole has one value at an instant, whatever the number of entities:
    no distribution that another could differ from. What a rule of thumb predicts is a feature, and
    judged, or not, as such.

    Args:
        model: that scored, where one did.
    """
    rule = (PREDICTION,) if model is not None and model.kind == "baseline" else ()
    declared, overrides = use_case.drift, tenant.use_cases[use_case.name]
    return replace(
        declared,
        threshold=overrides.drift_threshold or declared.threshold,
        cooldown=overrides.cooldown or declared.cooldown,
        ignored=(*declared.ignored, *rule, *without_distribution(use_case)),
    )


def without_distribution(use_case: UseCase) -> tuple[str, ...]:
    """Patterns of the columns that have one value at an instant, for all entities alike."""
    return tuple(f"{v.name}__*" for v in use_case.features.views if not v.entity.join_keys)


def shown_baseline(use_case: UseCase) -> Model | None:
    """The baseline whose score is stored beside every prediction: the last declared one.

    None where models answer with lists, which hold other items than a baseline would.
    """
    if use_case.lists:
        return None
    baseline = use_case.baselines[-1]
    if use_case.task == "regression":
        return naive_model(use_case, baseline)
    return baseline_model(
        {"column": baseline.column, "descending": baseline.descending, "then": baseline.then}
    )

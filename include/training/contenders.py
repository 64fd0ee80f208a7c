"""Makes contenders without fitting a model: baselines, and registered models unchanged."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from include.errors import IntegrityError
from include.models import ecod
from include.models.baselines import baseline_model
from include.models.contributors import Contributors
from include.models.estimators import matrix
from include.models.model import Model
from include.registry.port import ModelVersion
from include.training.dataset import Dataset
from include.training.estimators.forecast import naive_model
from include.training.evaluation import Contender
from include.training.lists import list_baselines
from include.use_cases.declaration import FITTED_BASELINES, UseCase
from include.wall_clock import PLATFORM, local_day

Version = tuple[ModelVersion, Model]
#: Parameter of a model: until when the labels reach that it has learnt from.
TRAINED_UNTIL: Final = "trained_until"


def baselines(
    use_case: UseCase, data: Dataset | None = None, contributors: Contributors | None = None
) -> list[Contender]:
    """The use case's baselines as models; baselines that learn from rows need enough of them.

    Args:
        contributors: for baselines of many tenants: how many must share what a baseline keeps.
    """
    if use_case.lists:
        if data is None or len(data.training) == 0:
            return []
        learnt = (data.windows.training[-1] + use_case.reach).isoformat()
        fitted = list_baselines(use_case, data.training, data.windows, contributors)
        return [
            Contender.of(
                "baseline",
                name,
                replace(model, parameters={**model.parameters, TRAINED_UNTIL: learnt}),
            )
            for name, model in fitted.items()
        ]
    contenders = []
    for baseline in use_case.baselines:
        if baseline.name in FITTED_BASELINES:
            if data is not None and len(data.training) >= ecod.FEWEST_ROWS:
                values = matrix(data.training.features, baseline.columns)
                if contributors is not None:
                    values = contributors.numbers(values, data.training.tenant)
                until = data.windows.training[-1] + use_case.reach
                model = ecod.fit(values, baseline.columns, {TRAINED_UNTIL: until.isoformat()})
                contenders.append(Contender.of("baseline", baseline.name, model))
            continue
        if use_case.task == "regression":
            rows = data.training if data else None
            contenders.append(
                Contender.of("baseline", baseline.name, naive_model(use_case, baseline, rows))
            )
            continue
        rule = {"column": baseline.column, "descending": baseline.descending, "then": baseline.then}
        contenders.append(Contender.of("baseline", baseline.name, baseline_model(rule)))
    return contenders


def learnt_until(incumbent: Version) -> datetime | None:
    """The end of the labels that an own incumbent learnt from; None for any other incumbent."""
    version, model = incumbent
    until = model.parameters.get(TRAINED_UNTIL)
    if version.rung != "own":
        return None
    return version.as_of if until is None else datetime.fromisoformat(until)


def as_is(
    rung: str,
    version: Version,
    use_case: UseCase,
    data: Dataset,
    as_of: datetime,
    notes: list[str],
    timezone: str = PLATFORM,
) -> list[Contender]:
    """A registered model as the one contender; or no contender, and a note why in `notes`."""
    registered, model = version
    which = f"{registered.tenant}/{registered.use_case}@{registered.version}"
    if registered.feature_fingerprint != use_case.fingerprint:
        notes.append(f"{which} reads features as they were declared before, so it cannot serve.")
        return []
    if rung == "global" and registered.as_of > as_of:
        on = local_day(as_of, timezone)
        notes.append(f"{which} was trained later than {on}, so it is not considered.")
        return []
    if rung == "global" and registered.rung == "baseline":
        notes.append(f"{which} is a baseline, and this tenant's baselines are here already.")
        return []
    until = model.parameters.get(TRAINED_UNTIL)
    first = data.windows.holdout[0] if data.windows.holdout else None
    fresh = until is None or first is None or datetime.fromisoformat(until) <= first
    if not fresh:
        notes.append(
            f"{which} has learnt from the holdout's own time, so it is not measured on it."
        )
    parent = which if rung == "global" else registered.parent_version
    contender = Contender.of(rung, registered.name, model, parent, fresh=fresh)
    if contender.digest != registered.digest:
        raise IntegrityError(
            f"{which} was registered as {registered.digest[:12]}… and reads back as "
            f"{contender.digest[:12]}…; load it through the registry, which verifies it"
        )
    return [contender]

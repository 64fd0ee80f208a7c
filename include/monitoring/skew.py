"""Skew replay: whether the vectors that models used are what their declarations give now.

A sample of the logged vectors is computed again, point-in-time, from the lake as it is. Each
difference is recorded with its cause: the declaration changed, the past was rewritten, or the same
declaration on the same rows gives something else. Events that retention has erased since make no
difference: features that look back beyond them are not compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IntegrityError, IsolationError
from include.features.columns import JOIN_KEYS
from include.features.declarations import ALL_HISTORY
from include.features.inputs import read
from include.features.reach import NOTHING, reaches
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import Replayed, Scored, TableVersion
from include.monitoring.skew_findings import Cause, Mismatch, SkewFinding, SkewFindings
from include.monitoring.vectors import compare
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

log = logging.getLogger(__name__)

#: One window in so many is replayed, of every tenant and use case: what is wrong with an engine, a
#: declaration or the online store shows in many of a fleet's windows, and one of them will tell.
ONE_IN: Final = 8
#: Vectors sampled of each log, always the same ones.
ROWS: Final = 100
#: Earlier logs that are replayed beside the run's own.
EARLIER: Final = 2

#: Reads views from the online store, as of an instant: the spine's rows with their features, and
#: which of the views answered. None answers where the store is not at that instant.
OnlineReader = Callable[[Spine, datetime], tuple[pa.Table, tuple[str, ...]]]


@dataclass(frozen=True)
class ReplaySample:
    """Some vectors of one log."""

    scored: Scored
    rows: tuple[int, ...]  #: their places in the file
    vectors: pa.Table

    @property
    def spine(self) -> pa.Table:
        """Join keys and `as_of`, without columns that an event said of itself."""
        names = self.vectors.column_names
        return self.vectors.select([n for n in names if n in (*JOIN_KEYS, "as_of")])

    def finding(
        self, mismatch: Mismatch, path: Literal["offline", "online"], cause: Cause
    ) -> SkewFinding:
        """A finding, whose first row is a place in the file."""
        scored, placed = self.scored, replace(mismatch, first=self.rows[mismatch.first])
        return SkewFinding(scored.use_case, scored.as_of, path, placed, cause, scored.version)


def is_drawn(tenant_id: str, use_case: str, as_of: datetime) -> bool:
    """Whether the window is one of those that are replayed; of a rerun as of the first run."""
    window = f"{tenant_id}/{use_case}/{as_of.astimezone(UTC).isoformat()}"
    return int.from_bytes(sha256(window.encode()).digest()[:8]) % ONE_IN == 0


def replay(
    tenant: TenantConfig,
    service: FeatureService,
    scored: Scored,
    earlier: Sequence[Scored],
    *,
    seed: int,
    lake: Lake,
    findings: SkewFindings,
    online: OnlineReader | None = None,
    fingerprint: str = "",
) -> Replayed:
    """Compute a sample of logged vectors again, and record every feature that differs.

    The findings come with an incident per instant with a difference, which a later replay without
    one closes. A rerun draws the same sample.

    Args:
        earlier: logs of earlier instants; of those made by the same declarations, some are drawn.
        fingerprint: of the declarations as they are, where these are more than the service.

    Raises:
        IsolationError: the log is another tenant's.
    """
    if scored.tenant != tenant.id:
        raise IsolationError(f"vectors of {scored.tenant} cannot be replayed for {tenant.id}")
    samples = [one for one in _samples(tenant, scored, earlier, seed, lake) if one.rows]
    features = tuple(service.columns)
    if not samples:
        return Replayed(tenant.id, scored.use_case, scored.as_of, (), 0, 0, len(features), ())
    now = (lake.version(tenant.ref, "events"), lake.version(tenant.ref, "attributes"))
    again = _computed(tenant, service, samples, now, lake)
    found: list[SkewFinding] = []
    online_rows = 0
    for sample, vectors in zip(samples, again, strict=True):
        compared = _comparable(tenant, service, sample, lake)
        differing = compare(sample.vectors, vectors, compared)
        defined = sample.scored.feature_fingerprint == (fingerprint or service.fingerprint)
        causes = _causes(tenant, service, sample, differing, now, lake, defined)
        found += [
            sample.finding(one, "offline", cause)
            for one, cause in zip(differing, causes, strict=True)
        ]
        if online is not None:
            answer, views = online(Spine(sample.spine), sample.scored.as_of)
            served = [n for view in service.views if view.name in views for n in view.columns]
            online_rows += sample.vectors.num_rows if served else 0
            differing = compare(sample.vectors, answer, served)
            found += [sample.finding(one, "online", "online") for one in differing]
    instants = tuple(sample.scored.as_of for sample in samples)
    findings.record(tenant.ref, scored.use_case, instants, found, scored.as_of)
    for one in found:
        told = one.told(tenant.timezone)
        log.warning("skew: %s/%s %s", tenant.id, scored.use_case, told)
    rows = sum(len(sample.rows) for sample in samples)
    log.info(
        "skew: %s/%s: %d vectors of %d instants computed again, %d features differ",
        *(tenant.id, scored.use_case, rows, len(samples), len(found)),
    )
    return Replayed(
        tenant=tenant.id,
        use_case=scored.use_case,
        as_of=scored.as_of,
        instants=instants,
        rows=rows,
        online_rows=online_rows,
        features=len(features),
        mismatched=tuple(sorted({one.mismatch.feature for one in found})),
    )


def _samples(
    tenant: TenantConfig, scored: Scored, earlier: Sequence[Scored], seed: int, lake: Lake
) -> list[ReplaySample]:
    """Samples of some earlier logs, oldest first, and of the run's own log, last."""
    draw = np.random.default_rng([seed, _seconds(scored.as_of)])
    likes = sorted(
        (one for one in earlier if one.feature_fingerprint == scored.feature_fingerprint),
        key=lambda one: one.as_of,
    )
    chosen = sorted(draw.choice(len(likes), min(EARLIER, len(likes)), replace=False).tolist())
    found = []
    for one in (likes[at] for at in chosen):
        try:
            found.append(_sample(tenant, one, seed, lake))
        except IntegrityError as error:  # retention took it, or its features were built anew
            log.info("skew: the log of %s is left out: %s", one.as_of, error)
    return [*found, _sample(tenant, scored, seed, lake)]


def _sample(tenant: TenantConfig, scored: Scored, seed: int, lake: Lake) -> ReplaySample:
    if not scored.version:  # nobody used these vectors
        return ReplaySample(scored, (), pa.table({}))
    vectors = lake.get_table(tenant.ref, scored.features)
    draw = np.random.default_rng([seed, _seconds(scored.as_of)])
    size = min(ROWS, vectors.num_rows)
    rows = np.sort(draw.choice(vectors.num_rows, size, replace=False))
    return ReplaySample(scored, tuple(rows.tolist()), vectors.take(pa.array(rows, pa.int64())))


def _computed(
    tenant: TenantConfig,
    service: FeatureService,
    samples: Sequence[ReplaySample],
    versions: tuple[TableVersion, TableVersion],
    lake: Lake,
) -> list[pa.Table]:
    """Each sample's vectors, computed in one go."""
    inputs = read(
        tenant,
        service,
        events=versions[0],
        attributes=versions[1],
        known_at=max(sample.scored.as_of for sample in samples),
        lake=lake,
    )
    spine = pa.concat_tables([sample.spine.replace_schema_metadata(None) for sample in samples])
    vectors = inputs.compute(service, Spine(spine))
    found, at = [], 0
    for sample in samples:
        found.append(vectors.slice(at, len(sample.rows)))
        at += len(sample.rows)
    return found


def _comparable(
    tenant: TenantConfig, service: FeatureService, sample: ReplaySample, lake: Lake
) -> list[str]:
    """The features of either side whose events are still there, as far back as they look.

    An attribute is there as long as its entity's events are: as far back as any window looks.
    """
    looked = reaches(service)
    either = [*looked, *(n for n in _features(sample.vectors) if n not in looked)]
    erased = lake.erased_since(tenant.ref, "events", sample.scored.events.version)
    if erased is None:
        return either
    first: datetime = pc.min(sample.vectors["as_of"]).as_py()
    kept = first - erased
    windows = [one.window for one in looked.values() if one.window != ALL_HISTORY]
    longest = max(windows, default=NOTHING)
    far = {n for n, one in looked.items() if (one.window or longest) > kept}
    return [name for name in either if name not in far]


def _causes(
    tenant: TenantConfig,
    service: FeatureService,
    sample: ReplaySample,
    differing: Sequence[Mismatch],
    now: tuple[TableVersion, TableVersion],
    lake: Lake,
    defined: bool,
) -> list[Cause]:
    """The cause of each difference; the versions read then tell past and engine apart.

    Args:
        defined: whether the vectors were made by the declarations as they are.
    """
    scored = sample.scored
    if not differing:
        return []
    if not defined:
        return ["definition"] * len(differing)
    then = (scored.events, scored.attributes)
    if then == now:
        return ["engine"] * len(differing)
    try:
        (vectors,) = _computed(tenant, service, [sample], then, lake)
    except IntegrityError:
        return ["unknown"] * len(differing)
    still = {
        one.feature for one in compare(sample.vectors, vectors, [d.feature for d in differing])
    }
    return ["engine" if one.feature in still else "past" for one in differing]


def _features(vectors: pa.Table) -> list[str]:
    names: list[str] = vectors.column_names
    return names[names.index("as_of") + 1 :]


def _seconds(instant: datetime) -> int:
    return abs(int(instant.timestamp()))

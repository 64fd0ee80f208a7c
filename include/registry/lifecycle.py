"""The stage of a tenant's model, the reasons, and what has to change for its own model to serve.

no data → global → shadow → own → back to global. A shadow is a challenger of the tenant's own that
is registered and scored, and not served. Before there is a global model, a baseline serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from include.errors import ConfigError
from include.registry.error_rates import level_of
from include.registry.evidence import Comparison, Evidence, Need
from include.registry.promotions import Promotion
from include.registry.suspicions import HELD
from include.registry.two_way import PLAIN, UNKNOWN, Swing
from include.wall_clock import PLATFORM, local_day

StageName = Literal["no_data", "baseline", "global", "shadow", "own", "back_to_global"]
#: Times the width that an interval may have, beyond which no number of rows is worth naming.
_HOPELESS: Final = 100.0


@dataclass(frozen=True)
class LifecycleFacts:
    """The facts about one tenant's use case that its stage follows from."""

    version: str = ""  #: the champion's; empty where nothing serves
    rung: str = ""
    serves_because: tuple[str, ...] = ()  #: reasons of the decision that promoted the champion
    serves_since: str = ""  #: day of that decision
    left_own: bool = False  #: whether a rollback from an own model put the champion there
    challenger: str = ""  #: version of the own model that lost last, registered and not serving
    metric: str = ""
    floor: float | None = None  #: lower bound of the champion's metric at promotion
    needs: tuple[Need, ...] = ()  #: of own models, at the last training
    closest: Comparison | None = None  #: of the own model that came closest to the champion
    challenges: int = 0  #: that the champion has withstood so far
    false_promotions: float = 0.05
    held: str = ""  #: version that suspected target leakage holds back since the last training


@dataclass(frozen=True)
class LifecycleStage:
    """The stage of a tenant's use case, with reasons."""

    name: StageName
    reasons: tuple[str, ...]


def stage_of(facts: LifecycleFacts) -> LifecycleStage:
    """The stage that the facts amount to."""
    if not facts.version:
        why = facts.serves_because or ("Nothing has been trained or adopted yet.",)
        return LifecycleStage("no_data", (*why, "So nothing serves."))
    since = f", by the decision of {facts.serves_since}" if facts.serves_since else ""
    serves = f"Version {facts.version} serves, on the rung {facts.rung}{since}."
    why = (serves, *facts.serves_because)
    if facts.rung == "own":
        return LifecycleStage("own", why)
    if facts.left_own:
        return LifecycleStage("back_to_global", why)
    if facts.challenger:
        beside = f"Version {facts.challenger}, the tenant's own, is scored beside it."
        return LifecycleStage("shadow", (serves, beside, *facts.serves_because))
    return LifecycleStage("global" if facts.rung == "global" else "baseline", why)


def what_would_have_to_change(facts: LifecycleFacts) -> tuple[str, ...]:
    """The conditions for the tenant's own model to serve, or the one that would end its time."""
    if facts.rung == "own" and not facts.held:
        floor = "its floor" if facts.floor is None else f"{facts.floor:.4f}, its floor"
        return (
            f"it goes back to the global model once its live {facts.metric or 'metric'} is "
            f"significantly below {floor} at promotion",
        )
    if facts.held:
        return (
            f"somebody has to say whether what is suspected of version {facts.held} is target "
            "leakage: `tenantry suspicion dismiss` lets it serve, `confirm` keeps it back",
        )
    missing = tuple(str(need) for need in facts.needs if need.missing)
    if missing:
        return missing
    if facts.closest is None:
        return ("a training whose own models are compared with who serves on a later window",)
    return (_proof(facts, facts.closest),)


def facts_of(decided: Sequence[Promotion], timezone: str = PLATFORM) -> LifecycleFacts:
    """The facts that a tenant's decisions hold.

    Args:
        decided: as `Promotions.history` gives them, oldest first.
        timezone: the tenant's, which days are told in.
    """
    promoted = [decision for decision in decided if decision.promoted]
    trained = [decision for decision in decided if decision.trained]
    if not promoted:
        return LifecycleFacts()
    current = promoted[-1]
    before = promoted[-2] if len(promoted) > 1 else None
    champion = (current.evidence or {}).get("champion") or {}
    last = trained[-1] if trained else None
    evidence = None if last is None else _evidence(last)
    lost = last is not None and last.version == current.version and current.rung != "own"
    challenger = str(last.evidence.get("challenger", "")) if last is not None and lost else ""
    return LifecycleFacts(
        version=current.version,
        rung=current.rung,
        serves_because=current.reasons,
        serves_since=local_day(current.as_of, timezone),
        left_own=not current.trained and before is not None and before.rung == "own",
        challenger=challenger,
        metric=evidence.metric if evidence else "",
        floor=champion.get("low"),
        needs=evidence.needs if evidence else (),
        closest=_closest(evidence, current.digest) if evidence and lost else None,
        challenges=challenges(decided, current.version),
        false_promotions=evidence.false_promotions if evidence else LifecycleFacts.false_promotions,
        held=_held(decided),
    )


def _held(decided: Sequence[Promotion]) -> str:
    """The version that the last training held back, unless somebody decided otherwise since."""
    last = decided[-1]
    held = last.evidence.get(HELD) if last.trained else None
    return str(held["version"]) if held else ""


def challenges(decided: Sequence[Promotion], version: str) -> int:
    """How often own models have challenged this version in vain.

    A rule of thumb that was only fitted again is still the same incumbent.
    """
    versions = {version}
    for decision in reversed(decided):
        if decision.promoted and decision.version in versions and _fitted_again(decision):
            versions.add(decision.incumbent_version)
    return len(
        [
            decision
            for decision in decided
            if decision.trained
            and decision.version in versions
            and not (decision.promoted and decision.rung == "own")
            and any(
                candidate["rung"] == "own" for candidate in decision.evidence.get("candidates", ())
            )
        ]
    )


def swing_before(
    decided: Sequence[Promotion],
    version: str,
    found: Comparison,
    as_of: datetime,
    reach: timedelta,
) -> Swing:
    """How much a comparison's difference swings, by comparisons of the same two models before.

    Earlier comparisons count where their windows do not overlap later ones. Comparisons on several
    windows each know a swing, and those are pooled. Comparisons on one window know none, and their
    differences, that of `found` included, are the sample. A comparison that knows a swing of other
    windows already needs none: the answer is an unknown swing.

    Args:
        decided: the tenant's decisions, oldest first.
        version: the incumbent.
        found: the comparison at hand.
        as_of: the instant of the training that `found` is from.
        reach: how far ahead labels look; trainings that are closer are about the same time.
    """
    ours = found.uncertainty
    if ours is None or found.difference is None or not found.windows or ours.elsewhere.freedom:
        return Swing()
    differences, within, newer = [found.difference], Swing(), as_of
    for decision in reversed(decided):
        apart = newer - decision.as_of >= max(found.windows * reach, _MOMENT)
        before = (
            _same(decision, found)
            if decision.trained and decision.version == version and apart
            else None
        )
        if before is not None and before.uncertainty is not None:
            differences.append(before.difference or 0.0)
            within = within.pooled(before.uncertainty.swing)
            newer = decision.as_of
    return Swing.among(differences) if found.windows == 1 else within


def _same(decision: Promotion, comparison: Comparison) -> Comparison | None:
    """The comparison of the same two models at an earlier training, on as many windows."""
    for document in decision.evidence.get("comparisons", ()):
        read = Comparison.read(document)
        if (read.candidate, read.against) == (comparison.candidate, comparison.against):
            return read if read.windows == comparison.windows else None
    return None


#: Decisions are one after the other if they are at least so far apart.
_MOMENT: Final = timedelta(seconds=1)


def _fitted_again(decision: Promotion) -> bool:
    """Whether the promoted model is the rule of thumb that served before, fitted again."""
    before = decision.evidence.get("incumbent")
    names = [
        candidate["name"]
        for candidate in decision.evidence.get("candidates", ())
        if candidate["rung"] == "baseline" and candidate["digest"] == decision.digest
    ]
    return decision.trained and before is not None and before["name"] in names


def _evidence(decision: Promotion) -> Evidence | None:
    try:
        return Evidence.from_document({"evidence": decision.evidence})
    except ConfigError:  # a decision that was not about evidence
        return None


def _closest(evidence: Evidence, digest: str) -> Comparison | None:
    """The own model's comparison with the champion that has the highest lower bound."""
    serving = [candidate.key for candidate in evidence.candidates if candidate.digest == digest]
    if evidence.incumbent is not None and evidence.incumbent.digest == digest:
        serving = [evidence.incumbent.key]
    comparisons = [
        comparison
        for comparison in evidence.comparisons
        if comparison.against in serving
        and comparison.candidate.startswith("own/")
        and comparison.low is not None
    ]
    return max(comparisons, key=lambda comparison: comparison.low or 0.0, default=None)


def _proof(facts: LifecycleFacts, closest: Comparison) -> str:
    """What the paired comparison lacks, and how many entities would settle it.

    Half an interval's width falls with the root of the number of entities n. So a width that is s
    times as large as the difference takes n s² entities, as long as the difference stays.
    """
    if closest.difference is None or closest.low is None:
        return f"{closest.candidate} has to be measured on a later window"
    rests = "" if closest.entities is None else f" on {closest.entities:,} entities"
    if closest.difference <= 0:
        return (
            f"{closest.candidate} has to be better than who serves: its {facts.metric} differs by "
            f"{closest.difference:+.4f}{rests}, and more rows only help where they change that"
        )
    level = min(PLAIN, level_of(facts.false_promotions, facts.challenges + 1))
    bound = closest.bound(level)
    if bound is None:
        return (
            f"{closest.candidate}'s difference of {closest.difference:+.4f} {facts.metric}{rests} "
            "is of one window of time: it takes those of later trainings to know how much it swings"
        )
    text = (
        f"the lower bound of {closest.candidate}'s paired comparison is {bound:+.4f} {facts.metric}"
        f"{rests}, at the {100 * level:.2g} % that the next challenge may err by, and must be "
        "above 0"
    )
    if bound > 0:
        return f"{text}, as it is, so that another gate was in the way; see the decision's reasons"
    if _by_time(closest, level):
        return (
            f"{text}; that is for how much it swings from window to window, so it takes later "
            "windows, and not more entities"
        )
    shortfall = (closest.difference - bound) / closest.difference  # of the root of the entities
    if not closest.entities or shortfall > _HOPELESS:
        return text
    more = max(1, math.ceil(closest.entities * (shortfall**2 - 1)))
    return (
        f"{text}; at the present difference of {closest.difference:+.4f} about {_rounded(more):,} "
        "more labelled entities would do"
    )


def _by_time(closest: Comparison, level: float) -> bool:
    """Whether the swing between windows keeps the bound below 0, and the entities do not."""
    uncertainty = closest.uncertainty
    if uncertainty is None or not uncertainty.known:
        return False
    alone = replace(uncertainty, freedom=0.0, elsewhere=UNKNOWN)
    return (closest.difference or 0.0) - alone.half_width(level) > 0


def _rounded(count: int) -> int:
    """The count to two digits, upwards: the estimate is no better than that."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit

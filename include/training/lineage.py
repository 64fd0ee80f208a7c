"""What a training was made of, for its evaluation: tables, windows, rows and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from include.handoffs import pack
from include.training.dataset import Dataset, Pinned
from include.use_cases.declaration import UseCase
from include.use_cases.losses import absent_is_unknown


def lineage(use_case: UseCase, data: Dataset, sources: Sequence[Pinned]) -> dict[str, Any]:
    """The facts in JSON's types."""
    windows = data.windows
    lost = {
        source.tenant.id: [pack(days) for days in source.lost] for source in sources if source.lost
    }
    unknown = [source.tenant.id for source in sources if absent_is_unknown(use_case, source.tenant)]
    tables = [asdict(table) for source in sources for table in (source.events, source.attributes)]
    return {
        "use_case": use_case.name,
        "metric": use_case.metric,
        "feature_fingerprint": use_case.fingerprint,
        "seed": use_case.seed,
        "seen_items": use_case.items.seen if use_case.items else None,
        "tables": tables,
        "training_sets": [pack(training_set) for training_set in data.sets],
        **({"lost": lost} if lost else {}),
        **({"absent_unknown": unknown} if unknown else {}),
        "windows": {
            "training": [at.isoformat() for at in windows.training],
            "holdout": [at.isoformat() for at in windows.holdout],
            "horizon_days": use_case.label.horizon / timedelta(days=1),
            "reach_days": use_case.reach / timedelta(days=1),
            "known_until": windows.known_until.isoformat(),
            **(
                {"left_out": [at.isoformat() for at in windows.left_out]}
                if windows.left_out
                else {}
            ),
        },
        "rows": {
            "training": len(data.training),
            "training_positives": int(data.training.label.sum()),
            "holdout": len(data.holdout),
            "holdout_positives": int(data.holdout.label.sum()),
        },
    }

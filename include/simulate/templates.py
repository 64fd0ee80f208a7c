"""Which templates the simulated tenants of a kind of business have."""

from __future__ import annotations

from typing import Final

#: Kind of business → templates, in the order of the tenants' files.
TEMPLATES: Final = {
    "shop": ("recommendation", "bought_together", "churn", "demand"),
    "media": ("weekly_playlist",),
    "crm": ("lead_scoring",),
    "payments": ("fraud",),
    "learning": ("engagement",),
    "jobs": ("matching",),
}

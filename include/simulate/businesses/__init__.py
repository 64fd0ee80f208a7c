"""What happens during visits, one module per kind of business.

Each has `happenings`, the events of some users' visits, and `per_visit`, how many main events to
expect of every user's visit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from include.simulate.businesses import crm, jobs, learning, media, payments, shop
from include.simulate.catalogue import Catalogue
from include.simulate.population import Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array
from include.simulate.visits import Visits

#: Kind of business → the events of some users' visits.
HAPPENINGS: Final[dict[str, Callable[[Population, Catalogue, Visits], list[EventRows]]]] = {
    "shop": shop.happenings,
    "media": media.happenings,
    "crm": crm.happenings,
    "payments": payments.happenings,
    "learning": learning.happenings,
    "jobs": jobs.happenings,
}
#: Kind of business → main events (of a shop: baskets) in each user's average visit.
PER_VISIT: Final[dict[str, Callable[[Population], Array]]] = {
    "shop": shop.per_visit,
    "media": media.per_visit,
    "crm": crm.per_visit,
    "payments": payments.per_visit,
    "learning": learning.per_visit,
    "jobs": jobs.per_visit,
}

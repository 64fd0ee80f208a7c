"""Adapters of the ports to rows: in Postgres, and in memory as the reference."""

from __future__ import annotations

from dataclasses import dataclass

from include.incidents import Incidents
from include.ingestion.slices import Slices
from include.registry.promotions import Promotions


@dataclass(frozen=True)
class Stores:
    """The owners of all rows, one port per group of tables."""

    promotions: Promotions
    incidents: Incidents
    slices: Slices

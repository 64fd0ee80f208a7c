"""Ingestion: every source of a tenant, mapped to the canonical shape, slice by slice."""

from include.ingestion.stage import ingest

__all__ = ["ingest"]

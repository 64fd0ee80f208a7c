"""Ingestion: every source of a tenant, mapped to the canonical shape, slice by slice."""

"""Simulated tenants with known truth and with faults on demand: the oracle of experiments."""

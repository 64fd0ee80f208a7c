"""Quality out of time, stores of Complete Journey as tenants: `python -m benchmarks.quality`."""

"""What the feature store must reach, measured beside its peers: `python -m benchmarks.features`."""

"""How good models and decisions are, beside their baselines: `python -m benchmarks.quality`."""

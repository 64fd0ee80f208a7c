"""Monitoring: whether the current window differs from the reference, and what follows from it.

`stage` is what runs. `statistics` measures, `decisions` judges (pure, with reasons), and `live`
measures models once labels mature. `drift_records`, `retrains`, `live_metrics` and `skew_findings`
are the ports to what is kept; `evidently_report` draws.
"""

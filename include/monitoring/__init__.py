"""Monitoring: has the current window changed against what the champion was judged on, and what now.

`stage.monitor` is the stage. `statistics` measures, `decisions` judges (pure, with reasons),
`ledger` keeps every decision and what became of it, `live` measures models once labels mature,
`evidently_report` draws. `ledger` and `decisions` are light: triggers import them.
"""

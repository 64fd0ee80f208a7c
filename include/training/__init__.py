"""Training: candidates from past snapshots, measured together on a later one.

`stage` is what runs; `due` says whether to train. `windows` cuts time into
snapshots, `dataset` makes their rows, `fitting` fits candidates and `metrics` judges them.
"""

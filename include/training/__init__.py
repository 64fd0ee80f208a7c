"""Training: candidates from past snapshots, measured together on a later one.

`train` and `train_global` are the stage; `is_due` says whether to train. `windows` cuts time into
snapshots, `dataset` makes their rows, `fitting` fits candidates and `metrics` judges them.
"""

from include.training.due import Due, TrainingState, is_due
from include.training.stage import train, train_global

__all__ = ["Due", "TrainingState", "is_due", "train", "train_global"]

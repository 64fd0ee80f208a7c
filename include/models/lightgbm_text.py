"""Checks LightGBM's own text before LightGBM reads it: its parser ends the process on bad input.

The format is that of `Booster.model_to_string`, version v4, of which only what training writes is
allowed: one score per row, numeric splits, constant leaves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import lightgbm

from include.errors import IntegrityError

_HEADER: Final = (
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "feature_names",
    "feature_infos",
    "tree_sizes",
)
_FIXED: Final = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
}
OBJECTIVES: Final = ("binary sigmoid:1", "lambdarank", "quantile", "regression_l1")
#: Values per tree: one per inner node, or one per leaf.
_PER_NODE: Final = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_PER_LEAF: Final = ("leaf_value", "leaf_weight", "leaf_count")
_FLAGS: Final = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_INTEGER: Final = re.compile(r"-?\d{1,9}")
_NUMBER: Final = re.compile(r"-?(\d{1,25}(\.\d{1,25})?(e[+-]?\d{1,3})?|inf)")
_INFO: Final = re.compile(rf"none|\[{_NUMBER.pattern}:{_NUMBER.pattern}\]")
_END: Final = "end of trees\n"
_TAIL: Final = _END + "\nparameters:\nend of parameters\n"
_MOST_LEAVES: Final = 10_000


def booster_text(booster: lightgbm.Booster) -> str:
    """The trees alone: importances and fitting parameters are not needed to predict."""
    text: str = booster.model_to_string(num_iteration=-1)
    return text.partition(_END)[0] + _TAIL


def without_ranges(booster: lightgbm.Booster) -> lightgbm.Booster:
    """The same trees, without the smallest and largest value that each feature had in training.

    Nothing predicts by these, and they are some single entity's.
    """
    text = booster_text(booster)
    names = booster.feature_name()
    line = f"feature_infos={' '.join(['[-inf:inf]'] * len(names))}"
    return read_booster(re.sub(r"(?m)^feature_infos=.*$", line, text, count=1), names)


def read_booster(text: str, columns: Sequence[str]) -> lightgbm.Booster:
    """The booster in the text, whose features are `columns`.

    Raises:
        IntegrityError: the text is not, value for value, what LightGBM writes.
    """
    if not text.endswith(_TAIL) or not text.isascii():
        raise _refusal("it does not end as it should")
    head = text.removesuffix(_TAIL)
    start = head.find("\nTree=0\n")
    header = head[: start + 1]
    sizes = _check_header(header, columns)
    place = start + 1
    for number, size in enumerate(sizes):
        _check_tree(head[place : place + size], number, len(columns))
        place += size
    if head[place:].strip():
        raise _refusal("there is something between its trees and their end")
    return lightgbm.Booster(model_str=text)


def _check_header(header: str, columns: Sequence[str]) -> list[int]:
    lines = header.strip("\n").split("\n")
    found = _fields(lines[1:])
    if lines[0] != "tree" or tuple(found) != _HEADER:
        raise _refusal("its header has other fields")
    if any(found[name] != value for name, value in _FIXED.items()):
        raise _refusal("its header has other values")
    if found["objective"] not in OBJECTIVES:
        raise _refusal("its objective is unknown")
    if found["max_feature_idx"] != str(len(columns) - 1):
        raise _refusal("it has another number of features")
    if found["feature_names"].split(" ") != list(columns):
        raise _refusal("it has other features")
    infos = found["feature_infos"].split(" ")
    if len(infos) != len(columns) or not all(_INFO.fullmatch(info) for info in infos):
        raise _refusal("its feature ranges are malformed")
    sizes = _integers(found["tree_sizes"])
    if not sizes or min(sizes) <= 0:
        raise _refusal("it has no trees")
    return sizes


def _check_tree(block: str, number: int, features: int) -> None:
    lines = block.strip("\n").split("\n")
    if lines[0] != f"Tree={number}" or not block.endswith("\n\n\n"):
        raise _refusal(f"tree {number} is not where it should be")
    found = _fields(lines[1:])
    expected = {*_FLAGS, *_PER_NODE, *_PER_LEAF}
    leaves = _integers(found.get("num_leaves", ""))
    if set(found) != expected or len(leaves) != 1 or not 1 <= leaves[0] <= _MOST_LEAVES:
        raise _refusal(f"tree {number} has other fields")
    if found["num_cat"] != "0" or found["is_linear"] != "0":
        raise _refusal(f"tree {number} is of a kind that is not allowed")
    _reals(found["shrinkage"])
    count = leaves[0]
    for name in _PER_LEAF:
        # A tree of a single leaf leaves its weight and count out.
        values = _reals(found[name])
        if len(values) != count and not (count == 1 and not values and name != "leaf_value"):
            raise _refusal(f"tree {number} has {len(values)} of {count} {name}")
    nodes = {name: _reals(found[name]) for name in _PER_NODE}
    if any(len(values) != count - 1 for values in nodes.values()):
        raise _refusal(f"tree {number} has another number of nodes")
    _check_shape(found, number, count, features)
    if not all(math.isfinite(v) for v in _reals(found["leaf_value"])):
        raise _refusal(f"tree {number} has a leaf without a value")


def _check_shape(found: Mapping[str, str], number: int, leaves: int, features: int) -> None:
    """Every node leads to later nodes or to leaves, each of which is reached once."""
    splits = _integers(found["split_feature"])
    kinds = _integers(found["decision_type"])
    if not all(0 <= split < features for split in splits):
        raise _refusal(f"tree {number} splits by a feature that there is not")
    if not all(kind in (0, 2, 4, 6, 8, 10) for kind in kinds):
        raise _refusal(f"tree {number} splits in a way that is not allowed")
    reached: list[int] = []
    for side in ("left_child", "right_child"):
        for node, child in enumerate(_integers(found[side])):
            if child >= 0 and child <= node:
                raise _refusal(f"tree {number} runs in a circle")
            reached.append(child)
    if leaves > 1 and sorted(reached) != [*range(-leaves, 0), *range(1, leaves - 1)]:
        raise _refusal(f"tree {number} is no tree")


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """`name=value` lines, in order; repeated names are refused."""
    pairs = [line.partition("=")[::2] for line in lines]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _refusal("it says something twice")
    return found


def _integers(text: str) -> list[int]:
    return [int(part) for part in _parts(text, _INTEGER)]


def _reals(text: str) -> list[float]:
    return [float(part) for part in _parts(text, _NUMBER)]


def _parts(text: str, form: re.Pattern[str]) -> list[str]:
    parts = text.split(" ") if text else []
    if not all(form.fullmatch(part) for part in parts):
        raise _refusal("it has a number that is none")
    return parts


def _refusal(why: str) -> IntegrityError:
    return IntegrityError(f"the payload is not LightGBM's text of these columns: {why}")

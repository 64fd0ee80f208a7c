"""The habits of Great Expectations that the adapter guards against."""

from __future__ import annotations

import great_expectations as gx
import pandas as pd
import pytest

from include.errors import ConfigError, IntegrityError
from include.quality import great_expectations_adapter
from include.quality.great_expectations_adapter import Evaluator
from include.quality.suites import BETWEEN, LENGTH, NOT_NULL, OF_TYPE, Check

SECRETS = pd.DataFrame({"name": ["abc", "hunter2"]})
FRAME = pd.DataFrame({"amount": [1.0, 2.0, float("inf"), None]})


def test_an_unknown_type_is_an_error_and_not_a_check_less() -> None:
    """The library drops what it does not know; the counts are compared, and the check is named."""
    checks = [
        Check("known", NOT_NULL, {}, "warn", "amount"),
        Check("misspelt", "expect_column_values_to_be_nice", {}, "warn", "amount"),
    ]
    with pytest.raises(ConfigError, match=r"dropped 1 of 2 checks: misspelt \(expect_column"):
        Evaluator().evaluate(FRAME, checks)


def test_a_missing_column_is_a_failed_check() -> None:
    """A check that could not be evaluated is not met, and says why."""
    (outcome,) = Evaluator().evaluate(FRAME, [Check("x", NOT_NULL, {}, "warn", "price")])
    assert not outcome.success
    assert "price" in outcome.error


def test_outcomes_come_in_the_order_of_the_checks() -> None:
    """Results are matched to declarations by identity, whatever order the library returns."""
    checks = [
        Check(f"at_most_{limit}", BETWEEN, {"max_value": limit}, "warn", "amount")
        for limit in (2, 0, 1)
    ]
    outcomes = Evaluator().evaluate(FRAME, checks)
    assert [(o.unexpected_count, o.element_count) for o in outcomes] == [(1, 4), (3, 4), (2, 4)]


def test_a_check_of_the_whole_table_concerns_all_its_rows() -> None:
    """A wrong column type is as many unexpected rows as there are, so that batches add up."""
    check = Check("type", OF_TYPE, {"type_": "int64"}, "fail", "amount")
    (outcome,) = Evaluator().evaluate(FRAME, [check])
    assert (outcome.success, outcome.unexpected_count, outcome.element_count) == (False, 4, 4)


def test_rows_that_are_counted_but_not_told_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row is accepted because a format left out which rows are unexpected."""
    monkeypatch.setitem(great_expectations_adapter._RESULT_FORMAT, "result_format", "SUMMARY")
    check = Check("at_most", BETWEEN, {"max_value": 1}, "quarantine", "amount")
    with pytest.raises(IntegrityError, match="found 2 unexpected rows and told which 0 are"):
        Evaluator().evaluate(FRAME, [check])


def test_no_result_holds_a_value() -> None:
    """Rows are told by their numbers, and what is in them stays where it is."""
    evaluator = Evaluator()
    batch = evaluator._frames.get_batch(batch_parameters={"dataframe": SECRETS})
    check = Check("short", LENGTH, {"max_value": 3}, "quarantine", "name")
    suite = gx.ExpectationSuite("s", [great_expectations_adapter._configuration(0, check)])
    found = batch.validate(suite, result_format=great_expectations_adapter._RESULT_FORMAT)
    assert "unexpected_index_list" in str(found)
    assert "hunter2" not in str(found)

"""The installation after three weeks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from installation import installed
from three_weeks import (
    NEIGHBOURS,
    POOL,
    POOLED,
    REFUSING,
    SHOPS,
    SILO,
    SPOILED,
    WEEKS,
    Fleet,
    load,
    retrain,
    run,
    train_global,
)

from include import cli
from include.errors import QualityError
from include.monitoring import skew


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three weeks: in the second a global model appears, in the third one shop drifts and is
    retrained, one falls silent, and one sends nothing but impossible amounts. Every window is
    replayed."""
    with installed() as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(skew, "ONE_IN", 1)
        here.open(*SHOPS, *NEIGHBOURS)
        run(here, POOL, WEEKS[0], None)
        for shop in (SILO, REFUSING, SPOILED):
            run(here, shop, WEEKS[0])
        for shop in NEIGHBOURS:
            load(here, shop, WEEKS[0])
        train_global("churn", POOLED)
        for as_of in WEEKS[1:]:
            for shop in (POOL, SILO):
                run(here, shop, as_of)
        retrain(POOL, "churn", WEEKS[2])
        with pytest.raises(QualityError) as caught:
            run(here, SPOILED, WEEKS[1])
        yield Fleet(here, str(caught.value))


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def tenantry(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command: its exit code and what it printed."""

    def called(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["tenantry", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return called

"""Logs of components: as long as they run, and never longer than they may be."""

from __future__ import annotations

from pathlib import Path

from include.runtime.supervisor import bound_log


def test_a_log_that_is_too_long_is_set_aside_while_its_component_writes(tmp_path: Path) -> None:
    """Two files are all there ever is; who writes goes on without being told."""
    log = tmp_path / "api-server.log"
    with log.open("ab", buffering=0) as component:
        component.write(b"first\n" * 10)
        bound_log(log, 60)
        assert log.stat().st_size == 60
        component.write(b"second\n")
        bound_log(log, 60)
        assert log.stat().st_size == 0
        component.write(b"third\n")
        bound_log(log, 60)
        assert log.read_bytes() == b"third\n"
        assert (tmp_path / "api-server.log.1").read_bytes() == b"first\n" * 10 + b"second\n"
        component.write(b"fourth\n" * 10)
        bound_log(log, 60)
    assert (tmp_path / "api-server.log.1").read_bytes().startswith(b"third\n")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    """A component that never started has none."""
    bound_log(tmp_path / "scheduler.log")
    assert list(tmp_path.iterdir()) == []

"""How the steps of `up` and `down` look: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status

from include.runtime.control import Progress


def reporter(console: Console | None = None) -> Progress:
    """A progress callback that writes to the console."""
    out = console or Console()
    live: Status | None = None

    def report(step: str, seconds: float | None) -> None:
        nonlocal live
        if seconds is None:
            if out.is_terminal:
                live = out.status(step)
                live.start()
            else:
                print(f"{step} ...", flush=True)
            return
        if live is not None:
            live.stop()
            live = None
        if out.is_terminal:
            out.print(f"[green]✓[/green] {step} [dim]{seconds:.1f} s[/dim]")
        else:
            print(f"{step}: done in {seconds:.1f} s", flush=True)

    return report

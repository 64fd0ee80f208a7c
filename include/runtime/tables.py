"""Rows of values as a table that people read, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from include.wall_clock import PLATFORM, local

#: A file or a pipe has no width of its own.
_WIDE: Final = 240
#: Letters that a column should have room for, on average.
_NARROWEST: Final = 14


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Rows as a table, with a column for each name that any has; web addresses become links.

    Instants are told in UTC: `wall_clock.localised` rows have them in a tenant's zone.

    On a terminal too narrow for that, row by row.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if rows and console.is_terminal and console.width < _NARROWEST * len(names):
        _print_records(console, rows, title)
        return
    table = Table(title=title, title_justify="left")
    for name in names or ("nothing yet",):
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        cells = (_cell(row.get(name)) for name in names)
        table.add_row(*(_linked(cell, console.is_terminal) for cell in cells))
    (console if console.is_terminal else Console(width=_WIDE)).print(table)


def _print_records(console: Console, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    console.print(title, style="italic", markup=False, highlight=False)
    for row in rows:
        (_, first), *rest = row.items()
        console.print(_cell(first), style="bold", markup=False, highlight=False)
        for name, value in rest:
            if text := _cell(value):
                told = f"  {escape(name.replace('_', ' '))}: {_linked(text, True)}"
                console.print(told, highlight=False)


def _linked(text: str, terminal: bool) -> str:
    if terminal and text.startswith(("http://", "https://")):
        return f"[link={text}]{escape(text.rsplit('/', 1)[-1])}[/link]"
    return escape(text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return local(value, PLATFORM)
    if isinstance(value, (list, tuple)):
        return "\n".join(str(part) for part in value)
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_cell(part)}" for key, part in value.items())
    return str(value)

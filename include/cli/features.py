"""`tenantry features`: the catalogue of feature views, their lineage, changes and previews."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from include import use_cases
from include.cli.shared import (
    Json,
    activate,
    console,
    fleet,
    one,
    parse_instant,
    print_json,
    readable,
    stores,
)
from include.cli.skew import skew
from include.errors import ConfigError, UnknownNameError
from include.runtime.tables import print_table
from include.wall_clock import PLATFORM, localised

if TYPE_CHECKING:
    from include.features.description.catalogue_page import Catalogue

#: Of the project, where `docs` lies.
ROOT = Path(__file__).resolve().parents[2]

ViewName = Annotated[
    str,
    typer.Argument(
        metavar="VIEW", help="A view of the library, or path/to/file.py:NAME for a draft."
    ),
]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Go on to this tenant's sources.")]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The feature views: catalogue, lineage, changes, previews.",
)


app.command()(skew)


@app.command("list")
def list_views(
    tag: Annotated[str | None, typer.Option(help="Only views with this tag.")] = None,
    as_json: Json = False,
) -> None:
    """Every feature view and the use cases that read it."""
    views = _catalogue()
    if tag is not None:
        tags = {name for view in views.values() for name in view["tags"]}
        if tag not in tags:
            raise UnknownNameError("tag", tag, tags, "the library")
        views = {name: view for name, view in views.items() if tag in view["tags"]}
    if as_json:
        print_json(views)
        return
    rows = [
        {
            "view": name,
            "entity": view["entity"],
            "features": len(view["features"]),
            "used by": ", ".join(view["used_by"]),
            "ttl": view["ttl"],
            "owner": view["owner"],
            "fingerprint": view["fingerprint"],
        }
        for name, view in views.items()
    ]
    features = sum(row["features"] for row in rows)
    print_table(console, rows, title=f"{len(rows)} feature views, {features} features")


@app.command()
def show(view: ViewName, tenant: Tenant = None, as_json: Json = False) -> None:
    """What a view's features mean and where they come from."""
    from include.cli.drawings import lineage_tree
    from include.features.description.catalogue_page import describe
    from include.features.description.lineage import lineage
    from include.features.description.local_file import find

    declared = find(view)
    described = describe(declared) | {"used_by": list(used_by().get(declared.name, ()))}
    traced = lineage(declared, one(tenant) if tenant is not None else None)
    if as_json:
        print_json({"view": declared.name, **described, "lineage": asdict(traced)})
        return
    console.print(f"[bold]{escape(declared.name)}[/bold]  {escape(declared.description)}")
    facts = [
        f"owner {declared.owner or 'nobody'}",
        f"used by {', '.join(described['used_by']) or 'no use case'}",
        f"online, TTL {described['ttl']}" if declared.ttl else "offline only",
        f"tags {', '.join(declared.tags) or 'none'}",
        f"fingerprint {declared.fingerprint}",
    ]
    console.print("; ".join(facts), highlight=False, markup=False)
    print_table(console, described["features"], title="Features")
    console.print(lineage_tree(traced))


@app.command()
def diff(
    against: Annotated[
        str | None, typer.Option(help="A catalogue file or a git revision; docs/features.json.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 where the generated docs are stale.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What changed since a catalogue was written."""
    from include.features.description.catalogue_page import DATA, stale
    from include.features.description.changes import compare, parse

    views = _catalogue()
    changes = compare(parse(_written(against), against or DATA), views)
    old = stale(views, ROOT) if check else []
    if as_json:
        print_json({"changes": [asdict(change) for change in changes], "stale": old})
    else:
        for change in changes:
            marks = " → ".join(mark for mark in (change.before, change.after) if mark)
            same = " (the values are the same)" if change.kind == "edited" else ""
            console.print(
                f"{change.kind} [bold]{escape(change.view)}[/bold] {marks}{same}", highlight=False
            )
            for line in change.details:
                console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        if not changes:
            console.print(f"nothing changed since {against or DATA}", markup=False)
        for path in old:
            console.print(f"stale: {path}; run `tenantry features docs`", markup=False)
    if old:
        raise typer.Exit(1)


@app.command()
def docs(as_json: Json = False) -> None:
    """Write docs/features.md and docs/features.json."""
    from include.features.description.catalogue_page import documents, stale

    views = _catalogue()
    changed = stale(views, ROOT)
    texts = documents(views)
    for path in changed:
        part = (ROOT / path).with_suffix(".part")
        part.write_text(texts[path], encoding="utf-8")
        part.replace(ROOT / path)
    if as_json:
        print_json({"written": changed})
    else:
        console.print(f"wrote {', '.join(changed)}" if changed else "all current", markup=False)


@app.command()
def preview(
    view: ViewName,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose lake is read.")],
    as_of: Annotated[str | None, typer.Option(help="ISO instant; now if none.")] = None,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="Rows of the sample.")] = 5,
    as_json: Json = False,
) -> None:
    """A view computed for one tenant's active entities: sample, distribution, cost."""
    from include import wiring
    from include.cli.drawings import print_preview
    from include.features.description.local_file import find
    from include.features.description.preview import preview as compute

    declared, config = find(view), readable(tenant)
    computed = compute(
        config,
        declared,
        parse_instant(as_of, config.timezone) if as_of else datetime.now(UTC),
        lake=wiring.lake(),
        rows=rows,
    )
    if as_json:
        print_json(asdict(computed))
    else:
        print_preview(console, computed, config.timezone)


@app.command()
def freshness(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="A tenant's id; all if none.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="ISO instant; now if none.")] = None,
    as_json: Json = False,
) -> None:
    """How old each tenant's online views are, against their TTL."""
    from include.cli.freshness import freshness as compute

    tenants = [readable(tenant)] if tenant is not None else [*fleet().tenants.values()]
    activate()
    zone = tenants[0].timezone if tenant is not None else PLATFORM
    instant = parse_instant(at, zone, "--at") if at else datetime.now(UTC)
    rows = compute(tenants, instant, stores().online)
    if as_json:
        print_json(rows)
    else:
        zones = {one.id: one.timezone for one in tenants}
        shown = [localised(row, zones[row["tenant"]]) for row in rows]
        print_table(console, shown, title="Online views")


def _catalogue() -> Catalogue:
    from include.features import library
    from include.features.description.catalogue_page import catalogue

    return catalogue(library.entries().values(), used_by())


def used_by() -> dict[str, list[str]]:
    """Feature view → the use cases that read it."""
    services: dict[str, list[str]] = {}
    for name in sorted(use_cases.names()):
        for view in use_cases.get(name).features.views:
            services.setdefault(view.name, []).append(name)
    return services


def _written(against: str | None) -> str:
    """The text of a catalogue: of a file, or as committed in a git revision."""
    from include.features.description.catalogue_page import DATA

    path = ROOT / DATA if against is None else Path(against)
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    if against is None:
        raise ConfigError(f"no {DATA} yet; `tenantry features docs` writes it")
    done = subprocess.run(
        ["git", "show", "--end-of-options", f"{against}:{DATA}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(
            f"--against {against!r} is neither a file nor a git revision with {DATA}: "
            f"{done.stderr.strip()}"
        )
    return done.stdout

"""The life of a model: why it serves, what served when, its card, rollback, reproduction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.cli.reproduce import reproduce
from include.cli.rollback import rollback
from include.cli.shared import (
    Json,
    TenantId,
    activate,
    console,
    owner_of,
    parse_day,
    print_json,
    readable,
    stores,
)
from include.errors import ConfigError
from include.runtime.tables import print_table
from include.tenants.namespace import TenantRef
from include.wall_clock import local, local_day, localised, reread, reread_day

if TYPE_CHECKING:
    from include.registry.promotions import Promotions

Owner = Annotated[
    str, typer.Argument(metavar="TENANT", help="A tenant's id, `global` or `global-REGION`.")
]
app = typer.Typer(rich_markup_mode=None)
app.command()(rollback)
app.command()(reproduce)


@app.command()
def why(tenant: TenantId, use_case: str, as_json: Json = False) -> None:
    """Why a version serves, and what would have to change: every decision with its reasons."""
    from include.pipeline.report import explain

    config = readable(tenant)
    recorded = explain(config, use_case, stores())
    if as_json:
        print_json(recorded)
        return
    for kind, rows in recorded.items():
        shown = localised(rows, config.timezone)
        print_table(console, shown, title=kind.replace("_", " "))


@app.command()
def history(
    tenant: Owner,
    use_case: Annotated[
        str | None, typer.Argument(metavar="[USE_CASE]", help="Only this use case.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="Only what served on this day, such as 2017-03-14.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which version served when, trained on what, promoted why and by whom."""
    from include import wiring
    from include.pipeline.serving_history import scored_on, serving_history

    owner, timezone, cases = owner_of(tenant, use_case)
    day = None if on is None else parse_day(on)
    activate()
    records, rows_of = wiring.model_records(), stores()
    periods: list[dict[str, Any]] = []
    for case in cases:
        rows = serving_history(
            owner, case, records, rows_of.promotions, rows_of.experiments, day, timezone
        )
        if day is not None and rows:
            rows[-1]["scored"] = scored_on(rows_of.stage_runs, owner, case, day, timezone)
        periods += rows
    if as_json:
        print_json(periods)
        return
    title = f"Serving history of {tenant}" + (f" on {day} ({timezone})" if day else "")
    print_table(console, [_served(row, timezone) for row in periods], title=title)


@app.command()
def card(
    tenant: Owner,
    use_case: str,
    version: Annotated[str | None, typer.Option(help="The champion if none.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """The model card of a version: data, metrics, limits, lineage, decisions."""
    from include import wiring
    from include.pipeline.serving_history import card_document
    from include.registry.model_card import page

    owner, timezone, (case,) = owner_of(tenant, use_case)
    activate()
    records, promotions = wiring.model_records(), stores().promotions
    described = records.get(owner, case, version or _champion(owner, case, promotions))
    document = card_document(owner, described, records, promotions)
    if html is not None:
        html.write_text(page(document, timezone), encoding="utf-8")
    if as_json:
        print_json(document)
    elif html is not None:
        console.print(f"written: {html}", markup=False)
    else:
        _print_card(document, timezone)


def _champion(owner: TenantRef, use_case: str, promotions: Promotions) -> str:
    champion = promotions.champion_at(owner, use_case)
    if champion is None:
        raise ConfigError(
            f"nothing serves {owner.id}/{use_case} yet; train it, or name a --version"
        )
    return champion.version


def _served(row: dict[str, Any], timezone: str) -> dict[str, Any]:
    """A period as one row of a table."""
    made = row["trained_on"]
    data = made.get("judged_on", made)
    holdout = (data.get("windows") or {}).get("holdout") or []
    as_of = reread_day(str(made["as_of"]), timezone)
    rows = f"{data.get('rows', {}).get('training', '?')} rows as of {as_of}"
    until = f", judged to {reread_day(holdout[-1], timezone)}" if holdout else ""
    tables = (f"{t['tenant']}.{t['table']}@{t['version']}" for t in data.get("tables", ()))
    trained = [f"as {made['parent']} is; judged on"] if "judged_on" in made else [rows + until]
    scored = row.get("scored")
    return {
        "use_case": row["use_case"],
        "version": f"{row['version']} {row['model']}",
        "since": local(row["since"], timezone),
        "until": local(row["until"], timezone) if row["until"] else "now",
        "trained on": [*trained, *tables],
        "why": row["reasons"],
        "by": f"{row['actor']} ({row['trigger']})",
        **({"scored by": _scored(scored, timezone)} if scored else {}),
        **(
            {"besides": [_tried(trial, timezone) for trial in tried]}
            if (tried := row["experiments"])
            else {}
        ),
    }


def _tried(trial: dict[str, Any], timezone: str) -> str:
    until = f" until {local_day(trial['until'], timezone)}" if trial["until"] else ""
    since = local_day(trial["since"], timezone)
    return (
        f"{trial['challenger']} for {trial['share']:.0%} of entities from {since}{until} "
        f"({trial['experiment']})"
    )


def _scored(scored: dict[str, Any], timezone: str) -> str:
    as_of = local_day(scored["as_of"], timezone)
    return f"{scored['version']} as of {as_of}, {scored['rows']:,} rows"


def _print_card(document: dict[str, Any], timezone: str) -> None:
    judged = document.get("judged") or {}
    console.print(
        f"{document['tenant']}.{document['use_case']}@{document['version']}  {document['rung']}/"
        f"{document['name']}, trained as of {reread_day(document['as_of'], timezone)}",
        markup=False,
        highlight=False,
    )
    models = {"this model": judged.get("metrics", {}), **judged.get("baselines", {})}
    rows = [
        {"model": name, "metric": metric, **figures}
        for name, metrics in (models | judged.get("others", {})).items()
        for metric, figures in metrics.items()
    ]
    print_table(console, rows, title="Metrics, intervals of 95 %")
    decisions = [
        {**one, **{name: reread(one[name] or "", timezone) for name in ("as_of", "decided_at")}}
        for one in document["decisions"]
    ]
    print_table(console, decisions, title="Decisions")

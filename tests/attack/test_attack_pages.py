"""The plugin's pages, asked by analysts, an admin and strangers for every tenant's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from include.tenants.namespace import DAG_KINDS
from tests.attack.harness import Attempt, attack
from tests.attack.owners import ABSENT, ALDER, CEDAR, LARCH, OWNERS, ROWAN, Owner
from tests.attack.test_attack_paths import SPELLINGS
from tests.attack.world import World
from tests.unit.plugins.visitors import PLUGINS, as_user, open_pages

pytestmark = pytest.mark.integration

#: Who asks, and whose pipeline each of them may read.
ANALYSTS: Final = (ALDER, CEDAR, LARCH)
#: Name → what is asked for of the named tenant.
ADDRESSES: Final = {
    "reports": "/tenantry/reports/{id}",
    "file": "/tenantry/reports/{id}/file?path={path}",
    "page": "/tenantry/reports/{id}/file?path=reports/page.html",
    "around a page": "/tenantry/reports/{id}/report?path=reports/page.html",
    "no file": "/tenantry/reports/{id}/file?path=reports/none.html",
    "everything after": "/tenantry/?after={id}",
    **{f"tab of {kind}": "/tenantry/dag/{id}." + kind for kind in DAG_KINDS},
    "tab of the global model": "/tenantry/dag/global.churn",
    "upper case": "/tenantry/reports/{ID}",
    "climbing": "/tenantry/reports/{own}/../{id}",
    "encoded": "/tenantry/reports/{own}%2f..%2f{id}",
    "NUL": "/tenantry/reports/{id}%00",
    "two": "/tenantry/reports/{own},{id}",
    "parameter": "/tenantry/reports/{own}?tenant_id={id}",
    "double slash": "/tenantry//reports/{id}",
    "fragment": "/tenantry/reports/{id};x=y",
}


def test_every_route_is_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each route of the plugin has an address that leads to it."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    from tenantry_pages.routes import app

    named = {"id": ALDER.id, "ID": ALDER.id.upper(), "own": ALDER.id, "path": "reports/page.html"}
    paths = [
        address.format(**named).removeprefix("/tenantry").partition("?")[0]
        for address in ADDRESSES.values()
    ]
    lacking = [
        route.path
        for route in app.routes
        if not any(re.fullmatch(route.path_regex.pattern, path) for path in paths)
    ]
    assert lacking == []


@pytest.fixture
def pages(world: World, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The pages, for an analyst of each of three tenants."""
    readable = {
        f"analyst-{owner.number}": {f"{owner.id}.{kind}" for kind in DAG_KINDS}
        for owner in ANALYSTS
    }
    return open_pages(monkeypatch, readable)


def _asked(pages: TestClient, address: str, headers: dict[str, str]) -> Any:
    answer = pages.get(address, headers=headers)
    kept = ("location", "content-type", "content-security-policy", "www-authenticate")
    told = {name: answer.headers.get(name) for name in kept}
    return answer.status_code, told, answer.text


def _attempts(
    pages: TestClient, name: str, address: str, visitors: dict[Owner, dict[str, str]]
) -> Iterator[Attempt]:
    for visitor, headers in visitors.items():
        for named in (visitor, *(o for o in OWNERS if o != visitor), *ABSENT):

            def ask(
                visitor: Owner = visitor, named: Owner = named, headers: dict[str, str] = headers
            ) -> Any:
                names = {"id": named.id, "ID": named.id.upper(), "own": visitor.id}
                return _asked(pages, address.format(**names, path=named.path), headers)

            yield Attempt(f"page {name}", visitor, named, "http", ask)


def _analysts() -> dict[Owner, dict[str, str]]:
    return {owner: as_user(f"analyst-{owner.number}") for owner in ANALYSTS}


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_analyst_sees_one_tenant(pages: TestClient, world: World, name: str) -> None:
    """No page holds anything of another, and whether another exists cannot be told."""
    asked = _attempts(pages, name, ADDRESSES[name], _analysts())
    # where a list goes on depends on the alphabet, whoever is there
    outcome = attack(world, asked, alike=name != "everything after")
    assert outcome.attempts == 3 * (len(OWNERS) + len(ABSENT))
    assert not outcome.leaks, "\n".join(outcome.leaks[:20])
    if name in ("reports", "file", "page"):
        assert outcome.own


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_stranger_sees_nothing(pages: TestClient, world: World, name: str) -> None:
    """Without a login, and with a forged one, every address answers alike for everybody."""
    nobody = replace(ROWAN, number=9, ref=replace(ROWAN.ref, id="nobody"))
    for headers in ({}, as_user("forged"), {"Cookie": "_token=forged"}):
        outcome = attack(world, _attempts(pages, name, ADDRESSES[name], {nobody: headers}))
        assert not outcome.leaks, "\n".join(outcome.leaks[:20])
        assert not outcome.own


def test_no_path_on_a_page_leads_to_a_neighbours_file(pages: TestClient, world: World) -> None:
    """Whatever spelling of a path an analyst sends for the own tenant's reports."""
    from urllib.parse import quote

    for spelling, spelled in SPELLINGS.items():

        def attempts(spelled: Any = spelled, spelling: str = spelling) -> Iterator[Attempt]:
            for visitor, headers in _analysts().items():
                for named in (o for o in (*OWNERS, *ABSENT[:1]) if o != visitor):

                    def ask(
                        visitor: Owner = visitor,
                        named: Owner = named,
                        headers: dict[str, str] = headers,
                    ) -> Any:
                        path = quote(spelled(world, named, named.path).encode("utf-8", "replace"))
                        at = f"/tenantry/reports/{visitor.id}"
                        return [
                            _asked(pages, f"{at}/{route}?path={path}", headers)
                            for route in ("file", "report")
                        ]

                    yield Attempt("page file", visitor, named, spelling, ask)

        outcome = attack(world, attempts())
        assert not outcome.leaks, "\n".join(outcome.leaks[:20])

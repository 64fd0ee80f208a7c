"""Nothing of a request gets to MLflow before its login is known."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from include.errors import ConfigError
from include.runtime import mlflow_login
from include.runtime.mlflow_login import Login

PASSWORD = "a password, with: a colon"
REACHED = "reached"


async def _page(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{REACHED} {request.headers.get('authorization')}")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
BEHIND = Starlette(
    routes=[WebSocketRoute("/socket", _socket), Route("/{path:path}", _page, methods=METHODS)]
)


def _basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


KNOWN = _basic(f"admin:{PASSWORD}")


@pytest.fixture
def browser() -> TestClient:
    return TestClient(Login(BEHIND, "admin", PASSWORD), base_url="http://127.0.0.1:5000")


STRANGERS = {
    "nothing": {},
    "an empty header": {"Authorization": ""},
    "no password": _basic("admin:"),
    "no colon": _basic("admin"),
    "another password": _basic("admin:admin"),
    "another user": _basic(f"root:{PASSWORD}"),
    "a prefix": _basic(f"admin:{PASSWORD[:-1]}"),
    "a longer one": _basic(f"admin:{PASSWORD}x"),
    "a line more": _basic(f"admin:{PASSWORD}\n"),
    "other letters": _basic(f"admin:{PASSWORD.upper()}"),
    "bytes": _basic(b"\xff\xfe\x00:" * 50),
    "another scheme": {"Authorization": KNOWN["Authorization"].replace("Basic", "Bearer")},
    "no scheme": {"Authorization": KNOWN["Authorization"].removeprefix("Basic ")},
    "no base64": {"Authorization": "Basic ?!"},
    "its words in the clear": {"Authorization": f"Basic admin:{PASSWORD}"},
    "a proxy's header": {"Proxy-Authorization": KNOWN["Authorization"]},
    "a cookie": {"Cookie": f"authorization={KNOWN['Authorization']}"},
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_stranger_gets_no_further(browser: TestClient, method: str, stranger: str) -> None:
    """Whatever they ask, and whatever they show: one refusal, and MLflow never hears of it."""
    for path in ("/", "/api/2.0/mlflow/runs/set-tag", "/health/x", "/HEALTH", "//health", "/%68x"):
        answer = browser.request(method, path, headers=STRANGERS[stranger])
        assert answer.status_code == 401
        assert REACHED not in answer.text
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_two_logins_at_once_are_none(browser: TestClient) -> None:
    """A header given twice is not the choice of whoever reads it next."""
    header = KNOWN["Authorization"]
    answer = browser.get("/", headers=[("Authorization", "Basic eA=="), ("Authorization", header)])
    assert answer.status_code == 401


def test_the_login_reaches_mlflow_and_the_password_does_not(browser: TestClient) -> None:
    """What the user asks is passed on as it is, without the header that holds the password."""
    for method in ("GET", "POST", "DELETE"):
        answer = browser.request(method, "/api/2.0/mlflow/x", headers=KNOWN)
        assert (answer.status_code, answer.text) == (200, f"{REACHED} None")


def test_health_is_for_everybody_and_says_no_more(browser: TestClient) -> None:
    """Health checks know no password; only that one path, and only to look."""
    assert browser.get("/health").text == "OK"
    assert browser.post("/health").status_code == 401


ELSEWHERE = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "another port of this machine": {"Origin": "http://127.0.0.1:9999"},
    "its other name": {"Origin": "http://localhost:5000"},
    "a sandbox": {"Origin": "null"},
    "an old browser": {"Origin": "http://evil.example"},
    "a site beside it": {"Sec-Fetch-Site": "same-site"},
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "a form": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
}


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_from_elsewhere_cannot_use_the_browsers_login(
    browser: TestClient, page: str
) -> None:
    """The browser would send the password along; what another page makes it ask is refused."""
    answer = browser.post("/api/2.0/mlflow/runs/set-tag", headers=KNOWN | ELSEWHERE[page])
    assert (answer.status_code, REACHED in answer.text) == (403, False)
    if page != "a form":  # which may show a page, but not to the one it is on
        assert browser.get("/api/x", headers=KNOWN | ELSEWHERE[page]).status_code == 403


def test_its_own_pages_and_links_to_them_work(browser: TestClient) -> None:
    """MLflow's pages talk to their server, and a link from Airflow's or a mail opens."""
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:5000"}
    assert browser.post("/api/x", headers=KNOWN | own).status_code == 200
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    assert browser.get("/", headers=KNOWN | typed).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert browser.get("/", headers=KNOWN | link).status_code == 200


def test_no_socket_and_no_assistant(browser: TestClient) -> None:
    """Neither is used, and the second runs commands on the server's machine."""
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("/socket", headers=KNOWN):
        pass
    for path in ("/ajax-api/3.0/mlflow/assistant/message", "/x/Assistant/y"):
        assert browser.post(path, headers=KNOWN).status_code == 404


def test_it_does_not_start_without_a_password_of_its_own(tmp_path: Path) -> None:
    """No file, an empty one or a short one is an error that names the variable."""
    empty, short, good = tmp_path / "empty", tmp_path / "short", tmp_path / "good"
    empty.write_text("\n")
    short.write_text("admin\n")
    good.write_text("long enough now\n")
    for given in (None, tmp_path / "missing", empty, short):
        environment = {} if given is None else {mlflow_login.PASSWORD_FILE: str(given)}
        with pytest.raises(ConfigError, match="TENANTRY_MLFLOW_PASSWORD_FILE"):
            mlflow_login.login(environment)
    for weak in ("", "admin", "x" * 11):
        with pytest.raises(ConfigError, match="TENANTRY_MLFLOW_PASSWORD must hold"):
            mlflow_login.login({mlflow_login.PASSWORD: weak})
    for given in ({mlflow_login.PASSWORD_FILE: str(good)}, {mlflow_login.PASSWORD: "x" * 12}):
        user, password = mlflow_login.login(given)
        assert (user, len(password) >= 12) == ("admin", True)

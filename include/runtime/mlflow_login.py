"""MLflow behind a login: its own server has none, and whoever reaches it can change every model.

`mlflow server --app-name tenantry` serves this application instead of MLflow's bare one. Nothing of
a request gets to MLflow before its login is checked, whatever its path; only `/health` answers
anyone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include.errors import ConfigError
from include.runtime.private import keep_to_owner

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

USER: Final = "TENANTRY_MLFLOW_USER"
PASSWORD: Final = "TENANTRY_MLFLOW_PASSWORD"  # noqa: S105 - a variable's name
PASSWORD_FILE: Final = f"{PASSWORD}_FILE"
_SHORTEST: Final = 12
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="MLflow", charset="UTF-8"')


@dataclass(frozen=True)
class Login:
    """An ASGI application that passes on what its one user asks, and nobody else.

    A browser sends a password once given with every request, also with those that a page from
    elsewhere makes it send. From there one may follow a link to here, and nothing else.
    """

    application: Application
    user: str
    password: str

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == "/health" and scope["method"] in ("GET", "HEAD"):
            await _answer(send, 200, "OK")
        elif not self._knows(scope):
            await _answer(send, 401, "MLflow asks for a login", _CHALLENGE)
        elif not (_is_link(scope) or _from_its_own_page(scope)):
            await _answer(send, 403, "a page from elsewhere may do nothing here")
        elif "assistant" in scope["path"].lower().split("/"):
            await _answer(send, 404, "no assistant here: it runs commands on this machine")
        else:
            headers = [
                (name, value) for name, value in scope["headers"] if name != b"authorization"
            ]
            await self.application({**scope, "headers": headers}, receive, send)

    def _knows(self, scope: Message) -> bool:
        given = _headers(scope, b"authorization")
        kind, _, encoded = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if kind.lower() != b"basic":
            return False
        try:
            found = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(found, f"{self.user}:{self.password}".encode())


def _is_link(scope: Message) -> bool:
    """Whether a browser opens a page: what it shows then, no other page can see."""
    modes, origins = _headers(scope, b"sec-fetch-mode"), _headers(scope, b"origin")
    return scope["method"] == "GET" and modes == [b"navigate"] and not origins


def _from_its_own_page(scope: Message) -> bool:
    """Whether no browser says otherwise; programs send neither header."""
    sites = _headers(scope, b"sec-fetch-site")
    hosts = _headers(scope, b"host")
    own = {scheme + host for scheme in (b"http://", b"https://") for host in hosts}
    return all(site in (b"same-origin", b"none") for site in sites) and all(
        origin in own for origin in _headers(scope, b"origin")
    )


def _headers(scope: Message, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


async def _answer(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    always = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    start = {"type": "http.response.start", "status": status, "headers": [*always, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": text.encode()})


def login(environment: Mapping[str, str]) -> tuple[str, str]:
    """User and password; raises ConfigError where none, or a guessable one, is given."""
    where, password = PASSWORD, environment.get(PASSWORD, "")
    if file := environment.get(PASSWORD_FILE):
        where = f"{PASSWORD_FILE} ({file})"
        try:
            password = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
    if len(password) < _SHORTEST:
        raise ConfigError(
            f"{where} must hold a password of {_SHORTEST} letters or more: MLflow does not start "
            f"without. Set {PASSWORD}, or {PASSWORD_FILE} to a file with nothing else in it."
        )
    return environment.get(USER) or "admin", password


def app() -> Application:
    """MLflow's application behind the login of this environment."""
    keep_to_owner()
    user, password = login(os.environ)
    from mlflow.server.fastapi_app import app as mlflow_application

    return Login(mlflow_application, user, password)

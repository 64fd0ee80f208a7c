"""A file fetched over HTTP, to no address inside the house and for no longer than agreed.

The address is looked at when the connection is made, for every hop of a redirect, so that a name
which means another address a moment later, or a server that points elsewhere, leads nowhere.
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from include.errors import IsolationError, SourceError
from include.ingestion.grants import Grants, SourceLimits

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Result = TypeVar("Result")

_CHUNK: Final = 1 << 20
_MOST_HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: A cloud's own, whatever the number says: Azure's, Oracle's, Alibaba's, Amazon's, Google's.
_METADATA: Final = tuple(
    ipaddress.ip_network(one)
    for one in (
        *("168.63.129.16/32", "192.0.0.0/24", "100.100.100.200/32"),
        *("fd00:ec2::/32", "fd20:ce::/32"),
    )
)
#: Nobody's, though Python takes them for public: site-local, documentation.
_NOWHERE: Final = tuple(ipaddress.IPv6Network(one) for one in ("fec0::/10", "3fff::/20"))
#: IPv6 addresses that stand for an IPv4 address: compatible, NAT64, local NAT64.
_EMBEDDING: Final = tuple(
    ipaddress.IPv6Network(one) for one in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")
)


def fetch(url: str, grants: Grants, target: BinaryIO) -> None:
    """Write what the URL holds into a file.

    Raises:
        IsolationError: the URL, or one it is redirected to, is not granted or leads to an address
            inside the house.
        SourceError: the server does not answer in time, with too much, or with an error.
    """
    deadline = time.monotonic() + grants.limits.file_seconds
    origin = urlsplit(url)
    for _ in range(_MOST_HOPS + 1):
        grants.require_url(url)
        parts = urlsplit(url)
        with closing(_connected(parts, grants, deadline)) as raw:
            line = _Line(raw, grants.limits.idle_seconds, deadline)
            same = (parts.scheme, parts.netloc.rpartition("@")[2]) == (
                origin.scheme,
                origin.netloc.rpartition("@")[2],
            )
            headers = _login(origin) if same else {}
            answer = _ask(line, parts, headers)
            if answer.status not in _REDIRECTS:
                _receive(answer, target, grants.limits)
                return
            url = urljoin(url, answer.getheader("Location") or "").partition("#")[0]
    raise SourceError(f"redirects more than {_MOST_HOPS} times")


def is_inside(address: Address) -> bool:
    """Whether an address is no public host's: private, local, a cloud's own, or one of many."""
    if any(map(is_inside, _embedded(address))):
        return True
    if getattr(address, "ipv4_mapped", None) is not None:
        return False
    if any(address in one for one in (*_METADATA, *_NOWHERE) if one.version == address.version):
        return True
    return not address.is_global or address.is_multicast or address.is_reserved


def _embedded(address: Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _EMBEDDING):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def allowed(host: str, address: Address, grants: Grants) -> bool:
    """Whether one may connect to an address that the host's name means.

    A listed name may be private or this machine; addresses of the link, a cloud's own and those
    of many are reached only where they are listed by number.
    """
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain in one for one in grants.networks if one.version == plain.version):
        return True
    if not is_inside(address):
        return True
    return _is_ordinary(plain) and host.lower().rstrip(".") in grants.names


def _is_ordinary(address: Address) -> bool:
    """Whether it is private or this machine, and so is what it stands for."""
    return (
        (address.is_private or address.is_loopback)
        and not (address.is_link_local or address.is_multicast or address.is_unspecified)
        and not any(address in one for one in _METADATA if one.version == address.version)
        and all(map(_is_ordinary, _embedded(address)))
    )


def within(seconds: float, what: str, call: Callable[[], Result]) -> Result:
    """What a call returns, or SourceError once the seconds are over.

    For calls that take no time-out themselves, such as a name server's; the thread of one that
    never returns ends with the process.
    """
    outcome: list[tuple[Result | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True, name=f"tenantry-{what}")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise SourceError(f"{what} took more than {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _connected(parts: SplitResult, grants: Grants, deadline: float) -> socket.socket:
    """A socket to the first address of the host that answers; all of them are looked at."""
    host, limits = parts.hostname or "", grants.limits
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = within(
            limits.connect_seconds,
            "the name server",
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
        )
    except (OSError, UnicodeError):
        raise SourceError(f"no address is known for host {host[:100]!r}") from None
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    if not all(allowed(host, address, grants) for address in addresses):
        raise IsolationError(
            f"host {host[:100]!r} is an address inside the house; an operator lists it under "
            "`hosts` in TENANTRY_SOURCES where that is meant"
        )
    problem = "no address"
    for family, kind, protocol, _, where in found:
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(min(limits.connect_seconds, _left(deadline)))
            raw.connect(where)
            if parts.scheme == "https":
                raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
        except (OSError, ValueError) as error:
            raw.close()
            problem = getattr(error, "strerror", None) or type(error).__name__
            continue
        return raw
    raise SourceError(f"host {host[:100]!r} cannot be reached: {problem}")


def _ask(line: _Line, parts: SplitResult, headers: dict[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.sock = line
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
        host = parts.netloc.rpartition("@")[2]
        asked = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "tenantry", **headers}
        for name, value in asked.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        line.ends_at = line.deadline
        return answer
    except TimeoutError:
        raise SourceError("the server did not answer in time") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise SourceError(f"the server's answer is no HTTP ({type(error).__name__})") from None


def _receive(answer: http.client.HTTPResponse, target: BinaryIO, limits: SourceLimits) -> None:
    if answer.status != 200:
        raise SourceError(f"the server answered {answer.status}")
    if (answer.getheader("Content-Encoding") or "identity").lower() != "identity":
        raise SourceError("the server sends an encoding that was not asked for")
    promised, received = answer.length, 0
    if promised is not None and promised > limits.fetched_bytes:
        raise SourceError(f"is larger than `fetched_bytes` allows ({limits.fetched_bytes:,})")
    try:
        while chunk := answer.read(_CHUNK):
            received += len(chunk)
            if received > limits.fetched_bytes:
                raise SourceError(
                    f"is larger than `fetched_bytes` allows ({limits.fetched_bytes:,})"
                )
            target.write(chunk)
    except TimeoutError:
        raise SourceError(f"the server stopped answering after {received:,} bytes") from None
    except (http.client.HTTPException, ValueError) as error:
        raise SourceError(
            f"the answer broke off after {received:,} bytes ({type(error).__name__})"
        ) from None
    if promised is not None and received != promised:
        raise SourceError(f"the answer broke off after {received:,} of {promised:,} bytes")


def _login(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Line:
    """A socket as `http.client` uses it, which waits for no byte longer than what is left."""

    def __init__(self, raw: socket.socket, idle_seconds: float, deadline: float) -> None:
        self.raw = raw
        self.idle_seconds = idle_seconds
        self.deadline = deadline
        #: The head of an answer has as long as one part of it: a head is no place to dribble.
        self.ends_at = min(deadline, time.monotonic() + idle_seconds)

    def settle(self) -> None:
        """Let the next call on the socket take as long as it may."""
        self.raw.settimeout(min(self.idle_seconds, _left(self.ends_at)))

    def sendall(self, content: bytes) -> None:
        """Send a request."""
        self.settle()
        self.raw.sendall(content)

    def makefile(self, *_: Any) -> io.BufferedReader:
        """The answer as a file."""
        return io.BufferedReader(_Answer(self), 1 << 16)

    def close(self) -> None:
        """`http.client` closes before the answer is read; whoever opened the socket closes it."""


class _Answer(io.RawIOBase):
    """The bytes that come along a line."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._line.settle()
        return self._line.raw.recv_into(buffer)

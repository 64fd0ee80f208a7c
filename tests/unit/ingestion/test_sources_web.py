"""Sources on the web: which addresses are asked, for how long, and what is said about them."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from include.errors import IsolationError, SourceError
from include.ingestion.grants import grants_of
from include.ingestion.web import allowed, is_inside
from tests.unit.ingestion.sources import HEADER, ROW, SECRETS, World

CONTENT = (HEADER + ROW).encode()
#: Every limit that a test waits for is this short.
SHORT = {"connect_seconds": 2, "idle_seconds": 0.4, "file_seconds": 1.2}
Answer = Callable[[socket.socket, str], None]


def ok(content: bytes = CONTENT, *headers: str) -> bytes:
    """A whole answer."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """A server on loopback that does to each request as told; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve(line: socket.socket) -> None:
            with line, suppress(OSError):
                head = line.recv(65_536).decode()
                answer(line, head)

        def accept() -> None:
            while not over.is_set():
                with suppress(OSError):
                    line, _ = listening.accept()
                    threading.Thread(target=serve, args=(line,), daemon=True).start()

        listening.settimeout(0.2)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            accepting.join()


def listed(world: World, url: str, **limits: Any) -> None:
    """Grant a server on this machine."""
    world.grant({"urls": [url], "hosts": ["127.0.0.1"]}, limits={**SHORT, **limits})


def test_a_granted_server_is_read(world: World) -> None:
    """By its address, with the login that the URL has and the query as it stands."""
    asked: list[str] = []

    def answer(line: socket.socket, head: str) -> None:
        asked.append(head)
        line.sendall(ok())

    with server(answer) as url:
        listed(world, url)
        path = f"{url.replace('//', '//ann:hunter2-is-a-password@')}/sales.csv?sig={SECRETS[0]}"
        assert world.look(path).good == 1
    assert f"GET /sales.csv?sig={SECRETS[0]} HTTP/1.1" in asked[0]
    assert "Authorization: Basic YW5uOmh1bnRlcjItaXMtYS1wYXNzd29yZA==" in asked[0]
    assert not any(secret in "".join(world.logged) for secret in SECRETS)


INSIDE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255"),  # noqa: S104
    *("192.168.0.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200"),
    *("192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "203.0.113.9"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::"),
    *("fec0::1", "3fff::1", "::ffff:0:7f00:1", "fd20:ce::254"),
    *("2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_the_house_is_known_in_every_spelling(address: str) -> None:
    """Private, shared, local, a cloud's own, or IPv4 within IPv6."""
    assert is_inside(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1", "::ffff:8.8.8.8"])
def test_a_public_address_is_outside(address: str) -> None:
    """As IPv4, IPv6 and one within the other."""
    assert not is_inside(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST.", "127.1", "0x7f.1", "0177.0.0.1", "2130706433"),
        *("0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "0.0.0.0"),  # noqa: S104
        *("ann@127.0.0.1", "127.0.0.1:80@127.0.0.1", "localhost.localdomain", "[0:0:0:0:0:0:0:1]"),
    ],
)
def test_no_spelling_of_a_host_leads_inside(world: World, host: str) -> None:
    """Though every address is granted as a URL, none inside the house is connected to."""
    world.grant({"urls": ["http://", "https://"]}, limits=SHORT)
    for scheme in ("http", "https"):
        world.refused(f"{scheme}://{host}/sales.csv")
    assert not world.own.joinpath("fetched").exists()


def test_a_name_that_means_several_addresses_is_refused_for_any(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is asked for once: what was looked at is what is connected to."""
    calls: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        calls.append(host)
        found = ["8.8.8.8", "127.0.0.1"] if host == "both.example" else ["10.0.0.7"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    def connect(*_: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    world.grant({"urls": ["http://"]})
    for host in ("both.example", "rebound.example"):
        error = world.refused(f"http://{host}/sales.csv")
        assert isinstance(error, IsolationError)
        assert "inside the house" in str(error)
    assert calls == ["both.example", "rebound.example"]


@pytest.mark.parametrize(
    ("hosts", "host", "reached"),
    [
        (["files.internal"], "10.0.0.7", True),
        (["files.internal"], "127.0.0.1", True),
        (["files.internal"], "169.254.169.254", False),
        (["files.internal"], "168.63.129.16", False),
        (["10.0.0.0/24"], "10.0.0.7", True),
        (["10.0.0.0/24"], "10.0.1.7", False),
        (["10.0.0.7"], "::ffff:10.0.0.7", True),
        (["169.254.169.254"], "169.254.169.254", True),
        (["other.internal"], "10.0.0.7", False),
    ],
)
def test_private_hosts_are_listed_by_name_or_number(
    world: World, hosts: list[str], host: str, reached: bool
) -> None:
    """A name allows what is private, and never what is a cloud's own: that takes its number."""
    from include.ingestion.web import allowed

    world.grant({"hosts": hosts})
    assert allowed("files.internal", ipaddress.ip_address(host), grants_of("alder")) is reached


@pytest.mark.parametrize(
    ("url", "granted"),
    [
        ("https://files.example/alder/a.csv", True),
        ("https://files.example/alder/b/c.csv?x=1", True),
        ("https://FILES.example:443/alder/a.csv", True),
        ("https://ann:b@files.example/alder/a.csv", True),
        ("http://files.example/alder/a.csv", False),
        ("https://files.example/alderwood/a.csv", False),
        ("https://files.example/birch/a.csv", False),
        ("https://files.example/alder/../birch/a.csv", False),
        ("https://files.example/alder/%2e%2e/birch/a.csv", False),
        ("https://files.example/alder/%2E./birch/a.csv", False),
        ("https://files.example/alder%2f..%2fbirch/a.csv", False),
        ("https://files.example/alder/..\\birch/a.csv", False),
        ("https://files.example/alder/\tbirch", False),
        ("https://files.example:8443/alder/a.csv", False),
        ("https://files.example.evil.example/alder/a.csv", False),
        ("https://files.example@evil.example/alder/a.csv", False),
        ("https://evil.example/https://files.example/alder/a.csv", False),
        ("https://evil.example\\@files.example/alder/a.csv", False),
        ("https://evil.example#@files.example/alder/a.csv", False),
        ("https://evil.example?@files.example/alder/a.csv", False),
    ],
)
def test_a_prefix_is_a_place_and_no_string(world: World, url: str, granted: bool) -> None:
    """Same scheme, host and port, and within the folder; `{tenant}` is the tenant's own."""
    world.grant(default={"urls": ["https://files.example/{tenant}"]})
    grants = grants_of("alder")
    if granted:
        grants.require_url(url)
        return
    with pytest.raises(IsolationError, match="not granted"):
        grants.require_url(url)


def never(line: socket.socket, head: str) -> None:
    """Accepts, and says nothing."""
    time.sleep(5)


def dribbles_its_head(line: socket.socket, head: str) -> None:
    """A header that goes on for ever, a byte at a time."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(100):
        line.sendall(b"a")
        time.sleep(0.05)


def dribbles(line: socket.socket, head: str) -> None:
    """A file that goes on for ever, a byte at a time."""
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT)
    for _ in range(100):
        line.sendall(b"1")
        time.sleep(0.05)


def stops(line: socket.socket, head: str) -> None:
    """Half a file, and then nothing."""
    line.sendall(ok()[:-5])
    time.sleep(5)


def ends_early(line: socket.socket, head: str) -> None:
    """Less than was promised."""
    line.sendall(ok()[:-5])


def endless(line: socket.socket, head: str) -> None:
    """More than anybody wants."""
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        line.sendall(b"1,2024-01-09,u,1,1\n" * 10_000)


def too_long(line: socket.socket, head: str) -> None:
    """Promises more than anybody wants."""
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")


def continues(line: socket.socket, head: str) -> None:
    """Asks for patience, again and again."""
    while True:
        line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def many_headers(line: socket.socket, head: str) -> None:
    """Headers without end."""
    line.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        line.sendall(b"X: y\r\n" * 1_000)


def speaks_otherwise(line: socket.socket, head: str) -> None:
    """No HTTP at all, and a secret in it."""
    line.sendall(f"-ERR {SECRETS[2]}\r\n".encode())


def fails(line: socket.socket, head: str) -> None:
    """An error page that holds a secret."""
    line.sendall(ok(SECRETS[1].encode()).replace(b"200 OK", f"500 {SECRETS[0]}".encode()))


def packs(line: socket.socket, head: str) -> None:
    """An encoding that nobody asked for: a bomb would hide in it."""
    line.sendall(ok(CONTENT, "Content-Encoding: gzip"))


def broken_chunks(line: socket.socket, head: str) -> None:
    """Chunks that are none."""
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nid,at\r\nzz\r\n")


def redirects(to: str) -> Answer:
    """A server that points elsewhere."""

    def answer(line: socket.socket, head: str) -> None:
        line.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

    answer.__name__ = f"redirects to {to.partition(':')[0]}"
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        *(never, dribbles_its_head, dribbles, stops, ends_early, endless, too_long, continues),
        *(many_headers, speaks_otherwise, fails, packs, broken_chunks),
        redirects("/again.csv"),
        redirects("file:///etc/passwd"),
        redirects("http://169.254.169.254/latest/meta-data"),
        redirects("http://localhost:1/x.csv"),
        redirects("//[::1]/x.csv"),
        redirects("ftp://host/x.csv"),
        redirects("gopher://host/"),
        redirects(""),
    ],
    ids=lambda answer: answer.__name__,
)
def test_a_hostile_server_costs_its_source_and_nothing_else(world: World, answer: Answer) -> None:
    """It ends in time, in an error of ours, with nothing of what the server said in it."""
    with server(answer) as url:
        listed(world, url, fetched_bytes=20_000_000)
        began = time.monotonic()
        world.refused(f"{url}/sales.csv?sig={SECRETS[0]}")
        # Generous: a server that is waited for ends after a second and a half at the latest.
        assert time.monotonic() - began < 60


def test_a_redirect_within_what_is_granted_is_followed(world: World) -> None:
    """The login goes along to the same host only."""
    heard: list[str] = []

    def answer(line: socket.socket, head: str) -> None:
        heard.append(head)
        line.sendall(ok())

    with server(answer) as target, server(redirects(f"{target}/there.csv")) as url:
        world.grant({"urls": [url, target], "hosts": ["127.0.0.1"]}, limits=SHORT)
        assert world.look(url.replace("//", "//ann:hunter2@") + "/sales.csv").good == 1
    assert "Authorization" not in heard[0]


def test_a_port_that_is_shut_is_said(world: World) -> None:
    """The message names the host, and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    listed(world, f"http://127.0.0.1:{port}")
    error = world.refused(f"http://ann:hunter2-is-a-password@127.0.0.1:{port}/x.csv")
    assert isinstance(error, SourceError)
    assert f"'http://***@127.0.0.1:{port}/x.csv'" in str(error)
    assert "cannot be reached: Connection refused" in str(error)


@pytest.mark.parametrize(
    "path",
    [
        f"ftp://ann:{SECRETS[2]}@host/x.csv",
        f"ftp://ann:{SECRETS[2]}/?#@host/x.csv",
        f"s3://ann:{SECRETS[2]}@bucket/x.csv",
        f"https://ann:{SECRETS[2]}@host.invalid/x.csv?token={SECRETS[0]}",
        f"simplecache::https://ann:{SECRETS[2]}@host/x.csv",
        f"zip://x::https://ann:{SECRETS[2]}@host/x.csv#{SECRETS[0]}",
        f"https://host/x.csv?X-Amz-Signature={SECRETS[1]}",
        f"https://ann:{SECRETS[2]} {SECRETS[0]}@host/x.csv",
        f"https://[ann:{SECRETS[2]}@host/x.csv",
        f"https://ann:{SECRETS[2]}@host:port/x.csv",
    ],
)
def test_no_message_shows_a_login_or_a_query(world: World, path: str) -> None:
    """Whatever is wrong with the URL, and whether or not it is granted."""
    world.refused(path)
    world.grant({"urls": ["https://", "s3://"]}, limits=SHORT)
    world.refused(path)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "fe80::1", "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254"),
        *("64:ff9b:1::a9fe:a9fe", "2001:0:a9fe:a9fe::", "2002:a9fe:a9fe::1", "192.0.0.192"),
    ],
)
def test_a_listed_name_never_leads_to_a_clouds_metadata(world: World, address: str) -> None:
    """Whoever owns the name could let it mean them; their number has to be listed."""
    world.grant({"urls": ["http://"], "hosts": ["files.internal"]})
    there = ipaddress.ip_address(address)
    assert not allowed("files.internal", there, grants_of("alder"))
    assert allowed("files.internal", ipaddress.ip_address("10.0.0.1"), grants_of("alder"))
    world.grant({"urls": ["http://"], "hosts": [str(getattr(there, "ipv4_mapped", 0) or there)]})
    assert allowed("files.internal", there, grants_of("alder"))


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/alder/..;/birch/x.csv",
        "https://files.example.com/alder/..;a=b/birch/x.csv",
        "https://files.example.com/alder/.;/x.csv",
        "https://files.example.com/alder/%c0%ae%c0%ae/birch/x.csv",
        "https://files.example.com/alder/%C0%AE%C0%AE/birch/x.csv",
        "https://files.example.com/alder/%u002e%u002e/birch/x.csv",
        "https://files.example.com/alder/\uff0e\uff0e/birch/x.csv",
        "https://files.example.com/alder/\u2025/birch/x.csv",
        "s3://exports/alder/x?/../../birch/x.csv",
    ],
)
def test_no_prefix_is_left_by_what_a_careless_server_takes_for_dots(world: World, url: str) -> None:
    """The URL is refused before anything is asked."""
    world.grant(
        {"urls": ["https://files.example.com/{tenant}/", "s3://exports/{tenant}/"]}, limits=SHORT
    )
    assert "is not granted" in str(world.refused(url))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", b"id,at,usr\n1,2024-01-09,u\n"),
        ("csv", b"id,id,at,user\n1,1,2024-01-09,u\n"),
        ("csv", b"id,at,user" + b",x" * 20_000 + b"\n"),
        ("jsonl", b'{"id": 1, "at": "2024-01-09"}\n'),
        ("parquet", b"PAR1 no parquet"),
    ],
)
@pytest.mark.parametrize("before", ["", "zip://x::"])
def test_what_is_wrong_with_a_fetched_file_is_told_without_its_login(
    world: World, kind: str, content: bytes, before: str
) -> None:
    """The file has a name in messages, which is not all of its address."""
    with server(lambda line, _: line.sendall(ok(content))) as url:
        listed(world, url)
        login = url.replace("//", f"//ann:{SECRETS[2]}@")
        path = f"{before}{login}/x;token={SECRETS[0]}.csv?sig={SECRETS[1]}"
        world.refused(path, kind)

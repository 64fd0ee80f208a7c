"""What a message may show: addresses without secrets, and columns' names without values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

#: Characters of a message that are shown.
_LONGEST: Final = 500
_LONGEST_READ: Final = 2_000
#: Names of columns that one message lists.
MOST_NAMES: Final = 20
_LONGEST_NAME: Final = 40
_HIDDEN: Final = "***"
_URL: Final = re.compile(r"(?<![A-Za-z0-9])([A-Za-z][A-Za-z0-9+.-]{0,20}://)([^\s'\"<>|]*)")
#: `user:password@host` without a scheme, or after one that is misspelled.
_BARE_LOGIN: Final = re.compile(r"(?<![^\s'\"(/])[^/@\s:'\"]+:[^/@\s]+@(?=[\w.-])")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}")
_LOGIN: Final = re.compile(r"\b(basic|bearer|negotiate|digest)\s+[\w+/=.~-]{4,}", re.IGNORECASE)
_ASSIGNED: Final = re.compile(
    r"""(?P<name>(?:passw(?:or)?d|passphrase|pwd|secret|token|signature|credential|api_?key|
        access_?key|private_?key|fernet_?key|session_?id|\bsig|\bkey|\bpin|\bauth(?:orization)?)[\w.-]*
        ["']?\s*[=:]\s*)
        (?P<value>"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,;&}\])]+)""",
    re.IGNORECASE | re.VERBOSE,
)
#: Categories of characters that hide themselves, or what stands beside them.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_NAME: Final = re.compile(r"[^\W\d][\w .$/-]*")
#: A word of a key, a digest or a token rather than of a name: letters and digits by turns.
_MIXED: Final = re.compile(r"(?:[^\W\d_]+\d+){2,}[^\W\d_]|(?:\d+[^\W\d_]+){2,}")


def visible(text: object) -> str:
    """The text with control and bidi characters as their numbers, so that none goes unseen."""
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in _INVISIBLE else c for c in str(text)
    )


def redacted(text: object) -> str:
    """The text on one line, cut, and `without_secrets`."""
    line = str(text)
    if len(line) > _LONGEST_READ:  # what is cut off might have told that the rest is a secret
        line = line[:_LONGEST_READ].rpartition(" ")[0] or f"(a text of {len(line):,} characters)"
    line = " ".join("".join(one if one.isprintable() else " " for one in line).split())
    line = without_secrets(line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def without_secrets(text: str) -> str:
    """The text without what opens a door.

    URLs lose user, password, query and fragment; what is assigned to a name like `password`, JSON
    web tokens and authorisation headers are hidden, too. Where it is not clear what belongs to a
    secret, more is hidden rather than less.
    """
    text = _URL.sub(lambda found: found[1] + _without_login(found[2]), text)
    text = _BARE_LOGIN.sub(f"{_HIDDEN}@", text)
    text = _LOGIN.sub(lambda found: f"{found[1]} {_HIDDEN}", text)
    text = _JWT.sub(_HIDDEN, text)
    return _ASSIGNED.sub(lambda found: found["name"] + _HIDDEN, text)


def shown_address(path: str) -> str:
    """A source's path as a message shows it: all of it is one address, whatever stands in it."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return redacted(path)
    # Blanks and quotes inside belong to the address: `redacted` would take them for its end.
    return redacted(scheme + separator + re.sub(r"[\s'\"<>|]", "_", rest))


def names_among(values: Iterable[object]) -> list[str]:
    """Those of the values that look like names of columns, at most twenty, in their order.

    A first line that names nothing holds a customer's data: numbers, days, addresses, keys.
    """
    return [text for text in map(str, values) if looks_like_a_name(text)][:MOST_NAMES]


def looks_like_a_name(text: str) -> bool:
    """Whether a text could name a column: a few words, no number, address, key or token."""
    return (
        len(text) <= _LONGEST_NAME
        and _NAME.fullmatch(text) is not None
        and sum(one.isdigit() for one in text) <= 4
        and _MIXED.search(text) is None
        and not text.startswith("eyJ")
    )


def _without_login(rest: str) -> str:
    """What follows `://`: host and path, and marks where something was left out."""
    _, at, after = rest.rpartition("@")
    place = f"{_HIDDEN}@{after}" if at else after
    place, question, _ = place.partition("?")
    place, fragment, _ = place.partition("#")
    host, slash, path = place.partition("/")
    _, colon, port = host.rpartition(":")
    if not at and colon and port and not port.isdigit() and "]" not in port:
        host = _HIDDEN  # the beginning of `user:pass word@host`
    return host + slash + path + (f"?{_HIDDEN}" if question or fragment else "")

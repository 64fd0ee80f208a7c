"""Whether a web server answers: `python -m include.runtime.answers URL [CA]`, for health checks."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request


def answers(url: str, authority: str | None = None, *, timeout_seconds: float = 5.0) -> bool:
    """Whether the URL answers with a success; never through a proxy.

    Args:
        authority: the file of whom to trust for `https`; the system's, if none.
    """
    trusted = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusted)
    try:
        with opener.open(url, timeout=timeout_seconds):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1], *sys.argv[2:3]) else 1)

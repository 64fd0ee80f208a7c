"""Whether a web server answers: `python -m include.runtime.answers URL`, for health checks."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request


def answers(url: str, timeout_seconds: float = 5.0) -> bool:
    """Whether the URL answers with a success; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_seconds):
            return True
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)

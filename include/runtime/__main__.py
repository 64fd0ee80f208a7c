"""`python -m include.runtime up|down|clean|status`."""

from __future__ import annotations

import sys

from include.errors import TenantryError, UnknownNameError
from include.runtime import control
from include.runtime.logins import describe
from include.runtime.private import keep_to_owner
from include.runtime.progress import reporter


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit code."""
    keep_to_owner()
    try:
        match arguments:
            case ["up"]:
                print(*describe(control.up(reporter())), sep="\n")
            case ["down"]:
                control.down(reporter())
            case ["clean"]:
                control.clean(reporter())
            case ["status"]:
                for component in control.status().components:
                    print(f"{component.name:14} {component.pid or 'stopped'}")
            case _:
                raise UnknownNameError(
                    "command", " ".join(arguments), ("up", "down", "clean", "status")
                )
    except TenantryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

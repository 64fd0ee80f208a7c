"""A view that is not in the library yet: `path/to/file.py:VIEW_NAME`, on the author's machine."""

from __future__ import annotations

import runpy
from pathlib import Path

from include.errors import ConfigError
from include.features import library
from include.features.views import FeatureView


def find(name: str) -> FeatureView:
    """The library's view of that name, or the one that a Python file declares.

    Args:
        name: `spend`, or `drafts/mine.py:SPEND` (the variable's name, or the view's own). The file
            is run: name none that you would not run yourself.

    Raises:
        UnknownNameError: no such view, with those there are and the closest one.
        ConfigError: the file is missing or does not run.
    """
    path, colon, wanted = name.rpartition(":")
    if not colon and name.endswith(".py"):
        path, wanted = name, ""
    if not path:
        return library.get(name)
    declared = _views_of(Path(path))
    by_name = {view.name: view for view in declared.values()}
    view = declared.get(wanted) or by_name.get(wanted)
    if view is None:
        raise library.unknown(wanted, declared, path)
    return view


def _views_of(path: Path) -> dict[str, FeatureView]:
    if not path.is_file():
        raise ConfigError(f"no file {path}; a view is a library's name or path/to/file.py:NAME")
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # a draft may fail in any way
        raise ConfigError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return {name: value for name, value in names.items() if isinstance(value, FeatureView)}

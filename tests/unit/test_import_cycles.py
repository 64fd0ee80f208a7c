"""No module needs itself, by whatever way round: not in functions, and not for types either."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_imports_have_an_order() -> None:
    """What stands in a circle cannot be understood, or moved, one module at a time."""
    graph = grimp.build_graph("include", cache_dir=None)
    imported = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    TopologicalSorter(imported).prepare()  # a CycleError names the circle

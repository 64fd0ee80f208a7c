"""Mutants of one module: mutmut's operators, and those that take a guard away.

Left alone is what is no behaviour: annotations, docstrings, the wording of errors and of the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string

Operator = Callable[[Any], Iterable[cst.CSTNode]]

_PASS: Final = cst.Pass()


def _no_statement(node: cst.Expr) -> Iterator[cst.CSTNode]:
    """A call for its effect, such as `check(…)`, is not made."""
    if m.matches(node.value, m.Call()):
        yield _PASS


def _no_error(node: cst.Raise) -> Iterator[cst.CSTNode]:
    """A refusal lets pass."""
    yield _PASS


def _other_branch(node: cst.If) -> Iterator[cst.CSTNode]:
    """A condition that nothing else mutates is turned round."""
    if not m.matches(node.test, m.Comparison() | m.BooleanOperation() | m.UnaryOperation()):
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


def _no_filter(node: cst.CompFor) -> Iterator[cst.CSTNode]:
    """A comprehension takes everything."""
    if node.ifs:
        yield node.with_changes(ifs=node.ifs[1:])


#: In the SQL that enters a tenant's transaction, and in patterns of identifiers: what is looked
#: for, and what stands there instead.
_IN_SQL: Final = (
    (r"\bOR\b", "AND"),
    (r"\bAND\b", "OR"),
    (r"\btrue\b", "false"),
    (r"\bbool_or\b", "bool_and"),
    (r"'MEMBER'", "'USAGE'"),
    (r"REPEATABLE READ", "READ COMMITTED"),
    (r"READ ONLY", "READ WRITE"),
)
_IN_PATTERNS: Final = (
    (r"\{1,", "{0,"),
    (r",40\}", ",41}"),
    (r",62\}", ",63}"),
    (r"\[a-z0-9-\]", "[a-z0-9./-]"),
    (r"\[a-z0-9_\]", "[a-z0-9._]"),
    (r"\[a-z\]", "[a-z0-9]"),
)


def _other_text(node: cst.SimpleString) -> Iterator[cst.CSTNode]:
    """Of a constant: SQL that asks for something else, a pattern that takes more, another name."""
    text = node.value
    looked_for = _IN_SQL if re.search(r"\b(SELECT|BEGIN|WHERE)\b", text) else _IN_PATTERNS
    for pattern, instead in looked_for:
        for found in re.finditer(pattern, text):
            yield node.with_changes(value=text[: found.start()] + instead + text[found.end() :])
    if looked_for is _IN_PATTERNS and '"""' not in text:
        yield from list(operator_string(node))[:1]


_OURS: Final[Sequence[tuple[type, Operator]]] = (
    (cst.Expr, _no_statement),
    (cst.Raise, _no_error),
    (cst.If, _other_branch),
    (cst.CompFor, _no_filter),
)
_THEIRS: Final = tuple(one for one in mutation_operators if one[0] is not cst.BaseString)


@dataclass
class Mutant:
    """A module with one change."""

    function: str  #: that the change is in, with its class; empty for a constant
    line: int
    before: str  #: the changed expression or statement, on one line
    after: str
    make: Callable[[], str]

    @cached_property
    def source(self) -> str:
        """The whole module."""
        return self.make()

    @property
    def name(self) -> str:
        """What it is called in the list of equivalent ones: no line number, which would age."""
        return f"{self.function}: {self.before} -> {self.after}"


def mutants(path: Path, functions: Sequence[str] = ()) -> list[Mutant]:
    """Every mutant of a module, or of some of its functions and constants."""
    wrapper = MetadataWrapper(cst.parse_module(path.read_text(encoding="utf-8")))
    visitor = _Visitor(wrapper, functions)
    wrapper.visit(visitor)
    return visitor.found


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, wrapper: MetadataWrapper, functions: Sequence[str]) -> None:
        super().__init__()
        self.found: list[Mutant] = []
        self._module, self._functions = wrapper.module, functions
        self._within: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._is_no_behaviour(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._within.append(node.name.value)
            if isinstance(node, cst.FunctionDef):
                node.body.visit(self)  # decorators and defaults are declarations
            else:
                node.body.visit(self)
            self._within.pop()
            return False
        self._mutate(node)
        return True

    def _mutate(self, node: cst.CSTNode) -> None:
        function = ".".join(self._within)
        if self._functions and function.split(".")[-1] not in self._functions:
            return
        operators = [*_THEIRS, *_OURS] if function else [(cst.SimpleString, _other_text)]
        for kind, operator in operators:
            if isinstance(node, kind):
                for changed in operator(node):
                    self._add(function, node, changed)

    def _add(self, function: str, node: cst.CSTNode, changed: cst.CSTNode) -> None:
        def make() -> str:
            mutated = self._module.deep_replace(node, changed)  # type: ignore[arg-type]
            return cst.ensure_type(mutated, cst.Module).code

        line = self.get_metadata(PositionProvider, node).start.line
        before, after = (_on_one_line(self._module.code_for_node(n)) for n in (node, changed))
        if before != after:
            self.found.append(Mutant(function, line, before, after, make))

    def _is_no_behaviour(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.Import | cst.ImportFrom | cst.Decorator):
            return True
        if isinstance(node, cst.FormattedString | cst.ConcatenatedString) and self._within:
            return True
        if m.matches(node, m.Expr(m.SimpleString() | m.ConcatenatedString())):
            return True
        if m.matches(node, m.Expr(m.Call(m.Attribute(m.Name("log"))))):
            return True
        if m.matches(node, m.If(test=m.Name("TYPE_CHECKING")) | m.Call(m.Name("TypeVar"))):
            return True
        if isinstance(node, cst.Raise):
            self._mutate(node)
            return True  # its wording
        return False


def _on_one_line(code: str) -> str:
    return " ".join(code.split())[:160]

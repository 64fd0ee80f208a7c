"""An expression's parse tree → SQL over the forms of the columns that it reads.

DuckDB's parser gives the tree. What is executed is printed from it anew, node by node of the kinds
listed here, so that nothing that was not understood is ever run.

**A column is what its use makes of it**, in every format. Where the expression computes with it,
or compares it with a number, it is a number, read as the mapping reads numbers; where a function
takes an instant, an instant in the mapping's time zone, read as the mapping reads instants; and a
text as ids are spelled everywhere else. A cast says otherwise. So `price > 100` means the same for
a CSV's text and for a Parquet file's decimals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from include.errors import ConfigError
from include.ingestion.expression_pieces import (
    Compiled,
    Form,
    Kind,
    form_name,
    given_name,
    joined,
    one_of,
    text_of,
)
from include.ingestion.expression_trees import Node, parsed
from include.tenants.expressions import unknown_function
from include.tenants.functions import signature_of

#: Characters that a result may have per character of the row, and beyond them.
MOST_GROWTH: Final = 20
MOST_CONSTANT: Final = 20_000
_LETTERS: Final[dict[str, Kind]] = {
    **{"t": "text", "n": "number", "z": "number", "i": "instant", "b": "boolean"},
    **{"l": "list", "d": "interval"},
}
_NUMERIC: Final = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *("UBIGINT", "UHUGEINT", "DECIMAL", "FLOAT", "DOUBLE"),
)
_TYPES: Final[dict[str, tuple[str, Kind]]] = {
    **{name: (name, "number") for name in _NUMERIC},
    **{"REAL": ("FLOAT", "number"), "INT": ("INTEGER", "number"), "LONG": ("BIGINT", "number")},
    **dict.fromkeys(("VARCHAR", "TEXT", "STRING", "CHAR"), ("VARCHAR", "text")),
    "BOOLEAN": ("BOOLEAN", "boolean"),
    "BOOL": ("BOOLEAN", "boolean"),
    "DATE": ("DATE", "instant"),
    "TIMESTAMP": ("TIMESTAMP", "instant"),
    "DATETIME": ("TIMESTAMP", "instant"),
    "TIMESTAMPTZ": ("TIMESTAMPTZ", "instant"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ", "instant"),
    "TIME": ("TIME", "text"),
    "INTERVAL": ("INTERVAL", "interval"),
}
_COMPARISONS: Final = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_CLASSES: Final = frozenset(
    {
        *("BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT"),
        *("FUNCTION", "OPERATOR"),
    }
)
_ORDERING: Final = frozenset({"<", ">", "<=", ">="})
_SAME: Final = frozenset({"nullif", "greatest", "least", "if"})
#: A number as ids spell it: `6`, not `6.0`.
_SPELLED: Final = r"regexp_replace(CAST({} AS VARCHAR), '\.0$', '')"
_INTEGER: Final = re.compile(r"-?\d[\d_]*")
_NUMBER: Final = re.compile(r"-?[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?")


def compiled(
    text: str, columns: Sequence[str], given: Mapping[str, Compiled] | None = None
) -> Compiled:
    """The SQL of an expression.

    Args:
        columns: those of the source, by whose place forms of them are named.
        given: what other expressions give, by name, where it may read them.

    Raises:
        ConfigError: it calls or reads what it must not, or could make far too much text.
    """
    places = {name: at for at, name in enumerate(columns)}
    try:
        made = _Printer(places, given or {}).any(parsed(text).node)
    except RecursionError:
        raise ConfigError("nests too deep") from None
    if made.growth > MOST_GROWTH or made.constant > MOST_CONSTANT or made.work > 10 * MOST_GROWTH:
        raise ConfigError("could make far longer text of a row than the row has; shorten it")
    return made


@dataclass
class _Printer:
    """Prints a tree; `wanted` is the kind that a column is to have where it stands."""

    places: Mapping[str, int]
    given: Mapping[str, Compiled]
    _names: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._names = {name: at for at, name in enumerate(self.given)}

    def any(self, node: Node, wanted: Kind | None = None) -> Compiled:
        """Any node of a kind that an expression may hold."""
        kind = str(node.get("class"))
        if kind not in _CLASSES:
            told = kind.lower().replace("_", " ")
            raise ConfigError(f"holds a {told}; an expression reads the source's own row alone")
        return cast(Compiled, getattr(self, f"_{kind.lower()}")(node, wanted))

    def _column_ref(self, node: Node, wanted: Kind | None) -> Compiled:
        name = ".".join(node["column_names"])
        if name in self.given:
            of = self.given[name]
            sql = given_name(self._names[name])
            return Compiled(
                sql, of.kind, of.growth, of.constant, of.growth, given=frozenset([name])
            )
        if wanted == "number":
            return self._read(name, "number", "coalesce({number}, CAST({no_number} AS DOUBLE))")
        if wanted == "instant":
            sql = "coalesce({instant}, CAST({no_instant} AS TIMESTAMP))"
            return self._read(name, "instant", sql)
        if wanted == "boolean":
            return self._read(name, "boolean", "CAST({text} AS BOOLEAN)")
        return self._read(name, "text", "{text}")

    def _read(self, name: str, kind: Kind, sql: str) -> Compiled:
        at = self.places[name]
        forms = cast(list[Form], re.findall(r"\{(\w+)\}", sql))
        named = {form: form_name(at, form) for form in forms}
        growth = 1.0 if kind == "text" else 0.0
        reads = frozenset((at, form) for form in forms)
        return Compiled(sql.format(**named), kind, growth, work=growth, reads=reads)

    def _constant(self, node: Node, wanted: Kind | None) -> Compiled:
        kind, text = node["literal"]["kind"], node["literal"]["text"]
        if kind == "STRING":
            return Compiled(_literal(text), "text", constant=len(text))
        if kind in ("INTEGER", "NUMERIC") and (
            _INTEGER if kind == "INTEGER" else _NUMBER
        ).fullmatch(text):
            return Compiled(text, "number")
        if kind == "BOOLEAN" and text in ("true", "false"):
            return Compiled(text, "boolean")
        if kind == "NULL_LITERAL":
            return Compiled("NULL", "null")
        raise ConfigError("holds a constant that is neither text, number, true, false nor NULL")

    def _cast(self, node: Node, wanted: Kind | None) -> Compiled:
        kind_of_type = node["type_expr"]
        name = str(kind_of_type["type_name"]).upper()
        if name not in _TYPES or kind_of_type["catalog"] or kind_of_type["schema"]:
            raise ConfigError(
                f"casts to {name.lower()}; known: {', '.join(sorted(_TYPES)).lower()}"
            )
        target, kind = _TYPES[name]
        child, lenient = node["child"], bool(node["try_cast"])
        if target == "DECIMAL" and kind_of_type["children"]:
            digits = [str(one.get("literal", {}).get("text")) for one in kind_of_type["children"]]
            if len(digits) > 2 or not all(re.fullmatch(r"\d{1,2}", one) for one in digits):
                raise ConfigError("casts to a decimal of unknown width; write decimal(18, 2)")
            target = f"DECIMAL({', '.join(digits)})"
        form = {"number": "{digits}", "instant": "{instant}"}.get(kind, "{text}")
        if self._is_source(child) and (kind == "number" or lenient):
            inner = self._read(".".join(child["column_names"]), "text", form)
        else:
            inner = self.any(child, kind if kind != "text" else None)
        cast_to = "TRY_CAST" if lenient else "CAST"
        growth, constant = (inner.growth, inner.constant) if kind == "text" else (0.0, 40)
        return joined(f"{cast_to}({{}} AS {target})", kind, [inner], growth, constant)

    def _comparison(self, node: Node, wanted: Kind | None) -> Compiled:
        sign = _COMPARISONS.get(node["type"])
        if sign is None:
            raise ConfigError("holds a comparison that is not read")
        parts = self._alike([node["left"], node["right"]], orders=sign in _ORDERING)
        return joined(f"({{}} {sign} {{}})", "boolean", parts)

    def _between(self, node: Node, wanted: Kind | None) -> Compiled:
        parts = self._alike([node["input"], node["lower"], node["upper"]], orders=True)
        return replace(joined("({} BETWEEN {} AND {})", "boolean", parts), lazy=True)

    def _conjunction(self, node: Node, wanted: Kind | None) -> Compiled:
        word = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[node["type"]]
        parts = [self.any(one, "boolean") for one in node["children"]]
        made = joined(f"({word.join(['{}'] * len(parts))})", "boolean", parts)
        return replace(made, lazy=True)

    def _case(self, node: Node, wanted: Kind | None) -> Compiled:
        checks = node["case_checks"]
        when = [self.any(one["when_expr"], "boolean") for one in checks]
        results = self._alike([*(one["then_expr"] for one in checks), node["else_expr"]], wanted)
        sql = "CASE" + " WHEN {} THEN {}" * len(checks) + " ELSE {} END"
        parts = [one for pair in zip(when, results, strict=False) for one in pair]
        return one_of(sql, [*parts, results[-1]], results)

    def _operator(self, node: Node, wanted: Kind | None) -> Compiled:
        kind, children = node["type"], node["children"]
        if kind == "OPERATOR_NOT":
            return joined("(NOT {})", "boolean", [self.any(children[0], "boolean")])
        if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            word = "IS NULL" if kind == "OPERATOR_IS_NULL" else "IS NOT NULL"
            return joined(f"({{}} {word})", "boolean", [self.any(children[0])])
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
            parts = self._alike(children)
            word = "IN" if kind == "COMPARE_IN" else "NOT IN"
            listed = ", ".join(["{}"] * (len(parts) - 1))
            made = joined(f"({{}} {word} ({listed}))", "boolean", parts)
            return replace(made, lazy=True)
        if kind == "OPERATOR_COALESCE":
            parts = self._alike(children, wanted)
            return one_of(f"coalesce({', '.join(['{}'] * len(parts))})", parts, parts)
        if kind == "OPERATOR_TRY":
            part = self.any(children[0], wanted)
            return one_of("TRY({})", [part], [part])
        if kind in ("ARRAY_EXTRACT", "ARRAY_SLICE"):
            parts = [self.any(children[0]), *(self._whole(one) for one in children[1:])]
            sliced = kind == "ARRAY_SLICE" and parts[0].kind == "list"
            inner = ":".join(["{}"] * (len(parts) - 1))
            return joined(
                f"({{}})[{inner}]",
                "list" if sliced else "text",
                parts,
                parts[0].growth,
                parts[0].constant,
            )
        raise ConfigError(f"holds {kind.lower().replace('_', ' ')}, which is not read")

    def _function(self, node: Node, wanted: Kind | None) -> Compiled:
        name = str(node["function_name"]).lower()
        arguments = [one["expression"] for one in node["arguments"]]
        odd = node["schema"] or node["catalog"] or node["filter"] or node["distinct"]
        if odd or node["order_bys"]["orders"] or any(one["name"] for one in node["arguments"]):
            raise ConfigError(f"calls {name} with more than its arguments")
        found = signature_of(name, len(arguments))
        if found is None:
            if signature_of(name, 1) or signature_of(name, 2) or signature_of(name, 3):
                raise ConfigError(f"{name} does not take {len(arguments)} arguments")
            raise ConfigError(unknown_function(name))
        letters, result = found
        if name in _SAME:
            return self._same(name, arguments, wanted)
        if name in ("+", "-") and len(arguments) == 2:
            return self._sum(name, arguments)
        parts = [
            self._argument(name, letter, one)
            for letter, one in zip(letters, arguments, strict=True)
        ]
        growth, constant = text_of(name, letters, result, parts)
        sql = _call(name, node["is_operator"], len(parts))
        return joined(sql, _LETTERS[result], parts, growth, constant)

    def _argument(self, name: str, letter: str, node: Node) -> Compiled:
        if letter == "c":
            if node.get("class") != "CONSTANT":
                raise ConfigError(f"{name} takes a constant there")
            return self.any(node)
        if letter == "z":
            return self._whole(node)
        part = self.any(node, _LETTERS[letter])
        if letter == "t" and part.kind == "number":
            return joined(_SPELLED, "text", [part])
        return part

    def _whole(self, node: Node) -> Compiled:
        part = self.any(node, "number")
        plain = node.get("class") == "CONSTANT"
        return part if plain else joined("CAST({} AS INTEGER)", "number", [part])

    def _same(self, name: str, nodes: Sequence[Node], wanted: Kind | None) -> Compiled:
        condition = [self.any(nodes[0], "boolean")] if name == "if" else []
        results = self._alike(nodes[len(condition) :], wanted, orders=name in ("greatest", "least"))
        parts = [*condition, *results]
        return one_of(f"{name}({', '.join(['{}'] * len(parts))})", parts, results)

    def _sum(self, sign: str, nodes: Sequence[Node]) -> Compiled:
        """Numbers; or an instant and what is added to it or taken from it."""
        known = self._known(nodes)
        kinds_known = {part.kind for part in known.values()}
        moves = "interval" in kinds_known or (sign == "-" and "instant" in kinds_known)
        kind_of_free: Kind = "instant" if moves else "number"
        parts = [known.get(at) or self.any(node, kind_of_free) for at, node in enumerate(nodes)]
        kinds = [part.kind for part in parts]
        kind: Kind = "number"
        if "instant" in kinds:
            kind = "interval" if kinds == ["instant", "instant"] else "instant"
        elif "interval" in kinds:
            kind = "interval"
        return joined(f"({{}} {sign} {{}})", kind, parts)

    def _alike(
        self, nodes: Sequence[Node], wanted: Kind | None = None, *, orders: bool = False
    ) -> list[Compiled]:
        """Parts that are compared, or of which one is the result: columns as the others are."""
        known = self._known(nodes)
        kinds = [part.kind for part in known.values() if part.kind != "null"]
        kind = next((one for one in kinds if one != "text"), kinds[0] if kinds else wanted)
        if orders and kind is None:
            raise ConfigError(
                "compares columns without saying as what; cast one, such as "
                "price::double > cost::double, day::date or code::varchar"
            )
        return [known.get(at) or self.any(node, kind) for at, node in enumerate(nodes)]

    def _known(self, nodes: Sequence[Node]) -> dict[int, Compiled]:
        """Nodes whose kind does not depend on where they stand; each is printed once only."""
        return {at: self.any(one) for at, one in enumerate(nodes) if not self._is_free(one)}

    def _is_source(self, node: Node) -> bool:
        return (
            node.get("class") == "COLUMN_REF" and ".".join(node["column_names"]) not in self.given
        )

    def _is_free(self, node: Node) -> bool:
        """Whether its kind depends on where it stands: a column, or a choice among columns."""
        if node.get("class") == "CONSTANT":
            return bool(node["literal"]["kind"] == "NULL_LITERAL")
        if node.get("class") == "CASE":
            return all(map(self._is_free, [c["then_expr"] for c in node["case_checks"]])) and (
                self._is_free(node["else_expr"])
            )
        if node.get("type") in ("OPERATOR_COALESCE", "OPERATOR_TRY"):
            return all(map(self._is_free, node["children"]))
        if node.get("class") == "FUNCTION" and node["function_name"] in _SAME:
            parts = [one["expression"] for one in node["arguments"]]
            return all(map(self._is_free, parts[node["function_name"] == "if" :]))
        return self._is_source(node)


def _call(name: str, is_operator: bool, count: int) -> str:
    if name == "position":
        return "instr({}, {})"
    if is_operator:
        return f"({{}} {name} {{}})" if count == 2 else f"({name} {{}})"
    return f"{name}({', '.join(['{}'] * count)})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

"""Allow only SQL that reads: walk the syntax tree that DuckDB parses from a statement.

DuckDB calls a statement a SELECT also where a part of it writes (`WITH x AS (COPY ...)`), and has functions that open files or
change settings. So each node of a statement must be of a kind that is known to read, each function be listed in
`sql/functions.txt`, and no table be one of DuckDB's own that tell about the machine. What is not known is refused.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FUNCTIONS = Path(__file__).parent / "sql" / "functions.txt"
_EXPRESSIONS = re.compile(  # `class` of an expression
    "BETWEEN|CASE|CAST|COLLATE|COLUMN_REF|COMPARISON|CONJUNCTION|CONSTANT|DEFAULT|FUNCTION|LAMBDA|OPERATOR|PARAMETER|"
    "POSITIONAL_REFERENCE|STAR|SUBQUERY|TYPE|WINDOW"
)
_NODES = re.compile(  # `type` of what is no expression
    "SELECT_NODE|SET_OPERATION_NODE|RECURSIVE_CTE_NODE|CTE_NODE|"
    "BASE_TABLE|EMPTY|EXPRESSION_LIST|JOIN|PIVOT|SHOW_REF|SUBQUERY|TABLE_FUNCTION|"
    "DISTINCT_MODIFIER|LIMIT_MODIFIER|LIMIT_PERCENT_MODIFIER|ORDER_MODIFIER|ORDER_DEFAULT|ASCENDING|DESCENDING"
)
_SHOWN = frozenset(('"databases"', '"schemas"', '"tables"', "__show_tables_expanded"))  # SHOW DATABASES, SHOW TABLES, ...
_SYSTEM = re.compile(r"(duckdb|pragma|pg|sqlite)_.*")  # names of DuckDB's own tables
_SYSTEM_READ = re.compile("duckdb_(columns|constraints|indexes|schemas|tables|types|views)|sqlite_master")
_FILE = re.compile(r"[./\\:*?]")  # in a name: DuckDB would look for a file


@dataclass(frozen=True)
class Known:
    """What a database has of its own, names in small letters.

    Attributes:
        tables: that may be read, views too.
        functions: macros that may be called.
        refused: name of a view or macro that does more than read -> why.
    """

    tables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


def refusal(statement: Any, known: Known) -> str:
    """Why a statement may do more than read this database; empty where it only reads.

    Args:
        statement: as `json_serialize_sql` gives it, with defaults and empty values.
        known: what the database has.
    """
    return next((reason for node in _nodes(statement) if (reason := _wrong(node, known))), "")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree as JSON holds it, with its own stack: statements may be nested deeper than Python's."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _wrong(node: dict[str, Any], known: Known) -> str:
    kind = node.get("class", node.get("type"))
    if not isinstance(kind, str):  # neither: a list of CTEs, a qualified name, the type of a value
        return ""
    if not (_EXPRESSIONS if "class" in node else _NODES).fullmatch(kind):
        return f"{kind.removesuffix('_QUERY_NODE').removesuffix('_NODE')} does not only read"
    if kind in ("FUNCTION", "WINDOW"):
        return _wrong_function(node["function_name"], known)
    if kind == "BASE_TABLE" or (kind == "SHOW_REF" and node["table_name"] not in _SHOWN):
        return _wrong_table(node["table_name"], known)
    return ""


def _wrong_function(name: str, known: Known) -> str:
    """The names of functions that stand for tables differ from all others but for `range` and its like, which are harmless."""
    lowered = name.lower()
    if lowered in known.refused:
        return known.refused[lowered]
    if lowered in functions() or lowered in known.functions:
        return ""
    like = difflib.get_close_matches(lowered, functions() | known.functions, 1, 0.8)
    return f"function {name} is not on the list of those that only read" + (f"; did you mean {like[0]}?" if like else "")


def _wrong_table(name: str, known: Known) -> str:
    lowered = name.lower()
    if lowered in known.refused:
        return known.refused[lowered]
    if lowered in known.tables or _SYSTEM_READ.fullmatch(lowered):
        return ""
    if _SYSTEM.fullmatch(lowered):
        return f"{name} tells about DuckDB and this machine, not about the runs"
    return f"there is no table {name!r}, and files are not read" if _FILE.search(name) else ""  # else DuckDB says what there is


@cache
def functions() -> frozenset[str]:
    """The functions that only read, in small letters."""
    lines = FUNCTIONS.read_text(encoding="utf-8").splitlines()
    return frozenset(name.lower() for line in lines if not line.startswith("#") for name in line.split())

"""Reads the source of a package and lists what breaks the order of the house."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "turnlog"
LONGEST_FILE = 400

BASE = frozenset({"errors", "messages", "heads", "protocols"})
PURE = frozenset({"trim", "tree", "toolcalls", "validity", "words"})


@dataclass(frozen=True)
class Area:
    """A file or folder directly under the package, and what it may import."""

    may: frozenset[str] = frozenset()
    """Other areas of the package."""
    third_party: frozenset[str] = frozenset()
    """Modules from outside the standard library."""
    banned: frozenset[str] = field(default=frozenset())
    """Modules of the standard library."""


# What does input and output, waits, or asks the machine for something; none of it belongs in a pure module.
IMPURE = frozenset(
    {"asyncio", "concurrent", "fcntl", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "socket"}
    | {"sqlite3", "subprocess", "tempfile", "threading"}
)

DRIVERS = frozenset({"bson", "psycopg", "psycopg_pool", "pymongo", "redis"})
STORES = BASE | PURE | {"backends", "store", "session"}

# Imports run downwards in this table only.
AREAS = {
    "": Area(may=frozenset({"agent", "turns"})),
    "errors": Area(),
    "messages": Area(may=frozenset({"errors"})),
    "heads": Area(may=frozenset({"errors", "messages"})),
    "protocols": Area(may=frozenset({"errors", "messages", "heads"})),
    **{name: Area(may=frozenset({"errors", "messages", "heads"}) | PURE, banned=IMPURE) for name in PURE},
    "forms": Area(may=frozenset({"errors", "messages", "toolcalls", "validity"}), banned=IMPURE),
    "backends": Area(may=BASE | {"words"}, third_party=DRIVERS, banned=frozenset({"asyncio"})),
    "store": Area(may=BASE | PURE | {"backends"}),
    "session": Area(may=BASE | PURE | {"backends", "store"}),
    "testing": Area(may=STORES, third_party=frozenset({"pytest", "_pytest", "hypothesis"})),
    "as_praisonai": Area(may=frozenset({"session"})),
    "turns": Area(may=STORES | {"forms"}),
    "transfer": Area(may=STORES | {"forms"}),
    "integrations": Area(may=STORES | {"forms"}, third_party=frozenset({"agents", "pydantic", "pydantic_ai"})),
    "agent": Area(may=STORES | {"forms", "turns", "integrations"}, third_party=frozenset({"httpx2", "pydantic_ai"})),
    "bots": Area(
        may=STORES | {"forms", "turns", "integrations", "agent"},
        third_party=frozenset({"aiohttp", "discord", "pydantic_ai", "slack_bolt", "slack_sdk", "telegram", "uvicorn"}),
    ),
    "server": Area(may=STORES | {"agent", "integrations"}, third_party=frozenset({"pydantic_ai", "pydantic_core", "starlette", "uvicorn"})),
    "cli": Area(
        may=STORES | {"forms", "transfer", "testing", "agent", "bots", "server"},
        third_party=frozenset({"click", "pydantic_ai", "rich", "typer"}),
    ),
    "__main__": Area(may=frozenset({"cli"})),
}


def violations(package: Path) -> list[str]:
    """Every breach under ``package`` (the folder named turnlog), each as one line that names file, line and rule."""
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        place = str(path.relative_to(package))
        if (lines := source.count("\n")) > LONGEST_FILE:
            found.append(f"{place}: {lines} lines, the limit is {LONGEST_FILE}")
        tree = ast.parse(source)
        found += [f"{place}{breach}" for breach in _undocumented(tree, source)]
        found += [f"{place}{breach}" for breach in _imports_against_the_order(path.relative_to(package), tree)]
    return found


def _undocumented(tree: ast.Module, source: str) -> Iterator[str]:
    if not source.startswith('"""') or not ast.get_docstring(tree):
        yield ":1: the first line does not say what lives in the file"
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not any(map(_says_what_it_is, node.decorator_list)):
            yield f":{node.lineno}: {node.name} is public and has no docstring"


def _says_what_it_is(mark: ast.expr) -> bool:
    """Whether a decorator documents in a docstring's place: it registers the function under a sentence, or marks an overload."""
    if isinstance(mark, ast.Call):
        return any(isinstance(each, ast.Constant) and isinstance(each.value, str) and " " in each.value for each in mark.args)
    return isinstance(mark, ast.Name) and mark.id == "overload"


def _imports_against_the_order(place: Path, tree: ast.Module) -> Iterator[str]:
    name = _area(place.with_suffix("").parts)
    area = AREAS.get(name)
    if area is None:
        yield f":1: {name} has no place in the table of tests/layers/imports.py"
        return
    for line, module in _imported(place, tree):
        top, *below = module.split(".")
        if top == PACKAGE:
            target = _area(tuple(below))
            if target not in {name, "", "__version__", *area.may}:
                yield f":{line}: imports {module}, and {name or PACKAGE} may only import {', '.join(sorted(area.may)) or 'nothing here'}"
        elif top in area.banned:
            yield f":{line}: imports {module}, which has no business in {name}"
        elif top not in sys.stdlib_module_names and top not in area.third_party:
            yield f":{line}: imports {module}, which is not in the standard library"


def _area(parts: tuple[str, ...]) -> str:
    return "" if not parts or parts[0] == "__init__" else parts[0]


def _imported(place: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that the file imports anywhere, in functions too."""
    folder = [PACKAGE, *place.parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if module == PACKAGE:  # `from turnlog import session` names the module after the word import
                yield from ((node.lineno, f"{module}.{each.name}") for each in node.names)
            else:
                yield node.lineno, module
        elif isinstance(node, ast.Call) and _is_import_module(node.func) and node.args and isinstance(node.args[0], ast.Constant):
            yield node.lineno, str(node.args[0].value)


def _is_import_module(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    return name in ("import_module", "__import__")

"""The modules of the package, and what each imports, as their source says."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

from tests.support.checkout import ROOT

PACKAGE = "palingenesis"
SHARED = "shared"
#: The names of the parts that are packages; every other module belongs to all parts.
PACKAGES = ("client", "cli", "server", "web", "monitor", "daemon")
#: What a statement can be in.
_BLOCKS = (ast.stmt, ast.excepthandler, ast.match_case)


@cache
def sources(package: str = PACKAGE) -> dict[str, str]:
    """Read every module below a directory of the checkout, by its full name."""
    found = {}
    for directory, _, files in os.walk(ROOT / package):
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(directory, file)
                name = os.path.relpath(path, ROOT).removesuffix(".py").replace(os.sep, ".")
                with open(path, encoding="utf-8") as source:
                    found[name.removesuffix(".__init__")] = source.read()
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """Parse every module of the package, by its full name."""
    return {name: ast.parse(source, name) for name, source in sources().items()}


def part(module: str) -> str:
    """Name the part to which a module belongs, or the module itself if it is its own."""
    names = module.split(".")
    if len(names) == 1 or names[1] in ("__main__", "testing"):
        return module
    return names[1] if names[1] in PACKAGES else SHARED


def is_for_types(node: ast.AST) -> bool:
    """Return whether a statement is an ``if TYPE_CHECKING:``."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def statements(tree: ast.AST, types: bool = True) -> Iterator[ast.AST]:
    """
    Walk through all statements, and not through the expressions in them.

    :param types: whether those that are there for types alone are among them.
    """
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, _BLOCKS) and (types or not is_for_types(child)):
            yield child
            yield from statements(child, types)


@cache
def import_statements(module: str, types: bool = True) -> list[ast.Import | ast.ImportFrom]:
    """List the statements by which a module imports something, wherever in it."""
    found = statements(modules()[module], types)
    return [each for each in found if isinstance(each, ast.Import | ast.ImportFrom)]


@cache
def imports(module: str, types: bool = True) -> frozenset[str]:
    """
    List what a module imports, wherever in it.

    A name imported from one of our packages is the module of that name, if there is one.
    The package's version is a value and no module; it is left out.

    :param types: whether imports for types alone count.
    """
    found = set()
    for node in import_statements(module, types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full != f"{PACKAGE}.__version__":
                    found.add(full if full in modules() else str(node.module))
    return frozenset(found)


def ours(module: str, types: bool = True) -> frozenset[str]:
    """List which of our own modules a module imports."""
    return imports(module, types) & modules().keys()


def libraries(module: str) -> frozenset[str]:
    """List the top-level packages, other than ours, that a module imports."""
    return frozenset(name.partition(".")[0] for name in imports(module)) - {PACKAGE}


def reachable(module: str) -> frozenset[str]:
    """List the modules of ours that a module imports, and those which they import."""
    found: set[str] = set()
    ahead = {module}
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead |= ours(name) - found
    return frozenset(found)


def circle(types: bool = True) -> list[str]:
    """List the modules of a circle of imports, in order; none if there is no circle."""
    try:
        TopologicalSorter({name: ours(name, types) for name in modules()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def imported_at_once(module: str) -> Iterator[str]:
    """List what a module's top level imports when it runs."""
    for node in modules()[module].body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""

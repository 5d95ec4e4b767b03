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


@cache
def modules(package: str = PACKAGE) -> dict[str, ast.Module]:
    """Parse every module below a directory of the checkout, by its full name."""
    found = {}
    for directory, _, files in os.walk(ROOT / package):
        for file in files:
            if file.endswith(".py"):
                path = os.path.join(directory, file)
                name = os.path.relpath(path, ROOT).removesuffix(".py").replace(os.sep, ".")
                with open(path, encoding="utf-8") as source:
                    found[name.removesuffix(".__init__")] = ast.parse(source.read(), path)
    return found


def part(module: str) -> str:
    """Name the part to which a module belongs, or the module itself where it is its own."""
    names = module.split(".")
    if len(names) == 1 or names[1] in ("__main__", "testing"):
        return module
    return names[1] if names[1] in PACKAGES else SHARED


def is_for_types(node: ast.AST) -> bool:
    """Return whether a statement is an ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def run(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk through what may run, and leave out what is there for types alone."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not is_for_types(child):
            yield from run(child)


@cache
def imports(module: str, types: bool = True) -> frozenset[str]:
    """
    List what a module imports, wherever in it.

    A name imported from one of our packages is the module of that name, where there is one.
    The package's version is a value and no module; it is left out.

    :param types: whether imports for types alone count.
    """
    found = set()
    tree = modules()[module]
    for node in ast.walk(tree) if types else run(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
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
    """List the modules of a circle of imports, in order; none where there is no circle."""
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

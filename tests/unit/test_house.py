"""The parts of the package, and the border between them, as imports have it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.support.house import (
    PACKAGE,
    SHARED,
    circle,
    import_statements,
    imported_at_once,
    libraries,
    modules,
    ours,
    part,
    reachable,
    sources,
)

MAIN = f"{PACKAGE}.__main__"
DATABASE = f"{PACKAGE}.monitor.database"
TESTING = f"{PACKAGE}.testing"

#: The beginning of a test's name that says nothing without another name.
POINTING = re.compile(r"\bdef (test_(?:it|they|its|their|this|one|neither|so|nor|then|and)_\w*)")

#: A call of a test.
CALLING = re.compile(r"\.(test_\w+)\(")

#: Each part, and the others from which it may import.
ARROWS: dict[str, set[str]] = {
    SHARED: set(),
    "client": {SHARED},
    "cli": {"client", SHARED},
    "server": {SHARED},
    "monitor": {SHARED},
    "web": {"server", SHARED},
    "daemon": {"server", "web", "monitor", SHARED},
    TESTING: {"server", "client", "web", SHARED},
    PACKAGE: {"server", "client", SHARED},
    MAIN: {"cli"},
}

TWISTED = {"twisted", "zope"}

#: Each part, and what its modules may import besides the standard library.
LIBRARIES: dict[str, set[str]] = {
    SHARED: set(),
    "client": set(),
    "cli": set(),
    "server": TWISTED,
    "monitor": set(),
    "web": TWISTED,
    "daemon": TWISTED,
    TESTING: TWISTED,
    PACKAGE: set(),
    MAIN: set(),
}

#: The modules on Twisted in parts that are not.
ON_TWISTED = {f"{PACKAGE}.client.deferred", f"{PACKAGE}.monitor.service"}

#: The modules of other parts that the command line may import, all of the standard library.
FOR_THE_COMMAND_LINE = {
    f"{PACKAGE}.{name}"
    for name in (
        *(
            "daemon.pidfile",
            "monitor.agents",
            "monitor.child",
            "monitor.forecast",
            "monitor.homes",
            "monitor.inspection",
            "monitor.keeper",
            "monitor.ledger.file",
            "monitor.ledger.history",
            "monitor.notify",
            "monitor.owners",
            "monitor.pretend",
            "monitor.report",
            "monitor.revive",
            "monitor.settings",
            "monitor.statedir",
            "monitor.times",
            "monitor.world",
            "web.night",
            "web.settings",
        ),
    )
}

#: The dataclasses that are no values: they change, as long as something goes on.
CHANGING = {"Running", "Session", "Attempt", "History", "Sums", "_Run", "_Directory"}
#: Those whose facts are kept once they were looked up.
KEEPING = {"Case"}

#: What only the tests of real processes use: modules, names and attributes.
PROCESSES = {
    "subprocess",
    "multiprocessing",
    "fork",
    "forkpty",
    "posix_spawn",
    "popen",
    "system",
    "spawnProcess",
    "Popen",
    "as_user",
    "tests.support.cases",
    "tests.support.processes",
    "tests.support.terminal",
    "daemon",
    "spawn",
    "application",
    "twistd",
}
NAMED_AS_PROCESSES = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(PROCESSES)))})\b")


class BorderTests(SynchronousTestCase):
    def test_a_part_imports_only_from_those_its_arrows_lead_to(self) -> None:
        crossings = {
            f"{module} imports {other}"
            for module in modules()
            for other in ours(module)
            if part(other) not in ARROWS[part(module)] | {part(module)}
            and not (part(module) == "cli" and other in FOR_THE_COMMAND_LINE)
        }
        self.assertEqual(crossings, set())

    def test_a_part_imports_only_its_own_libraries(self) -> None:
        foreign = {
            f"{module} imports {library}"
            for module in modules()
            for library in libraries(module)
            - sys.stdlib_module_names
            - LIBRARIES[part(module)]
            - (TWISTED if module in ON_TWISTED else set())
        }
        self.assertEqual(foreign, set())

    def test_nothing_that_the_command_line_can_reach_imports_twisted(self) -> None:
        reached = reachable(MAIN)
        self.assertIn(f"{PACKAGE}.client.blocking", reached)
        self.assertEqual({m for m in reached if libraries(m) & TWISTED}, set())

    def test_no_modules_import_each_other_in_a_circle_when_they_run(self) -> None:
        self.assertEqual(circle(types=False), [])

    def test_no_modules_import_each_other_in_a_circle_for_types_either(self) -> None:
        self.assertEqual(circle(), [])

    def test_nothing_imports_sqlite_before_there_is_a_database(self) -> None:
        self.assertEqual({m for m in modules() if "sqlite3" in libraries(m)}, {DATABASE})
        self.assertNotIn("sqlite3", imported_at_once(DATABASE))

    def test_the_package_itself_imports_nothing_at_once(self) -> None:
        self.assertEqual(set(imported_at_once(PACKAGE)) - {"__future__"}, set())

    def test_packages_are_one_level_deep_but_for_the_agents_and_the_ledger(self) -> None:
        deep = {m for m in modules() if m.count(".") > 2}
        allowed = (f"{PACKAGE}.monitor.agents.", f"{PACKAGE}.monitor.ledger.")
        self.assertEqual({m for m in deep if not m.startswith(allowed)}, set())

    def test_imports_name_the_module_in_full_and_never_all_its_names(self) -> None:
        others = {
            module
            for module in modules()
            for node in import_statements(module)
            if isinstance(node, ast.ImportFrom)
            and (node.level > 0 or any(alias.name == "*" for alias in node.names))
        }
        self.assertEqual(others, set())


class ValueTests(SynchronousTestCase):
    def with_option(self, option: str) -> set[str]:
        """Return the names of the dataclasses that are made with an option."""
        return {
            node.name
            for node in self.classes()
            for each in ast.walk(node.decorator_list[0])
            if isinstance(each, ast.keyword) and each.arg == option
            if isinstance(each.value, ast.Constant) and each.value.value is True
        }

    def classes(self) -> list[ast.ClassDef]:
        return [
            node
            for tree in modules().values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any("dataclass" in ast.unparse(each) for each in node.decorator_list)
        ]

    def test_a_value_is_frozen(self) -> None:
        every = {node.name for node in self.classes()}
        self.assertEqual(every - self.with_option("frozen"), CHANGING)

    def test_a_misspelt_attribute_is_an_error(self) -> None:
        every = {node.name for node in self.classes()}
        self.assertEqual(every - self.with_option("slots"), KEEPING)


class RoomsTests(SynchronousTestCase):
    def used(self, source: str) -> Iterator[str]:
        # Most modules do not even have the words.
        if not NAMED_AS_PROCESSES.search(source):
            return
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (alias.name for alias in node.names)
                yield getattr(node, "module", "") or ""
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield node.func.attr

    def test_a_unit_test_starts_no_process(self) -> None:
        found = {
            f"{module} uses {name}"
            for module, source in sources("tests/unit").items()
            for name in PROCESSES & set(self.used(source))
        }
        self.assertEqual(found, set())

    def found(self, pattern: re.Pattern[str]) -> set[str]:
        return {
            f"{module}: {found[1]}"
            for module, source in sources("tests").items()
            for found in pattern.finditer(source)
        }

    def test_no_test_calls_another(self) -> None:
        self.assertEqual(self.found(CALLING), set())

    def test_the_name_of_each_test_stands_alone(self) -> None:
        """The real agents' tests are rows of the handbook, below a title of their own."""
        found = {each for each in self.found(POINTING) if not each.startswith("tests.agents.")}
        self.assertEqual(found, set())

    def test_each_part_has_its_room(self) -> None:
        rooms = {m.split(".")[2] for m in sources("tests/unit") if m.count(".") > 1}
        parts = {part(m) for m in modules()} - {PACKAGE, MAIN, TESTING}
        self.assertEqual(parts - rooms, set())

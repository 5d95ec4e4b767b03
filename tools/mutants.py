"""
Break the monitor and the server on purpose, and count how often a test notices.

One operator, constant, condition or call at a time is changed in a copy of the checkout, and
the tests run until one fails: see `stages`. The changes are drawn at random by a seed. Results
are kept in a file of JSON lines, so that an interrupted run goes on. A change that changes
nothing is listed and left out. The method is mutation testing: R. A. DeMillo, R. J. Lipton and
F. G. Sayward, Hints on Test Data Selection, 1978.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from types import CodeType
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "palingenesis"
#: The parts that are broken.
PARTS = ("monitor", "server")
#: Changes that a person found to change nothing, one a line: ``PATH: CHANGE  # WHY``.
EQUIVALENT = os.path.join("tools", "equivalent.txt")
#: Bytes of memory that a broken program may take.
MEMORY = 4 << 30

OPERATORS: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
}
#: Methods of a logger: the texts they get are for people alone.
LEVELS = frozenset({"debug", "info", "warn", "error", "critical", "failure"})
#: Functions whose first argument is there for type checkers.
TYPING = frozenset({"cast", "TypeVar", "NewType", "ParamSpec"})


@dataclass(frozen=True)
class Change:
    """
    One change of a module.

    :ivar path: the module, from the root of the checkout.
    :ivar line: its line, from 1.
    :ivar start: where the text that is replaced begins, in bytes of the module.
    :ivar end: where it ends.
    :ivar old: the text that is replaced.
    :ivar new: what replaces it.
    :ivar kind: ``operator``, ``constant``, ``condition`` or ``call``.
    """

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str
    kind: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"

    @property
    def what(self) -> str:
        """What is changed into what, in one line."""
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.kind}: {old} -> {new}"

    def apply(self, source: bytes) -> bytes:
        """Return the module with this change."""
        return source[: self.start] + self.new.encode() + source[self.end :]

    def key(self, source: bytes) -> str:
        """Name this change of this very text of the module."""
        return hashlib.sha256(repr((self.path, self.start, self.new)).encode() + source).hexdigest()


def for_people(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """List what changes nothing that a program does, each with what it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node, "docstring"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns, "annotation"
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation, "annotation"
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node, "TYPE_CHECKING"
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in LEVELS and "log" in ast.unparse(node.func).lower():
                yield node.args[0], "log text"
            if isinstance(node.func, ast.Name) and node.func.id in TYPING:
                yield node.args[0], "annotation"


def replacements(node: ast.AST) -> Iterator[tuple[str, str]]:
    """List what a node can be changed into, each as its kind and the text."""
    match node:
        case ast.Compare(left, [operator, *others], comparators) if type(operator) in OPERATORS:
            yield "operator", _text(ast.Compare(left, [_other(operator), *others], comparators))
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            yield "operator", _text(ast.BinOp(left, _other(operator), right))
        case ast.BoolOp(operator, values):
            yield "operator", _text(ast.BoolOp(_other(operator), values))
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield "operator", _text(operand)
        case ast.AugAssign(target, operator, value) if type(operator) in OPERATORS:
            yield "operator", ast.unparse(ast.AugAssign(target, _other(operator), value))
        case ast.Constant(bool() as value):
            yield "constant", repr(not value)
        case ast.Constant(int() | float() as value):
            yield "constant", repr(value + 1)
        case ast.Constant("" | b"" as value):
            yield "constant", repr("x" if isinstance(value, str) else b"x")
        case ast.Constant(str() | bytes() as value):
            yield "constant", repr(value[:0])
        case ast.Expr(ast.Call() | ast.Await(ast.Call())):
            yield "call", "pass"
        case ast.Call(_, args):
            first = args[0] if args and not isinstance(args[0], ast.Starred) else None
            yield "call", _text(first) if first else "None"


def _other(operator: ast.AST) -> Any:
    return OPERATORS[type(operator)]()


def _text(node: ast.AST) -> str:
    return f"({ast.unparse(node)})"


def _conditions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield node.test
    elif isinstance(node, ast.comprehension):
        yield from node.ifs


def changes(path: str, source: bytes) -> tuple[list[Change], Counter[str]]:
    """
    List every change of a module, in the order of the text.

    :returns: the changes, and how many are left out, by what they would change.
    """
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: list[Change] = []
    left: Counter[str] = Counter()
    skipped = {id(below): why for node, why in for_people(tree) for below in ast.walk(node)}
    for node in ast.walk(tree):
        # Before Python 3.12, what is inside of an f-string has no place of its own.
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(below): "f-string" for below in ast.walk(node) if below is not node}
    # A call whose value nobody takes is left out as a statement, and only so.
    whole: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(value, ast.Call):
                whole.add(id(value))
    for node in ast.walk(tree):
        proposed: list[tuple[Any, str, str]]
        proposed = [] if id(node) in whole else [(node, *each) for each in replacements(node)]
        for test in _conditions(node):
            if not isinstance(test, ast.Constant):
                proposed += [(test, "condition", "True"), (test, "condition", "False")]
        for place, kind, new in proposed:
            if why := skipped.get(id(place)):
                left[why] += 1
                continue
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            old = source[start:end].decode()
            found.append(Change(path, place.lineno, start, end, old, new, kind))
    found.sort(key=lambda change: (change.start, change.end, change.new))
    return found, left


def shape(code: CodeType) -> object:
    """Return all that a module's bytecode does, without where its lines are."""
    constants = [shape(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_name, code.co_code, code.co_exceptiontable, code.co_flags, names, constants


def changes_nothing(change: Change, source: bytes) -> bool:
    """Return whether a change compiles to the same bytecode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        broken = compile(change.apply(source), change.path, "exec")
    return shape(broken) == shape(compile(source, change.path, "exec"))


@dataclass(frozen=True)
class Draw:
    """
    The changes that are tried.

    :ivar chosen: the changes, in the order in which they were drawn.
    :ivar same: what was drawn and changes nothing.
    :ivar left: how many changes are left out, by what they would change.
    :ivar sources: the text of each module.
    """

    chosen: list[Change]
    same: list[Change]
    left: Counter[str]
    sources: dict[str, bytes]


def equivalent(root: str) -> frozenset[str]:
    """Read which changes a person found to change nothing."""
    try:
        with open(os.path.join(root, EQUIVALENT), encoding="utf-8") as file:
            return frozenset(line.rpartition("  # ")[0] for line in file)
    except FileNotFoundError:
        return frozenset()


def draw(root: str, count: int, seed: int, parts: Sequence[str] = PARTS) -> Draw:
    """Draw so many changes of parts of the package at random."""
    sources: dict[str, bytes] = {}
    every: list[Change] = []
    left: Counter[str] = Counter()
    for part in parts:
        for directory, _, files in sorted(os.walk(os.path.join(root, PACKAGE, part))):
            for name in sorted(files):
                if name.endswith(".py"):
                    path = os.path.relpath(os.path.join(directory, name), root)
                    with open(os.path.join(root, path), "rb") as file:
                        sources[path] = file.read()
                    found, more = changes(path, sources[path])
                    every += found
                    left += more
    random.Random(seed).shuffle(every)
    found_equivalent = equivalent(root)
    chosen: list[Change] = []
    same: list[Change] = []
    for change in every:
        if len(chosen) == count:
            break
        nothing = f"{change.path}: {change.what}" in found_equivalent
        nothing = nothing or changes_nothing(change, sources[change.path])
        (same if nothing else chosen).append(change)
    return Draw(chosen, same, left, sources)


def stages(root: str, path: str) -> list[list[str]]:
    """
    List the test modules for a module, each stage dearer than the one before.

    They are its own unit tests, its part's, all other unit tests, and its own tests of
    processes. A test module is a module's own if it is named for it; if there is none, those
    named for the package around the module are.
    """
    names = path.removesuffix(".py").removesuffix("/__init__").split("/")[1:]
    unit, process = _test_modules(root, "unit"), _test_modules(root, "process")
    room = [module for module in unit if module.startswith(f"tests.unit.{names[0]}.")]

    def named(modules: list[str]) -> list[str]:
        for name in reversed(names):
            pattern = re.compile(rf"\.test_{re.escape(name.strip('_'))}(_\w+)?$")
            if found := [module for module in modules if pattern.search(module)]:
                return found
        return []

    own = named(room)
    others = [module for module in room if module not in own]
    rest = [module for module in unit if module not in room]
    return [stage for stage in (own, others, rest, named(process)) if stage]


def _test_modules(root: str, kind: str) -> list[str]:
    found = []
    for directory, _, files in os.walk(os.path.join(root, "tests", kind)):
        place = os.path.relpath(directory, root).replace(os.sep, ".")
        found += [f"{place}.{file[:-3]}" for file in files if re.fullmatch(r"test_\w+\.py", file)]
    return sorted(found)


def isolation() -> list[str]:
    """Return what begins a command that can signal no process but its own, if possible."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-current-user"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return command


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Copy:
    """
    A copy of the checkout, in which modules are broken.

    :param root: the checkout.
    :param directory: a directory for the copy and all that its tests write; it is filled.
    """

    def __init__(self, root: str, directory: str) -> None:
        self.root = os.path.join(directory, "checkout")
        self._directory = directory
        self._isolation = isolation()
        listing = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listing.split("\0")):
            if os.path.isfile(os.path.join(root, name)):
                os.makedirs(os.path.dirname(os.path.join(self.root, name)), exist_ok=True)
                shutil.copy2(os.path.join(root, name), os.path.join(self.root, name))

    def run(self, suites: Sequence[str], limit: float) -> tuple[str, str]:
        """
        Run tests of the copy, to the first that fails.

        :param limit: seconds that they have.
        :returns: ``passed``, ``noticed`` or ``timeout``, and the first test that failed.
        """
        home = os.path.join(self._directory, "home")
        os.makedirs(home, exist_ok=True)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PALINGENESIS_", "XDG_", "COVERAGE_"))
        } | {
            "HOME": home,
            "PYTHONPATH": self.root,
            # The time of a file says nothing about a module that changes within its second.
            "PYTHONDONTWRITEBYTECODE": "1",
            # With it, Hypothesis tries the same examples each time.
            "CI": "1",
        }
        trial = os.path.join(self._directory, "trial")
        with contextlib.suppress(FileNotFoundError):
            # A killed run leaves its lock, whose pid is in use: each run has the same few.
            os.unlink(f"{trial}.lock")
        options = ["-m", "twisted.trial", "--exitfirst", f"--temp-directory={trial}"]
        child = subprocess.Popen(
            [*self._isolation, sys.executable, *options, *suites],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_limit,
        )
        try:
            output = child.communicate(timeout=limit)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return "timeout", ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        if child.returncode == 0:
            return "passed", ""
        failed = re.search(r"^tests\.[\w.]+\.[A-Z]\w*\.test_\w+$", output, re.MULTILINE)
        return "noticed", failed.group() if failed else output.strip()[-200:]

    def attempt(
        self, change: Change, source: bytes, limit: float, processes: bool
    ) -> dict[str, object]:
        """Break a module, run its tests, and mend it; return what came of it."""
        target = os.path.join(self.root, change.path)
        suites = stages(self.root, change.path)
        if processes:
            suites.append(["tests.process"])
        began = time.monotonic()
        result, by = "passed", ""
        try:
            with open(target, "wb") as file:
                file.write(change.apply(source))
            for suite in suites:
                if result == "passed":
                    result, by = self.run(suite, limit)
        finally:
            with open(target, "wb") as file:
                file.write(source)
        return {
            "key": change.key(source),
            "change": str(change),
            "result": "survived" if result == "passed" else result,
            "by": by,
            "seconds": round(time.monotonic() - began, 1),
            "processes": processes,
        }


def kept_results(path: str) -> dict[str, dict[str, object]]:
    """Read what earlier runs found, by the change's key; a line cut short is left out."""
    found: dict[str, dict[str, object]] = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["key"]] = entry
    return found


def try_all(root: str, drawn: Draw, path: str, jobs: int, again: bool, processes: bool) -> None:
    """
    Try each change that has no result yet, and keep what comes of it.

    :param path: the file of the results.
    :param again: whether to try once more what survived.
    :param processes: whether survivors meet the tests of the real programs too.
    :raises SystemExit: if the tests fail with nothing changed.
    """
    known = kept_results(path)

    def is_done(change: Change) -> bool:
        entry = known.get(change.key(drawn.sources[change.path]))
        if entry is None or entry["result"] != "survived":
            return entry is not None
        return not again and (not processes or bool(entry["processes"]))

    waiting = [change for change in drawn.chosen if not is_done(change)]
    if not waiting:
        return
    with tempfile.TemporaryDirectory(prefix="mutants-", dir="/tmp") as directory:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(root, os.path.join(directory, str(number))))
        copy = copies.get()
        began = time.monotonic()
        result, by = copy.run(["tests.unit"], 1800)
        if result != "passed":
            raise SystemExit(f"the tests fail with nothing changed: {by or result}")
        limit = 30 + 3 * (time.monotonic() - began)
        copies.put(copy)
        # A line that was cut short has no end.
        with open(path, "ab") as kept, ThreadPoolExecutor(jobs) as pool:
            if kept.tell():
                kept.write(b"\n")

            def attempt(change: Change) -> dict[str, object]:
                copy = copies.get()
                try:
                    source = drawn.sources[change.path]
                    return copy.attempt(change, source, limit, processes)
                finally:
                    copies.put(copy)

            try:
                for number, entry in enumerate(pool.map(attempt, waiting), 1):
                    kept.write(json.dumps(entry).encode() + b"\n")
                    kept.flush()
                    print(f"{number}/{len(waiting)} {entry['result']} {entry['change']}")
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def report(drawn: Draw, known: dict[str, dict[str, object]]) -> tuple[list[str], float]:
    """Return the report as lines, and the share of the changes that a test noticed."""
    results = [known.get(change.key(drawn.sources[change.path])) for change in drawn.chosen]
    count = Counter(str(entry["result"]) for entry in results if entry)
    tried = count.total()
    noticed = tried - count["survived"]
    share = noticed / tried if tried else 0.0
    lines = [f"left out: {_listed(drawn.left)}"]
    lines += [f"changes nothing: {change}" for change in drawn.same]
    lines += [
        f"survived: {change}"
        for change, entry in zip(drawn.chosen, results, strict=True)
        if entry and entry["result"] == "survived"
    ]
    if tried < len(drawn.chosen):
        lines.append(f"{len(drawn.chosen) - tried} not tried yet")
    timeouts = f"{count['timeout']} by a timeout"
    lines.append(f"{noticed} of {tried} noticed ({timeouts}): {share:.1%}")
    return lines, share


def _listed(left: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(left.items())) or "nothing"


def main(arguments: Sequence[str]) -> int:
    """Try what is to be tried, print the report, and return the exit status."""
    parser = argparse.ArgumentParser(description="Count how many broken lines a test notices.")
    parser.add_argument("--count", type=int, default=300, help="changes (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="at once (default: 2)")
    parser.add_argument("--results", default=".nox/mutants.jsonl", help="file of the results")
    parser.add_argument("--least", type=float, default=0.92, help="share that has to be noticed")
    parser.add_argument("--again", action="store_true", help="try once more what survived")
    parser.add_argument(
        "--processes", action="store_true", help="survivors meet the tests of processes too"
    )
    parser.add_argument("--report", action="store_true", help="try nothing")
    options = parser.parse_args(arguments)
    path = os.path.abspath(options.results)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    drawn = draw(ROOT, options.count, options.seed)
    if not options.report:
        try_all(ROOT, drawn, path, options.jobs, options.again, options.processes)
    lines, share = report(drawn, kept_results(path))
    print("\n".join(lines))
    return 0 if share >= options.least else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

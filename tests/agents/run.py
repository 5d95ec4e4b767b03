"""
Run the tests of the real agents: ``python -m tests.agents.run [few | all] [NAME ...]``.

The newest version of each agent is tried; with ``all``, every pinned version in its turn. With
``few``, one row of each way to go on in an open program is tried, since most of them wait for
minutes, and what is alike for each agent is tried with one. They reach nothing but the loopback,
if this machine lets us have a network of our own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.runner import TestLoader

from tests.agents.bed import BEDS, MARK
from tests.agents.case import VERSION
from tests.agents.install import VERSIONS, NotInstalled, installed

#: Namespaces of one's own for networks and mounts, for root and for other users.
UNSHARE = (
    ("unshare", "--net", "--mount"),
    ("unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--mount"),
)
#: Tests at once: most of their time is waiting.
JOBS = "--jobs=7"
HERE = Path(__file__).parent
#: The test that stands for a module's others.
FEW = {
    "tests.agents.test_claude_tmux": "tests.agents.test_claude_tmux.TypedTests.test_typed_once",
    "tests.agents.test_codex_open": (
        "tests.agents.test_codex_open.WithServerTests.test_it_goes_on_once"
    ),
}
#: Tests of what the monitor does alike for each agent: with ``few``, only the first has them.
ALIKE = (
    "test_no_more_resets_than_windows_without_a_person",
    "test_the_same_limit_again_and_again",
    "test_two_homes_under_one_daemon",
)
#: Seconds until what should take no time at all has failed: some resets are a minute ahead.
PATIENCE = "100"


def network() -> list[str]:
    """Return the command that runs another one without a network; empty if there is none."""
    for unshare in UNSHARE:
        command = [*unshare, sys.executable, "-m", "tests.agents.alone"]
        with contextlib.suppress(OSError):
            tried = subprocess.run([*command, "true"], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return []


def kill_all(directory: str) -> None:
    """Kill every process that was started in a bed below a directory, and the tests themselves."""
    marks = (f"{MARK}={directory}/".encode(), f"{BEDS}={directory}".encode())
    while found := list(_marked(marks)):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _marked(marks: tuple[bytes, ...]) -> Iterator[int]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal():
                with open(f"/proc/{name}/environ", "rb") as file:
                    if any(word.startswith(marks) for word in file.read().split(b"\0")):
                        yield int(name)


def modules_of(agents: Sequence[str], few: bool) -> list[str]:
    """
    List the modules with the tests of some agents.

    :param few: whether a single test stands for each of some modules.
    """
    found = (path for agent in agents for path in sorted(HERE.glob(f"test_{agent}*.py")))
    names = [f"tests.agents.{path.stem}" for path in found]
    return [FEW.get(name, name) if few else name for name in names]


def mixed(names: Sequence[str], few: bool = False) -> list[str]:
    """
    List each test of some modules, those of all modules evenly mixed.

    Some agents need the processor most of the time, others wait.

    :param few: whether the first agent stands for the others in what is alike for each.
    """
    loader = TestLoader()
    placed: list[tuple[float, str]] = []
    for name in names:
        tests = [test.id() for test in _tests_of(loader.loadByName(name))]
        if few and placed:
            tests = [test for test in tests if not test.endswith(ALIKE)]
        placed += [(number / len(tests), test) for number, test in enumerate(tests)]
    return [test for _, test in sorted(placed)]


def _tests_of(suite: Iterable[Any]) -> Iterator[Any]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _tests_of(each)
        else:
            yield each


def is_ready(agent: str, version: str) -> bool:
    """Install a version if it is not there, and say why if that cannot be."""
    try:
        installed(agent, version)
    except NotInstalled as missing:
        print(f"{agent} {version} is not tried: {missing.reason}", flush=True)
        return False
    return True


def attempt(names: Sequence[str], alone: list[str], only: str, few: bool) -> bool:
    """
    Run tests, and return whether they have passed.

    All agents' rows are in one run: while one waits, another one works.

    :param only: the agent and the version that are tried; if empty, the newest of each.
    :param few: see `mixed`.
    """
    directory = tempfile.mkdtemp(prefix="bed-", dir="/tmp")
    command = [*alone, sys.executable, "-m", "twisted.trial", JOBS]
    command += [f"--temp-directory={directory}/trial"]
    try:
        done = subprocess.run(
            [*command, *mixed(names, few)],
            env={
                "PALINGENESIS_TEST_PATIENCE": PATIENCE,
                **os.environ,
                BEDS: directory,
                VERSION: only,
            },
            check=False,
        )
        return done.returncode == 0
    finally:
        kill_all(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def obstacle() -> str | None:
    """Return what keeps the tests from running on this machine; None if nothing does."""
    if sys.platform != "linux":
        return "they need Linux's /proc"
    if shutil.which("tmux") is None:
        return "tmux is not installed"
    return None


def main(arguments: list[str]) -> int:
    """Run what the arguments name, and return the exit status."""
    reason = obstacle()
    if reason is not None:
        print(f"no agents are tried: {reason}", flush=True)
        return 0
    # What is started here is ended whatever ends this process, if that can be.
    signal.signal(signal.SIGTERM, _end)
    alone = network()
    if not alone:
        print("no network of our own here: the agents could reach other machines", flush=True)
    every = "all" in arguments
    few = "few" in arguments
    names = [name for name in arguments if name not in ("all", "few")]
    named = os.environ.get(VERSION)
    if named:
        agent, _, version = named.partition("@")
        rounds = {named: [(agent, version)]}
    else:
        rounds = {"": [(agent, versions[0]) for agent, versions in VERSIONS.items()]}
        for agent, versions in VERSIONS.items() if every else ():
            rounds |= {f"{agent}@{version}": [(agent, version)] for version in versions[1:]}
    passed = True
    for only, pairs in rounds.items():
        agents = [agent for agent, version in pairs if is_ready(agent, version)]
        if agents:
            passed &= attempt(names or modules_of(agents, few), alone, only, few)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

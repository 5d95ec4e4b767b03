"""The real programs, from the npm registry in pinned versions."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

#: The versions that are tried, by agent; the newest comes first.
VERSIONS = {
    "claude": ("2.1.332", "2.1.150"),
    "codex": ("0.171.0", "0.146.0", "0.130.0"),
    "opencode": ("1.18.33",),
    "copilot": ("1.0.102",),
    "qwen": ("0.24.4",),
}
PACKAGES = {
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "opencode": "opencode-ai",
    "copilot": "@github/copilot",
    "qwen": "@qwen-code/qwen-code",
}
#: What puts the program of this platform in its place, by package.
SCRIPTS = {"@anthropic-ai/claude-code": "install.cjs", "opencode-ai": "postinstall.mjs"}
#: The Node that is installed where the machine's is missing or too old.
NODE = "22.23.3"
NEEDED = {"qwen": 22}
USUALLY_NEEDED = 18
#: Seconds that an installation may take.
PATIENCE = 240.0


class NotInstalled(Exception):
    """
    A program that cannot be had here.

    :ivar reason: why, in one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Program:
    """
    An installed agent.

    :ivar agent: its name.
    :ivar version: its version.
    :ivar path: the program itself.
    :ivar search: the directories that it needs on ``PATH``, its own first.
    """

    agent: str
    version: str
    path: str
    search: tuple[str, ...]


def cache() -> str:
    """Return the directory in which the programs are kept, outside the checkout."""
    own = os.environ.get("PALINGENESIS_AGENTS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return own or os.path.join(base, "palingenesis-agents")


@functools.cache
def installed(agent: str, version: str) -> Program:
    """
    Install an agent, if it is not there yet.

    :raises NotInstalled: if npm or the download is missing.
    """
    package = PACKAGES[agent]
    node = _node(NEEDED.get(agent, USUALLY_NEEDED))
    prefix = _prefix(package, version, node)
    binaries = os.path.join(prefix, "node_modules", ".bin")
    program = os.path.join(binaries, agent)
    if not os.access(program, os.X_OK):
        raise NotInstalled(f"{package} {version} has no program {agent}")
    return Program(agent, version, program, (binaries, os.path.dirname(node)))


def _node(needed: int) -> str:
    """Return the path of a Node of this major version, or a newer one."""
    found = shutil.which("node")
    if found is not None:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        major = told.stdout.strip().lstrip("v").partition(".")[0]
        if major.isdecimal() and int(major) >= needed:
            return found
    return os.path.join(_prefix("node", NODE, None), "node_modules", "node", "bin", "node")


def _prefix(package: str, version: str, node: str | None) -> str:
    """Return the directory of a package, which is installed there once, under a lock."""
    npm = shutil.which("npm")
    prefix = os.path.join(cache(), f"{package.strip('@').replace('/', '-')}-{version}")
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    with open(f"{prefix}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(prefix):
            return prefix
        if npm is None:
            raise NotInstalled("npm is not installed")
        half = f"{prefix}.half"
        shutil.rmtree(half, ignore_errors=True)
        os.mkdir(half)
        scripts = "--ignore-scripts" if package != "node" else "--foreground-scripts"
        quiet = ("--no-audit", "--no-fund", "--no-update-notifier")
        # The machine's own settings reach the registry: a proxy, its certificates.
        _run([npm, "install", "--prefix", half, scripts, *quiet, f"{package}@{version}"], half)
        if node is not None and package in SCRIPTS:
            script = os.path.join(half, "node_modules", package, SCRIPTS[package])
            _run([node, script], half, {"HOME": half})
        os.rename(half, prefix)
    return prefix


def _run(command: list[str], directory: str, environment: dict[str, str] | None = None) -> None:
    how: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
    try:
        done = subprocess.run(command, cwd=directory, env=environment, check=False, **how)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]} failed: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise NotInstalled(f"{' '.join(command[:2])} failed: {last}")

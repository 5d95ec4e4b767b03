"""Other people's programs that ours is compared with, if this machine has them."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from contextlib import ExitStack

from bench import Bench, Server
from harness import HERE

#: Where Debian's librust-*-dev packages put the sources of crates.
CRATES = "/usr/share/cargo/registry"
BUILD_SECONDS = 600

SUPERVISORD = """\
[unix_http_server]
file={path}
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={path}.pid
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{path}
"""


class AbsentError(Exception):
    """A program that ours is compared with is absent; the text says what is missing."""


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise AbsentError(f"{name} is not installed")
    return path


def supervisor(bench: Bench, stack: ExitStack) -> tuple[int, list[str]]:
    """
    Start a private supervisord.

    :returns: its PID, and a command that asks it.
    :raises AbsentError: supervisor is not installed.
    """
    server, client = _program("supervisord"), _program("supervisorctl")
    path = bench.socket()
    user = "user=root" if os.geteuid() == 0 else ""
    config = bench.file("supervisord.conf", SUPERVISORD.format(path=path, user=user))
    process = stack.enter_context(bench.started([server, "-c", config], path))
    return process.pid, [client, "-c", config, "pid"]


def redis(bench: Bench, stack: ExitStack) -> tuple[int, list[str]]:
    """
    Start a private redis-server.

    :returns: its PID, and a command that asks it.
    :raises AbsentError: redis is not installed.
    """
    server, client = _program("redis-server"), _program("redis-cli")
    path = bench.socket()
    argv = [server, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
    process = stack.enter_context(bench.started(argv, path))
    return process.pid, [client, "-s", path, "ping"]


def tokio(bench: Bench) -> tuple[Server, str]:
    """
    Build the server in ``tokio/`` from the system's crates; nothing is downloaded.

    :returns: the server, and a sentence with the versions.
    :raises AbsentError: there is no cargo, no crate, or the build fails.
    """
    cargo = _program("cargo")
    if not glob.glob(os.path.join(CRATES, "tokio-1.*")):
        raise AbsentError(f"{CRATES} has no crate tokio; Debian's librust-tokio-dev brings it")
    source = os.path.join(bench.directory, "tokio")
    if not os.path.isdir(source):
        shutil.copytree(os.path.join(HERE, "tokio"), source)
    target = os.path.join(source, "target")
    try:
        built = subprocess.run(
            [
                *(cargo, "build", "--release", "--offline", "--quiet"),
                *("--config", 'source.crates-io.replace-with="system"'),
                *("--config", f'source.system.directory="{CRATES}"'),
                *("--target-dir", target),
            ],
            cwd=source,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AbsentError(f"cargo has not built it in {BUILD_SECONDS} seconds") from None
    if built.returncode:
        # The first line says what failed, the last one why.
        told = [line.strip() for line in built.stderr.splitlines() if line.strip()]
        told = told or [f"exit status {built.returncode}"]
        raise AbsentError(
            f"cargo does not build it: {'; '.join(dict.fromkeys(told[:1] + told[-1:]))}"
        )
    with open(os.path.join(source, "Cargo.lock")) as file:
        found = re.search(r'name = "tokio"\nversion = "([^"]*)"', file.read())
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    compiler = " ".join(rustc.stdout.split()[:2]) or "an unknown rustc"
    program = os.path.join(target, "release", "tokio-peer")
    versions = f"tokio {found[1] if found else 'of an unknown version'}, built by {compiler}."
    return Server("tokio, one thread", lambda path: [program, path]), versions

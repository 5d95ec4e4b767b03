"""
An application whose commands leave children behind, of every sort; each answers with a pid.

``$TEST_SOCKET`` is the path; ``$TEST_ENDPOINT`` is served instead, if it is set.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from typing import Any

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python import log

from palingenesis import ControlService, DaemonState, SignalService

LIFE = 60
clock: Any = reactor
SLEEP = f"import time; time.sleep({LIFE})"


def stay() -> None:
    """Stay for a while, and let the output be nobody's but the daemon's."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in 1, 2:
        os.dup2(nowhere, descriptor)
    time.sleep(LIFE)


def fork() -> int:
    """Fork without exec, as a handler that does so by hand."""
    child = os.fork()
    if child == 0:
        stay()
        os._exit(0)
    return child


async def late() -> int:
    """Fork when the reply has been waited for, as long as a stop lets it."""
    await deferLater(clock, 0.5)
    return fork()


def stuck() -> Deferred[None]:
    """Fork, tell the log, and never answer."""
    log.msg(f"forked {fork()}")
    return Deferred()


def pool() -> int | None:
    """Fork without exec, as multiprocessing does."""
    # One that is no daemon's is waited for at exit.
    process = multiprocessing.get_context("fork").Process(target=stay, daemon=True)
    process.start()
    return process.pid


def run() -> int:
    """Start a program with the standard library."""
    return subprocess.Popen(
        [sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).pid


def spawn() -> Any:
    """Start a program with Twisted."""
    return clock.spawnProcess(ProcessProtocol(), sys.executable, ["python", "-c", SLEEP]).pid


endpoint = os.environ.get("TEST_ENDPOINT")
control = ControlService(
    DaemonState(), None if endpoint else os.environ["TEST_SOCKET"], endpoint=endpoint
)
for handler in (fork, late, pool, run, spawn, stuck):
    control.command(handler.__name__.upper(), handler, "leave a child behind")

application = Application("forking")
SignalService(control.reload).setServiceParent(application)
control.setServiceParent(application)

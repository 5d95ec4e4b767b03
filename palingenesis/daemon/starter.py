"""The ``palingenesis start`` that waits for this daemon, see `palingenesis.starting`."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, cast

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher

from palingenesis.starting import ERROR, FAILED, INTERRUPT, READY, STARTER_VARIABLE, WARNING
from palingenesis.text import MESSAGE_LIMIT, printable


class Starter:
    """
    The process that waits for the daemon to start; else the terminal of a plain twistd.

    :param connection: a socket that is connected to it; None if there is no such process.
    """

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        # twistd closes standard error when it goes to the background, or logs what is written.
        self._terminal = os.dup(2)
        self._observer = cast(ILogObserver, self._observe)
        if connection is not None:
            globalLogPublisher.addObserver(self._observer)

    def __bool__(self) -> bool:
        return self._connection is not None

    @property
    def interrupted(self) -> bool:
        """Whether it no longer wants a daemon."""
        if self._connection is None:
            return False
        try:
            return self._connection.recv(len(INTERRUPT), socket.MSG_DONTWAIT) == INTERRUPT
        except OSError:
            return False

    def warn(self, text: str) -> None:
        """Send a warning."""
        self._send(WARNING, text)

    def fail(self, reason: str) -> None:
        """Report why the start fails, and hang up."""
        if self._connection is None:
            line = f"palingenesis: {printable(reason, MESSAGE_LIMIT)}\n"
            with suppress(OSError):
                os.write(self._terminal, line.encode())
        self._send(FAILED, reason)
        self.close()

    def ready(self) -> bool:
        """
        Report that the daemon serves, and hang up.

        :returns: False if the start has been interrupted, so that the daemon has to stop.
        """
        if self.interrupted:
            return False  # It waits until the process that hangs up is gone.
        self._send(READY, str(os.getpid()))
        self.close()
        return True

    def close(self) -> None:
        """Hang up."""
        terminal, self._terminal = self._terminal, -1
        if terminal >= 0:
            os.close(terminal)
        connection, self._connection = self._connection, None
        if connection is not None:
            globalLogPublisher.removeObserver(self._observer)
            connection.close()

    def _observe(self, event: dict[str, Any]) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            text = (
                formatEvent(event)
                if failure is None
                else f"{failure.type.__name__}: {failure.getErrorMessage()}"
            )
            self._send(ERROR, text)

    def _send(self, name: str, value: str) -> None:
        if self._connection is not None:
            line = f"{name}={printable(value, MESSAGE_LIMIT)}\n"
            # A start that waits no longer does not matter to the daemon.
            with suppress(OSError):
                self._connection.send(line.encode(), socket.MSG_DONTWAIT)


def take_starter(environment: MutableMapping[str, str]) -> Starter:
    """Find the starter by an environment, and remove its variable there: no agent inherits it."""
    number = environment.pop(STARTER_VARIABLE, "")
    if not number.isdecimal():
        return Starter(None)
    try:
        connection = socket.socket(fileno=int(number))
    except OSError:
        return Starter(None)
    connection.set_inheritable(False)
    return Starter(connection)

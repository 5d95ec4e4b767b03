"""
Readiness, reloads and the watchdog for the service manager, by sd_notify(3).

The protocol is one datagram a message on the socket that ``$NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from palingenesis.server.interfaces import Clock
from palingenesis.server.log import get_logger
from palingenesis.text import in_short

#: Seconds between two checks for a changed status if there is no watchdog.
STATUS_INTERVAL = 10.0

#: Seconds until a message that must arrive is sent again to a manager that is busy.
RETRY = 0.1

#: What a service manager sets; a child of the daemon must not take it for its own.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

_log = get_logger(__name__)


class Systemd:
    """
    Sends messages to the service manager; without one it does nothing.

    :param environment: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are.
    :ivar listens: whether there is a service manager.
    :ivar watchdog: seconds without a message after which the service manager restarts the
        daemon; None if it does not.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ is the abstract namespace's, unix(7).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._failed = False
        self.listens = bool(address)
        self.watchdog: float | None = None
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        with suppress(ValueError):
            seconds = int(environment.get("WATCHDOG_USEC", "")) / 1_000_000
            if address and meant and seconds > 0:
                self.watchdog = seconds

    def send(self, **message: object) -> bool:
        """
        Send one message, a line for each of its variables.

        :returns: False if the manager has so many messages to read that it takes no more, so that
            the message is worth another try.
        """
        if not self.listens:
            return True
        lines = "\n".join(f"{name}={value}" for name, value in message.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.setblocking(False)
                connection.sendto(lines.encode(), self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.warn("Cannot send to the service manager: {reason}", reason=in_short(error))
        return True


class SystemdService(Service):
    """
    Reports to the service manager that the daemon is ready, reloads, lives and stops.

    It starts after the service that listens, and stops before it, so that ``READY=1`` is sent
    once the socket answers.

    :param systemd: sends the messages.
    :param clock: times the watchdog's message: it is sent only while the reactor runs, so that
        a hung daemon is restarted.
    :param status: returns the daemon's status in words; a change is sent with the watchdog's
        messages, or within `STATUS_INTERVAL` if there is no watchdog.
    """

    def __init__(self, systemd: Systemd, clock: Clock, status: Callable[[], str]) -> None:
        self._systemd = systemd
        self._status = status
        self._beats = LoopingCall(self._beat)
        self._beats.clock = cast(Any, clock)
        self._clock = clock
        self._ready: Any = None
        self._sent = ""

    def startService(self) -> None:
        super().startService()
        # Once the reactor runs: until then a client that connects has to wait.
        self._ready = self._clock.callLater(0, self._begin)

    def stopService(self) -> None:
        super().stopService()
        if self._ready is not None and self._ready.active():
            self._ready.cancel()
        if self._beats.running:
            self._beats.stop()
        self._systemd.send(STOPPING=1, STATUS="stopping")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload while it lasts, as ``Type=notify-reload`` asks, systemd.service(5)."""
        monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._systemd.send(RELOADING=1, MONOTONIC_USEC=monotonic, STATUS="reloading")
        try:
            yield
        finally:
            self._report_ready()

    def _begin(self) -> None:
        self._report_ready()
        if self._systemd.listens:
            watchdog = self._systemd.watchdog
            beating = self._beats.start(STATUS_INTERVAL if watchdog is None else watchdog / 2)
            beating.addErrback(lambda failure: _log.failure("The watchdog ended", failure))

    def _report_ready(self) -> None:
        status = self._status()
        if self._systemd.send(READY=1, STATUS=status):
            self._sent = status
        elif self.running and not self._ready.active():
            self._ready = self._clock.callLater(RETRY, self._report_ready)

    def _beat(self) -> None:
        message: dict[str, object] = {}
        if self._systemd.watchdog is not None:
            message["WATCHDOG"] = 1
        if (status := self._status()) != self._sent:
            message["STATUS"] = status
        if message and self._systemd.send(**message):
            self._sent = status


def take_systemd(environment: MutableMapping[str, str]) -> Systemd:
    """Find the service manager by an environment, and remove its variables there."""
    systemd = Systemd(environment)
    for name in VARIABLES:
        environment.pop(name, None)
    return systemd

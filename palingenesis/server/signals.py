"""The signals that an operator or an init system sends to the daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from palingenesis.server.log import get_logger
from palingenesis.text import printable

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_log = get_logger(__name__)


class SignalService(Service):
    """
    SIGHUP reloads; SIGTERM and SIGINT stop the reactor, and the process exits with status 0.

    With Twisted's own handlers, twistd dies of the signal after a clean stop, so that an init
    system sees a failure, and a second signal logs a traceback. SIGUSR1, by which twistd
    rotates a log file of its own, is ignored if it would end the process.

    ::

        SignalService(control.reload).setServiceParent(application)

    :param reload: called for SIGHUP; if it returns a Deferred that fails, the reason is
        logged.
    :param reactor: provides ``IReactorCore`` and ``IReactorFromThreads``; the global
        reactor if None.
    """

    def __init__(self, reload: Callable[[], object], reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._reload = reload
        self._stopping = False
        self._pid = os.getpid()

    def setServiceParent(self, parent: Any) -> None:
        """Add the service to an application, or to another collection of services."""
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        # Blocked until our handlers have replaced those that the reactor installs.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        self._pid = os.getpid()
        signal.signal(signal.SIGHUP, self._hang_up)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminate)
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, self._rotate_nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _hang_up(self, number: int, *_: object) -> None:
        if not self._is_child(number):
            self._reactor.callFromThread(self._reload_now)

    def _terminate(self, number: int, *_: object) -> None:
        if not self._is_child(number):
            self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _reload_now(self) -> None:
        result = self._reload()
        if isinstance(result, Deferred):
            result.addErrback(
                lambda failure: _log.warn(
                    "Received SIGHUP, and the reload failed: {reason}",
                    reason=printable(failure.getErrorMessage()),
                )
            )

    def _is_child(self, number: int) -> bool:
        """In a child that was forked without exec: let the signal have its default effect."""
        if os.getpid() == self._pid:
            return False
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return True

    def _rotate_nothing(self, *_: object) -> None:
        self._reactor.callFromThread(
            _log.info, "Received SIGUSR1: there is no log file of twistd's own to rotate"
        )

    def _stop(self, name: str) -> None:
        if not self._stopping:
            self._stopping = True
            # Until the process ends: a second signal must not disturb the stop.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            _log.info("Received {name}: stopping", name=name)
            self._reactor.stop()

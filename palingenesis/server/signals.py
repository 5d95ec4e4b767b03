"""The signals that an operator or an init system sends to the daemon."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from palingenesis.server.log import get_logger
from palingenesis.text import printable

#: Seconds after a first signal to stop in which the reactor has to start to run.
START_LIMIT = 5.0

_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_log = get_logger(__name__)


class SignalService(Service):
    """
    SIGHUP reloads; SIGTERM and SIGINT stop the reactor, and the process exits with status 0.

    With Twisted's own handlers, twistd dies of the signal after a clean stop, so that an init
    system sees a failure, and a second signal logs a traceback. SIGUSR1, by which twistd
    rotates a log file of its own, is ignored if it would end the process.

    Outside the main thread, it only logs a warning. Stopping the service puts the previous
    handlers back.

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
        self._replaced: dict[int, Any] = {}
        self._mask: set[signal.Signals | int] | None = None
        self._trigger: Any = None
        self._terminated: float | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Add the service to an application, or to another collection of services."""
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        if threading.current_thread() is not threading.main_thread():
            _log.warn("Signals are not handled: only the main thread can do that")
            return
        self._replace_handlers()
        # Blocked only while the reactor installs its own handlers, until ours replace those.
        self._trigger = self._reactor.addSystemEventTrigger("before", "startup", self._block)
        self._reactor.callWhenRunning(self._take_over)

    def stopService(self) -> None:
        """Put handlers and mask back, unless a signal has asked for the process's end."""
        super().stopService()
        if not self._stopping:
            self._restore()

    def _replace_handlers(self) -> None:
        self._pid = os.getpid()
        handlers: dict[int, Callable[..., None]] = {
            signal.SIGHUP: self._hang_up,
            signal.SIGTERM: self._terminate,
            signal.SIGINT: self._terminate,
        }
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            handlers[signal.SIGUSR1] = self._rotate_nothing
        for number, handler in handlers.items():
            found = signal.getsignal(number)
            if found != handler:
                # None stands for a handler that Python did not install.
                self._replaced[number] = signal.SIG_DFL if found is None else found
                signal.signal(number, handler)

    def _block(self) -> None:
        self._trigger = None
        # In another thread, the reactor installs no handlers.
        if threading.current_thread() is threading.main_thread():
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def _take_over(self) -> None:
        if self.running and threading.current_thread() is threading.main_thread():
            self._replace_handlers()
        self._unblock()

    def _unblock(self) -> None:
        mask, self._mask = self._mask, None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, set(_SIGNALS) - mask)

    def _restore(self) -> None:
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self._reactor.removeSystemEventTrigger(trigger)
        replaced, self._replaced = self._replaced, {}
        for number, handler in replaced.items():
            if getattr(signal.getsignal(number), "__self__", None) is self:
                signal.signal(number, handler)
        self._unblock()

    def _hang_up(self, number: int, *_: object) -> None:
        if not self._is_child(number):
            self._reactor.callFromThread(self._reload_now)

    def _terminate(self, number: int, *_: object) -> None:
        if self._is_child(number):
            return
        now = time.monotonic()
        if self._terminated is None:
            self._terminated = now
        elif now - self._terminated >= START_LIMIT and not self._reactor.running:
            # The start has failed, and no reactor will ever stop.
            self._restore()
            os.kill(os.getpid(), number)
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _reload_now(self) -> None:
        _log.info("Received SIGHUP: reloading")
        result = self._reload()
        if isinstance(result, Deferred):
            result.addErrback(
                lambda failure: _log.warn(
                    "The reload failed: {reason}", reason=printable(failure.getErrorMessage())
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

"""What the daemon's signal handlers do, on a reactor that only takes notes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.server import signals
from palingenesis.server.signals import SignalService

NUMBERS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
ALL = (*NUMBERS, signal.SIGUSR1)


class Reactor:
    """
    As much of a reactor as the service needs.

    :ivar starting: what is to be called once it runs.
    :ivar calls: what was asked for by the handlers.
    :ivar stops: how often it was told to stop.
    :ivar blocked: the signals that were blocked while it installed its own handlers.
    """

    def __init__(self) -> None:
        self.running = False
        self.before: list[Callable[[], object]] = []
        self.starting: list[Callable[[], object]] = []
        self.calls: list[Callable[[], object]] = []
        self.stops = 0
        self.blocked: set[signal.Signals | int] = set()

    def addSystemEventTrigger(  # noqa: N802
        self, phase: str, event: str, do: Callable[[], object]
    ) -> Callable[[], object]:
        assert (phase, event) == ("before", "startup")
        self.before.append(do)
        return do

    def removeSystemEventTrigger(self, trigger: Callable[[], object]) -> None:  # noqa: N802
        self.before.remove(trigger)

    def callWhenRunning(self, do: Callable[[], object]) -> None:  # noqa: N802
        self.starting.append(do)

    def callFromThread(self, do: Callable[..., object], *given: object) -> None:  # noqa: N802
        self.calls.append(lambda: do(*given))

    def stop(self) -> None:
        self.stops += 1

    def run(self) -> None:
        """Do what a reactor does when it starts to run, its own handlers included."""
        for do in self.before:
            do()
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.running = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.twisteds_own)
        for do in self.starting:
            do()

    def twisteds_own(self, *_: object) -> None:
        raise AssertionError("the reactor's handler is still there")

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class SignalServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        for number in ALL:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
        self.reactor = Reactor()
        self.reloads = 0
        self.reloading: Deferred[None] | None = None
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)
        self.service = SignalService(self.reload, self.reactor)

    def observe(self, event: LogEvent) -> None:
        if event["log_namespace"] == signals.__name__:
            self.lines.append(str(formatEvent(event)))

    def reload(self) -> Deferred[None] | None:
        self.reloads += 1
        return self.reloading

    def running(self) -> SignalService:
        self.service.startService()
        self.reactor.run()
        return self.service

    def test_a_hangup_reloads_each_time_and_in_the_reactors_own_time(self):
        self.running()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.reloads, 0)
        self.reactor.turn()
        self.assertEqual((self.reloads, self.reactor.stops), (2, 0))

    def test_a_reload_that_fails_is_logged_with_its_reason(self) -> None:
        self.reloading = fail(ValueError("no\nsense"))
        self.running()
        signal.raise_signal(signal.SIGHUP)
        self.reactor.turn()
        self.assertEqual(
            self.lines, ["Received SIGHUP: reloading", "The reload failed: no\\nsense"]
        )

    def test_each_signal_that_is_carried_out_is_logged(self) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.running()
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        self.reactor.turn()
        hangup = "Received SIGHUP: reloading"
        usr1 = "Received SIGUSR1: there is no log file of twistd's own to rotate"
        self.assertEqual(self.lines, [hangup, usr1, "Received SIGINT: stopping"])

    def test_a_signal_waits_while_the_reactor_installs_its_own_handlers(self) -> None:
        self.running()
        self.assertEqual(set(ALL) - self.reactor.blocked, set())
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(ALL), set())

    def test_a_forked_child_dies_of_a_signal_as_usual(self) -> None:
        self.running()
        killed: list[tuple[int, int]] = []
        self.patch(os, "getpid", lambda: 4242)
        self.patch(os, "kill", lambda *what: killed.append(what))
        for number in NUMBERS:
            signal.raise_signal(number)
            self.assertIs(signal.getsignal(number), signal.SIG_DFL)
        self.reactor.turn()
        self.assertEqual(killed, [(4242, number) for number in NUMBERS])
        self.assertEqual((self.reloads, self.reactor.stops), (0, 0))

    def test_a_service_that_ends_the_process_keeps_its_handlers(self) -> None:
        parent = MultiService()
        self.service.setServiceParent(parent)
        self.assertEqual(list(parent), [self.service])
        self.running()
        signal.raise_signal(signal.SIGTERM)
        self.reactor.turn()
        handlers = [signal.getsignal(number) for number in ALL]
        self.service.stopService()
        self.assertFalse(self.service.running)
        self.assertEqual([signal.getsignal(number) for number in ALL], handlers)

    def test_a_termination_and_an_interrupt_stop_it_once(self):
        self.running()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.turn()
        self.assertEqual((self.reloads, self.reactor.stops), (0, 1))

    def test_a_termination_before_the_reactor_runs_is_not_lost(self):
        self.service.startService()
        signal.raise_signal(signal.SIGTERM)
        self.reactor.run()
        self.reactor.turn()
        self.assertEqual(self.reactor.stops, 1)

    def test_a_signal_during_a_stop_has_no_effect(self):
        self.running()
        signal.raise_signal(signal.SIGTERM)
        self.reactor.turn()
        for number in NUMBERS:
            signal.raise_signal(number)
        self.reactor.turn()
        self.assertEqual((self.reloads, self.reactor.stops), (0, 1))

    def test_sigusr1_does_not_kill(self) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.running()
        signal.raise_signal(signal.SIGUSR1)
        self.reactor.turn()
        self.assertEqual((self.reloads, self.reactor.stops), (0, 0))

    def test_a_handler_that_rotates_the_log_file_keeps_sigusr1(self) -> None:
        received: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
        self.running()
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(received, [signal.SIGUSR1])

    def test_a_stop_puts_handlers_and_mask_back(self) -> None:
        before = {number: signal.getsignal(number) for number in ALL}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        self.service.startService()
        self.service.stopService()
        self.assertEqual({number: signal.getsignal(number) for number in ALL}, before)
        self.assertEqual(self.reactor.before, [])
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), mask | {signal.SIGHUP})

    def test_a_stop_while_the_reactor_runs_on_gives_it_its_own_handlers_back(self) -> None:
        self.running().stopService()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertEqual(signal.getsignal(number), self.reactor.twisteds_own)

    def test_a_handler_that_replaced_ours_is_kept_by_a_stop(self) -> None:
        self.running()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.service.stopService()
        self.assertIs(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)

    def test_a_stopped_service_is_not_reloaded(self) -> None:
        received: list[int] = []
        signal.signal(signal.SIGHUP, lambda number, _: received.append(number))
        self.running().stopService()
        signal.raise_signal(signal.SIGHUP)
        self.reactor.turn()
        self.assertEqual((self.reloads, received), (0, [signal.SIGHUP]))

    def test_nothing_is_blocked_while_other_services_start(self) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.service.startService()
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, []), mask)

    def test_a_process_whose_reactor_never_runs_is_ended_by_a_later_termination(self) -> None:
        received: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
        self.service.startService()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(received, [])
        self.patch(signals, "START_LIMIT", 0)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(received, [signal.SIGTERM])

    def in_a_thread(self, do: Callable[[], object]) -> None:
        thread = threading.Thread(target=do)
        thread.start()
        thread.join()

    def test_outside_the_main_thread_it_leaves_signals_alone(self) -> None:
        before = {number: signal.getsignal(number) for number in ALL}
        self.in_a_thread(self.service.startService)
        unhandled = "Signals are not handled: only the main thread can do that"
        self.assertEqual(self.lines, [unhandled])
        self.assertEqual({number: signal.getsignal(number) for number in ALL}, before)
        self.service.stopService()

    def test_a_reactor_in_a_thread_blocks_no_signal(self) -> None:
        self.service.startService()

        def run() -> None:
            # Such a reactor installs no handlers.
            for do in (*self.reactor.before, *self.reactor.starting):
                do()
            self.masks = signal.pthread_sigmask(signal.SIG_BLOCK, [])

        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self.in_a_thread(run)
        self.assertEqual(self.masks, mask)
        signal.raise_signal(signal.SIGINT)
        self.reactor.turn()
        self.assertEqual(self.reactor.stops, 1)

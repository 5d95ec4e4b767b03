"""What a daemon provides: now, by a Deferred, or by a coroutine."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyClass, verifyObject

from palingenesis.server.interfaces import CommandRefused, IDaemonState, check_state
from palingenesis.server.state import DaemonState
from palingenesis.wire import DaemonStatus


@implementer(IDaemonState)
class AnswersNow:
    def get_status(self) -> DaemonStatus:
        return DaemonStatus("paused", 1)

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def reload_config(self) -> None: ...


@implementer(IDaemonState)
class AnswersWithDeferreds:
    def get_status(self) -> Deferred[DaemonStatus]:
        return succeed(DaemonStatus("paused", 1))

    def pause(self) -> Deferred[None]:
        return succeed(None)

    def resume(self) -> Deferred[None]:
        return succeed(None)

    def reload_config(self) -> Deferred[None]:
        return succeed(None)


@implementer(IDaemonState)
class AnswersWithCoroutines:
    async def get_status(self) -> DaemonStatus:
        return DaemonStatus("paused", 1)

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def reload_config(self) -> None: ...


class DaemonStateInterfaceTests(SynchronousTestCase):
    def test_the_default_daemon_provides_it(self) -> None:
        verifyObject(IDaemonState, DaemonState())

    def test_a_daemon_that_answers_now_provides_it(self) -> None:
        verifyObject(IDaemonState, AnswersNow())

    def test_a_daemon_that_answers_with_deferreds_provides_it(self) -> None:
        verifyObject(IDaemonState, AnswersWithDeferreds())

    def test_a_daemon_that_answers_with_coroutines_provides_it(self) -> None:
        verifyObject(IDaemonState, AnswersWithCoroutines())

    def test_a_daemon_that_cannot_pause_does_not(self) -> None:
        @implementer(IDaemonState)
        class Unstoppable:
            get_status = resume = reload_config = AnswersNow.get_status

        self.assertRaises(Invalid, verifyClass, IDaemonState, Unstoppable)

    def test_a_class_in_the_place_of_an_object_is_named(self) -> None:
        error = self.assertRaises(TypeError, check_state, AnswersNow)
        self.assertEqual(
            str(error),
            "AnswersNow does not provide IDaemonState: it is a class; give an object of it",
        )

    def test_a_class_whose_methods_need_no_object_is_one(self) -> None:
        class Alone:
            get_status = staticmethod(AnswersNow().get_status)
            pause = resume = reload_config = staticmethod(AnswersNow().pause)

        check_state(Alone)

    def test_a_method_that_wants_an_argument_is_named_in_one_line(self) -> None:
        class Wanting(AnswersNow):
            def pause(self, wanted: object) -> None: ...  # type: ignore[override]

            def resume(self, wanted: object) -> None: ...  # type: ignore[override]

        error = self.assertRaises(TypeError, check_state, Wanting())
        self.assertRegex(
            str(error), r"\AWanting does not provide IDaemonState: .*pause.*resume.*\Z"
        )

    def test_the_interface_has_one_method_for_each_command(self) -> None:
        self.assertEqual(
            sorted(IDaemonState.names()), ["get_status", "pause", "reload_config", "resume"]
        )


class CommandRefusedTests(SynchronousTestCase):
    def test_a_refusal_has_its_message(self) -> None:
        self.assertEqual(CommandRefused("no disk").message, "no disk")

    def test_the_text_of_a_refusal_is_its_message(self) -> None:
        self.assertEqual(str(CommandRefused("no disk")), "no disk")

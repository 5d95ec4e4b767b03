"""What a daemon provides: now, by a Deferred, or by a coroutine."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from palingenesis.server.interfaces import CommandRefused, IDaemonState, check_state
from palingenesis.server.state import DaemonState
from palingenesis.wire import DaemonStatus


class AnswersNow:
    def get_status(self) -> DaemonStatus:
        return DaemonStatus("paused", 1)

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def reload_config(self) -> None: ...


class AnswersWithDeferreds:
    def get_status(self) -> Deferred[DaemonStatus]:
        return succeed(DaemonStatus("paused", 1))

    def pause(self) -> Deferred[None]:
        return succeed(None)

    def resume(self) -> Deferred[None]:
        return succeed(None)

    def reload_config(self) -> Deferred[None]:
        return succeed(None)


class AnswersWithCoroutines:
    async def get_status(self) -> DaemonStatus:
        return DaemonStatus("paused", 1)

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def reload_config(self) -> None: ...


class DaemonStateInterfaceTests(SynchronousTestCase):
    def test_a_state_may_answer_at_once_with_deferreds_or_with_coroutines(self) -> None:
        for state in DaemonState(), AnswersNow(), AnswersWithDeferreds(), AnswersWithCoroutines():
            check_state(state)
        verifyObject(IDaemonState, DaemonState())

    def test_every_method_that_a_state_lacks_is_named(self) -> None:
        class Lacking:
            get_status = reload_config = AnswersNow.get_status

        error = self.assertRaises(TypeError, check_state, Lacking())
        self.assertEqual(
            str(error), "Lacking does not provide IDaemonState: it lacks pause, resume"
        )

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

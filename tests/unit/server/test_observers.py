"""The functions that are called at each change of one kind."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.server.observers import Observers


class ObserversTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seen: list[tuple[str, object]] = []
        self.observers = Observers()

    def add(self, name: str) -> Callable[[], None]:
        return self.observers.add(lambda what: self.seen.append((name, what)))

    def test_each_one_hears_of_a_change_until_it_is_removed(self) -> None:
        self.assertFalse(self.observers)
        remove = self.add("one")
        self.add("two")
        self.observers.notify(1)
        for number in (2, 3):
            remove()
            self.observers.notify(number)
        self.assertEqual(self.seen, [("one", 1), ("two", 1), ("two", 2), ("two", 3)])
        self.assertTrue(self.observers)

    def test_an_observer_that_fails_is_logged_and_spoils_nothing_for_the_others(self) -> None:
        self.observers.add(lambda _: 1 / 0)
        self.add("two")
        self.observers.notify(1)
        self.assertEqual(self.seen, [("two", 1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

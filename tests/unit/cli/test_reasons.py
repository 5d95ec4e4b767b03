"""The monitor's words, as the command line explains them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.reasons import KINDS, REASONS
from palingenesis.words import Kind, Reason


class ReasonTests(SynchronousTestCase):
    def test_every_reason_is_explained_in_the_order_of_the_gate(self) -> None:
        self.assertEqual(list(REASONS), list(Reason))

    def test_every_kind_is_explained_unless_it_explains_itself(self) -> None:
        self.assertEqual(
            {*KINDS, Kind.LIMIT.value, Kind.FINISHED.value}, {kind.value for kind in Kind}
        )

    def test_no_word_is_both_a_kind_and_a_reason(self) -> None:
        # They share one legend.
        self.assertEqual(KINDS.keys() & REASONS.keys(), set())

"""The bound on what a command prints."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.output import CUT, PART, copy

BOUND = 4 * PART


class CopyTests(SynchronousTestCase):
    def copied(self, content: bytes) -> bytes:
        source, target = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        with open(source, "wb") as file:
            file.write(content)
        with open(source, "rb") as read, open(target, "ab") as written:
            copy(read.fileno(), written.fileno(), BOUND)
        with open(target, "rb") as file:
            return file.read()

    def test_what_fits_is_kept_whole(self) -> None:
        content = os.urandom(BOUND)
        self.assertEqual(self.copied(content), content)

    def test_of_more_the_beginning_and_the_end_are_kept_within_the_bound(self) -> None:
        content = os.urandom(20 * PART + 5)
        kept = self.copied(content)
        self.assertLessEqual(len(kept), BOUND)
        begin, cut, end = kept.partition(CUT)
        self.assertEqual((begin, cut), (content[: BOUND // 2], CUT))
        self.assertTrue(end and content.endswith(end))

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.sessions import CLOCK_SLACK, Identity, Verdict, identified
from palingenesis.text import printable
from palingenesis.words import Kind

NOW = 1789966800.0


class IdentifiedTests(SynchronousTestCase):
    def test_a_directory_may_have_any_characters_that_a_path_can_have(self) -> None:
        joined = "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}"
        for odd in ("\xa0", joined, "\ue000", "\u202e", "\U0001fae8", "\n", "\x1b", "\udcff"):
            directory = f"/srv/{odd}"
            found = identified("a-1", directory)
            self.assertEqual(found, Identity("a-1", directory))
            assert found is not None
            moved = found.moved(f"{directory}/sub")
            self.assertEqual(moved.directories, (directory, f"{directory}/sub"))
            self.assertTrue(printable(directory).isprintable())

    def test_what_is_no_path_is_no_directory(self) -> None:
        for directory in ("srv", "", "/srv/\0", "/srv/\ud83d", "/" + 4095 * "x", None, 1, ["/"]):
            self.assertIsNone(identified("a-1", directory), directory)


class BelievedTests(SynchronousTestCase):
    def test_a_record_of_the_future_loses_its_times(self) -> None:
        later = NOW + 3600
        verdict = Verdict(Kind.LIMIT, "k", later, later + 5, progress=later).believed(NOW)
        self.assertEqual((verdict.at, verdict.reset, verdict.progress), (None, later + 5, None))

    def test_a_clock_that_is_a_little_ahead_is_believed(self) -> None:
        latest = NOW + CLOCK_SLACK
        verdict = Verdict(None, "k", latest, progress=latest)
        self.assertEqual(verdict.believed(NOW), verdict)

    def test_no_times_are_none(self) -> None:
        self.assertEqual(Verdict(None, "k").believed(NOW), Verdict(None, "k"))

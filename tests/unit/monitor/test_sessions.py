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

    def test_the_longest_path_is_a_directory(self) -> None:
        self.assertEqual(identified("a", "/" + 4094 * "x"), Identity("a", "/" + 4094 * "x"))

    def test_what_is_no_name_is_no_id(self) -> None:
        for name in ("a", "0", "A.b_c-d", "a" * 128):
            self.assertEqual(identified(name, "/"), Identity(name, "/"))
        for value in ("", "-a", ".a", "_a", "a" * 129, "a b", "a/b", "a\n", "\u0661", None, 1):
            self.assertIsNone(identified(value, "/"), value)

    def test_a_session_moves_to_another_directory_and_back(self) -> None:
        started = Identity("a", "/srv")
        moved = started.moved("/tree")
        self.assertEqual(moved, Identity("a", "/srv", "/tree"))
        self.assertEqual(moved.directories, ("/srv", "/tree"))
        self.assertEqual(moved.moved("/srv"), started)
        self.assertEqual(started.directories, ("/srv",))
        for nowhere in (None, "tree", 5):
            self.assertEqual(moved.moved(nowhere), moved)


class BelievedTests(SynchronousTestCase):
    def test_only_the_time_of_the_future_is_lost(self) -> None:
        later = NOW + CLOCK_SLACK + 1
        for at, progress, expected in (
            (later, NOW, (None, NOW)),
            (NOW, later, (NOW, None)),
            (None, later, (None, None)),
            (later, None, (None, None)),
        ):
            found = Verdict(None, "k", at, progress=progress).believed(NOW)
            self.assertEqual((found.at, found.progress), expected)

    def test_a_verdict_says_only_what_it_was_given(self) -> None:
        found = Verdict(None, "k")
        flags = (found.calling, found.last_typed, found.goes_on, found.spends, found.permission)
        self.assertEqual(flags, (False,) * 5)

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

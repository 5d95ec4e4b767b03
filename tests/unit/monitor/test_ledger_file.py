"""The ledger's files: damage, foreign files, a full disk, rotation."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import (
    LEDGER_NAME,
    Ledger,
    LedgerError,
    Stop,
    file,
    ledger,
)
from palingenesis.monitor.ledger.records import render
from palingenesis.monitor.times import Times
from palingenesis.words import Kind
from tests.support.ledgers import START, LedgerTestCase, stop


class FileTests(LedgerTestCase):
    def test_directory_and_file_are_private(self) -> None:
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (self.directory, self.path)]
        self.assertEqual(modes, [0o700, 0o600])

    def test_each_line_is_one_json_object(self) -> None:
        self.run_once(stop(), status=1)
        events = [json.loads(line)["event"] for line in self.content().splitlines()]
        self.assertEqual(events, ["sums", "intent", "started", "failed"])

    def test_an_intent_is_synced_before_it_is_returned(self) -> None:
        synced = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            real(descriptor)
            synced.append(self.content().splitlines()[-1])

        with mock.patch.object(file.os, "fsync", fsync):
            self.ledger.intent(stop())
        self.assertEqual(json.loads(synced[-1])["event"], "intent")

    def test_a_cut_after_any_byte_of_the_last_line_loses_that_line_alone(self) -> None:
        self.run_once(stop())
        before = self.content()
        self.ledger.pause("uid 0")
        line = self.content()[len(before) :]
        self.ledger.close()
        for cut in range(len(line) + 1):
            with open(self.path, "wb") as out:
                out.write(before + line[:cut])
            again = self.opened()
            # All but the newline is the whole line.
            self.assertEqual(again.paused, cut >= len(line) - 1, cut)
            self.assertEqual(again.history("claude", "one").attempts, 1)
            again.intent(stop())
            again.close()
            self.assertEqual(self.opened().history("claude", "one").attempts, 2, cut)

    def test_the_lines_after_a_torn_one_stay_whole(self) -> None:
        with open(self.path, "ab") as out:
            out.write(b'{"at":')
        self.ledger.close()
        again = self.opened()
        again.pause("uid 0")
        again.intent(stop())
        events = [json.loads(line)["event"] for line in self.content().splitlines()[-2:]]
        self.assertEqual(events, ["paused", "intent"])

    def test_every_prefix_of_the_file_can_be_opened(self) -> None:
        self.run_once(stop())
        content = self.content()
        for cut in range(0, len(content), 7):
            with open(self.path, "wb") as out:
                out.write(content[:cut])
            again = self.opened()
            again.intent(stop("other"))
            again.close()
            self.assertEqual(self.opened().history("claude", "other").attempts, 1, cut)

    def test_a_line_of_nonsense_loses_that_line_alone(self) -> None:
        self.run_once(stop())
        lines = self.content().splitlines(keepends=True)
        for nonsense in (b"\xff\xfe\n", b"\0" * 512 + b"\n", b"[1]\n", b"[" * 100_000 + b"\n"):
            with open(self.path, "wb") as out:
                out.write(lines[0] + nonsense + b"".join(lines[1:]))
            self.assertEqual(self.opened().sums.started, 1)

    def test_a_lost_intent_does_not_lose_what_followed(self) -> None:
        self.run_once(stop(), "worked")
        lines = self.content().splitlines(keepends=True)
        with open(self.path, "wb") as out:
            out.write(lines[0] + b"?\n" + b"".join(lines[2:]))
        again = self.opened()
        self.assertEqual((again.sums.started, again.sums.worked), (1, 1))

    def test_a_deleted_ledger_is_made_anew_with_the_sums(self) -> None:
        self.run_once(stop(), "worked")
        os.unlink(self.path)
        self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.ledger.pause("uid 0")
        self.assertIsNone(self.ledger.open())
        again = self.opened()
        self.assertEqual((again.sums.worked, again.paused), (1, True))

    def refused(self) -> str:
        trouble = self.unopened().open()
        self.assertIsNotNone(trouble)
        assert trouble is not None
        self.assertNotIn("\n", trouble)
        return trouble

    def test_a_directory_that_others_can_read_is_refused(self) -> None:
        os.chmod(self.directory, 0o750)
        self.assertIn("chmod 700", self.refused())

    def test_a_fifo_in_the_place_of_the_ledger_is_refused_without_waiting(self) -> None:
        os.unlink(self.path)
        os.mkfifo(self.path)
        self.assertIn("not a regular file", self.refused())

    def test_a_link_in_the_place_of_the_ledger_is_refused(self) -> None:
        os.rename(self.path, f"{self.path}.real")
        os.symlink(f"{self.path}.real", self.path)
        self.assertIn("cannot write the ledger", self.refused())

    def test_a_file_that_no_daemon_wrote_so_large_is_refused(self) -> None:
        os.truncate(self.path, file.SIZE_LIMIT + 1)
        self.assertIn("larger than", self.refused())

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_at_all_can_follow(self, content: bytes) -> None:
        base = render({"at": START, "event": "paused"})
        with open(self.path, "wb") as out:
            out.write(base + content)
        again = self.opened()
        again.intent(stop())
        again.close()
        last = self.opened()
        self.assertEqual(last.history("claude", "one").attempts, 1)
        last.close()


class OwnershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root")
        # The way to trial's own directory may be closed to another user.
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def as_nobody(self) -> str:
        ledger = Ledger(self.directory, Times())
        self.addCleanup(ledger.close)
        os.seteuid(65534)
        try:
            return ledger.open() or "no trouble"
        finally:
            os.seteuid(0)

    def test_a_directory_of_another_user_is_refused(self) -> None:
        self.assertIn("belongs to uid 0", self.as_nobody())

    def test_a_directory_that_cannot_be_written_is_a_warning(self) -> None:
        os.chown(self.directory, 65534, 65534)
        os.chmod(self.directory, 0o500)
        self.assertIn("Permission denied", self.as_nobody())

    def test_a_ledger_of_another_user_is_refused(self) -> None:
        os.chown(self.directory, 65534, 65534)
        path = os.path.join(self.directory, LEDGER_NAME)
        with open(path, "wb"):
            os.chmod(path, 0o644)
        self.assertIn("the ledger belongs to uid 0", self.as_nobody())


class FullDiskTests(LedgerTestCase):
    def full(self, times: int = 1000) -> Any:
        """Let the disk be full for so many writes."""
        real, left = os.write, [times]

        def write(descriptor: int, data: Any) -> int:
            if left[0] > 0:
                left[0] -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data)

        return mock.patch.object(file.os, "write", write)

    def test_no_intent_is_promised_on_a_full_disk(self) -> None:
        with self.full():
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.assertIn("No space left", self.ledger.warning or "")
        self.assertRaises(LedgerError, self.ledger.intent, stop())

    def test_nothing_is_promised_if_there_is_room_for_the_intent_alone(self) -> None:
        before = self.content()
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if len(data) > 4096:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data)

        with mock.patch.object(file.os, "write", write):
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.assertEqual(self.content(), before)

    def test_a_pause_counts_all_the_same_and_is_written_later(self) -> None:
        with self.full():
            self.assertIn("No space left", self.ledger.pause("uid 0") or "")
            self.assertTrue(self.ledger.paused)
            self.assertIsNotNone(self.ledger.open())
            self.assertFalse(self.opened_elsewhere().paused)
        self.assertIsNone(self.ledger.open())
        self.assertTrue(self.opened_elsewhere().paused)

    def test_a_pause_is_promised_as_soon_as_the_disk_has_room(self) -> None:
        """ipfs/kubo#5300: there, the error stayed until a restart."""
        with self.full():
            self.assertIn("No space left", self.ledger.pause("uid 0") or "")
        self.assertIsNone(self.ledger.pause("uid 0"))
        self.assertTrue(self.opened_elsewhere().paused)

    def opened_elsewhere(self) -> Ledger:
        other = self.unopened()
        other.read()
        return other

    def test_a_start_and_its_outcome_are_written_later_and_counted_once(self) -> None:
        attempt = self.ledger.intent(stop())
        with self.full():
            self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
            self.ledger.worked(attempt)
        self.assertEqual((self.ledger.sums.started, self.ledger.sums.worked), (1, 1))
        self.ledger.open()
        for sums in (self.ledger.sums, self.opened().sums):
            self.assertEqual((sums.started, sums.worked), (1, 1))

    def test_an_entry_that_arrived_although_its_sync_failed_counts_once(self) -> None:
        attempt = self.ledger.intent(stop())
        failing = OSError(errno.EIO, os.strerror(errno.EIO))
        with mock.patch.object(file.os, "fsync", side_effect=failing):
            self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
        self.ledger.open()
        self.ledger.failed(attempt)
        again = self.opened()
        self.assertEqual((again.sums.started, again.history("claude", "one").attempts), (1, 1))

    def test_an_intent_that_arrived_although_its_sync_failed_is_a_failed_attempt(self) -> None:
        failing = OSError(errno.EIO, os.strerror(errno.EIO))
        with mock.patch.object(file.os, "fsync", side_effect=failing):
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.ledger.open()
        self.assertEqual(self.ledger.unfinished(), [])
        self.assertEqual(self.opened().unfinished(), [])

    def test_half_a_line_does_not_swallow_the_next(self) -> None:
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if len(data) < 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, bytes(data[: len(data) - 10]))

        with mock.patch.object(file.os, "write", write):
            self.ledger.pause("uid 0")
        self.ledger.open()
        self.assertTrue(self.opened().paused)

    def test_the_probe_leaves_nothing_behind(self) -> None:
        with self.full():
            self.ledger.pause("uid 0")
        self.ledger.open()
        self.assertNotIn(b"  ", self.content())


class RotationTests(LedgerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(file, "ROTATION_SIZE", 4000)

    def fill(self) -> None:
        size = 0
        while os.path.getsize(self.path) >= size:
            size = os.path.getsize(self.path)
            self.run_once(stop(), "worked")

    def test_a_rotation_carries_the_sums_over(self) -> None:
        self.ledger.pause("uid 0")
        self.run_once(stop("two"), status=1, quick=True)
        self.ledger.gave_up(stop("two"))
        self.ledger.started(self.ledger.intent(stop("three")), 42, "7@boot", "/o/1.log")
        self.fill()
        os.unlink(os.path.join(self.directory, file.OLD_NAME))
        again = self.opened()
        self.assertEqual(again.sums, self.ledger.sums)
        self.assertEqual(again.sums.first_at, START)
        self.assertEqual(len(again.unfinished()), 1)

    def test_log_shows_the_entries_from_before_a_rotation(self) -> None:
        self.fill()
        self.assertEqual(self.opened().last(12), self.ledger.last(12))

    def test_both_files_are_private(self) -> None:
        self.fill()
        old = os.path.join(self.directory, file.OLD_NAME)
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (old, self.path)]
        self.assertEqual(modes, [0o600, 0o600])

    def test_an_unreadable_first_line_is_made_up_for_by_the_old_file(self) -> None:
        self.fill()
        content = self.content().split(b"\n", 1)
        with open(self.path, "wb") as out:
            out.write(b"?\n" + content[1])
        self.assertEqual(self.opened().sums, self.ledger.sums)

    def test_a_wrong_type_in_the_first_line_is_made_up_for_by_the_old_file(self) -> None:
        self.run_once(stop("two"), status=1, quick=True)
        self.fill()
        header, rest = self.content().split(b"\n", 1)
        good = json.loads(header)
        for name, wrong in (
            ("first_at", "1700000000"),
            ("first_at", 10**400),
            ("first_at", -(10**400)),
            ("started", 1.5),
            ("paused", 0),
            ("intents", {}),
            ("intents", [None]),
            ("sessions", [["claude", "one"]]),
            ("sessions", [["claude", "one", {"failed_at": "yesterday"}]]),
            ("sessions", [["claude", "one", {"attempts": True}]]),
            ("sessions", [["claude", "one", {"kind": "unheard of"}]]),
            ("sessions", [["claude", "one", {"closed": ["a"]}]]),
            ("sessions", [["claude", "one", {"open": {"attempt": 1, "at": 5}}]]),
        ):
            with open(self.path, "wb") as out:
                out.write(json.dumps({**good, name: wrong}).encode() + b"\n" + rest)
            self.assertEqual(self.opened().sums, self.ledger.sums, f"{name}: {wrong}")

    def test_a_daemon_that_dies_between_any_two_steps_loses_nothing(self) -> None:
        for step in range(6):
            self.ledger = self.opened()
            while os.path.getsize(self.path) < 3900:
                self.run_once(stop(), "worked")
            before, left = self.ledger.sums.worked, [step]

            def dies(name: str, left: list[int] = left) -> Any:
                real = getattr(os, name)

                def call(*arguments: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    return real(*arguments)

                return mock.patch.object(file.os, name, call)

            with dies("fsync"), dies("replace"):
                self.ledger.pause("uid 0" * 100)
            self.ledger.close()
            again = self.opened()
            self.assertEqual(again.sums.worked, before, step)
            again.resume("uid 0")
            again.close()


class LargeHistoryTests(LedgerTestCase):
    """Directories may have 4,095 characters, each of which takes up to 12 bytes in JSON."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(file, "ROTATION_SIZE", 4000)

    def revived(self, session: str) -> None:
        long = Stop("claude", session, "a", Kind.LIMIT, "/t", "/" + "\N{OGHAM LETTER BEITH}" * 4000)
        self.ledger.worked(self.ledger.intent(long))

    def test_a_file_that_was_replaced_is_not_rotated(self) -> None:
        self.ledger.close()
        kept = file.LedgerFile(self.directory)
        kept.open()
        self.addCleanup(kept.close)
        os.unlink(self.path)
        with open(self.path, "w") as another:
            another.write("another\n")
        error = self.assertRaises(OSError, kept.rotate, b"{}\n")
        self.assertEqual(error.errno, errno.ESTALE)
        self.assertEqual(self.content(), b"another\n")

    def test_a_large_first_line_does_not_make_each_entry_rotate_the_file(self) -> None:
        self.revived("one")
        self.ledger.pause("uid 0")
        self.ledger.resume("uid 0")
        self.assertGreater(len(self.content().splitlines()[0]), 4000)
        self.assertEqual(len(self.content().splitlines()), 4)
        self.opened().pause("uid 0")
        self.assertEqual(len(self.content().splitlines()), 5)

    def test_a_first_line_that_is_too_large_leaves_out_the_oldest_histories(self) -> None:
        self.patch(ledger, "HEADER_LIMIT", 100_000)
        for session in "abcdef":
            self.revived(session)
        self.ledger.pause("uid 0")
        kept = [session for _, session in self.opened().sums.sessions]
        self.assertEqual(kept, list("def"))

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.mounts import Mount, parse_mount, parse_mountinfo


class ParsingTests(SynchronousTestCase):
    def test_mounts(self) -> None:
        text = (
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
            "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\n"
            "nonsense\n"
        )
        expected = (
            Mount("/proc", "proc", os.makedev(0, 21)),
            Mount("/mnt/a b", "ext3", os.makedev(98, 0)),
        )
        self.assertEqual(parse_mountinfo(text), expected)

    def test_mounts_on_macos(self) -> None:
        text = (
            "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n"
            "//you@server/share on /Volumes/a (b) (smbfs, nodev, nosuid, mounted by you)\n"
        )
        expected = (Mount("/", "apfs"), Mount("/Volumes/a (b)", "smbfs"))
        self.assertEqual(parse_mount(text), expected)

    @given(st.text())
    def test_any_text_is_parsed(self, text: str) -> None:
        for listed in (text, text * 30):
            self.assertIsInstance(parse_mountinfo(listed), tuple)
            self.assertIsInstance(parse_mount(listed), tuple)

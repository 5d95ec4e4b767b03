from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.mounts import Mount, parse_mountinfo
from tests.support.texts import ENCODABLE


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

    @given(st.text(ENCODABLE))
    def test_any_text_is_parsed(self, text: str) -> None:
        for listed in (text, text * 30):
            self.assertIsInstance(parse_mountinfo(listed), tuple)

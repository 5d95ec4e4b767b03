"""The pictures of README and handbook, made again from the staged night."""

from __future__ import annotations

import os
import re
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT, run

PICTURES = ROOT / "docs" / "pictures"
PAGES = (ROOT / "README.rst", ROOT / "docs" / "web.rst")


class PicturesTests(SynchronousTestCase):
    def setUp(self) -> None:
        try:
            from tools import pictures
        except ImportError as error:
            self.skipTest(f"the modules of the test extra are not installed: {error}")
        lacking = pictures.lacking()
        if lacking:
            self.skipTest(lacking)
        self.pictures = pictures.PICTURES

    def test_new_pictures_are_as_large_as_those_shown_and_say_the_same(self) -> None:
        from PIL import Image

        made = os.path.abspath(self.mktemp())
        sentence = run(sys.executable, "tools/pictures.py", made, cwd=ROOT).stdout.strip()
        self.assertRegex(sentence, r"^1 needs you, 2 wait .*, 2 work; 1 revival worked, 1 failed$")
        for page in PAGES:
            self.assertIn(f'"{sentence}"', " ".join(page.read_text().split()), page.name)
        for name in self.pictures:
            with Image.open(f"{made}/{name}") as new, Image.open(PICTURES / name) as shown:
                self.assertEqual(new.size, shown.size, name)
                self.assertGreater(len(new.getcolors() or ()), 10, name)

    def test_each_is_shown_and_has_a_text_instead(self) -> None:
        shown = set()
        for page in PAGES:
            found = re.findall(r"\.\. image:: (\S+)\n((?: {3,}\S.*\n)+)", page.read_text())
            for path, options in found:
                self.assertIn(":alt: ", options, path)
                # A forge, too, takes it as relative to the page.
                self.assertEqual((page.parent / path).parent, PICTURES)
                shown.add(os.path.basename(path))
        self.assertEqual(shown, set(self.pictures))
        self.assertEqual({path.name for path in PICTURES.iterdir()}, shown)

    def test_the_pictures_are_small(self) -> None:
        for path in PICTURES.iterdir():
            self.assertLess(path.stat().st_size, 64 * 1024, path.name)

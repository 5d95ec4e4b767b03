"""``palingenesis web``: what it prints, and the file that starts the browser."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli import web
from palingenesis.cli.web import LINK_NAME, address_lines, why_no_browser, write_link

REPLY = {"address": "127.0.0.1:7654", "url": "http://127.0.0.1:7654/#code=x"}


class AddressTests(SynchronousTestCase):
    def test_the_address_comes_first_and_says_how_long_it_is_good(self) -> None:
        first, second = address_lines(REPLY, {})
        self.assertEqual(first, REPLY["url"])
        self.assertIn("60 seconds", second)

    def test_over_ssh_the_port_is_to_be_forwarded_from_home(self) -> None:
        *_, last = address_lines(REPLY, {"SSH_CONNECTION": "10.0.0.1 4000 10.0.0.2 22"})
        self.assertTrue(last.endswith("ssh -L 7654:127.0.0.1:7654 10.0.0.2"), last)

    def test_a_variable_that_is_not_sshd_s_says_nothing(self) -> None:
        for value in ("", "x", "1 2 3"):
            self.assertEqual(len(address_lines(REPLY, {"SSH_CONNECTION": value})), 2)


class BrowserTests(SynchronousTestCase):
    def test_no_browser_is_opened_without_a_display_or_its_program_or_under_wsl(self) -> None:
        self.patch(web.sys, "platform", "linux")
        self.patch(web.shutil, "which", lambda _: "/usr/bin/xdg-open")
        self.assertIsNone(why_no_browser({"DISPLAY": ":0"}))
        self.assertIsNone(why_no_browser({"WAYLAND_DISPLAY": "wayland-0"}))
        self.assertIn("display", str(why_no_browser({})))
        self.assertIn("WSL", str(why_no_browser({"DISPLAY": ":0", "WSL_DISTRO_NAME": "Debian"})))
        self.patch(web.shutil, "which", lambda _: None)
        self.assertIn("xdg-open", str(why_no_browser({"DISPLAY": ":0"})))


class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        self.path = os.path.join(self.directory, LINK_NAME)

    def test_the_link_is_ours_alone_and_leads_to_the_address(self) -> None:
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        for code in ("first", "second"):
            self.assertEqual(write_link(f"http://x/#code={code}", self.directory), self.path)
            with open(self.path, encoding="utf-8") as file:
                self.assertIn(f"url=http://x/#code={code}", file.read())
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), [LINK_NAME])

    def test_something_else_at_its_path_is_left_alone(self) -> None:
        elsewhere = os.path.join(self.directory, "elsewhere")
        for make in (
            lambda: os.symlink(elsewhere, self.path),
            lambda: os.mkdir(self.path),
            lambda: open(self.path, "w", encoding="utf-8").close(),
        ):
            make()
            self.assertRaises(OSError, write_link, "http://x/", self.directory)
            self.assertTrue(os.path.lexists(self.path))
            self.assertFalse(os.path.lexists(elsewhere))
            (os.rmdir if os.path.isdir(self.path) else os.unlink)(self.path)

    def test_nothing_is_left_if_it_cannot_be_put_there(self) -> None:
        def forbidden(*_: object) -> None:
            raise PermissionError(1, "not permitted")

        self.patch(os, "rename", forbidden)
        self.assertRaises(PermissionError, write_link, "http://x/", self.directory)
        self.assertEqual(os.listdir(self.directory), [])

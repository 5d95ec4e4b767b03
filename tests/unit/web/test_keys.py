"""The token's file."""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.paths import PathError
from palingenesis.web.keys import TOKEN_NAME, read_token


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        self.path = os.path.join(self.directory, TOKEN_NAME)

    def write(self, content: bytes, mode: int = 0o600) -> None:
        with open(self.path, "wb") as file:
            file.write(content)
        os.chmod(self.path, mode)

    def refusal(self) -> str:
        error = self.assertRaises(PathError, read_token, self.directory)
        self.assertEqual(error.path, self.path)
        return error.reason

    def test_a_token_is_made_of_32_random_bytes_for_us_alone_and_then_kept(self) -> None:
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        token = read_token(self.directory)
        self.assertRegex(token, r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(read_token(self.directory), token)
        self.assertEqual(os.listdir(self.directory), [TOKEN_NAME])

    def test_two_tokens_are_different(self) -> None:
        first = read_token(self.directory)
        os.unlink(self.path)
        self.assertNotEqual(read_token(self.directory), first)

    def test_a_file_that_others_can_read_or_write_is_not_used(self) -> None:
        for mode in (0o604, 0o640, 0o602, 0o620):
            self.write(b"t" * 43, mode)
            self.assertIn("other users", self.refusal())

    def test_a_symbolic_link_is_not_followed(self) -> None:
        elsewhere = os.path.join(self.directory, "elsewhere")
        os.symlink(elsewhere, self.path)
        self.refusal()
        with open(elsewhere, "wb") as file:
            file.write(b"t" * 43)
        os.chmod(elsewhere, 0o600)
        self.refusal()
        with open(elsewhere, "rb") as file:
            self.assertEqual(file.read(), b"t" * 43)

    def test_a_fifo_and_a_directory_are_not_waited_for(self) -> None:
        os.mkfifo(self.path, 0o600)
        self.assertIn("regular", self.refusal())
        os.unlink(self.path)
        os.mkdir(self.path)
        self.assertIn("is a directory", self.refusal())

    def test_a_file_without_a_token_is_left_as_it_is(self) -> None:
        for content in (b"", b"short\n", b"two words of at least 32 bytes in all", b"\xff" * 43):
            self.write(content)
            self.assertIn("holds no token", self.refusal())
            with open(self.path, "rb") as file:
                self.assertEqual(file.read(), content)

    def test_a_directory_that_cannot_be_used_is_told(self) -> None:
        error = self.assertRaises(PathError, read_token, os.path.join(self.directory, "none"))
        self.assertIn("no such file", error.reason)

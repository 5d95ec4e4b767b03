"""The environment, the program and the start of a command."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import child
from palingenesis.monitor.child import CommandError, ResourceError, child_environment, find_program
from tests.support.private import private_path


class EnvironmentTests(SynchronousTestCase):
    def test_what_a_service_manager_set_is_for_the_daemon_alone(self) -> None:
        ours = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID")
        inherited = dict.fromkeys((*ours, "HOME", "XNOTIFY_SOCKET", "MY_LISTEN_FDS"), "1")
        kept = {"HOME": "1", "XNOTIFY_SOCKET": "1", "MY_LISTEN_FDS": "1"}
        self.assertEqual(child_environment(inherited), kept)
        added = {"HOME": "2", "LISTEN_FDS": "3"}
        self.assertEqual(child_environment(inherited, added), {**kept, **added})


class ProgramTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = private_path(self)
        for name, mode in (("one/tool", 0o644), ("two/tool", 0o755), ("three/tool", 0o755)):
            path = os.path.join(self.directory, name)
            os.makedirs(os.path.dirname(path))
            os.close(os.open(path, os.O_CREAT))
            # Whatever the umask is.
            for each in (self.directory, os.path.dirname(path)):
                os.chmod(each, 0o755)
            os.chmod(path, mode)
        os.makedirs(os.path.join(self.directory, "four", "tool"))
        os.mkdir(os.path.join(self.directory, "five"))

    def path(self, *names: str) -> dict[str, str]:
        return {"PATH": ":".join(os.path.join(self.directory, name) for name in names)}

    def refused(self, name: str, environment: dict[str, str]) -> str:
        return str(self.assertRaises(CommandError, find_program, name, environment))

    def test_the_first_entry_of_the_path_that_has_it_counts(self) -> None:
        for names in (("two", "three"), ("one", "four", "none", "two", "three")):
            found = find_program("tool", self.path(*names))
            self.assertEqual(found, os.path.join(self.directory, "two", "tool"))
        self.assertEqual(find_program("sh", {}), find_program("sh", {"PATH": os.defpath}))

    def test_relative_entries_of_the_path_are_ignored(self) -> None:
        relative = os.path.relpath(os.path.join(self.directory, "two"))
        expected = "no such program in the daemon's PATH; name its path instead"
        for environment in ({"PATH": relative}, {"PATH": ""}, self.path("none")):
            self.assertEqual(self.refused("tool", environment), f"tool: {expected}")
        self.assertEqual(self.refused("", self.path("two")), f": {expected}")

    def test_a_program_that_is_found_and_cannot_be_run_is_named(self) -> None:
        for names, reason in (
            (("one",), "one/tool: not executable"),
            (("none", "five", "four", "one"), "four/tool: not a file"),
        ):
            text = self.refused("tool", self.path(*names))
            self.assertEqual(text, os.path.join(self.directory, reason))

    def test_a_path_is_taken_as_it_is(self) -> None:
        two = os.path.join(self.directory, "two", "tool")
        self.assertEqual(find_program(two, {}), two)
        self.patch(os, "environ", {"HOME": self.directory})
        self.assertEqual(find_program("~/two/tool", {}), two)
        for name, reason in (
            ("two/tool", "two/tool: a relative path; name the program or its absolute path"),
            (f"{two}x", f"{two}x: no such program"),
            (f"{two}/x", f"{two}/x: no such program"),
            (f"/{'x' * 300}", f"/{'x' * 300}: File name too long"),
        ):
            self.assertEqual(self.refused(name, self.path("two")), reason)
        # The rest of it is Python's, and not the same in every version.
        self.assertIn("/a\\x00b: ", self.refused("/a\0b", self.path("two")))

    def test_a_program_that_others_can_change_is_none(self) -> None:
        two = os.path.join(self.directory, "two", "tool")
        os.chmod(two, 0o757)
        reason = f"{two}: {two} can be written to by all (mode 0757)"
        self.assertEqual(self.refused(two, {}), reason)
        self.assertEqual(self.refused("tool", self.path("two")), reason)


class StartTests(SynchronousTestCase):
    """Starts; `Popen` is replaced."""

    def setUp(self) -> None:
        self.error: Exception | None = None
        self.given: dict[str, Any] = {}
        self.read = b""
        self.patch(child.subprocess, "Popen", self.popen)

    def popen(self, arguments: list[str], **given: Any) -> str:
        self.given = {"arguments": arguments, **given}
        if given["stdin"] >= 0:
            self.read = os.read(given["stdin"], 100)
            self.assertEqual(os.read(given["stdin"], 100), b"")
        if self.error is not None:
            raise self.error
        return "started"

    def start(self, **more: Any) -> Any:
        return child.start(("a", "{id}"), "/x/a", {"A": "1"}, "/work", **more)

    def refused(self) -> CommandError:
        error: CommandError = self.assertRaises(CommandError, self.start)
        return error

    def test_a_command_has_a_session_of_its_own_and_no_descriptor_of_ours(self) -> None:
        self.assertEqual(self.start(), "started")
        expected = {
            "arguments": ["a", "{id}"],
            "executable": "/x/a",
            "env": {"A": "1"},
            "cwd": "/work",
            **dict.fromkeys(("stdin", "stdout", "stderr"), child.subprocess.DEVNULL),
            "umask": -1,
            **dict.fromkeys(("close_fds", "restore_signals", "start_new_session"), True),
        }
        self.assertEqual(self.given, expected)
        self.start(output=7, umask=0o027)
        self.assertEqual(self.given, {**expected, "stdout": 7, "stderr": 7, "umask": 0o027})

    def test_why_a_command_cannot_be_started_is_one_line(self) -> None:
        interpreter = "the interpreter that its first line names is not there"
        for error, kind, reason in (
            (OSError(errno.EAGAIN, "busy"), ResourceError, "no process can be started: busy"),
            (FileNotFoundError(2, "none", "/none"), CommandError, "/none: none"),
            (FileNotFoundError(2, "none", "/"), CommandError, f"/: {interpreter}"),
            (PermissionError(13, "denied", "/"), CommandError, "/: denied"),
            (ValueError("a\nb"), CommandError, "/x/a: a\\nb"),
            (child.subprocess.SubprocessError("fork"), CommandError, "/x/a: fork"),
        ):
            self.error = error
            found = self.refused()
            self.assertEqual((type(found), str(found)), (kind, reason))

    def test_nothing_starts_while_a_stop_is_held_back(self) -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            self.patch(signal, "pthread_sigmask", lambda *_, number=number: {number})
            self.assertEqual(str(self.refused()), "the daemon is starting or stopping")
            self.assertIsInstance(self.refused(), ResourceError)
        self.patch(signal, "pthread_sigmask", lambda *_: {signal.SIGUSR1})
        self.assertEqual(self.start(), "started")

    def test_a_command_can_be_given_its_input(self) -> None:
        before = os.listdir("/dev/fd")
        child.start_with(b"a text", ["a"], "/x/a", {"A": "1"}, output=7)
        self.assertEqual(self.read, b"a text")
        given = [self.given[name] for name in ("arguments", "executable", "env", "cwd", "stdout")]
        self.assertEqual(given, [["a"], "/x/a", {"A": "1"}, "/", 7])
        self.assertEqual(os.listdir("/dev/fd"), before)

    def test_the_umask_is_as_before(self) -> None:
        before = os.umask(0o027)
        self.addCleanup(os.umask, before)
        self.assertEqual([child.current_umask(), child.current_umask()], [0o027, 0o027])

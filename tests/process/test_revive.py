"""Revivals of real commands: started, watched, ended, found again."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.utils import getProcessValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

from palingenesis.monitor import child, output, processes, revive
from palingenesis.monitor.child import CommandError, ResourceError, find_program
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Attempt, Stop
from palingenesis.monitor.revive import (
    GRACE,
    OUTPUT_DIRECTORY,
    Command,
    Ended,
    Revival,
    adopt,
    arguments_for,
    check_directory,
    output_warning,
    start,
)
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.times import Times
from palingenesis.words import Kind
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.processes import program
from tests.support.times import StagedTimes
from tests.support.users import NOBODY, as_user

STALL = 600.0
HOME = Home("claude", "claude", "/none")
#: Of this process alone: tests that run beside it look at every command line too.
ID = str(uuid.uuid4())

T = TypeVar("T")


def eventually(ask: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while (answer := ask()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"still nothing after {PATIENCE} seconds")
        time.sleep(0.01)
    return answer


def gone(pid: int) -> bool | None:
    return True if processes.look_at(pid) is None else None


class ReviveCase(SynchronousTestCase):
    def setUp(self) -> None:
        base = os.path.realpath(self.mktemp())
        self.state, self.directory = os.path.join(base, "state"), os.path.join(base, "project")
        os.makedirs(self.state, 0o700)
        os.makedirs(self.directory)
        self.told = os.path.join(base, "told.json")
        self.now = 0.0
        self.intended = False
        self.times = StagedTimes(time.time, lambda: self.now)

    def poll(self, revival: Revival, now: float) -> Ended | None:
        self.now = now
        return revival.poll(STALL)

    def command(self, way: str, *arguments: str, **known: Any) -> Command:
        return Command(program("behaving", way, self.told, *arguments), **known)

    def start(self, command: Command, **known: Any) -> Revival:
        session = Identity(ID, self.directory)
        revival = start(command, HOME, session, self.state, self.times, self.intend, **known)
        self.addCleanup(self.kill, revival)
        return revival

    def give_away(self) -> None:
        """Have state and directory be where another user has access, and the directory theirs."""
        base = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.addCleanup(shutil.rmtree, base)
        self.state, self.directory = os.path.join(base, "state"), os.path.join(base, "project")
        for path in (base, self.state, self.directory):
            os.makedirs(path, exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, 0o755)

    def intend(self) -> None:
        self.intended = True

    def kill(self, revival: Revival) -> None:
        if revival._process is not None and revival._process.poll() is None:
            os.killpg(revival.pid, signal.SIGKILL)
            revival._process.wait()

    def ended(self, revival: Revival) -> Ended:
        return eventually(lambda: revival.poll(STALL))

    def content(self, path: str) -> str:
        with open(path, encoding="utf-8") as file:
            return file.read()

    def written(self, path: str, end: str) -> str:
        """Return a command's output as soon as it ends so."""

        def read() -> str | None:
            content = self.content(path)
            return content if content.endswith(end) else None

        return eventually(read)

    def report(self, path: str | None = None) -> dict[str, Any]:
        def read() -> dict[str, Any] | None:
            try:
                with open(path or self.told, encoding="utf-8") as file:
                    told: dict[str, Any] = json.load(file)
                    return told
            except FileNotFoundError:
                return None

        return eventually(read)


class ArgumentTests(SynchronousTestCase):
    def test_placeholders_are_replaced_once_inside_single_arguments(self) -> None:
        command = Command(["a", "--id={id}", "{prompt}", "{directory}/x"], "say {id} {directory}")
        self.assertEqual(
            arguments_for(command, Identity("7", "/home/{prompt}")),
            ["a", "--id=7", "say {id} {directory}", "/home/{prompt}/x"],
        )

    def test_braces_that_are_no_placeholder_stay(self) -> None:
        command = Command(["a", "{}", "{other}", '{"id": {id}}'])
        self.assertEqual(
            arguments_for(command, Identity("7", "/")), ["a", "{}", "{other}", '{"id": 7}']
        )

    def test_the_programs_name_is_not_replaced(self) -> None:
        self.assertEqual(arguments_for(Command(["{id}"]), Identity("7", "/")), ["{id}"])

    def test_an_id_that_is_an_option_a_path_or_lines_is_refused(self) -> None:
        for bad in ("--help", "../../x", "a/b", "", "a\nb", "a b", "x" * 129, ".."):
            self.assertRaises(CommandError, arguments_for, Command(["a"]), Identity(bad, "/"))


class StartTests(ReviveCase):
    def test_every_character_that_a_shell_would_love_arrives(self) -> None:
        prompt = "".join(map(chr, range(1, 128))) + " $(touch x) `y` 'z' \"{id}\" äöü 🦊 \u202e"
        self.ended(self.start(self.command("report", "{prompt}", "{id}", prompt=prompt)))
        self.assertEqual(self.report()["arguments"], [prompt, ID])

    def test_a_revival_runs_in_the_sessions_directory(self) -> None:
        self.ended(self.start(self.command("report")))
        told = self.report()
        self.assertEqual(
            (told["directory"], told["environment"]["PWD"]), (self.directory, self.directory)
        )

    def test_the_input_of_a_revival_is_empty(self) -> None:
        self.ended(self.start(self.command("report")))
        self.assertEqual(self.report()["stdin"], "")

    def test_a_revival_leads_a_session_and_a_group_of_its_own(self) -> None:
        self.ended(self.start(self.command("report")))
        self.assertTrue(self.report()["leads"])

    def test_what_the_service_manager_told_the_daemon_is_left_out(self) -> None:
        ours = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "HOME"), "1")
        command = self.command("report", environment={"NAME": "value"})
        self.ended(self.start(command, environment=ours))
        told = self.report()["environment"]
        self.assertEqual({"HOME", "NAME", "PWD"}, set(told) - {"LC_CTYPE"})

    def test_a_revival_inherits_no_descriptor_and_no_mask_of_signals(self) -> None:
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            os.set_inheritable(descriptor, True)
            self.addCleanup(os.close, descriptor)
        self.ended(self.start(self.command("report")))
        told = self.report()
        # The fourth is the directory that is being listed.
        self.assertEqual(told["descriptors"], ["0", "1", "2", "3"])
        # Python itself ignores SIGPIPE.
        self.assertEqual((told["blocked"], told["ignored"]), ([], [signal.SIGPIPE]))

    def test_the_umask_can_be_another_than_the_daemons(self) -> None:
        self.ended(self.start(self.command("report"), umask=0o027))
        self.assertEqual(self.report()["umask"], 0o027)

    def test_nothing_starts_while_the_daemon_holds_back_its_signals(self) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        try:
            self.assertRaises(CommandError, self.start, self.command("report"))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def test_the_output_goes_to_a_private_file(self) -> None:
        revival = self.start(self.command("print"))
        self.ended(revival)
        path = revival.output or ""
        self.assertEqual(self.written(path, "to stderr\n"), "to stdout\nto stderr\n")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_files_of_output_are_bounded_and_those_in_use_are_kept(self) -> None:
        first = self.start(self.command("print"))
        self.ended(first)
        for _ in range(4):
            last = self.start(self.command("print"), in_use=[first.output or ""], keep=3)
            self.ended(last)
        names = os.listdir(os.path.join(self.state, "output"))
        self.assertEqual(len(names), 4)
        self.assertTrue(os.path.exists(first.output or ""))
        self.assertTrue(os.path.exists(last.output or ""))


class BackgroundTests(ReviveCase):
    def test_a_command_in_the_background_runs_however_long_a_tick_takes(self) -> None:
        revival = self.start(Command(["sh", "-c", "sleep 600 & echo $!"]))
        child = int(self.written(revival.output or "", "\n"))
        eventually(lambda: gone(revival.pid))
        for now in (60.0, 120.0):
            self.assertIsNone(self.poll(revival, now))
        os.kill(child, signal.SIGKILL)
        self.assertFalse(self.ended(revival).quick)


class NotStartedTests(ReviveCase):
    def test_an_argument_that_no_process_can_have(self) -> None:
        self.assertIn("null byte", self.refused(self.command("report", "a\0b")))

    def refused(self, command: Command) -> str:
        with self.assertRaises(CommandError) as caught:
            self.start(command)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def program(self, content: str, mode: int) -> str:
        path = os.path.join(self.directory, "program")
        with open(path, "w") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def test_a_missing_program_is_not_started(self) -> None:
        self.assertIn("no such program", self.refused(Command(["no-such-agent"])))

    def test_a_program_that_is_not_executable(self) -> None:
        path = self.program("#!/bin/sh\n", 0o644)
        self.assertIn("not executable", self.refused(Command([path])))

    def test_a_program_that_is_a_directory(self) -> None:
        self.assertIn("not a file", self.refused(Command([self.directory])))

    def test_a_program_whose_interpreter_is_missing(self) -> None:
        path = self.program("#!/no/such/interpreter\n", 0o755)
        self.assertIn("interpreter", self.refused(Command([path])))

    def test_a_program_of_a_relative_path(self) -> None:
        self.program("#!/bin/sh\n", 0o755)
        self.assertIn("relative", self.refused(Command(["./program"])))

    def test_a_prompt_with_a_nul(self) -> None:
        self.assertIn("null byte", self.refused(self.command("report", "{prompt}", prompt="\0")))

    def test_a_command_that_did_not_start_leaves_no_file(self) -> None:
        self.refused(Command([self.program("#!/no/such/interpreter\n", 0o755)]))
        self.assertEqual(os.listdir(os.path.join(self.state, "output")), [])

    def test_a_program_is_found_in_the_path_that_the_configuration_adds(self) -> None:
        path = self.program("#!/bin/sh\n", 0o755)
        command = Command(["program"], environment={"PATH": f"relative::{self.directory}"})
        self.assertEqual(revive.find_program(command, os.environ), path)

    def test_a_program_that_others_can_change_is_not_run(self) -> None:
        path = self.program("#!/bin/sh\n", 0o757)
        self.assertIn(f"{path} can be written to by all", self.refused(Command([path])))
        os.chmod(path, 0o755)
        os.chmod(self.directory, 0o777)
        self.addCleanup(os.chmod, self.directory, 0o700)
        for name, environment in ((path, {}), ("program", {"PATH": self.directory})):
            told = self.refused(Command([name], environment=environment))
            self.assertIn(f"{self.directory} can be written to by all (mode 0777)", told)

    def test_a_program_in_a_relative_entry_of_the_path_is_not_found(self) -> None:
        self.program("#!/bin/sh\n", 0o755)
        relative = os.path.relpath(self.directory)
        self.assertRaises(CommandError, find_program, "program", {"PATH": relative})

    @needs_root
    def test_a_directory_of_the_path_that_cannot_be_searched_is_passed_over(self) -> None:
        self.program("#!/bin/sh\n", 0o755)
        closed = os.path.join(self.directory, "closed")
        os.mkdir(closed, 0o700)

        def find() -> list[str]:
            path = {"PATH": f"{closed}:/usr/bin"}
            with self.assertRaises(CommandError) as caught:
                find_program("no-such-program", path)
            return [str(caught.exception), find_program("env", path)]

        told, found = as_user(NOBODY, find)
        self.assertIn("no such program", told)
        self.assertEqual(found, "/usr/bin/env")


class ResourceTests(ReviveCase):
    """What any command needs is missing, so that no intent is written and nothing is left."""

    def lacking(self) -> str:
        with self.assertRaises(ResourceError) as caught:
            self.start(Command(["/bin/sh"]))
        self.assertNotIn("\n", str(caught.exception))
        self.assertFalse(self.intended)
        return str(caught.exception)

    def output(self) -> str:
        return os.path.join(self.state, OUTPUT_DIRECTORY)

    def test_the_place_of_the_output_is_a_file(self) -> None:
        self.assertIsNone(output_warning(self.state))
        with open(self.output(), "w"):
            pass
        self.assertIn(f"{self.output()}: not a directory", output_warning(self.state) or "")
        self.assertIn(self.output(), self.lacking())

    def test_the_place_of_the_output_is_a_link_that_leads_nowhere(self) -> None:
        os.symlink("nowhere", self.output())
        self.assertIn(self.output(), self.lacking())

    @needs_root
    def test_the_place_of_the_output_cannot_be_written_to(self) -> None:
        self.give_away()
        os.mkdir(self.output(), 0o755)
        told = as_user(NOBODY, lambda: output_warning(self.state))
        self.assertEqual(told, f"{self.output()}: no command's output can be written there")

    def test_the_daemon_s_python_is_gone(self) -> None:
        """pypa/pipx#146."""
        self.patch(revive.sys, "executable", "/none/python")
        self.assertIn("no process for a command's output: /none/python", self.lacking())
        self.assertEqual(os.listdir(self.output()), [])

    def test_the_disk_has_no_room_for_a_file(self) -> None:
        def full(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_EXCL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            return opened(path, flags, mode)

        opened = os.open
        self.patch(os, "open", full)
        self.assertIn("No space left on device", self.lacking())

    def test_no_descriptor_is_left_whichever_it_is_wanted_for(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        taken = max(map(int, os.listdir("/dev/fd")))
        while (filled := os.dup(0)) < taken:
            self.addCleanup(os.close, filled)
        os.close(filled)
        for further in range(2, 20):
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken + further, before[1]))
            try:
                self.start(Command(["/bin/sh"]))
            except ResourceError as error:
                self.assertIn("Too many open files", str(error))
            else:
                break
            self.assertIn(os.listdir(self.state), ([], [OUTPUT_DIRECTORY]))
        self.assertGreater(further, 4)
        self.assertLess(further, 19)
        self.assertEqual(len(os.listdir(self.output())), 1)

    @needs_root
    def test_the_system_has_no_process_left(self) -> None:
        self.give_away()

        def lacking() -> list[object]:
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            return [self.lacking(), os.listdir(self.output())]

        told, left = as_user(NOBODY, lacking)
        self.assertIn("no process can be started: Resource temporarily unavailable", str(told))
        self.assertEqual(left, [])

    def test_an_intent_that_cannot_be_written_ends_the_start(self) -> None:
        self.patch(self, "intend", self.fail)
        self.assertRaises(self.failureException, self.start, self.command("report"))
        self.assertEqual(os.listdir(self.output()), [])


class DirectoryTests(ReviveCase):
    def refused(self, path: str) -> str:
        with self.assertRaises(CommandError) as caught:
            check_directory(path)
        return str(caught.exception)

    def test_a_directory_of_ours_is_fit(self) -> None:
        self.assertIsNone(check_directory(self.directory))

    def test_a_directory_that_is_gone_is_unfit(self) -> None:
        self.assertIn("No such file", self.refused(f"{self.directory}/gone"))

    def test_a_file_is_no_directory_to_start_in(self) -> None:
        path = os.path.join(self.directory, "file")
        with open(path, "w"):
            self.assertIn("not a directory", self.refused(path))

    def test_a_link_to_elsewhere(self) -> None:
        link = f"{self.directory}-link"
        os.symlink("/tmp", link)
        self.assertIn("a link that leads to /tmp", self.refused(link))

    def test_a_way_through_a_link(self) -> None:
        os.mkdir(f"{self.directory}/inner")
        os.symlink(self.directory, f"{self.directory}-link")
        self.assertIn("a link", self.refused(f"{self.directory}-link/inner"))

    def test_a_directory_of_another_user_is_unfit(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.chown(self.directory, 65534, 65534)
        self.assertIn("belongs to uid 65534", self.refused(self.directory))

    @needs_root
    def test_a_directory_of_ours_that_cannot_be_entered_is_unfit(self) -> None:
        self.give_away()
        os.chmod(self.directory, 0o600)
        told = as_user(NOBODY, lambda: self.refused(self.directory))
        self.assertIn("cannot be entered (mode 0600)", told)

    def test_a_relative_directory_is_not_started_in(self) -> None:
        self.assertIn("not an absolute path", self.refused("."))

    def test_a_directory_with_a_nul_is_unfit(self) -> None:
        self.assertIn("null byte", self.refused("/tmp\0"))


class EndTests(ReviveCase):
    def test_the_exit_status_is_told(self) -> None:
        revival = self.start(Command(program("behaving", "exit", "3")))
        self.assertEqual(self.ended(revival), Ended(3, stalled=False, quick=True))

    def test_a_signal_is_told_as_a_negative_status(self) -> None:
        revival = self.start(self.command("hang"))
        os.kill(self.report()["pid"], signal.SIGKILL)
        self.assertEqual(self.ended(revival).exit, -signal.SIGKILL)

    def test_an_end_after_ten_seconds_is_not_quick(self) -> None:
        revival = self.start(Command(program("behaving", "exit", "3")))
        self.now = 10.0
        self.assertFalse(self.ended(revival).quick)

    def test_an_ended_one_is_no_zombie(self) -> None:
        revival = self.start(self.command("print"))
        self.ended(revival)
        self.assertRaises(ChildProcessError, os.waitpid, revival.pid, os.WNOHANG)

    def test_a_revival_that_grows_runs_on(self) -> None:
        revival = self.start(self.command("hang"))
        self.report()
        for now in (500.0, 1000.0, 1500.0):
            self.now = now
            revival.grew()
            self.assertIsNone(self.poll(revival, now + 99))
        self.assertFalse(revival.is_ending)

    def test_a_revival_that_does_not_grow_is_ended(self) -> None:
        revival = self.start(self.command("hang"))
        pid = self.report()["pid"]
        self.assertIsNone(self.poll(revival, STALL))
        eventually(lambda: gone(pid))
        self.now = STALL + GRACE
        self.assertEqual(self.ended(revival), Ended(-signal.SIGTERM, stalled=True, quick=False))

    def test_a_revival_that_ignores_sigterm_is_killed(self) -> None:
        revival = self.start(self.command("stubborn"))
        self.report()
        self.poll(revival, STALL)
        self.assertIsNone(self.poll(revival, STALL + GRACE - 0.1))
        self.now = STALL + GRACE
        self.assertEqual(self.ended(revival).exit, -signal.SIGKILL)

    def test_the_children_of_one_that_is_ended_are_ended_too(self) -> None:
        revival = self.start(self.command("fork"))
        told = self.report()
        self.poll(revival, STALL)
        eventually(lambda: gone(told["pid"]))
        self.assertIsNone(gone(told["child"]))
        self.now = STALL + GRACE
        self.ended(revival)
        eventually(lambda: gone(told["child"]))

    def test_a_revival_that_closes_its_output_still_runs(self) -> None:
        revival = self.start(self.command("close"))
        self.report()
        self.assertIsNone(self.poll(revival, 1.0))

    def test_of_too_much_output_the_beginning_and_the_end_are_kept(self) -> None:
        self.patch(revive, "OUTPUT_SIZE", 100_000)
        os.mkfifo(f"{self.told}.go")
        revival = self.start(self.command("flood"))
        self.report()
        path = revival.output or ""
        eventually(lambda: output.CUT.decode() in self.content(path) or None)
        self.assertLessEqual(os.path.getsize(path), 100_000)
        with open(f"{self.told}.go", "w"):
            self.report(f"{self.told}.done")
        written = self.written(path, "after the flood\n")
        self.assertEqual(written[:1024], "x" * 1023 + "\n")
        self.assertLessEqual(len(written), 100_000)
        self.assertIsNone(self.poll(revival, 1.0))

    def test_a_file_that_takes_the_name_of_the_output_is_left_alone(self) -> None:
        self.patch(revive, "OUTPUT_SIZE", 100_000)
        other = os.path.join(self.directory, "other")
        with open(other, "w", encoding="utf-8") as file:
            file.write("y" * 200_000)
        os.mkfifo(f"{self.told}.go")
        revival = self.start(self.command("flood"))
        self.report()
        path = revival.output or ""
        os.unlink(path)
        os.link(other, path)
        with open(f"{self.told}.go", "w"):
            self.report(f"{self.told}.done")
        self.assertIsNone(self.poll(revival, 1.0))
        self.kill(revival)
        self.ended(revival)
        self.assertEqual(self.content(other), "y" * 200_000)

    def test_the_output_is_written_on_after_the_daemon_has_gone(self) -> None:
        os.mkfifo(f"{self.told}.go")
        revival = self.start(self.command("flood"))
        pid = self.report()["pid"]
        path = revival.output or ""
        # What a daemon that is killed leaves: nobody looks at either process any more.
        with open(f"{self.told}.go", "w"):
            self.report(f"{self.told}.done")
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(self.written(path, "after the flood\n"))


class ReactorTests(TestCase):
    def test_twisted_and_a_revival_do_not_reap_each_others_children(self) -> Deferred[None]:
        state = os.path.realpath(self.mktemp())
        os.mkdir(state, 0o700)
        command = Command(program("behaving", "exit", "3"))
        session, times = Identity(ID, state), Times()
        revivals = [start(command, HOME, session, state, times, lambda: None) for _ in range(3)]
        python, *arguments = program("behaving", "exit", "4")
        theirs = [getProcessValue(python, arguments, os.environ) for _ in range(3)]

        def ended(values: list[int]) -> None:
            self.assertEqual(values, [4, 4, 4])
            ours = [eventually(lambda: each.poll(STALL)) for each in revivals]  # noqa: B023
            self.assertEqual([each.exit for each in ours], [3, 3, 3])

        return gatherResults(theirs).addCallback(ended)


class AdoptionTests(ReviveCase):
    def attempt(
        self, pid: int | None, began: str | None, output: str | None, session: str = ID
    ) -> Attempt:
        stop = Stop("claude", session, "a-key", Kind.LIMIT, "/transcript", self.directory)
        return Attempt(stop, 1, 0.0, pid, began, output)

    def orphan(self, way: str) -> tuple[int, str, str]:
        """Start a revival from another daemon, which is killed at once."""
        done = subprocess.run(
            [
                *program("adopting", self.state, self.directory, ID),
                *program("behaving", way, self.told, "{id}"),
            ],
            stdout=subprocess.PIPE,
            check=False,
        )
        pid, began, output = json.loads(done.stdout)
        self.addCleanup(self.kill_orphan, pid, began)
        self.report()
        return pid, began, output

    def kill_orphan(self, pid: int, began: str) -> None:
        if processes.is_alive(pid, began):
            os.killpg(pid, signal.SIGKILL)

    def test_a_revival_survives_its_daemon_and_is_found_again(self) -> None:
        pid, began, output = self.orphan("hang")
        revival = adopt(self.attempt(pid, began, output), None, self.times)
        assert revival is not None
        self.assertIsNone(self.poll(revival, 1.0))
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.ended(revival), Ended(None, stalled=False, quick=False))

    def test_an_adopted_revival_is_ended_like_one_of_our_own(self) -> None:
        pid, began, output = self.orphan("stubborn")
        revival = adopt(self.attempt(pid, began, output), None, self.times)
        assert revival is not None
        self.poll(revival, STALL)
        self.now = STALL + GRACE
        self.assertEqual(self.ended(revival), Ended(None, stalled=True, quick=False))
        self.assertTrue(gone(pid))

    def test_without_a_pid_it_is_found_by_the_id_in_its_command_line(self) -> None:
        pid, began, _ = self.orphan("hang")
        revival = adopt(self.attempt(None, None, None), self.command("hang", "{id}"), self.times)
        assert revival is not None
        self.assertEqual((revival.pid, revival.began), (pid, began))

    def adopted(self, way: str = "hang", *, at: float = 0.0, directory: str = "") -> Revival | None:
        stop = Stop("claude", ID, "a-key", Kind.LIMIT, "/t", directory or self.directory)
        return adopt(Attempt(stop, 1, at), self.command(way, "{id}"), self.times)

    def test_without_a_pid_one_with_other_arguments_is_a_persons(self) -> None:
        self.orphan("hang")
        self.assertIsNotNone(self.adopted())
        self.assertIsNone(self.adopted("stubborn"))

    def test_without_a_pid_one_in_another_directory_is_a_persons(self) -> None:
        self.orphan("hang")
        self.assertIsNone(self.adopted(directory=self.state))

    def test_without_a_pid_one_from_before_the_intent_is_a_persons(self) -> None:
        self.orphan("hang")
        self.assertIsNone(self.adopted(at=time.time() + 60))

    def test_without_a_pid_it_is_watched_and_never_signalled(self) -> None:
        pid, began, _ = self.orphan("hang")
        revival = self.adopted()
        assert revival is not None
        for now in (STALL, STALL + GRACE, STALL + 2 * GRACE):
            self.assertIsNone(self.poll(revival, now))
        self.assertTrue(processes.is_alive(pid, began))

    def test_a_pid_that_is_used_again_is_another_process(self) -> None:
        pid, _, output = self.orphan("hang")
        self.assertIsNone(adopt(self.attempt(pid, "1@another", output), None, self.times))

    def test_a_process_that_has_the_pid_of_a_revival_now_is_never_signalled(self) -> None:
        pid, began, output = self.orphan("hang")
        revival = Revival(pid, "1@another", output, self.times)
        revival.end()
        self.assertEqual(self.ended(revival).exit, None)
        self.assertTrue(processes.is_alive(pid, began))

    def test_a_process_that_leads_no_group_is_never_signalled(self) -> None:
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as other:
            found = processes.look_at(other.pid)
            assert found is not None
            Revival(other.pid, found.began, None, self.times).end()
            assert other.stdin is not None
            other.stdin.close()
            self.assertEqual(other.wait(), 0)

    def test_nothing_is_found_where_nothing_runs(self) -> None:
        self.assertIsNone(
            adopt(
                self.attempt(None, None, None, "no-process-has-this-id"),
                self.command("hang", "{id}"),
                self.times,
            )
        )


def mentioning(text: str) -> processes.Process | None:
    others = (process for process in processes.ours() if process.pid != os.getpid())
    return next((process for process in others if process.mentions(text)), None)


class MentionTests(SynchronousTestCase):
    def running(self, argument: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["/bin/sh", "-c", "read line", argument], stdin=subprocess.PIPE)
        self.addCleanup(process.wait)
        assert process.stdin is not None
        self.addCleanup(process.stdin.close)
        return process

    def test_an_id_in_an_option_counts(self) -> None:
        process = self.running("--resume=unlikely-77c1")
        found = eventually(lambda: mentioning("unlikely-77c1"))
        self.assertEqual(found.pid, process.pid)

    def test_an_id_in_a_files_name_does_not(self) -> None:
        process = self.running("/t/unlikely-77c2.jsonl")
        eventually(lambda: mentioning("/t/unlikely-77c2.jsonl"))
        self.assertIsNone(mentioning("unlikely-77c2"))
        self.assertIsNone(process.poll())


class UmaskTests(SynchronousTestCase):
    def test_the_umask_of_a_command_is_the_one_that_is_given(self) -> None:
        before = os.umask(0o027)
        try:
            self.assertEqual((child.current_umask(), child.current_umask()), (0o027, 0o027))
        finally:
            os.umask(before)

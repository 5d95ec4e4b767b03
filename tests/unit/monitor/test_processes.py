from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import machine, processes
from palingenesis.monitor.processes import (
    Process,
    every_process,
    have_open,
    is_alive,
    is_led_by,
    look_at,
    names_of,
    ours,
    whole,
)
from tests.support.needs import needs_linux

UID = os.geteuid()


class ParsingTests(SynchronousTestCase):
    def test_a_command_is_named_by_its_program(self) -> None:
        for arguments, name in (
            (["claude", "-p"], "claude"),
            (["/home/you/.local/bin/claude"], "claude"),
            (["node", "/usr/bin/claude"], "claude"),
            (["/usr/bin/node", "--max-old-space-size=8192", "/usr/bin/claude"], "claude"),
            (["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], "claude-code"),
            (["python3.11", "/x/claude"], "claude"),
            (["/x/Python.app/Contents/MacOS/Python", "-P", "/x/bin/claude"], "claude"),
            (["bun", "claude"], "claude"),
            (["claude bg-spare"], "claude"),
            (["/usr/local/bin/claude.exe"], "claude.exe"),
            (["/home/you/.local/share/claude/versions/2.1.270", "-p"], "claude"),
            (["node", "/x/node_modules/@anthropic-ai/claude-agent-sdk/cli.js"], "claude-agent-sdk"),
            (["node", "/usr/lib/node_modules/@openai/codex/bin/codex.js"], "codex.js"),
        ):
            self.assertIn(name, names_of(arguments), arguments)

    def test_an_agent_s_name_as_an_argument_is_no_agent(self) -> None:
        for arguments in (["vim", "claude"], ["python3", "script.py", "claude"], [], [""]):
            self.assertNotIn("claude", names_of(arguments), arguments)


class NameTests(SynchronousTestCase):
    def test_the_file_that_runs_counts_whatever_the_command_line_says(self) -> None:
        program = "/home/you/.local/share/claude/versions/2.1.270"
        process = Process(42, "1", ("a title",), command="node", program=program)
        self.assertEqual(process.names, {"a title", "a", "node", "2.1.270", "claude"})

    def test_a_command_that_is_not_known_is_no_name(self) -> None:
        self.assertEqual(Process(42, "1", ("claude",)).names, {"claude"})

    def test_a_process_has_a_title_for_a_person(self) -> None:
        for process, title in (
            (Process(42, "1", ("/x/claude", "-p")), "claude"),
            (Process(42, "1", ("/x/claude",), command="node"), "node"),
            (Process(42, "1"), "without a name"),
            (Process(42, "1", command="a\nb"), "a\\nb"),
        ):
            self.assertEqual(process.title, title)


class StartTests(SynchronousTestCase):
    """When a process began."""

    @needs_linux("the start times are Linux's")
    def test_a_beginning_names_the_boot_that_it_counts_from(self) -> None:
        self.assertRegex(Process(42, "77").began, r"\A77@[0-9a-f]{8}\Z")

    @needs_linux("the start times are Linux's")
    def test_the_age_of_a_process_counts_from_the_boot(self) -> None:
        tables = {"/proc/uptime": "1000.50 1900.00\n"}
        self.patch(machine, "table", tables.get)
        ticks = os.sysconf("SC_CLK_TCK")
        for start, age in ((str(ticks * 100), 900.5), (None, None), ("Fri Nov 27", None)):
            self.assertEqual(Process(42, start).age, age)
        tables.clear()
        self.assertIsNone(Process(42, "1").age)


class PlaceTests(SynchronousTestCase):
    """Whether a directory is a process's current one."""

    def setUp(self) -> None:
        self.here = os.path.abspath(self.mktemp())
        os.mkdir(self.here)
        self.other = f"{self.here}-link"
        os.symlink(self.here, self.other)

    def test_a_directory_is_a_process_s_under_any_of_its_names(self) -> None:
        found = os.stat(self.here)
        by_link = Process(42, "1", link=self.other)
        by_inode = Process(42, "1", inode=(found.st_dev, found.st_ino))
        for process in (by_link, by_inode, Process(42, "1", directory=self.here)):
            self.assertIs(process.is_in(self.here), True)
        for process in (by_link, by_inode):
            self.assertIs(process.is_in("/"), False)
            self.assertIs(process.is_in(f"{self.here}/none"), False)
            self.assertIs(process.is_in("/" + "x" * 300), False)

    def test_a_process_of_which_nothing_is_known_is_in_no_directory(self) -> None:
        self.assertIs(Process(42, "1").is_in(self.here), False)

    def test_a_directory_that_cannot_be_looked_at_is_unknown(self) -> None:
        loop = os.path.join(self.here, "loop")
        os.symlink("loop", loop)
        self.assertIsNone(Process(42, "1", link=self.here).is_in(loop))


class MentionTests(SynchronousTestCase):
    def mentions(self, *arguments: str) -> bool:
        return Process(42, "1", arguments).mentions("unlikely-77")

    def test_a_text_is_a_word_of_its_own(self) -> None:
        for arguments in (
            ["a", "unlikely-77"],
            ["a", "--resume=unlikely-77"],
            ["unlikely-77", "a"],
            ["/t/unlikely-77", "a"],
            ["sh", "-c", "claude --resume 'unlikely-77'"],
        ):
            self.assertTrue(self.mentions(*arguments), arguments)

    def test_a_text_inside_of_another_is_not_meant(self) -> None:
        for arguments in (
            ["/t/unlikely-77.jsonl"],
            ["unlikely-777"],
            ["x-unlikely-77"],
            ["unlikely"],
        ):
            self.assertFalse(self.mentions(*arguments), arguments)


class OpenFileTests(SynchronousTestCase):
    """Whether a process has a file open."""

    def setUp(self) -> None:
        self.proc = self.mktemp()
        for pid, target in ((os.getpid(), "/ours"), (7, "/theirs"), (8, "/gone (deleted)")):
            os.makedirs(f"{self.proc}/{pid}/fd")
            os.symlink(target, f"{self.proc}/{pid}/fd/3")
        os.makedirs(f"{self.proc}/9")

    def test_another_process_has_it_open(self) -> None:
        for path in ("/theirs", "/gone"):
            self.assertTrue(have_open({"/other", path}, self.proc))

    def test_none_has_it_open(self) -> None:
        for path in ("/other", "/ours"):
            self.assertFalse(have_open({path}, self.proc))
        self.assertFalse(have_open({"/theirs"}, f"{self.proc}/none"))


class ProcCase(SynchronousTestCase):
    """
    A directory that is laid out as proc(5) is.

    :ivar proc: that directory.
    """

    def setUp(self) -> None:
        self.proc = os.path.abspath(self.mktemp())
        os.mkdir(self.proc)

    def write(self, path: str, content: str) -> None:
        # As bytes: not every locale can have each name in a path.
        place = os.path.join(os.fsencode(self.proc), path.encode())
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as file:
            file.write(content)

    def link(self, path: str, target: str) -> None:
        path = os.path.join(self.proc, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)

    def enter(
        self,
        pid: int = 42,
        line: str = "node\0/x/claude\0",
        state: str = "S",
        *,
        group: int = 42,
        leader: int = 42,
        terminal: int = 0,
    ) -> None:
        """Enter a process."""
        between = " ".join(["9"] * 14)
        self.write(
            f"{pid}/stat", f"{pid} (a) b) {state} 1 {group} {leader} {terminal} {between} 77\n"
        )
        self.write(f"{pid}/cmdline", line)
        self.write(f"{pid}/status", "Name:\tnode\nUid:\t1001\t1002\t1003\t1004\n")
        self.link(f"{pid}/cwd", "/work (deleted)")
        self.link(f"{pid}/exe", "/x/node")

    def read(self, pid: int = 42, uid: int = UID, **fields: Any) -> Process:
        return whole(Process(pid, None, **fields), uid, self.proc)


class WholeTests(ProcCase):
    """A process, read from its directory."""

    def test_all_of_a_process_is_read(self) -> None:
        self.enter(terminal=34816)
        place = f"{self.proc}/42"
        expected = Process(
            *(42, "77", ("node", "/x/claude"), "a) b", True, "/work", f"{place}/cwd"),
            program="/x/node",
            leader=42,
            terminal="pts/0",
            files=f"{place}/fd",
        )
        self.assertEqual(self.read(), expected)

    def test_what_cannot_be_read_is_left_out(self) -> None:
        self.enter()
        for name in ("cwd", "exe"):
            os.unlink(f"{self.proc}/42/{name}")
        found = self.read()
        self.assertEqual((found.directory, found.link, found.program), (None, None, None))

    def test_only_a_leader_of_its_group_and_its_session_leads(self) -> None:
        for pid, group, leader in ((42, 42, 42), (43, 42, 42), (44, 44, 42), (45, 42, 45)):
            self.enter(pid, group=group, leader=leader)
            found = self.read(pid)
            self.assertEqual((found.leads, found.leader), (pid == 42, leader))

    def test_what_has_ended_is_gone(self) -> None:
        for pid, state in enumerate("ZXx", 42):
            self.enter(pid, state=state)
            self.assertRaises(ProcessLookupError, self.read, pid)
        self.write("50/stat", "50 (a) S 1 50")
        self.assertRaises(ProcessLookupError, self.read, 50)

    def test_a_process_that_may_not_be_traced_is_its_real_user_s(self) -> None:
        self.enter()
        found = [self.read(uid=uid, is_ours=False).is_ours for uid in (1001, 1002, UID)]
        self.assertEqual(found, [True, False, False])
        self.write("42/status", "")
        self.assertFalse(self.read(is_ours=False).is_ours)
        self.assertTrue(self.read().is_ours)

    def test_a_long_command_line_is_read_whole(self) -> None:
        for pid, length in enumerate((4095, 4096, 4097, 50_000), 42):
            self.enter(pid, "x" * length)
            self.assertEqual(self.read(pid).arguments, ("x" * length,))

    def test_a_terminal_has_the_name_of_its_device(self) -> None:
        for major, minor, name in (
            (136, 5, "pts/5"),
            (136, 0xFFFFF, "pts/1048575"),
            (137, 1, "pts/257"),
            (143, 255, "pts/2047"),
            (144, 0, None),
            (135, 0, None),
            (4, 0, "tty0"),
            (4, 63, "tty63"),
            (4, 64, None),
            (5, 1, None),
            (0, 0, None),
        ):
            device = os.makedev(major, minor)
            self.enter(terminal=device - 2**32 if device >= 2**31 else device)
            self.assertEqual(self.read().terminal, name, (major, minor))
            for each in ("cwd", "exe"):
                os.unlink(f"{self.proc}/42/{each}")


class EveryTests(ProcCase):
    """The processes of all users."""

    def every(self, uid: int = UID, *programs: str) -> list[Process]:
        return list(every_process(uid, frozenset(programs) if programs else None, self.proc))

    def test_only_those_of_some_programs_are_read_as_a_whole(self) -> None:
        self.enter(42)
        self.enter(43, "vim\0")
        os.unlink(f"{self.proc}/43/exe")
        found = {each.pid: each for each in self.every(UID, "claude")}
        self.assertEqual(found[42], self.read())
        self.assertEqual(found[43], Process(43, None, ("vim",), is_whole=False))
        self.assertTrue(all(each.is_whole for each in self.every()))

    def test_of_another_user_s_the_program_is_not_asked_for(self) -> None:
        self.enter(43)
        (found,) = self.every(UID + 1, "vim")
        self.assertEqual((found.is_ours, found.program), (False, None))

    def test_what_is_no_process_is_left_out(self) -> None:
        self.write("self/cmdline", "a\0")
        self.write("\u0664\u0662/cmdline", "a\0")
        self.write("44/stat", "it has ended")
        self.write("45/cmdline", "")  # a thread of the kernel
        self.assertEqual(self.every(), [])

    def test_a_program_without_a_command_line_is_a_process(self) -> None:
        self.enter(42, "")
        self.assertEqual([each.arguments for each in self.every()], [("",)])

    def test_a_process_of_ours_that_may_not_be_read_is_an_error_and_another_s_is_not(self) -> None:
        def deny(_: str) -> tuple[str, ...]:
            raise PermissionError

        self.enter()
        self.patch(processes, "_arguments", deny)
        self.assertRaises(PermissionError, self.every)
        self.assertEqual(self.every(UID + 1), [])


@needs_linux("descriptors are listed in /proc")
class WrittenTests(ProcCase):
    """The files that a process has open for writing."""

    def setUp(self) -> None:
        super().setUp()
        for number, target, info in (
            (0, "/dev/null", "pos:\t0\nflags:\t0100000\n"),
            (1, "/x/written", "pos:\t0\nflags:\t0100001\n"),
            (2, "/x/both", "flags:\t02\n"),
            (3, "/y/both (deleted)", "flags:\t02100002\n"),
            (4, "socket:[7]", "flags:\t02\n"),
            (5, "/x/unknown", "pos:\t0\n"),
        ):
            self.link(f"42/fd/{number}", target)
            self.write(f"42/fdinfo/{number}", info)
        self.link("42/fd/6", "/x/hidden")
        self.files = f"{self.proc}/42/fd"

    def test_a_file_is_listed_by_its_name(self) -> None:
        found = Process(42, "1", files=self.files).open_files()
        self.assertEqual(
            {name: sorted(links) for name, links in found.items()},
            {
                name: [f"{self.files}/{number}" for number in numbers]
                for name, numbers in (
                    ("written", [1]),
                    ("both", [2, 3]),
                    ("unknown", [5]),
                    ("hidden", [6]),
                )
            },
        )

    def test_a_process_that_has_ended_has_no_file_open(self) -> None:
        for files in (None, f"{self.proc}/43/fd"):
            self.assertEqual(Process(42, "1", files=files).open_files(), {})


class OwnTests(SynchronousTestCase):
    """This very process."""

    @needs_linux("/proc is Linux's")
    def test_the_running_process_is_found(self) -> None:
        found = look_at(os.getpid())
        assert found is not None
        self.assertEqual((found.pid, found.directory), (os.getpid(), os.getcwd()))
        self.assertEqual(found.leader, os.getsid(0))
        self.assertIn(found, list(ours()))

    def test_the_running_process_lives_since_it_began(self) -> None:
        found = look_at(os.getpid())
        assert found is not None
        self.assertTrue(is_alive(os.getpid(), found.began))
        self.assertFalse(is_alive(os.getpid(), "1@another"))

    def test_a_session_lives_on_without_its_leader(self) -> None:
        self.patch(processes, "ours", lambda: iter([Process(7, "1", leader=42)]))
        self.patch(processes, "look_at", {42: None, 43: None, 44: Process(44, "1")}.get)
        self.assertEqual([is_led_by(leader) for leader in (42, 43, 44)], [True, False, False])

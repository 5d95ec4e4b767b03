"""Prompts typed into programs in real tmux(1): no key where an oracle does not allow one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor.homes import Home
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.tmux import TIMEOUT, Doubt, Place, Tmux
from palingenesis.monitor.typist import PRESENCE, Typed, Typist
from tests.support.checkout import PROGRAMS
from tests.support.patience import wait_until
from tests.support.processes import kill_if_there, wait_for_end
from tests.unit.monitor.claude_screens import Composed, boxed, compose

SESSION = "0b9f4a52-6f4e-4d0a-9d4b-2f6f6c1f7a10"
#: The random screens, by their seeds.
SEEDS = range(200)
PROMPT = "continue"
IDLE = boxed(80, 24)
#: What can keep keys from a screen that would take them.
TWISTS = ("copy", "clock", "synchronized", "off", "busy", "waiting", "stopped", "cut", "ended")


class Stage:
    """
    A tmux server with one pane, and a program in it that paints.

    :ivar home: the home of the agent that it poses as.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        # The path of a socket must be short.
        self.directory = tempfile.mkdtemp(prefix="t", dir="/tmp")
        case.addCleanup(shutil.rmtree, self.directory)
        self.home = os.path.join(self.directory, ".claude")
        self._painter = os.path.join(self.home, "painter")
        os.makedirs(os.path.join(self.home, "sessions"))
        os.mkdir(self._painter)
        os.mkfifo(os.path.join(self._painter, "orders"))
        # By its name it is the agent.
        self._program = os.path.join(self.directory, "claude")
        os.symlink(os.path.realpath(sys.executable), self._program)
        self.socket = os.path.join(self.directory, "s")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.directory,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": "/bin/sh",
            "PS1": "$ ",
        }
        case.addCleanup(self.end)
        self._orders = 0
        self.pane = ""
        self.pid = 0

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux, and return what it prints."""
        command = ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{arguments[0]}: {done.stderr}")
        return done.stdout.rstrip("\n")

    def told(self, what: str) -> str:
        """Return what tmux knows of the pane."""
        return self.tmux("display-message", "-p", "-t", self.pane, f"#{{{what}}}")

    def open_in_shell(self) -> None:
        """Start the program by a shell, which goes on when it ends."""
        self.open(["/bin/sh", "-mc", '"$@"; exec /bin/sh', "sh", *self.command])

    def open(self, command: Sequence[str] | None = None) -> None:
        """
        Start the program in a session of its own.

        :param command: what runs it, if it is not run by itself.
        """
        shown = ("-P", "-F", "#{pane_id}", "-x", "80", "-y", "24")
        command = command or self.command
        self.pane = self.tmux("new-session", "-d", *shown, "-c", self.directory, *command)
        self._wait_for_entry()

    @property
    def command(self) -> list[str]:
        """What runs the program."""
        return [self._program, str(PROGRAMS / "painter.py"), self.home, SESSION]

    def _wait_for_entry(self) -> None:
        sessions = os.path.join(self.home, "sessions")

        def living() -> list[int]:
            names = [name for name in os.listdir(sessions) if name.endswith(".json")]
            pids = [int(name.removesuffix(".json")) for name in names]
            return [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe") and pid != self.pid]

        (self.pid,) = wait_until(living, "an entry")
        self._orders = 0

    def order(self, **order: Any) -> None:
        """Have the program do something, and wait until its terminal shows it."""
        with open(os.path.join(self._painter, "orders"), "w", encoding="utf-8") as file:
            file.write(json.dumps(order) + "\n")
        self._orders += 1
        wait_until(lambda: self.told("pane_title") == str(self._orders), "the order is done")

    def paint(self, made: Composed, **order: Any) -> None:
        """Have the program show a screen, in a terminal of its size."""
        size = ("-x", str(made.width), "-y", str(made.height))
        self.tmux("resize-window", "-t", self.pane, *size)
        self.order(
            rows=made.rows,
            cursor=made.cursor,
            shown=made.shown,
            echoes=made.cursor if made.takes else None,
            **order,
        )

    def keys(self) -> bytes:
        """Return all keys that the program has got."""
        with open(os.path.join(self._painter, "keys"), "rb") as file:
            return file.read()

    def typist(self, now: float | None = None) -> Typist:
        home, session = Home("claude", "claude", self.home), Identity(SESSION, self.directory)
        wall = time.time if now is None else lambda: now
        return Typist(home, session, self.environment, wall)

    def type(self, prompt: str = PROMPT) -> Typed:
        """Type a prompt, if nothing is in doubt."""
        return self.typist().type(prompt, lambda: None)

    @contextlib.contextmanager
    def twisted(self, twist: str) -> Any:
        """Keep keys from the program for a while, in one of several ways."""
        match twist:
            case "copy" | "clock":
                self.tmux(f"{twist}-mode", "-t", self.pane)
                yield
                self.tmux("copy-mode", "-q", "-t", self.pane)
            case "synchronized":
                self.tmux("set-option", "-w", "-t", self.pane, "synchronize-panes", "on")
                yield
                self.tmux("set-option", "-w", "-t", self.pane, "synchronize-panes", "off")
            case "off":
                self.tmux("select-pane", "-d", "-t", self.pane)
                yield
                self.tmux("select-pane", "-e", "-t", self.pane)
            case "busy" | "waiting":
                self.order(status=twist)
                yield
                self.order(status="idle")
            case "stopped":
                # The shell takes the terminal back, and does not give it away again.
                os.kill(self.pid, signal.SIGSTOP)
                yield
                os.kill(self.pid, signal.SIGKILL)
                wait_for_end(self.pid)
                self.open_in_shell()
            case "cut":
                # The program has not painted anew yet.
                width = int(self.told("pane_width")) - 7
                self.tmux("resize-window", "-t", self.pane, "-x", str(width))
                yield
            case "ended":
                self.order(ends=True)
                wait_for_end(self.pid)
                yield
                self.open_in_shell()
            case _:
                yield

    def end(self) -> None:
        """End all that runs here."""
        if os.path.exists(self.socket):
            with contextlib.suppress(AssertionError):
                server = int(self.tmux("display-message", "-p", "#{pid}"))
                self.tmux("kill-server")
                wait_for_end(server)
        if self.pid:
            kill_if_there(self.pid)


class TypingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("a process's terminal is only known on Linux")
        if shutil.which("tmux") is None:
            raise SkipTest("tmux is not installed")
        self.stage = Stage(self)

    def assert_keys(self, keys: bytes) -> None:
        wait_until(lambda: len(self.stage.keys()) >= len(keys), "the keys")
        self.assertEqual(self.stage.keys(), keys)


class RandomScreensTests(TypingTestCase):
    """
    Random screens in a real pane, with random things in the way.

    The oracle is how a screen was composed: it knows nothing of how screens are read.
    """

    def test_no_key_is_pressed_but_where_the_oracle_allows_it(self) -> None:
        self.stage.open_in_shell()
        wrong, expected, allowed = [], b"", 0
        for seed in SEEDS:
            chance = random.Random(seed)
            made = compose(chance)
            twist = chance.choice(TWISTS) if chance.random() < 0.4 else ""
            self.stage.paint(made)
            with self.stage.twisted(twist):
                typed = self.stage.type()
            may = made.takes and not twist
            if typed.sent is not may or typed.typed is not may:
                wrong.append((seed, made.what, twist, typed))
            elif may:
                allowed += 1
                expected += b"continue\r"
                self.assert_keys(expected)
        self.assertEqual(wrong, [])
        self.assertEqual(self.stage.keys(), expected)
        self.assertGreater(allowed, 20)


class KeysTests(TypingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stage.open()
        self.stage.paint(IDLE)

    def place(self) -> Place:
        return Place(self.stage.socket, int(self.stage.told("pid")), self.stage.pane)

    def tmux(self) -> Tmux:
        return Tmux(self.place(), self.stage.environment)

    def assert_no_key(self, words: str) -> None:
        typed = self.stage.type()
        self.assertEqual(self.stage.keys(), b"")
        self.assertEqual(typed[:2], (False, False))
        self.assertIn(words, typed.doubt or "")

    def test_a_prompt_is_typed_literally(self) -> None:
        prompt = 'it\'s "quoted"; kill-server # $HOME ~ `x` \\n {y} #{pane_id} %1 é 日本 -x Enter'
        typed = self.stage.type(prompt)
        self.assertEqual(typed, Typed(True, True))
        self.assert_keys(f"{prompt}\r".encode())

    def test_a_prompt_that_looks_like_an_option(self) -> None:
        self.assertTrue(self.stage.type("-t %9").sent)
        self.assert_keys(b"-t %9\r")

    def test_a_program_started_by_a_shell(self) -> None:
        server = self.place().server
        self.stage.tmux("kill-server")
        # A client that reached the old server would end with it.
        wait_for_end(server)
        wait_for_end(self.stage.pid)
        self.stage.open_in_shell()
        self.stage.paint(IDLE)
        self.assertEqual(self.stage.type(), Typed(True, True))

    def test_a_pane_that_has_changed_gets_no_key(self) -> None:
        """The server itself drops keys for a state that is over."""
        tmux = self.tmux()
        state = tmux.look().state
        self.stage.tmux("copy-mode", "-t", self.stage.pane)
        self.assertFalse(tmux.type("x", state))
        self.assertFalse(tmux.enter(state))
        self.stage.tmux("copy-mode", "-q", "-t", self.stage.pane)
        self.assertTrue(tmux.type("x", state))
        self.assert_keys(b"x")

    def test_a_server_that_hangs(self) -> None:
        server = int(self.stage.told("pid"))
        self.addCleanup(kill_if_there, server)
        os.kill(server, signal.SIGSTOP)
        typed = self.stage.type()
        os.kill(server, signal.SIGCONT)
        self.assertIn(f"within {TIMEOUT:.0f} seconds", typed.doubt or "")
        self.assertFalse(typed.typed)
        self.assertEqual(self.stage.keys(), b"")

    def test_a_pane_that_is_gone(self) -> None:
        tmux = Tmux(self.place()._replace(pane="%77"), self.stage.environment)
        self.assertIn("gone", str(self.assertRaises(Doubt, tmux.look)))

    def test_a_server_that_is_gone(self) -> None:
        tmux = self.tmux()
        self.stage.tmux("kill-server")
        self.assertIn("gone", str(self.assertRaises(Doubt, tmux.look)))

    def test_no_tmux_to_ask_with(self) -> None:
        self.stage.environment["PATH"] = "/nowhere"
        self.addCleanup(self.stage.environment.update, PATH=os.environ["PATH"])
        typed = self.stage.type()
        self.assertIn("no such program", typed.doubt or "")

    def test_what_forbids_it_between_text_and_enter(self) -> None:
        answers = iter([None, "paused"])
        typed = self.stage.typist().type(PROMPT, lambda: next(answers))
        self.assertEqual(typed, Typed(True, False, "paused"))
        self.assert_keys(b"continue")

    def test_what_forbids_it_from_the_start(self) -> None:
        typed = self.stage.typist().type(PROMPT, lambda: "paused")
        self.assertEqual(typed, Typed(False, False, "paused"))
        self.assertEqual(self.stage.keys(), b"")

    def test_text_that_does_not_stand_in_the_line_is_not_sent(self) -> None:
        self.stage.order(rows=IDLE.rows, cursor=IDLE.cursor, shown=False)
        typed = self.stage.type()
        self.assertEqual(typed, Typed(True, False, "the line does not show the prompt"))
        self.assert_keys(b"continue")

    def test_a_program_that_says_that_it_is_busy(self) -> None:
        self.stage.order(status="busy")
        self.assert_no_key("busy")

    def test_a_program_without_an_entry(self) -> None:
        os.unlink(os.path.join(self.stage.home, "sessions", f"{self.stage.pid}.json"))
        self.assert_no_key("not in the registry")

    def test_a_session_in_two_programs(self) -> None:
        entry = os.path.join(self.stage.home, "sessions")
        with open(f"{entry}/{self.stage.pid}.json", encoding="ascii") as file:
            value = json.load(file)
        with open(f"/proc/{os.getpid()}/stat", encoding="ascii") as stat:
            value["procStart"] = stat.read().rpartition(")")[2].split()[19]
        with open(f"{entry}/{os.getpid()}.json", "w", encoding="ascii") as file:
            json.dump(value, file)
        self.assert_no_key("several programs")

    def test_a_session_in_the_background(self) -> None:
        path = os.path.join(self.stage.home, "sessions", f"{self.stage.pid}.json")
        with open(path, encoding="ascii") as file:
            value = json.load(file)
        with open(path, "w", encoding="ascii") as file:
            json.dump({**value, "kind": "bg"}, file)
        self.assert_no_key("in the background")

    def test_keys_of_vim_are_a_doubt(self) -> None:
        path = os.path.join(self.stage.home, "settings.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"editorMode": "vim"}, file)
        self.assert_no_key("vim")


class OtherTerminalTests(TypingTestCase):
    """A program whose terminal is not its pane's own."""

    def attach(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Attach a terminal to the session."""
        line = f"tmux -S {self.stage.socket} attach"
        client = subprocess.Popen(
            ["script", "-qfc", line, "/dev/null"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        wait_until(lambda: self.stage.tmux("list-clients"), "a client")
        return client

    def test_a_person_at_the_terminal(self) -> None:
        self.stage.open()
        self.stage.paint(IDLE)
        # Sessions know their use in whole seconds.
        wait_until(lambda: int(self.stage.told("session_created")) < int(time.time()), "a second")
        client = self.attach(self.stage.environment)
        self.stage.paint(IDLE)
        self.assertIn("a person used", self.stage.typist().doubt() or "")
        client.kill()
        wait_until(lambda: not self.stage.tmux("list-clients"), "no client")
        self.assertIn("a person used", self.stage.typist().doubt() or "")
        later = self.stage.typist(time.time() + PRESENCE)
        self.assertIsNone(later.doubt())

    def test_a_terminal_of_its_own_within_the_pane(self) -> None:
        """As in screen(1), zellij or script(1)."""
        line = shlex.join(self.stage.command)
        self.stage.open(["script", "-qfc", line, "/dev/null"])
        self.stage.paint(IDLE)
        self.assertIn("terminal is not", self.stage.typist().doubt() or "")
        self.assertEqual(self.stage.type().typed, False)
        self.assertEqual(self.stage.keys(), b"")

    def test_a_tmux_in_another_one(self) -> None:
        self.stage.open()
        self.stage.paint(IDLE)
        environment = {**self.stage.environment, "TERM": "tmux-256color"}
        self.attach(environment)
        self.stage.paint(IDLE)
        self.assertIn("runs in another", self.stage.typist().doubt() or "")

"""When a key may be pressed in a program's terminal: each condition, broken on its own."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import child, machine
from palingenesis.monitor import typist as typist_module
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.agents.agent import InputLine
from palingenesis.monitor.homes import Home
from palingenesis.monitor.processes import Process, look_at
from palingenesis.monitor.screen import Screen
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.tmux import Client, Doubt, Pane, Place, Tmux, place_of
from palingenesis.monitor.typist import CONDITIONS, PRESENCE, Look, Typed, Typist, doubt_of

NOW = 1_000_000.0
PANE = Pane(
    state="4000|0|0|0|80|24|2|21|0",
    server=300,
    pid=4000,
    terminal="pts/3",
    command="claude",
    in_mode=False,
    is_synchronized=False,
    is_off=False,
    screen=Screen((), 80, (2, 21)),
    clients=(Client(NOW - PRESENCE, controls=False, kind="xterm-256color"),),
)
LOOK = Look(
    now=NOW,
    line=InputLine(4242, "77", lambda _: None, lambda *_: None),
    programs=AGENTS["claude"].programs,
    process=Process(4242, "77", ("claude",), terminal="pts/3"),
    place=Place("/tmp/tmux-1000/default", 300, "%3"),
    pane=PANE,
    is_stopped=False,
    in_foreground=True,
    ancestors=frozenset({4242, 4000, 300, 1}),
)


class ConditionTests(SynchronousTestCase):
    def assert_doubt(self, words: str, look: Look) -> None:
        self.assertIn(words, doubt_of(look) or "no doubt")
        self.assertEqual(sum(not holds(look) for holds, _ in CONDITIONS), 1)

    def of_pane(self, **changed: object) -> Look:
        return replace(LOOK, pane=replace(PANE, **changed))  # type: ignore[arg-type]

    def test_nothing_is_in_doubt(self) -> None:
        self.assertIsNone(doubt_of(LOOK))

    def test_a_program_that_was_suspended(self) -> None:
        self.assert_doubt("suspended", replace(LOOK, is_stopped=True))

    def test_another_server_at_the_same_socket(self) -> None:
        self.assert_doubt("started again", self.of_pane(server=301))

    def test_another_terminal(self) -> None:
        """As in screen, zellij, a nested tmux, or ssh within the pane."""
        self.assert_doubt("terminal is not", self.of_pane(terminal="pts/4"))

    def test_no_terminal(self) -> None:
        process = replace(LOOK.process, terminal=None)
        self.assert_doubt("terminal is not", replace(LOOK, process=process))

    def test_a_program_in_the_background_of_its_terminal(self) -> None:
        self.assert_doubt("not in the foreground", replace(LOOK, in_foreground=False))

    def test_a_pane_with_another_program(self) -> None:
        self.assert_doubt("another program was started", self.of_pane(pid=4001))

    def test_another_program_in_the_foreground(self) -> None:
        for name in ("bash", "vim", "tmux: client", "ssh", "node", ""):
            self.assert_doubt("another program is in", self.of_pane(command=name))

    def test_copy_mode(self) -> None:
        self.assert_doubt("copy mode", self.of_pane(in_mode=True))

    def test_synchronized_panes(self) -> None:
        self.assert_doubt("synchronized", self.of_pane(is_synchronized=True))

    def test_a_pane_without_keys(self) -> None:
        self.assert_doubt("takes no keys", self.of_pane(is_off=True))

    def test_a_client_that_controls_tmux(self) -> None:
        clients = (*PANE.clients, Client(0.0, controls=True))
        self.assert_doubt("controls", self.of_pane(clients=clients))

    def test_a_tmux_in_another_one(self) -> None:
        for kind in ("tmux-256color", "screen", "screen-256color"):
            clients = (*PANE.clients, Client(0.0, controls=False, kind=kind))
            self.assert_doubt("runs in another", self.of_pane(clients=clients))

    def test_a_person_who_was_there(self) -> None:
        for age in (0.0, 1.0, PRESENCE - 1, -1.0, -1e6):
            clients = (*PANE.clients, Client(NOW - age, controls=False))
            self.assert_doubt("a person used", self.of_pane(clients=clients))

    def test_nobody_is_attached(self) -> None:
        self.assertIsNone(doubt_of(self.of_pane(clients=())))


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.join("/tmp", f"place-{os.getpid()}")
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(os.unlink, self.path)
        self.addCleanup(server.close)
        server.bind(self.path)

    def doubt(self, **environment: str) -> str:
        return str(self.assertRaises(Doubt, place_of, environment))

    def test_a_pane(self) -> None:
        environment = {"TMUX": f"{self.path},300,0", "TMUX_PANE": "%3"}
        self.assertEqual(place_of(environment), Place(self.path, 300, "%3"))

    def test_no_tmux(self) -> None:
        self.assertIn("not run in tmux", self.doubt(TMUX_PANE="%3"))

    def test_no_server(self) -> None:
        for value in ("x", f"{self.path}", f"{self.path},,0", f"{self.path},-1,0", "relative,3,0"):
            self.assertIn("no server", self.doubt(TMUX=value, TMUX_PANE="%3"))

    def test_no_pane(self) -> None:
        for pane in ("", "3", "%", "%3;kill-server", "%x"):
            self.assertIn("no pane", self.doubt(TMUX=f"{self.path},300,0", TMUX_PANE=pane))

    def test_no_socket(self) -> None:
        for path in (f"{self.path}.gone", os.path.abspath(__file__), os.path.dirname(self.path)):
            self.assertIn(path, self.doubt(TMUX=f"{path},300,0", TMUX_PANE="%3"))

    def test_a_link_to_a_socket(self) -> None:
        link = f"{self.path}.link"
        os.symlink(self.path, link)
        self.addCleanup(os.unlink, link)
        self.assertIn("not a socket", self.doubt(TMUX=f"{link},300,0", TMUX_PANE="%3"))

    def test_a_socket_of_another_user(self) -> None:
        if os.geteuid():
            self.skipTest("needs root")
        os.chown(self.path, 65534, 65534)
        self.assertIn("not a socket", self.doubt(TMUX=f"{self.path},300,0", TMUX_PANE="%3"))


class StagedTmux(Tmux):
    """
    A tmux that only notes its keys.

    :ivar keys: what was typed, or pressed.
    :ivar takes: whether it presses Enter; None if it does not answer.
    """

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.takes: bool | None = True

    def type(self, text: str, state: str) -> bool:  # noqa: ARG002
        self.keys.append(text)
        return True

    def enter(self, state: str) -> bool:  # noqa: ARG002
        self.keys.append("Enter")
        if self.takes is None:
            raise Doubt("its tmux does not answer within 2 seconds")
        return self.takes


class StagedTypist(Typist):
    """
    A typist that sees what a test shows.

    :ivar columns: the place of the cursor at each look; the last one stays.
    """

    def __init__(self, columns: tuple[int, ...]) -> None:
        super().__init__(Home("claude", "claude", "/"), Identity("id", "/"), {})
        self.tmux = StagedTmux()
        self.columns = list(columns)

    def _look(self) -> tuple[Look, Tmux]:
        column = self.columns.pop(0) if len(self.columns) > 1 else self.columns[0]
        return replace(LOOK, pane=replace(PANE, screen=Screen((), 80, (column, 21)))), self.tmux


class EnterTests(SynchronousTestCase):
    """When Enter is pressed, once the text stands in the line."""

    def setUp(self) -> None:
        self.patch(typist_module, "BETWEEN", 0.0)

    def typed(self, typist: StagedTypist) -> Typed:
        return typist.type("go on", lambda: None)

    def test_enter_is_pressed_once_the_screen_is_at_rest(self) -> None:
        # One look at the empty line, and five while the screen comes to rest.
        typist = StagedTypist((2, 3, 4, 5, 7, 7))
        self.assertEqual(self.typed(typist), Typed(True, True))
        self.assertEqual(typist.tmux.keys, ["go on", "Enter"])
        self.assertEqual(typist.columns, [7])

    def test_enter_is_not_pressed_while_the_screen_changes(self) -> None:
        self.patch(typist_module, "STANDING", 0.02)
        typist = StagedTypist(tuple(range(100_000)))
        told = self.typed(typist)
        self.assertEqual(told, Typed(True, False, "its screen does not come to rest"))
        self.assertEqual(typist.tmux.keys, ["go on"])

    def test_enter_may_have_been_pressed_if_nothing_answers(self) -> None:
        typist = StagedTypist((2, 7))
        typist.tmux.takes = None
        self.assertEqual(self.typed(typist), Typed(True, True))
        self.assertEqual(typist.tmux.keys, ["go on", "Enter"])

    def test_enter_was_not_pressed_if_the_pane_has_changed(self) -> None:
        self.patch(typist_module, "STANDING", 0.02)
        typist = StagedTypist((2, 7))
        typist.tmux.takes = False
        told = self.typed(typist)
        self.assertEqual((told.typed, told.sent), (True, False))


class LookTests(SynchronousTestCase):
    """What cannot be seen is a doubt."""

    def setUp(self) -> None:
        self.line = InputLine(os.getpid(), "", lambda _: None, lambda *_: None)
        process = look_at(os.getpid())
        assert process is not None
        self.line = replace(self.line, start=process.start)
        self.patch(AGENTS["claude"], "input_line", lambda *_: self.line)
        self.typist = Typist(Home("claude", "claude", "/"), Identity("id", "/"), {})

    def test_another_process_has_its_pid_by_now(self) -> None:
        self.line = replace(self.line, start="1")
        self.assertEqual(self.typist.doubt(), "it has just ended")

    def test_an_environment_that_cannot_be_read(self) -> None:
        self.patch(typist_module, "environment_of", lambda _: None)
        self.assertEqual(self.typist.doubt(), "its environment cannot be read")

    def test_an_environment_without_tmux(self) -> None:
        self.patch(typist_module, "environment_of", lambda _: {})
        self.assertEqual(self.typist.doubt(), "it does not run in tmux")


class AnswerTests(SynchronousTestCase):
    """What tmux answers."""

    PARTS = ("4000|0|0|0|80|24|2|21|0|300|/dev/pts/3|claude", "%3|$1|7|7", "", "\n" * 23)

    def look(self, *parts: str) -> Pane:
        answer = "mark\n".join(f"{part}\n" if part else "" for part in parts)
        self.patch(secrets, "token_hex", lambda _: "mark")
        self.patch(child, "find_program", lambda *_: "/bin/tmux")
        self.patch(machine, "run", lambda *_, **__: answer)
        return Tmux(LOOK.place, {}).look()

    def test_an_answer_that_is_understood(self) -> None:
        pane = self.look(*self.PARTS)
        self.assertEqual((pane.state, pane.pid), (PANE.state, 4000))
        self.assertEqual((pane.server, pane.terminal, pane.command), (300, "pts/3", "claude"))

    def test_answers_that_are_not_understood(self) -> None:
        pane, session, clients, rows = self.PARTS
        for parts in (
            (pane.replace("|24|", "||"), session, clients, rows),
            (pane.replace("|300|", "|x|"), session, clients, rows),
            (pane.rpartition("|")[0], session, clients, rows),
            (pane, "%3|$1|7", clients, rows),
            (pane, "%3|$1|now|7", clients, rows),
            (pane, session, "$1|7", rows),
        ):
            doubt = self.assertRaises(Doubt, self.look, *parts)
            self.assertEqual(str(doubt), "its tmux is not understood; 3.0 or newer is")

    def test_the_pane_is_gone(self) -> None:
        for parts in (self.PARTS[:1], (self.PARTS[0], "%4|$1|7|7", *self.PARTS[2:])):
            self.assertEqual(str(self.assertRaises(Doubt, self.look, *parts)), "its pane is gone")


class OtherAgentTests(SynchronousTestCase):
    def test_the_line_of_most_agents_is_not_known(self) -> None:
        for name in ("codex", "opencode", "copilot", "qwen"):
            session = Identity("0" * 8, "/")
            doubt = self.assertRaises(Doubt, AGENTS[name].input_line, "/nowhere", session)
            self.assertIn(name, str(doubt))

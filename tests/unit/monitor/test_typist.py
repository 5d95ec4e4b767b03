"""When a key may be pressed in a program's terminal: each condition, broken on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import typist
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.agents.agent import InputLine
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.homes import Home
from palingenesis.monitor.processes import Process
from palingenesis.monitor.screen import Screen
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.tmux import Client, Doubt, Pane, Place
from palingenesis.monitor.typist import CONDITIONS, PRESENCE, Look, Typed, Typing, Typist, doubt_of

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

    def test_another_terminal_is_not_typed_into(self) -> None:
        """As in screen, zellij, a nested tmux, or ssh within the pane."""
        self.assert_doubt("terminal is not", self.of_pane(terminal="pts/4"))

    def test_a_program_without_a_terminal_is_not_typed_into(self) -> None:
        process = replace(LOOK.process, terminal=None)
        self.assert_doubt("terminal is not", replace(LOOK, process=process))

    def test_a_program_in_the_background_of_its_terminal(self) -> None:
        self.assert_doubt("not in the foreground", replace(LOOK, in_foreground=False))

    def test_a_pane_with_another_program(self) -> None:
        self.assert_doubt("another program was started", self.of_pane(pid=4001))

    def test_another_program_in_the_foreground(self) -> None:
        for name in ("bash", "vim", "tmux: client", "ssh", "node", ""):
            self.assert_doubt("another program is in", self.of_pane(command=name))

    def test_a_pane_in_copy_mode_is_not_typed_into(self) -> None:
        self.assert_doubt("copy mode", self.of_pane(in_mode=True))

    def test_synchronized_panes_are_not_typed_into(self) -> None:
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

    def test_a_pane_that_nobody_is_attached_to_is_typed_into(self) -> None:
        self.assertIsNone(doubt_of(self.of_pane(clients=())))


class AtOnce:
    """A thread whose target runs when it is started; it must not keep a daemon from stopping."""

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], daemon: bool) -> None:
        assert daemon
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)


class TypistTests(SynchronousTestCase):
    """What is typed and pressed; tmux, the processes and the clock are the test's own."""

    def setUp(self) -> None:
        self.process: Process | None = LOOK.process
        self.environment: dict[str, str] | None = {}
        self.stats = {
            4242: [b"claude", b"S", b"4000", b"7", b"7", b"34819", b"7"],
            4000: [b"sh", b"S", b"300"],
            300: [b"tmux", b"S", b"1"],
            1: [b"init", b"S", b"0"],
        }
        self.pane = PANE
        self.empty: str | None = None
        self.unlike: str | None = None
        self.takes: list[object] = [True, True]
        self.keys: list[tuple[str, ...]] = []
        self.looks = 0
        self.now = 0.0
        line = InputLine(4242, "77", lambda _: self.empty, self.doubt_of_typed)
        self.patch(Claude, "input_line", lambda *_: line)
        self.patch(typist, "look_at", lambda pid: self.process if pid == 4242 else None)
        self.patch(typist, "environment_of", lambda pid: self.environment if pid == 4242 else None)
        self.patch(typist, "process_stat", lambda pid: self.stats[pid][1:])
        self.patch(typist, "place_of", lambda _: LOOK.place)
        self.patch(typist, "Tmux", lambda *_: self)
        self.patch(typist.time, "monotonic", lambda: self.now)
        self.patch(typist.time, "sleep", self.sleep)
        home = Home("claude", "claude", "/h")
        self.typist = Typist(home, Identity("x", "/"), {}, lambda: NOW)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def doubt_of_typed(self, before: Screen, after: Screen, text: str) -> str | None:
        self.assertIs(before, PANE.screen)
        self.assertIs(after, self.pane.screen)
        self.assertEqual(text, "go on")
        return self.unlike

    def look(self) -> Pane:
        self.looks += 1
        return self.pane

    def type(self, text: str, state: str) -> bool:
        return self.press("text", text, state)

    def enter(self, state: str) -> bool:
        return self.press("Enter", state)

    def press(self, *key: str) -> bool:
        self.keys.append(key)
        takes = self.takes.pop(0) if len(self.takes) > 1 else self.takes[0]
        if isinstance(takes, Doubt):
            raise takes
        return bool(takes)

    def typed(self, *forbidden: str | None) -> Typed:
        answers = [*forbidden]
        return self.typist.type("go on", lambda: answers.pop(0) if answers else None)

    def test_a_prompt_is_typed_and_sent_once_the_screen_is_at_rest(self) -> None:
        self.assertIsNone(self.typist.doubt())
        self.looks = 0
        self.assertEqual(self.typed(), Typed(True, True))
        self.assertEqual(self.keys, [("text", "go on", PANE.state), ("Enter", PANE.state)])
        self.assertEqual(self.looks, 3)

    def test_a_program_in_doubt_gets_no_key(self) -> None:
        stat = self.stats[4242]
        for changed, doubt in (
            ({"process": None}, "it has just ended"),
            ({"process": replace(LOOK.process, start="78")}, "it has just ended"),
            ({"environment": None}, "its environment cannot be read"),
            ({"stats": {4242: stat[:6]}}, "it has just ended"),
            ({"empty": "something is typed"}, "something is typed"),
            ({"pane": replace(PANE, in_mode=True)}, "its pane is in copy mode"),
            ({"stats": {**self.stats, 4242: [b"", b"T", *stat[2:]]}}, "it is suspended"),
            ({"stats": {**self.stats, 4242: [b"", b"t", *stat[2:]]}}, "it is suspended"),
            ({"stats": {**self.stats, 4242: [*stat[:6], b"8"]}}, "it is not in the foreground"),
            ({"stats": {**self.stats, 4242: [*stat[:2], b"1", *stat[3:]]}}, "another program was"),
        ):
            self.setUp()
            for name, value in changed.items():
                setattr(self, name, value)
            self.assertTrue((self.typist.doubt() or "").startswith(doubt), doubt)
            found = self.typed()
            self.assertEqual(found[:2], (False, False))
            self.assertTrue((found.doubt or "").startswith(doubt), doubt)
            self.assertEqual(self.keys, [])

    def test_a_key_that_is_forbidden_is_not_pressed(self) -> None:
        self.assertEqual(self.typed("paused"), Typed(False, False, "paused"))
        self.assertEqual(self.keys, [])
        self.assertEqual(self.typed(None, "paused"), Typed(True, False, "paused"))
        self.assertEqual(len(self.keys), 1)

    def test_a_text_that_the_pane_did_not_take_is_not_sent(self) -> None:
        self.takes = [False]
        self.assertEqual(self.typed(), Typed(False, False, "its pane has just changed"))
        self.takes = [Doubt("no answer")]
        self.assertEqual(self.typed(), Typed(True, False, "no answer"))
        self.assertEqual([key[0] for key in self.keys], ["text", "text"])

    def test_an_enter_without_an_answer_may_have_been_pressed(self) -> None:
        self.takes = [True, Doubt("no answer")]
        self.assertEqual(self.typed(), Typed(True, True))
        self.assertEqual(len(self.keys), 2)

    def test_a_screen_that_does_not_come_to_rest_gets_no_enter(self) -> None:
        self.takes = [True, False]
        doubt = "its screen does not come to rest"
        self.assertEqual(self.typed(), Typed(True, False, doubt))
        self.assertTrue(typist.STANDING <= self.now < typist.STANDING + 1)
        self.unlike, self.takes, self.keys = "the line does not show it", [True], []
        self.assertEqual(self.typed(), Typed(True, False, "the line does not show it"))
        self.assertEqual(len(self.keys), 1)

    def test_a_prompt_is_typed_beside_the_reactor_and_its_outcome_kept(self) -> None:
        self.patch(typist, "Thread", AtOnce)
        typing = Typing(self.typist, "go on", lambda: "paused")
        self.assertEqual(typing.outcome, Typed(False, False, "paused"))

    def test_a_fault_while_typing_may_have_come_after_the_text(self) -> None:
        self.patch(typist, "Thread", AtOnce)
        self.patch(self.typist, "type", self.fail)
        typing = Typing(self.typist, "go on", lambda: None)
        assert typing.outcome is not None
        self.assertEqual(typing.outcome[:2], (True, False))
        self.assertTrue((typing.outcome.doubt or "").startswith("TypeError: "))


class OtherAgentTests(SynchronousTestCase):
    def test_the_line_of_most_agents_is_not_known(self) -> None:
        for name in ("codex", "opencode", "copilot", "qwen"):
            session = Identity("0" * 8, "/")
            doubt = self.assertRaises(Doubt, AGENTS[name].input_line, "/nowhere", session)
            self.assertIn(name, str(doubt))

"""What is asked of a tmux server, and what its answers mean; the server is a table of answers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import child, machine
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.tmux import TIMEOUT, Client, Doubt, Pane, Place, Tmux, place_of
from tests.support.private import private_path
from tests.support.sockets import leave_stale

STATE = "4000|0|0|0|80|3|2|1|0"
PLACE = Place("/run/tmux", 300, "%3")
#: The state, in the words of tmux(1), FORMATS.
WORDS = (
    "#{pane_pid}|#{pane_in_mode}|#{pane_synchronized}|#{pane_input_off}|#{pane_width}"
    "|#{pane_height}|#{cursor_x}|#{cursor_y}|#{cursor_flag}"
)


class ServerTestCase(SynchronousTestCase):
    """
    A server that answers.

    :ivar parts: what it says of the pane, the sessions, the clients and the screen.
    :ivar asked: the last command line.
    """

    def setUp(self) -> None:
        self.parts: list[str] | None = [
            f"{STATE}|300|/dev/pts/3|claude\n",
            "%1|$1|50|40\n%3|$2|70|60\n",
            "$2|90|0|xterm|256\n$1|91|0|xterm\n$2|92|1|\n",
            "one\ntwo\nthree\n",
        ]
        self.asked: tuple[str, ...] = ()
        self.patch(child, "find_program", lambda name, _: f"/bin/{name}")
        self.patch(machine, "run", self.run_tmux)
        self.tmux = Tmux(PLACE, {})

    def run_tmux(self, *command: str, environment: Mapping[str, str], timeout: float) -> str | None:
        self.assertEqual(command[:4], ("/bin/tmux", "-u", "-S", "/run/tmux"))
        self.assertEqual(dict(environment), {"LC_ALL": "C.UTF-8", "PATH": os.defpath})
        self.assertEqual(timeout, TIMEOUT)
        self.asked = command[4:]
        return None if self.parts is None else self.answer()

    def answer(self) -> str:
        assert self.parts is not None
        (mark,) = {each for each in self.asked if re.fullmatch(r"[0-9a-f]{16}", each)}
        return f"{mark}\n".join(self.parts)


class LookTests(ServerTestCase):
    def test_a_pane_is_seen_with_its_screen_and_its_clients(self) -> None:
        found = self.tmux.look()
        self.assertEqual("".join(cell.character for cell in found.screen.rows[1]).strip(), "two")
        self.assertEqual(
            found,
            Pane(
                *(STATE, 300, 4000, "pts/3", "claude", False, False, False, found.screen),
                (
                    Client(90.0, controls=False, kind="xterm|256"),
                    Client(92.0, controls=True),
                    Client(70.0, controls=False),
                ),
            ),
        )
        screen = found.screen
        self.assertEqual((screen.width, screen.height, screen.cursor), (80, 3, (2, 1)))
        self.assertFalse(screen.cursor_shown)

    def test_a_server_is_asked_once_for_all(self) -> None:
        self.tmux.look()
        mark = self.asked[self.asked.index(";") + 3]
        between = [";", "display-message", "-p", mark, ";"]
        self.assertEqual(
            list(self.asked),
            [
                *("display-message", "-p", "-t", "%3"),
                f"{WORDS}|#{{pid}}|#{{pane_tty}}|#{{pane_current_command}}",
                *between,
                *("list-panes", "-a", "-F"),
                "#{pane_id}|#{session_id}|#{session_activity}|#{session_created}",
                *between,
                *("list-clients", "-F"),
                "#{session_id}|#{client_activity}|#{client_control_mode}|#{client_termname}",
                *between,
                *("capture-pane", "-p", "-e", "-t", "%3"),
            ],
        )

    def test_each_number_of_the_state_says_what_keys_would_do(self) -> None:
        assert self.parts is not None
        for state, seen in (
            ("4000|1|0|0|80|3|2|1|0", (True, False, False, False)),
            ("4000|0|1|0|80|3|2|1|0", (False, True, False, False)),
            ("4000|0|0|1|80|3|2|1|0", (False, False, True, False)),
            ("4000|0|0|0|80|3|2|1|1", (False, False, False, True)),
        ):
            self.parts[0] = f"{state}|300|/dev/pts/3|a|b\n"
            found = self.tmux.look()
            self.assertEqual(
                (
                    *(found.in_mode, found.is_synchronized, found.is_off),
                    found.screen.cursor_shown,
                ),
                seen,
            )
            self.assertEqual((found.state, found.command), (state, "a|b"))

    def test_a_session_that_was_never_used_has_no_client_without_a_terminal(self) -> None:
        assert self.parts is not None
        self.parts[1:3] = ["%3|$2|60|60\n", ""]
        self.assertEqual(self.tmux.look().clients, ())

    def test_a_pane_that_is_gone_is_in_doubt(self) -> None:
        whole = self.parts
        assert whole is not None
        for parts in (whole[:3], [*whole, ""], [whole[0], "%1|$1|50|40\n", *whole[2:]]):
            self.parts = parts
            self.assertEqual(str(self.assertRaises(Doubt, self.tmux.look)), "its pane is gone")

    def test_an_answer_that_is_not_understood_is_in_doubt(self) -> None:
        whole = self.parts
        assert whole is not None
        for number, part in (
            (0, "4000|0|0|0|80|3|2||0|300|/dev/pts/3|claude\n"),
            (0, "4000|0|0|0|+80|3|2|1|0|300|/dev/pts/3|claude\n"),
            (0, f"{STATE}|pid|/dev/pts/3|claude\n"),
            (0, f"{STATE}|300\n"),
            (1, "%3|$2|x|60\n"),
            (1, "%3|$2\n"),
            (2, "$2|90\n"),
        ):
            self.parts = [*whole[:number], part, *whole[number + 1 :]]
            text = str(self.assertRaises(Doubt, self.tmux.look))
            self.assertEqual(text, "its tmux is not understood; 3.0 or newer is", part)

    def test_a_server_that_does_not_answer_is_in_doubt(self) -> None:
        self.parts = None
        text = str(self.assertRaises(Doubt, self.tmux.look))
        self.assertEqual(text, "its tmux does not answer within 2 seconds")

    def test_without_tmux_every_pane_is_in_doubt(self) -> None:
        def missing(name: str, _: object) -> str:
            raise CommandError(f"{name}: no such program")

        self.patch(child, "find_program", missing)
        text = str(self.assertRaises(Doubt, Tmux, PLACE, {}))
        self.assertEqual(text, "tmux: no such program")


class KeyTests(ServerTestCase):
    def answer(self) -> str:
        found = re.search(r"display-message -p ([0-9a-f]{16})$", self.asked[-1])
        assert found is not None
        assert self.parts is not None
        return "".join(self.parts).format(mark=found[1])

    def test_a_key_is_pressed_only_in_the_state_that_was_seen(self) -> None:
        for answer, pressed in (("{mark}\n", True), ("", False), ("x\n", False)):
            self.parts = [answer]
            self.assertEqual(self.tmux.enter(STATE), pressed)
        condition, command = self.asked[-2:]
        self.assertEqual(self.asked[:-2], ("if-shell", "-F", "-t", "%3"))
        self.assertEqual(condition, f"#{{==:{WORDS},{STATE}}}")
        self.assertTrue(command.startswith("send-keys -t %3 Enter; "))

    def test_a_text_is_typed_letter_by_letter(self) -> None:
        self.parts = ["{mark}\n"]
        self.assertTrue(self.tmux.type("it's #{pid} ; go", STATE))
        begun = "send-keys -t %3 -l -- 'it'\\''s #{pid} ; go'; display-message"
        self.assertTrue(self.asked[-1].startswith(begun), self.asked[-1])


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.socket = private_path(self)
        leave_stale(self.socket)

    def doubt(self, environment: Mapping[str, str]) -> str:
        return str(self.assertRaises(Doubt, place_of, environment))

    def test_a_program_names_its_server_and_its_pane(self) -> None:
        found = place_of({"TMUX": f"{self.socket},300,0", "TMUX_PANE": "%31"})
        self.assertEqual(found, Place(self.socket, 300, "%31"))

    def test_an_environment_that_names_none_is_in_doubt(self) -> None:
        for tmux, pane, doubt in (
            ("", "%3", "it does not run in tmux"),
            (",300,0", "%3", "it does not run in tmux"),
            ("tmux,300,0", "%3", "its TMUX names no server"),
            (self.socket, "%3", "its TMUX names no server"),
            (f"{self.socket},x,0", "%3", "its TMUX names no server"),
            (f"{self.socket},\u0663,0", "%3", "its TMUX names no server"),
            (f"{self.socket},300,0", "", "its TMUX_PANE names no pane"),
            (f"{self.socket},,0", "%3", "its TMUX names no server"),
            (f"{self.socket},-1,0", "%3", "its TMUX names no server"),
            *(
                (f"{self.socket},300,0", pane, "its TMUX_PANE names no pane")
                for pane in ("3", "%", "%3;kill-server", "%x")
            ),
            (f"{self.socket}x,300,0", "%3", f"{self.socket}x: No such file or directory"),
            (f"{__file__},300,0", "%3", f"{__file__}: not a socket of the daemon's user"),
        ):
            self.assertEqual(self.doubt({"TMUX": tmux, "TMUX_PANE": pane}), doubt)
        self.assertEqual(self.doubt({}), "it does not run in tmux")
        link = f"{self.socket}.link"
        os.symlink(self.socket, link)
        text = self.doubt({"TMUX": f"{link},300,0", "TMUX_PANE": "%3"})
        self.assertEqual(text, f"{link}: not a socket of the daemon's user")
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        text = self.doubt({"TMUX": f"{self.socket},300,0", "TMUX_PANE": "%3"})
        self.assertIn("not a socket of the daemon's user", text)

"""
The pane of tmux(1) in which a program runs: what is known of it, and keys for it.

Each call is one command line without a shell, to the server that the program's own environment
names, and has a time limit. Keys are only sent by a command that the server itself drops if the
pane is not in the very state in which it was seen.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from palingenesis.monitor import child, machine
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.screen import Screen, cells_of

#: Seconds that a call may take.
TIMEOUT = 2.0

#: What must not change between a look and a key, in the words of tmux's formats.
_STATE = (
    *("pane_pid", "pane_in_mode", "pane_synchronized", "pane_input_off", "pane_width"),
    *("pane_height", "cursor_x", "cursor_y", "cursor_flag"),
)
_FORMAT = "|".join(f"#{{{name}}}" for name in _STATE)
_SESSION = "#{pane_id}|#{session_id}|#{session_activity}|#{session_created}"
_CLIENT = "#{session_id}|#{client_activity}|#{client_control_mode}|#{client_termname}"
_NUMBERS = re.compile(r"[0-9]+(?:\|[0-9]+)*")
_PANE = re.compile(r"%[0-9]+")


class Doubt(Exception):
    """Whether a key may be pressed is in doubt, so none is; the text says why, in one line."""


class Place(NamedTuple):
    """
    Where a program runs, by its own environment.

    :ivar socket: the path of the server's socket.
    :ivar server: the server's pid.
    :ivar pane: the pane's id, such as ``%3``.
    """

    socket: str
    server: int
    pane: str


class Client(NamedTuple):
    """
    A terminal that is attached to the pane's session, or was.

    :ivar active: when a person last used it, in seconds since the epoch.
    :ivar controls: whether it is another program's: its keys do not count as use.
    :ivar kind: what kind of terminal it is, term(7).
    """

    active: float
    controls: bool
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Pane:
    """
    A pane at one moment.

    :ivar state: what must not change until a key is pressed.
    :ivar pid: the process that was started in it.
    :ivar terminal: its terminal, such as ``pts/3``.
    :ivar command: the name of the program in its foreground.
    :ivar in_mode: whether its keys go to tmux itself, as in copy mode.
    :ivar is_synchronized: whether its keys go to other panes too.
    :ivar is_off: whether keys are kept from it.
    :ivar clients: who looks at it.
    """

    state: str
    server: int
    pid: int
    terminal: str
    command: str
    in_mode: bool
    is_synchronized: bool
    is_off: bool
    screen: Screen
    clients: tuple[Client, ...]


def place_of(environment: Mapping[str, str]) -> Place:
    """
    Return where a program runs.

    :param environment: its own.
    :raises Doubt: if it is not in tmux, or the server is not certainly our user's.
    """
    socket, _, rest = environment.get("TMUX", "").partition(",")
    server, _, _ = rest.partition(",")
    pane = environment.get("TMUX_PANE", "")
    if not socket:
        raise Doubt("it does not run in tmux")
    if not (os.path.isabs(socket) and server.isascii() and server.isdigit()):
        raise Doubt("its TMUX names no server")
    if _PANE.fullmatch(pane) is None:
        raise Doubt("its TMUX_PANE names no pane")
    try:
        found = os.lstat(socket)
    except OSError as error:
        raise Doubt(f"{socket}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise Doubt(f"{socket}: not a socket of the daemon's user")
    return Place(socket, int(server), pane)


class Tmux:
    """
    The server of one program's pane.

    :param environment: the daemon's environment, whose ``PATH`` finds tmux.
    :raises Doubt: if there is no tmux.
    """

    def __init__(self, place: Place, environment: Mapping[str, str]) -> None:
        try:
            self._program = child.find_program("tmux", environment)
        except CommandError as error:
            raise Doubt(str(error)) from None
        self._place = place

    def look(self) -> Pane:
        """
        Return the pane as it is now, all at one moment of the server's.

        :raises Doubt: if the server does not answer, or not as expected.
        """
        pane = self._place.pane
        mark = secrets.token_hex(8)
        between = (";", "display-message", "-p", mark, ";")
        answer = self._ask(
            *("display-message", "-p", "-t", pane),
            f"{_FORMAT}|#{{pid}}|#{{pane_tty}}|#{{pane_current_command}}",
            *between,
            *("list-panes", "-a", "-F", _SESSION),
            *between,
            *("list-clients", "-F", _CLIENT),
            *between,
            *("capture-pane", "-p", "-e", "-t", pane),
        )
        parts = answer.split(f"{mark}\n")
        if len(parts) != 4:
            raise Doubt("its pane is gone")
        try:
            return _pane(pane, *parts)
        except ValueError:
            raise Doubt("its tmux is not understood; 3.0 or newer is") from None

    def type(self, text: str, state: str) -> bool:
        """
        Type a text, literally; return whether the pane was still in a state and has got it.

        :param text: printable, on one line.
        :raises Doubt: if it is unknown whether it has got it.
        """
        quoted = text.replace("'", "'\\''")
        return self._press(f"-l -- '{quoted}'", state)

    def enter(self, state: str) -> bool:
        """Press Enter; see :meth:`type`."""
        return self._press("Enter", state)

    def _press(self, keys: str, state: str) -> bool:
        pane = self._place.pane
        mark = secrets.token_hex(8)
        # Letters of the text that mean something to tmux are not expanded within quotes.
        command = f"send-keys -t {pane} {keys}; display-message -p {mark}"
        condition = f"#{{==:{_FORMAT},{state}}}"
        return self._ask("if-shell", "-F", "-t", pane, condition, command).strip() == mark

    def _ask(self, *arguments: str) -> str:
        answer = machine.run(
            *(self._program, "-u", "-S", self._place.socket, *arguments),
            environment={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
            timeout=TIMEOUT,
        )
        if answer is None:
            raise Doubt(f"its tmux does not answer within {TIMEOUT:.0f} seconds")
        return answer


def _pane(pane: str, line: str, panes: str, clients: str, capture: str) -> Pane:
    """
    Return what the server has answered.

    :raises Doubt: if the pane is gone.
    :raises ValueError: if it is not what was asked for.
    """
    rows = [row.split("|") for row in panes.splitlines()]
    sessions = {
        session: (float(active), float(created))
        for each, session, active, created in rows
        if each == pane
    }
    if not sessions:
        raise Doubt("its pane is gone")
    fields = line.rstrip("\n").split("|", len(_STATE) + 2)
    state = "|".join(fields[: len(_STATE)])
    if _NUMBERS.fullmatch(state) is None:
        raise ValueError(state)
    server, terminal, command = fields[len(_STATE) :]
    known = dict(zip(_STATE, map(int, fields), strict=False))
    attached = [row.split("|", 3) for row in clients.splitlines()]
    screen = Screen(
        cells_of(capture, known["pane_height"]),
        known["pane_width"],
        (known["cursor_x"], known["cursor_y"]),
        cursor_shown=bool(known["cursor_flag"]),
    )
    return Pane(
        state,
        int(server),
        known["pane_pid"],
        terminal.removeprefix("/dev/"),
        command,
        in_mode=known["pane_in_mode"] != 0,
        is_synchronized=known["pane_synchronized"] != 0,
        is_off=known["pane_input_off"] != 0,
        screen=screen,
        clients=(
            *(
                Client(float(active), controls != "0", kind)
                for session, active, controls, kind in attached
                if session in sessions
            ),
            # Of a terminal that is detached by now, the session knows when it was used.
            *(
                Client(active, controls=False)
                for active, created in sessions.values()
                if active != created
            ),
        ),
    )

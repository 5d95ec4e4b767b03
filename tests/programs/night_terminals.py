"""
The terminals of a night: panes of tmux that are staged, in which programs are open.

What types is the monitor's own code. It gets staged processes and a staged server of tmux, and
between any two of its looks, or between a look and a key, something may happen: a menu appears, a
person types, the pane changes, the daemon is paused or killed. A key that arrives is checked by
`night_rules` against what is true at that moment.

One thing is left out, since no program can see it in time: a screen that changes between the
last look and a key, while the cursor and the pane stay as they were.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

from palingenesis.monitor import settings, typist
from palingenesis.monitor.agents import claude_screen
from palingenesis.monitor.agents.agent import InputLine
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.processes import Process
from palingenesis.monitor.screen import Cell, Screen, cells_of
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.tmux import Client, Doubt, Pane, Place
from palingenesis.monitor.typist import Typed, Typing, Typist
from palingenesis.words import Owner
from tests.programs.night_rules import Broken
from tests.unit.monitor.claude_screens import MAKERS, SIGN, Composed

if TYPE_CHECKING:
    from tests.programs.nights import Daemon, Night

#: The screens that programs show, by their seeds.
SCREENS = 120
#: The pids of tmux's server and of another one, and the first of the programs in its panes.
SERVER, OTHER_SERVER, PROGRAMS = 300, 301, 100_000
#: Seconds for which a person who has used a terminal is there.
PRESENCE = 300.0
#: What keeps keys from a program, whatever its screen shows.
TWISTS = (
    *("suspended", "server", "terminal", "background", "shell's", "foreground", "copy mode"),
    *("synchronized", "off", "controlled", "nested", "busy", "vim"),
)


class Terminal:
    """
    The terminal of one session's program.

    :ivar pid: the program's process; another one each time it is opened.
    :ivar in_tmux: whether it is in a pane of tmux.
    :ivar twists: those of `TWISTS` that hold.
    :ivar used: when a person last used it, in seconds since the epoch.
    :ivar shows: the number of the screen that it shows.
    :ivar text: what was typed into its line, and is not sent.
    :ivar is_deaf: whether it shows nothing of what is typed.
    """

    def __init__(self, pid: int, *, in_tmux: bool) -> None:
        self.pid = pid
        self.in_tmux = in_tmux
        self.twists: set[str] = set()
        self.used = 0.0
        self.shows = 0
        self.text = ""
        self.is_deaf = False

    @property
    def made(self) -> Composed:
        """The screen that it shows, without what was typed."""
        return _composed(self.shows)

    def trouble(self, now: float) -> str | None:
        """Return why its program must not get a key now; None if it may."""
        if self.twists:
            return min(self.twists)
        if now - self.used < PRESENCE:
            return "a person is there"
        return None if self.made.takes else self.made.what

    def screen(self) -> Screen:
        """Return what it shows."""
        return _screen(self.shows, "" if self.is_deaf else self.text)

    def pane(self) -> Pane:
        """Return its pane, as the server of tmux would."""
        screen, twists = self.screen(), self.twists
        pid = 4000 + ("shell's" in twists)
        flags = ["copy mode" in twists, "synchronized" in twists, "off" in twists]
        numbers = [pid, *map(int, flags), screen.width, screen.height, *screen.cursor]
        return Pane(
            "|".join(map(str, [*numbers, int(screen.cursor_shown)])),
            OTHER_SERVER if "server" in twists else SERVER,
            pid,
            "pts/4" if "terminal" in twists else "pts/3",
            "vim" if "foreground" in twists else "claude",
            in_mode=flags[0],
            is_synchronized=flags[1],
            is_off=flags[2],
            screen=screen,
            clients=(
                Client(
                    self.used,
                    controls="controlled" in twists,
                    kind="screen" if "nested" in twists else "xterm-256color",
                ),
            ),
        )

    def stat(self) -> list[bytes]:
        """Return the fields of its process, as proc_pid_stat(5) has them from the third on."""
        group = b"4000" if "background" in self.twists else b"%d" % self.pid
        state = b"T" if "suspended" in self.twists else b"S"
        return [state, b"4000", b"%d" % self.pid, b"4000", b"0", group]


@cache
def _composed(number: int) -> Composed:
    chance = random.Random(f"screen {number}")
    # One in two takes a prompt.
    maker = chance.choice(MAKERS[:4] if number % 2 else MAKERS)
    return maker(chance, 80, 24)


@cache
def _screen(number: int, text: str) -> Screen:
    made = _composed(number)
    if not text:
        rows = cells_of("\n".join(made.rows), made.height)
        return Screen(rows, made.width, made.cursor, cursor_shown=made.shown)
    empty = _screen(number, "")
    column, row = made.cursor
    line = (*map(Cell, SIGN + text), Cell(" ", reverse=True))
    rows = (*empty.rows[:row], line, *empty.rows[row + 1 :])
    return replace(empty, rows=rows, cursor=(column + len(text), row))


class Killed(BaseException):
    """The daemon is killed here."""


class Terminals:
    """
    The terminals of a night, and what is done there.

    :ivar open: the terminals, by the ids of their sessions.
    :ivar working: the prompt that is being typed.
    """

    def __init__(self, night: Night) -> None:
        self._night = night
        self.open: dict[str, Terminal] = {}
        self.working: NightTyping | None = None
        self._by_pid: dict[int, tuple[str, Terminal]] = {}
        self._waiting: list[NightTyping] = []
        #: Seconds that what types has waited for.
        self._waited = 0.0

    def open_program(self, session: str) -> None:
        """Have a session be open in a program of its own from now on."""
        pid = PROGRAMS + len(self._by_pid)
        terminal = Terminal(pid, in_tmux=self._night.random.random() < 0.8)
        self.open[session] = terminal
        self._by_pid[pid] = session, terminal

    def of(self, session: str) -> Terminal | None:
        """Return the terminal of a session that is open in one; None if it is not."""
        if self._night.owner_of(session) is not Owner.PROGRAM:
            return None
        return self.open.get(session)

    def show_anything(self, session: str) -> None:
        """Have a program show another screen, and nothing that was typed."""
        terminal, chance = self.of(session), self._night.random
        if terminal is not None:
            terminal.shows, terminal.text = chance.randrange(SCREENS), ""
            terminal.is_deaf = chance.random() < 0.1

    def happen(self) -> None:
        """Have something happen at some of the terminals."""
        chance = self._night.random
        for session in list(self.open):
            terminal = self.of(session)
            if terminal is None or chance.random() > 0.1:
                continue
            if chance.random() < 0.8:
                terminal.twists.clear()
                terminal.text = ""
            else:
                self._disturb(terminal, session)

    def _disturb(self, terminal: Terminal, session: str) -> None:
        """Have something happen at a terminal."""
        night, chance = self._night, self._night.random
        what = chance.random()
        if what < 0.5:
            terminal.twists ^= {chance.choice(TWISTS)}
        elif what < 0.7:
            self.show_anything(session)
        elif what < 0.85:
            self._touch(terminal)
        else:
            terminal.used, terminal.text = night.now(), ""
            night.counts["typed by a person"] += 1
            night.write(session, None)

    def _touch(self, terminal: Terminal) -> None:
        """Have a person press a key, which stands in the line."""
        terminal.used = self._night.now()
        if not terminal.is_deaf:
            # Else nobody can see it.
            terminal.text += "x"

    def _happen_to(self, typing: NightTyping) -> None:
        """Have something happen while a text stands in a line, and is not sent."""
        night, session = self._night, typing.session
        terminal = self.of(session)
        if terminal is None:
            return
        if night.chance() < 0.02:
            typing.daemon.die()
            raise Killed
        what = night.random.random()
        if what < 0.1:
            self._disturb(terminal, session)
        elif what < 0.12:
            night.pause()
        elif what < 0.14:
            night.steer(session)
        elif what < 0.16:
            night.world.owners.pop((night.agent_of(session), session))
        if typing.daemon.dead:
            # It was killed while it wrote that down.
            raise Killed

    def before_key(self, terminal: Terminal) -> None:
        """Have something happen between the last look and a key, which a server can see."""
        chance = self._night.random
        if chance.random() < 0.1:
            terminal.twists ^= {chance.choice(("copy mode", "synchronized", "off"))}
        elif chance.random() < 0.05 and not terminal.is_deaf:
            self._touch(terminal)

    # What types

    def type(self, typing: NightTyping) -> None:
        """Have a thread type, some seconds later."""
        self._waiting.append(typing)

    def type_all(self) -> None:
        """Have the threads do their work that are not too slow."""
        waiting, self._waiting = self._waiting, []
        for typing in waiting:
            if typing.daemon.dead:
                continue  # its thread has died with it
            if self._night.random.random() < 0.2:
                self._waiting.append(typing)
                continue
            self.working = typing
            with contextlib.suppress(Killed):
                typing.work()
            self.working = None
            self._night.rules.stopped_typing(typing)

    @contextlib.contextmanager
    def staged(self) -> Iterator[None]:
        """Have the monitor's code type into these terminals."""
        with (
            mock.patch.object(settings, "TYPES", True),
            mock.patch.object(Claude, "input_line", self._input_line),
            mock.patch.multiple(
                typist,
                look_at=self._look_at,
                environment_of=lambda pid: {"TMUX_PANE": f"%{pid}"},
                place_of=self._place_of,
                process_stat=self._stat,
                Tmux=partial(StagedTmux, self._night, self._by_pid),
                time=SimpleNamespace(monotonic=lambda: self._waited, sleep=self._sleep),
            ),
        ):
            yield

    def _sleep(self, seconds: float) -> None:
        self._waited += seconds
        if self.working is not None:
            self._happen_to(self.working)

    def _input_line(self, _: str, session: Identity) -> InputLine:
        terminal = self.of(session.id)
        if terminal is None:
            raise Doubt("it is not in the registry of its home")
        if "busy" in terminal.twists:
            raise Doubt("it does not say that it is idle (its status: busy)")
        vim = "vim" in terminal.twists
        return InputLine(
            terminal.pid,
            "77",
            partial(claude_screen.doubt_of_empty, vim=vim),
            partial(claude_screen.doubt_of_typed, vim=vim),
        )

    def _look_at(self, pid: int) -> Process | None:
        session, terminal = self._by_pid[pid]
        if self.of(session) is not terminal:
            return None
        return Process(pid, "77", ("claude",), terminal="pts/3")

    def _stat(self, pid: int) -> list[bytes]:
        return self._by_pid[pid][1].stat() if pid in self._by_pid else []

    def _place_of(self, environment: Mapping[str, str]) -> Place:
        pane = environment["TMUX_PANE"]
        if not self._by_pid[int(pane[1:])][1].in_tmux:
            raise Doubt("it does not run in tmux")
        return Place("/tmux", SERVER, pane)


class StagedTmux:
    """The server of tmux, as `tmux.Tmux` asks it about one pane."""

    def __init__(
        self,
        night: Night,
        terminals: Mapping[int, tuple[str, Terminal]],
        place: Place,
        _: Mapping[str, str],
    ) -> None:
        self._night = night
        self._session, self._terminal = terminals[int(place.pane[1:])]

    def look(self) -> Pane:
        if self._night.random.random() < 0.01:
            raise Doubt("its tmux does not answer within 2 seconds")
        return self._terminal.pane()

    def type(self, text: str, state: str) -> bool:
        if not self._gets_key(state):
            return False
        self._night.rules.check_text(self._typing, self._terminal)
        self._terminal.text += text
        return self._is_told()

    def enter(self, state: str) -> bool:
        if not self._gets_key(state):
            return False
        self._night.rules.check_enter(self._typing, self._terminal)
        text, self._terminal.text = self._terminal.text, ""
        self._night.submit(self._session, text, self._terminal.pid)
        return self._is_told()

    @property
    def _typing(self) -> NightTyping:
        working = self._night.terminals.working
        if working is None:
            raise Broken("a key that nobody wanted")
        return working

    def _gets_key(self, state: str) -> bool:
        self._night.terminals.before_key(self._terminal)
        return self._terminal.pane().state == state

    def _is_told(self) -> bool:
        """Return that the key has arrived, unless the answer is lost."""
        if self._night.random.random() < 0.02:
            raise Doubt("its tmux does not answer within 2 seconds")
        return True


class NightTyping(Typing):
    """
    A prompt that is typed some seconds later, as a thread would.

    :ivar key: the key of the record that it is for.
    """

    def __init__(
        self,
        night: Night,
        daemon: Daemon,
        session: str,
        prompt: str,
        typist: Typist,
        forbids: Callable[[], str | None],
    ) -> None:
        self.outcome: Typed | None = None
        self.daemon, self.session, self.prompt = daemon, session, prompt
        self.key = night.key_of(session)
        self._typist, self._forbids = typist, forbids

    def work(self) -> None:
        """Type it."""
        self._type(self._typist, self.prompt, self._forbids)

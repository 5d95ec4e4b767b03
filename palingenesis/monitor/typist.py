"""
Types a prompt into the terminal of an open program, if nothing at all is in doubt.

Each condition is one small predicate. All are asked before the intent is recorded, and again
before the text and before Enter. A person may still act between the last look and a key: the
server of tmux drops the key if its pane has changed by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import NamedTuple

from palingenesis.monitor.agents.agent import InputLine
from palingenesis.monitor.homes import Home
from palingenesis.monitor.processes import Process, look_at, names_of
from palingenesis.monitor.screen import Screen
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.tmux import Doubt, Pane, Place, Tmux, place_of
from palingenesis.procfs import environment_of, process_stat

#: Seconds for which a person who has used the terminal is there.
PRESENCE = 300.0
#: The kinds of terminal that tmux and screen are.
NESTED = ("tmux", "screen")
#: Seconds until a text that was typed has to stand, and the time between two looks.
STANDING, BETWEEN = 3.0, 0.05
#: Generations of processes between a pane and a program.
_GENERATIONS = 32


class Typed(NamedTuple):
    """
    What became of a prompt.

    :ivar typed: whether its text may stand in the terminal.
    :ivar sent: whether Enter may have been pressed.
    :ivar doubt: why it was not, in one line; None if it was.
    """

    typed: bool
    sent: bool
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """
    All that is known of an open program and its pane at one moment.

    :ivar now: the time, in seconds since the epoch.
    :ivar programs: the names under which its agent's program runs.
    :ivar place: where it runs, by its own environment.
    :ivar is_stopped: whether it waits for SIGCONT.
    :ivar in_foreground: whether its terminal's keys are for it.
    :ivar ancestors: the pids of its parents, and its own.
    """

    now: float
    line: InputLine
    programs: frozenset[str]
    process: Process
    place: Place
    pane: Pane
    is_stopped: bool
    in_foreground: bool
    ancestors: frozenset[int]


def _is_alone(look: Look) -> bool:
    """Return whether nobody has used a terminal of the pane's session for a while."""
    return all(look.now - client.active >= PRESENCE for client in look.pane.clients)


#: What must hold, whatever the screen shows, each with what it is if it does not.
CONDITIONS: tuple[tuple[Callable[[Look], bool], str], ...] = (
    (lambda look: not look.is_stopped, "it is suspended"),
    (lambda look: look.pane.server == look.place.server, "its tmux has been started again"),
    (lambda look: look.pane.terminal == look.process.terminal, "its terminal is not its pane's"),
    (lambda look: look.in_foreground, "it is not in the foreground of its terminal"),
    (lambda look: look.pane.pid in look.ancestors, "another program was started in its pane"),
    (
        lambda look: not look.programs.isdisjoint(names_of((look.pane.command,))),
        "another program is in the foreground of its pane",
    ),
    (lambda look: not look.pane.in_mode, "its pane is in copy mode, or another of tmux's"),
    (lambda look: not look.pane.is_synchronized, "its pane is synchronized with others"),
    (lambda look: not look.pane.is_off, "its pane takes no keys"),
    (
        lambda look: not any(client.controls for client in look.pane.clients),
        "another program controls its tmux, so that a person's keys are not seen",
    ),
    (
        lambda look: not any(client.kind.startswith(NESTED) for client in look.pane.clients),
        "its tmux runs in another one, or in screen",
    ),
    (_is_alone, f"a person used its terminal within the last {PRESENCE / 60:.0f} minutes"),
)


def doubt_of(look: Look) -> str | None:
    """Return the first condition that does not hold, in words; None if all do."""
    return next((doubt for holds, doubt in CONDITIONS if not holds(look)), None)


class Typist:
    """
    Types into the terminal of the program that has one session open.

    Its methods may take seconds, and belong in a thread.

    :param environment: the daemon's environment.
    :param wall: the time, in seconds since the epoch.
    """

    def __init__(
        self,
        home: Home,
        session: Identity,
        environment: Mapping[str, str],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._session = session
        self._environment = environment
        self._wall = wall

    def doubt(self) -> str | None:
        """Return why no prompt can be typed now, in one line; None if one can."""
        try:
            self._look_for_empty_line()
        except Doubt as doubt:
            return str(doubt)
        return None

    def type(self, prompt: str, forbids: Callable[[], str | None]) -> Typed:
        """
        Type a prompt and press Enter, each only if nothing is in doubt.

        :param prompt: see `settings.check_typed`.
        :param forbids: asked before each key; returns why none may be pressed, or None.
        """
        try:
            look, tmux = self._look_for_empty_line()
            _check(forbids)
        except Doubt as doubt:
            return Typed(False, False, str(doubt))
        try:
            if not tmux.type(prompt, look.pane.state):
                return Typed(False, False, "its pane has just changed")
            return self._enter(look.pane.screen, prompt, forbids)
        except Doubt as doubt:
            return Typed(True, False, str(doubt))

    def _look_for_empty_line(self) -> tuple[Look, Tmux]:
        """
        Look at the program and its pane.

        :raises Doubt: unless the program surely shows its empty input line.
        """
        look, tmux = self._look()
        if (doubt := look.line.doubt_of_empty(look.pane.screen)) is not None:
            raise Doubt(doubt)
        return look, tmux

    def _enter(self, empty: Screen, prompt: str, forbids: Callable[[], str | None]) -> Typed:
        """
        Press Enter once the prompt stands in the line and the screen has come to rest.

        :param empty: the screen before.
        :raises Doubt: if something has changed meanwhile; then it is not pressed.
        """
        before = None
        end = time.monotonic() + STANDING
        while True:
            look, tmux = self._look()
            doubt = look.line.doubt_of_typed(empty, look.pane.screen, prompt)
            if doubt is None and look.pane.screen == before:
                _check(forbids)
                try:
                    if tmux.enter(look.pane.state):
                        return Typed(True, True)
                except Doubt:
                    return Typed(True, True)  # it may have been pressed
            if time.monotonic() >= end:
                raise Doubt(doubt or "its screen does not come to rest")
            before = look.pane.screen
            time.sleep(BETWEEN)

    def _look(self) -> tuple[Look, Tmux]:
        """
        Look at the program and its pane.

        :raises Doubt: unless all conditions hold that do not depend on what the screen shows.
        """
        agent = self._home.kind
        line = agent.input_line(self._home.directory, self._session)
        process = look_at(line.pid)
        if process is None or process.start != line.start:
            raise Doubt("it has just ended")
        environment = environment_of(line.pid)
        if environment is None:
            raise Doubt("its environment cannot be read")
        place = place_of(environment)
        tmux = Tmux(place, self._environment)
        pane = tmux.look()
        # After the look at the screen: what has ended meanwhile is gone.
        fields = process_stat(line.pid)
        if len(fields) < 6:
            raise Doubt("it has just ended")
        look = Look(
            now=self._wall(),
            line=line,
            programs=agent.programs,
            process=process,
            place=place,
            pane=pane,
            is_stopped=fields[0] in (b"T", b"t"),
            in_foreground=fields[2] == fields[5],
            ancestors=frozenset(_generations(line.pid)),
        )
        if (doubt := doubt_of(look)) is not None:
            raise Doubt(doubt)
        return look, tmux


class Typing:
    """
    A prompt that is being typed, in a thread that ends within seconds.

    The thread does not keep the daemon from stopping.

    :ivar outcome: what became of it; None until that is known.
    """

    def __init__(self, typist: Typist, prompt: str, forbids: Callable[[], str | None]) -> None:
        self.outcome: Typed | None = None
        Thread(target=self._type, args=(typist, prompt, forbids), daemon=True).start()

    def _type(self, typist: Typist, prompt: str, forbids: Callable[[], str | None]) -> None:
        try:
            self.outcome = typist.type(prompt, forbids)
        except Exception as error:
            # It may have happened after the text.
            self.outcome = Typed(True, False, f"{type(error).__name__}: {error}")


def _check(forbids: Callable[[], str | None]) -> None:
    if (reason := forbids()) is not None:
        raise Doubt(reason)


def _generations(pid: int) -> list[int]:
    """Return a process, its parent, and so on."""
    found = [pid]
    while len(found) < _GENERATIONS:
        fields = process_stat(found[-1])
        if len(fields) < 2 or not int(fields[1]):
            break
        found.append(int(fields[1]))
    return found

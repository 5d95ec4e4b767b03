"""What a daemon lacks to bring sessions back, the first thing first."""

from __future__ import annotations

import os

from palingenesis.cli.columns import at_home
from palingenesis.cli.format import PLAIN, RED
from palingenesis.cli.trial import attempt
from palingenesis.text import printable
from palingenesis.words import OK_WORD, Key, Method, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from palingenesis.monitor.settings import Settings

    #: Tries the program of a home's command; returns why it does not run, or None.
    Trial = Callable[[str, str], str | None]

#: Seconds that a program has for ``--version``.
VERSION_TIMEOUT = 10.0
#: Directories of sessions in which the program of a home is tried.
DIRECTORIES = 5

#: The states of sessions that may be brought back tonight.
_OPEN = (State.REVIVING, State.WAITING, State.WORKING, State.QUIET)


def lacks(inspected: Mapping[str, Any], scan: object, trial: Trial) -> Iterator[str]:
    """
    Yield what a daemon lacks to bring a session back, in words.

    :param inspected: what ``INSPECT`` replies; what a daemon would reply if it were started
        says nothing of the keeper.
    :param scan: what ``STATUS`` replies as ``scan``; None if it does not.
    :param trial: called with a home's name and the path of its command's program.
    :raises AttributeError, KeyError, TypeError: when it replies something else.
    """
    configuration = inspected[Key.CONFIGURATION]
    if mistake := configuration[Key.MISTAKE]:
        yield f"the configuration has a mistake, and a restart would fail: {mistake}"
    if inspected[Key.LEDGER] != OK_WORD:
        yield f"nothing can be recorded or started: {inspected[Key.LEDGER]}"
    homes = {name: home for name, home in inspected[Key.AGENTS].items() if home[Key.MONITORED]}
    unreadable = [
        home[Key.DIRECTORY]
        for home in homes.values()
        if not os.access(home[Key.DIRECTORY], os.R_OK | os.X_OK)
    ]
    if not homes:
        yield "no agent's directory is there to monitor"
    for directory in unreadable:
        yield f"{at_home(directory)} cannot be read"
    if scan not in (None, OK_WORD):
        yield f"the last scan failed: {scan}"
    commands = {
        name: each
        for name, each in inspected[Key.COMMANDS].items()
        if name.partition(".")[0] in homes
    }
    others = inspected[Key.COMMANDS]
    if not commands and (homes or not others):
        action = "edit" if configuration[Key.EXISTS] else "init"
        which = f" for {', '.join(homes)}" if others else ""
        yield f"no command is named{which}; `palingenesis config {action}` names one"
    for name, command in commands.items():
        # What presses keys for a terminal is tmux, and that has no ``--version``.
        is_tried = command[Key.PROGRAM] and not name.endswith(f".{Method.TYPE_INTO}")
        tried = trial(name, command[Key.PROGRAM]) if is_tried else None
        if reason := command[Key.TROUBLE] or tried:
            yield f"the command of {name} does not run: {reason}"
    if inspected.get(Key.KEEPER, True) is not True:
        yield "another daemon revives"
    if inspected[Key.PAUSED]:
        yield "it is paused; `palingenesis resume` ends the pause"


class Surroundings:
    """
    What a daemon gives to the commands that it starts, and trials in it.

    :param settings: those of the configuration; None if it has a mistake.
    :param inherited: the daemon's environment.
    :param directories: those of sessions that may be brought back, by the home's name.
    :param say: called with each trial's row; None if the trials are not shown.
    """

    def __init__(
        self,
        settings: Settings | None,
        inherited: Mapping[str, str],
        directories: Mapping[str, Sequence[str]],
        say: Callable[..., None] | None = None,
    ) -> None:
        from palingenesis.monitor.homes import default_homes

        self._settings = settings
        self._inherited = inherited
        self._directories = directories
        self._say = say
        self._homes = {**default_homes(inherited), **(settings.homes if settings else {})}

    def trial(self, name: str, program: str) -> str | None:
        """Try the program of a home's command in each of its directories: a `Trial`."""
        if self._settings is None:
            # Nor is it known what the command's environment adds.
            return None
        for directory in self._directories.get(name.partition(".")[0]) or ["/"]:
            if reason := self._trial(name, program, directory):
                return reason
        return None

    def _trial(self, name: str, program: str, directory: str) -> str | None:
        from palingenesis.monitor import child, revive
        from palingenesis.monitor.child import CommandError

        if directory != "/":
            try:
                revive.check_directory(directory)
            except CommandError as error:
                return str(error)
        home, _, method = name.partition(".")
        assert self._settings is not None  # noqa: S101 - else nothing is tried
        revival = self._settings.revival_of(home, directory)
        command = revival.run_for(Method(method or Method.COMMAND)) if revival else None
        if command is None:
            # The daemon works with what it read before.
            environment = child.child_environment(self._inherited)
        else:
            environment = revive.environment_for(
                command, self._homes[home], directory, self._inherited
            )
        outcome = attempt([program, "--version"], environment, VERSION_TIMEOUT, directory=directory)
        trouble = outcome.failure and f"{at_home(program)} --version: {outcome.failure}"
        if self._say is not None:
            where = "" if directory == "/" else f" in {at_home(directory)}"
            shown = trouble or printable(outcome.output.partition("\n")[0]) or "works"
            self._say("tried", printable(f"{name}{where}: {shown}"), RED if trouble else PLAIN)
        return trouble

    def notify(self) -> None:
        """Send a notification, and show how that ended."""
        from palingenesis.cli.notify import send_once

        if self._say is None or self._settings is None:
            return
        if not self._settings.notify:
            self._say(Key.NOTIFY, "no command is named in [notify], so nobody is notified")
            return
        summary, outcome = send_once(self._settings.notify, self._inherited)
        if outcome.failure is None:
            self._say(Key.NOTIFY, printable(f"sent: {summary}"))
        else:
            self._say(Key.NOTIFY, printable(f"[notify] command: {outcome.failure}"), RED)


def directories_of(sessions: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """
    Return the directories of sessions that may be brought back, by the home's name.

    :param sessions: as ``SESSIONS`` replies them, the urgent first.
    """
    found: dict[str, list[str]] = {}
    for session in sessions:
        if session[Key.STATE] in _OPEN:
            places = found.setdefault(session[Key.HOME], [])
            if session[Key.DIRECTORY] not in places and len(places) < DIRECTORIES:
                places.append(session[Key.DIRECTORY])
    return found

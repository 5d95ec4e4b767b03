"""What a daemon would have around it if it were started now: asked without one."""

from __future__ import annotations

import heapq
import os
import time

from palingenesis.cli.columns import at_home
from palingenesis.cli.format import PLAIN, RED
from palingenesis.cli.lacking import DIRECTORIES
from palingenesis.cli.start import daemon_files
from palingenesis.daemon import pidfile
from palingenesis.monitor.inspection import inspect
from palingenesis.monitor.ledger.file import LedgerFile
from palingenesis.monitor.ledger.history import fold
from palingenesis.monitor.statedir import check_directory
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import World
from palingenesis.paths import PathError, state_directory
from palingenesis.text import in_short, printable
from palingenesis.trust import check_own_state, check_writable, open_log
from palingenesis.words import OK_WORD, REVIVABLE, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from palingenesis.cli.inspection import Row
    from palingenesis.monitor.settings import Settings

#: Sessions whose directories are looked at, those that grew last.
_SESSIONS = 20


class Unstarted:
    """
    The surroundings of a daemon that does not run.

    :param settings: those of the configuration.
    :param config: the path of the configuration file; None if there is none.
    :param given: the path of the socket, if it was given.
    :ivar state: the state directory.
    :ivar inspected: what ``INSPECT`` would reply.
    """

    def __init__(self, settings: Settings, config: str | None, given: str | None) -> None:
        self._given = given
        self._max_age = settings.max_age
        self.state = state_directory()
        self._world = World(self.state, lambda _: None, Times())
        self._homes = self._world.homes(settings.agents, settings.homes.values())
        ledger, paused = _ledger(self.state)
        self.inspected: dict[str, Any] = {
            Key.CONFIGURATION: {
                Key.PATH: config,
                Key.EXISTS: config is not None,
                Key.MISTAKE: None,
            },
            **inspect(settings, self._world, {}),
            Key.LEDGER: ledger,
            Key.PAUSED: paused,
        }

    def rows(self) -> Iterator[Row]:
        """Check the state directory, the log and the PID file as a start would."""
        yield Key.STATE, printable(at_home(self.state)), PLAIN
        try:
            pid, log = daemon_files(self._given, self.state)
        except PathError as error:
            yield "files", str(error), RED
            return
        for label, path, advice in (
            ("log", log, "give --state DIR"),
            ("PID file", pid, "give --socket another file name"),
        ):
            try:
                check_writable(path, advice)
                if label == "log":
                    if os.path.lexists(path):
                        os.close(open_log(path))
                else:
                    pidfile.check(path, advice)
            except PathError as error:
                yield label, str(error), RED
            else:
                yield label, printable(at_home(path)), PLAIN

    def directories(self) -> dict[str, list[str]]:
        """Return the directories of sessions that may be brought back, by the home's name."""
        oldest = (time.time() - self._max_age) * 1e9
        changes = (
            (each.stamp.mtime_ns, each.transcript, each.home)
            for each in self._world.scan(self._homes)
            if each is not None and each.stamp is not None and each.stamp.mtime_ns > oldest
        )
        found: dict[str, list[str]] = {}
        for _, transcript, home in heapq.nlargest(_SESSIONS, changes, key=lambda each: each[:2]):
            try:
                read = self._world.read(home, transcript, None)
            except OSError:
                continue
            if read is not None and read[1].kind in (None, *REVIVABLE):
                places = found.setdefault(home.name, [])
                if read[0].directory not in places and len(places) < DIRECTORIES:
                    places.append(read[0].directory)
        return found


def _ledger(state: str) -> tuple[str, bool]:
    """Return what keeps the ledger from being written, and whether the monitor is paused."""
    try:
        check_own_state(state, os.geteuid())
        if os.path.lexists(state):
            check_directory(state)
        file = LedgerFile(state)
        check_writable(file.path, "give --state DIR")
        return OK_WORD, fold(file.read())[0].paused
    except FileNotFoundError:
        return OK_WORD, False
    except PathError as error:
        return str(error), False
    except OSError as error:
        return f"{state}: {in_short(error)}", False

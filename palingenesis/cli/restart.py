"""``palingenesis restart``: stop the daemon, and start it with the options that it has."""

from __future__ import annotations

import os

from palingenesis.cli.config import read_trusted
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.cli.outcome import not_at_all
from palingenesis.cli.start import start
from palingenesis.cli.stop import stop
from palingenesis.client.blocking import ControlClient
from palingenesis.config import ConfigError
from palingenesis.locate import recorded_place
from palingenesis.paths import config_file
from palingenesis.procfs import arguments_of
from palingenesis.text import printable
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.cli.outcome import Report

#: The options that ``palingenesis start`` passes to its daemon.
_OPTIONS = ("--state", "--socket", "--config")
_PLUGIN = "palingenesis"


def restart(given: str | None, timeout: float | None, report: Report) -> Exit:
    """
    Restart the daemon that answers, if ``palingenesis start`` has started it.

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds to stop, and again to start; None for their own.
    :param report: reports the new daemon.
    :raises palingenesis.client.errors.ClientError: when nothing answers there.
    """
    client = ControlClient(given)
    pid = client.status().extra.get(Key.PID)
    options = options_in(arguments_of(pid)) if isinstance(pid, int) else None
    if options is None:
        complain(
            f"cannot restart the daemon at {printable(client.path)}: `palingenesis start` has not "
            "started it in the background; restart it as it was started"
        )
        return Exit.NO_ANSWER
    socket, config, state = (options.get(each) for each in ("--socket", "--config", "--state"))
    file = config or config_file()
    if file is not None and os.path.lexists(file):
        try:
            configured = read_trusted(file).socket
        except ConfigError as error:
            complain(f"{error}; the daemon at {printable(client.path)} is left running")
            return Exit.USAGE
    else:
        configured = None
    if socket is None and (configured is None or not _goes_by_rules(client.path, state)):
        socket = given
    status = stop(given, timeout, not_at_all)
    if status is not Exit.DONE:
        return status
    return start(socket, config, state, timeout, False, report)


def _goes_by_rules(path: str, state: str | None) -> bool:
    """Return whether nobody gave a daemon its path: then a changed configuration moves it."""
    place = recorded_place(state)
    return place is not None and place.path == path


def options_in(arguments: list[str]) -> dict[str, str] | None:
    """
    Return the options of a daemon that ``palingenesis start`` has started in the background.

    :param arguments: its command line.
    :returns: None if it is another daemon, or has options that `start` does not know.
    """
    if _PLUGIN not in arguments or not any(each.startswith("--logfile=") for each in arguments):
        return None
    at = arguments.index(_PLUGIN)
    before, after = arguments[1:at], arguments[at + 1 :]
    module = f"{_PLUGIN}.daemon"
    if before[:3] != ["-P", "-m", module] or len(before) != len(("-P", "-m", module, "p", "l")):
        return None
    names, values = after[::2], after[1::2]
    if len(names) != len(values) or not set(names) <= set(_OPTIONS):
        return None
    return dict(zip(names, values, strict=True))

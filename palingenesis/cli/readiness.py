"""What a daemon lacks to bring sessions back, the first thing first."""

from __future__ import annotations

import os
import subprocess

from palingenesis.cli.columns import at_home
from palingenesis.text import in_short, printable
from palingenesis.words import OK_WORD, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    #: Tries the program of a home's command; returns why it does not run, or None.
    Trial = Callable[[str, str], str | None]

#: Seconds that a program has for ``--version``.
VERSION_TIMEOUT = 10.0


def lacks(inspected: Mapping[str, Any], scan: object, trial: Trial) -> Iterator[str]:
    """
    Yield what a daemon lacks to bring a session back, in words.

    :param inspected: what ``INSPECT`` replies.
    :param scan: what ``STATUS`` replies as ``scan``; None if it does not.
    :param trial: called with a home's name and the path of its command's program.
    :raises AttributeError, KeyError, TypeError: when it replies something else.
    """
    if mistake := inspected[Key.CONFIGURATION][Key.MISTAKE]:
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
    commands = {name: each for name, each in inspected[Key.COMMANDS].items() if name in homes}
    if not commands:
        yield "no command is named; `palingenesis config init` or `config edit` names one"
    for name, command in commands.items():
        reason = command[Key.TROUBLE] or trial(name, command[Key.PROGRAM])
        if reason:
            yield f"the command of {name} does not run: {reason}"
    # An older daemon does not reply it.
    if (notify := inspected.get(Key.NOTIFY)) and notify[Key.TROUBLE]:
        yield f"nobody is notified: {notify[Key.TROUBLE]}"
    if inspected[Key.KEEPER] is not True:
        yield "another daemon revives"
    if inspected[Key.PAUSED]:
        yield "it is paused; `palingenesis resume` ends the pause"


def trial_in(pid: object, config: str | None) -> Trial:
    """
    Return a trial of programs in the environment that a revival gets.

    :param pid: the daemon's; its environment is used if it can be read, else our own.
    :param config: the path of its configuration.
    """
    inherited = _environment_of(pid) or dict(os.environ)

    def trial(home: str, program: str) -> str | None:
        from palingenesis.cli.config import read
        from palingenesis.config import ConfigError
        from palingenesis.monitor import child
        from palingenesis.monitor.settings import settings_of

        added: Mapping[str, str] = {}
        try:
            if config is not None:
                settings = settings_of(read(config).tables)
                if home in settings.revive:
                    added = settings.revive[home].environment
        except ConfigError:
            pass  # The daemon works with what it read before, and the mistake is reported.
        return version_trouble(program, child.child_environment(inherited, added))

    return trial


def version_trouble(program: str, environment: Mapping[str, str]) -> str | None:
    """Run a program with ``--version``, and return in words why that fails; None if it works."""
    try:
        done = subprocess.run(  # noqa: S603 - an argument list, no shell
            [program, "--version"],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except OSError as error:
        return f"{at_home(program)}: {in_short(error)}"
    except subprocess.TimeoutExpired:
        return f"{at_home(program)} --version took longer than {VERSION_TIMEOUT:g} s"
    if done.returncode == 0:
        return None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    said = printable(lines[-1]) if lines else "nothing"
    return f"{at_home(program)} --version ended with {done.returncode}, and printed: {said}"


def _environment_of(pid: object) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = os.fsdecode(file.read()).split("\0")
    except OSError:
        return {}
    pairs = (each.partition("=") for each in variables)
    return {name: value for name, equals, value in pairs if equals}

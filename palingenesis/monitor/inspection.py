"""What a monitor has around it, as ``INSPECT`` replies it: its homes, and what revives in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from palingenesis.monitor.child import CommandError
from palingenesis.monitor.revive import Command
from palingenesis.monitor.settings import Settings
from palingenesis.monitor.world import World
from palingenesis.redacted import redacted
from palingenesis.words import Key, Method


def inspect(
    settings: Settings, world: World, kept_by: Mapping[str, bool | int | None]
) -> dict[str, Any]:
    """
    Return each home, and by its name each method, and what notifies a person.

    A method that is no command has its own name after the home's.

    :param kept_by: True for a home that this daemon keeps; else the pid that does, if known.
    """
    monitored = {home.name for home in world.homes(settings.agents, settings.homes.values())}
    every = {**world.default_homes(), **settings.homes}
    return {
        Key.AGENTS: {
            name: {
                Key.DIRECTORY: home.directory,
                Key.EXISTS: os.path.isdir(home.directory),
                Key.MONITORED: name in monitored,
                Key.KEEPER: kept_by.get(name),
            }
            for name, home in every.items()
        },
        Key.COMMANDS: {
            name if method is Method.COMMAND else f"{name}.{method}": _found(
                # The keys for a terminal are tmux's to press.
                revival.run_for(method) or Command(("tmux",)),
                world,
            )
            for name, revival in settings.revive.items()
            for method in revival.methods
        },
        Key.NOTIFY: _found(Command(settings.notify), world) if settings.notify else None,
    }


def _found(command: Command, world: World) -> dict[str, Any]:
    program = trouble = None
    try:
        program = world.program(command)
    except CommandError as error:
        trouble = str(error)
    return {Key.COMMAND: redacted(command.arguments), Key.PROGRAM: program, Key.TROUBLE: trouble}

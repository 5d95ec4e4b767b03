"""GitHub Copilot CLI, as it really is."""

from __future__ import annotations

import tomllib

from tests.agents import basics, permissions
from tests.agents.copilot import Copilot


class CopilotTests(basics.Basics):
    kind = Copilot
    open_owner = "owner-alive"
    closed = "died"


class PermissionsTests(permissions.Permissions):
    kind = Copilot
    title = "GitHub Copilot CLI"

    def apply(self) -> None:
        """Do nothing: the permissions are arguments of the command."""

    def command(self) -> list[str]:
        command: list[str] = tomllib.loads(self.shown("toml"))["revive"]["copilot"]["command"]
        return command

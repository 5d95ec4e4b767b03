"""What a valid configuration names and this system does not have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.config import warnings
from palingenesis.monitor import child
from palingenesis.monitor import settings as settings_module
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.settings import HomeRevival, Settings


class TerminalTests(SynchronousTestCase):
    """A prompt that is to be typed needs Linux, and tmux."""

    settings = Settings(revive={"claude": HomeRevival(type_into=True)})

    def warnings(self, *, linux: bool, tmux: bool) -> list[str]:
        def find(name: str, environment: object) -> str:  # noqa: ARG001
            if not tmux:
                raise CommandError(f"{name}: no such program")
            return f"/bin/{name}"

        self.patch(settings_module, "TYPES", linux)
        self.patch(child, "find_program", find)
        return list(warnings(self.settings, {}))

    def test_a_terminal_to_type_into_has_no_warning(self) -> None:
        self.assertEqual(self.warnings(linux=True, tmux=True), [])

    def test_a_missing_tmux_is_a_warning(self) -> None:
        expected = ["revive.claude.type_into: tmux: no such program"]
        self.assertEqual(self.warnings(linux=True, tmux=False), expected)

    def test_typing_on_another_system_is_a_warning(self) -> None:
        (warning,) = self.warnings(linux=False, tmux=False)
        self.assertIn("revive.claude.type_into: not used", warning)

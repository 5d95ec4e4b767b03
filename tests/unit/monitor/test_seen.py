"""Records that the real programs wrote, shortened, and what each file means."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.sessions import Verdict
from palingenesis.words import Kind

SEEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seen")

#: By agent and file: how the session stopped, and when its limit ends.
EXPECTED: dict[str, dict[str, tuple[Kind | None, float | None]]] = {
    "claude": {
        # The limit is over: the program went on by itself, and was killed.
        "auto-continuation-killed": (None, None),
        "cancelled-by-esc": (Kind.USER, None),
        "continued-in": (Kind.CONTINUED, None),
        # That its user left stands in another file.
        "exit-not-recorded": (Kind.TRANSIENT, None),
        "monthly-spend-with-reset": (Kind.LIMIT, 1795773332.0),
        "out-of-credits-resets": (Kind.LIMIT, 1795773331.0),
        "out-of-order-2.1.150": (Kind.LIMIT, 1795773540.0),
        "tool-result-of-the-resume": (None, None),
    },
    "codex": {
        "a-no-error-limit-0.130-0.144": (Kind.LIMIT, 1795771664.0),
        "b-401": (Kind.REFUSED, None),
        "c-cut": (Kind.TRANSIENT, None),
        "d-rate": (Kind.TRANSIENT, None),
        "e-quota-after-full": (Kind.REFUSED, None),
        # A message from the queue, whose turn `codex exec` cut off as it ended: see `last_prompt`.
        "queued-and-cut-off": (Kind.USER, None),
    },
}


def path_of(agent: str, name: str) -> str:
    return os.path.join(SEEN, agent, f"{name}.jsonl")


class SeenTests(SynchronousTestCase):
    def read(self, agent: str, name: str) -> Verdict:
        found = AGENTS[agent].read(path_of(agent, name))
        assert found is not None
        return found[1]

    def test_every_file_has_its_meaning(self) -> None:
        for agent, expected in EXPECTED.items():
            for name, meaning in expected.items():
                verdict = self.read(agent, name)
                self.assertEqual((verdict.kind, verdict.reset), meaning, name)

    def test_the_prompt_of_a_turn_that_was_cut_off_is_known(self) -> None:
        verdict = self.read("codex", "queued-and-cut-off")
        self.assertEqual((verdict.last_prompt, verdict.progress), ("continue", None))

    def test_every_file_is_expected(self) -> None:
        for agent, expected in EXPECTED.items():
            files = {path_of(agent, name) for name in expected}
            directory = os.path.join(SEEN, agent)
            self.assertEqual({os.path.join(directory, f) for f in os.listdir(directory)}, files)

    def test_what_a_resume_writes_itself_is_no_progress(self) -> None:
        verdict = self.read("claude", "tool-result-of-the-resume")
        self.assertEqual(verdict.progress, 1795770119.267)  # the call before

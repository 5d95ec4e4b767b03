"""Records that the test bed has kept of the real programs, and what each file means."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

import tests.agents
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.sessions import Verdict
from palingenesis.words import Kind

RECORDS = os.path.join(os.path.dirname(os.path.abspath(tests.agents.__file__)), "records")

#: By file: how the session stopped, and when its limit ends.
EXPECTED: dict[str, tuple[Kind | None, float | None]] = {
    "claude/bad-request-2.1.332": (Kind.UNKNOWN, None),
    "claude/closed-in-a-tool-2.1.332": (None, None),
    "claude/ctrl-d-at-a-limit-2.1.332": (Kind.USER, None),
    "claude/cut-stream-2.1.150": (Kind.TRANSIENT, None),
    "claude/esc-before-a-reply-2.1.332": (None, None),
    "claude/extra-usage-required-2.1.332": (Kind.REFUSED, None),
    "claude/individual-spend-limit-2.1.332": (Kind.LIMIT, 1795786402.0),
    "claude/limit-as-a-summary-2.1.150": (Kind.FINISHED, None),
    "claude/limit-while-compacting-2.1.332": (Kind.LIMIT, 1795786380.0),
    "claude/limit-while-compacting-by-itself-2.1.332": (Kind.LIMIT, 1795786380.0),
    "claude/model-not-found-2.1.332": (Kind.REFUSED, None),
    "claude/payment-required-2.1.332": (Kind.REFUSED, None),
    "claude/rate-limit-not-usage-2.1.332": (Kind.TRANSIENT, None),
    "claude/request-too-large-2.1.332": (Kind.CONTEXT, None),
    "claude/sub-agent-at-a-limit-2.1.332": (Kind.LIMIT, 1795786402.0),
    "codex/capacity-0.146.0": (Kind.TRANSIENT, None),
    "codex/capacity-0.171.0": (Kind.TRANSIENT, None),
    "codex/cut-0.146.0": (Kind.TRANSIENT, None),
    "codex/cut-0.171.0": (Kind.TRANSIENT, None),
    "codex/forbidden-0.146.0": (Kind.REFUSED, None),
    "codex/forbidden-0.171.0": (Kind.REFUSED, None),
    "codex/gateway-0.146.0": (Kind.TRANSIENT, None),
    "codex/gateway-0.171.0": (Kind.TRANSIENT, None),
    "codex/limit-0.130.0": (Kind.LIMIT, 1795786402.0),
    "codex/limit-0.146.0": (Kind.LIMIT, 1795786402.0),
    "codex/limit-0.171.0": (Kind.LIMIT, 1795786402.0),
    "codex/limit-without-a-reset-0.146.0": (Kind.LIMIT, None),
    "codex/limit-without-a-reset-0.171.0": (Kind.LIMIT, None),
    "codex/not-included-0.146.0": (Kind.REFUSED, None),
    "codex/not-included-0.171.0": (Kind.REFUSED, None),
    "codex/quota-0.146.0": (Kind.REFUSED, None),
    "codex/quota-0.171.0": (Kind.REFUSED, None),
    "codex/rate-limit-in-the-stream-0.146.0": (Kind.TRANSIENT, None),
    "codex/rate-limit-in-the-stream-0.171.0": (Kind.TRANSIENT, None),
    "codex/too-many-requests-0.146.0": (Kind.TRANSIENT, None),
    "codex/too-many-requests-0.171.0": (Kind.TRANSIENT, None),
    # This version does not tell why a turn failed.
    "codex/unauthorized-0.130.0": (Kind.FINISHED, None),
    "codex/unauthorized-0.146.0": (Kind.REFUSED, None),
    "codex/unauthorized-0.171.0": (Kind.REFUSED, None),
}


class RecordsTests(SynchronousTestCase):
    def read(self, name: str) -> Verdict:
        agent = name.partition("/")[0]
        found = AGENTS[agent].read(os.path.join(RECORDS, f"{name}.jsonl"))
        assert found is not None
        return found[1]

    def test_every_file_has_its_meaning(self) -> None:
        for name, meaning in EXPECTED.items():
            verdict = self.read(name)
            self.assertEqual((verdict.kind, verdict.reset), meaning, name)

    def test_every_file_is_expected(self) -> None:
        files = {
            f"{agent}/{name.removesuffix('.jsonl')}"
            for agent in ("claude", "codex")
            for name in os.listdir(os.path.join(RECORDS, agent))
        }
        self.assertEqual(files, set(EXPECTED))

    def test_a_tool_that_ends_with_its_program_is_no_progress(self) -> None:
        verdict = self.read("claude/closed-in-a-tool-2.1.332")
        self.assertEqual(verdict.progress, 1795782831.963)  # the call before

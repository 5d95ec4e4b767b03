"""Claude Code in the test bed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.agents import claude_server
from tests.agents.agent import Agent
from tests.agents.answers import Answer, Call

#: Since this version the records of a limit have figures.
FIGURES = (2, 1, 190)


class ClaudeCode(Agent):
    """Claude Code."""

    name = "claude"
    server = claude_server.ClaudeServer
    transcripts = ".claude/projects/*/*.jsonl"
    empty = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\N{NO-BREAK SPACE}"

    def statable(self, moment: float) -> int:
        # Older ones state a reset by their text alone, in minutes.
        step = 1 if self.release >= FIGURES else 60
        return math.ceil(moment / step) * step

    def environment(self, port: int) -> Mapping[str, str]:
        return {
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "CLAUDE_CODE_OAUTH_TOKEN": "any",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "DISABLE_AUTOUPDATER": "1",
        }

    def files(self, port: int, project: str) -> Mapping[str, str]:
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        known = {
            "hasCompletedOnboarding": True,
            "lastOnboardingVersion": self.version,
            "theme": "dark",
            # Else some starts ask for the mode.
            "hasSeenAutoDefaultNudge": True,
            "hasSeenAutoDefaultNotice": True,
            "projects": {project: trusted},
        }
        allowed = {"permissions": {"allow": ["Bash(*)"], "defaultMode": "acceptEdits"}}
        return {".claude.json": json.dumps(known), ".claude/settings.json": json.dumps(allowed)}

    def headless(self, prompt: str) -> list[str]:
        return ["-p", prompt]

    def resumed(self, session: str) -> list[str]:
        return ["--resume", session]

    def limited(self, resets: float | None) -> Answer:
        return claude_server.limited(resets)

    def runs(self, command: str) -> Answer:
        return Call("Bash", {"command": command, "description": "Run it"})

    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        return str(next(record["sessionId"] for record in records if "sessionId" in record))

    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        return any(record.get("isApiErrorMessage") for record in records)

    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        return sum(
            record.get("type") == "user"
            and not record.get("isMeta")
            and record["message"]["content"] in (text, [{"type": "text", "text": text}])
            for record in records
        )

"""What looks like a secret is not shown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents import AGENTS
from palingenesis.redacted import redacted

SECRET = "Zm9vYmFyMTIzNDU2Nzg5"


class RedactedTests(SynchronousTestCase):
    def test_each_way_to_pass_a_secret_is_hidden(self) -> None:
        for arguments in (
            ["claude", "--api-key", SECRET],
            ["claude", f"--api-key={SECRET}"],
            ["claude", f"--auth-token={SECRET}"],
            ["x", "--password", SECRET, "-v"],
            ["curl", "-H", f"Authorization: Bearer {SECRET}", "https://example.org"],
            ["curl", "-H", f"X-Api-Key: {SECRET}"],
            ["curl", f"https://you:{SECRET}@example.org/"],
            ["curl", f"https://example.org/?a=1&token={SECRET}&b=2"],
            ["sh", "-c", f"ANTHROPIC_API_KEY={SECRET} claude"],
            ["sh", "-c", f'ANTHROPIC_API_KEY="{SECRET} {SECRET}" claude'],
            ["sh", "-c", f"curl -H 'Authorization: Bearer {SECRET}' x"],
            ["x", f"sk-ant-api03-{SECRET}"],
            ["x", f"ghp_{SECRET}"],
            ["x", f"npm_{SECRET}"],
            ["x", f"xoxb-{SECRET}"],
            ["x", f"AKIA{SECRET}"],
            ["x", f"eyJ{SECRET}.{SECRET}.{SECRET}"],
            ["curl", f"https://hooks.slack.com/services/T0/B0/{SECRET}"],
        ):
            with self.subTest(arguments=arguments):
                shown = " ".join(redacted(arguments))
                self.assertNotIn(SECRET, shown)
                self.assertIn("***", shown)

    def test_what_is_no_secret_is_shown_whole(self) -> None:
        for arguments in (
            ["claude", "-p", "--resume", "{id}", "{prompt}"],
            ["codex", "exec", "resume", "{id}", "{prompt}"],
            ["/home/you/.local/bin/claude", "--permission-mode", "acceptEdits"],
            ["sh", "-c", "cd /srv/monkey && exec claude -p --resume {id}"],
            ["curl", "https://example.org/a?b=c"],
            [
                "/home/you/.npm-global/bin/skip-the-questions",
                "--pkgconfig-directory",
                "/npmpackages",
            ],
            *([name, *agent.preset] for name, agent in AGENTS.items()),
            *([name, *agent.queue_preset] for name, agent in AGENTS.items()),
        ):
            with self.subTest(arguments=arguments):
                self.assertEqual(redacted(arguments), arguments)

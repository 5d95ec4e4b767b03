"""The workflow that runs the tests elsewhere has no right and no code that it does not need."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"


class WorkflowTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not WORKFLOW.exists():
            self.skipTest("a source distribution has no workflow")
        self.text = WORKFLOW.read_text()

    def test_each_action_is_named_by_its_digest(self) -> None:
        used = re.findall(r"uses: (\S+)", self.text)
        self.assertGreater(len(used), 1)
        for action in used:
            self.assertRegex(action, r"^[\w/-]+@[0-9a-f]{40}$")

    def test_no_job_may_do_more_than_read(self) -> None:
        self.assertIn("\npermissions: {}\n", self.text)
        granted = set(re.findall(r"^ {6}(\w+): (?:read|write)$", self.text, re.MULTILINE))
        self.assertEqual(granted, {"contents"})
        self.assertNotIn(": write", self.text)

    def test_no_checkout_leaves_credentials_behind(self) -> None:
        checkouts = self.text.count("actions/checkout@")
        self.assertEqual(self.text.count("persist-credentials: false"), checkouts)

    def test_what_is_installed_has_its_version_in_the_checkout(self) -> None:
        lines = [line for line in CONSTRAINTS.read_text().splitlines() if line[0] != "#"]
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertRegex(line, r"^[\w.-]+==[\w.]+$")
        self.assertIn("--constraint .ci/constraints.txt", (ROOT / ".ci" / "run").read_text())
        self.assertIn("pip-audit", self.text)

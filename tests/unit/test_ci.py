"""The workflows that run the tests elsewhere have no right and no code that they do not need."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"


class WorkflowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.texts = {each.name: each.read_text() for each in sorted(WORKFLOWS.glob("*.y*ml"))}
        if not self.texts:
            self.skipTest("a source distribution has no workflow")

    def test_each_action_is_named_by_its_digest(self) -> None:
        for name, text in self.texts.items():
            used = re.findall(r"uses: (.+)", text)
            self.assertGreater(len(used), 1)
            for action in used:
                self.assertRegex(action, r"^[\w/-]+@[0-9a-f]{40} # v[\d.]+$", name)

    def test_no_job_may_do_more_than_read(self) -> None:
        for name, text in self.texts.items():
            self.assertIn("\npermissions: {}\n", text, name)
            granted = set(re.findall(r"^ {6}(\w+): (?:read|write)$", text, re.MULTILINE))
            self.assertEqual(granted, {"contents"}, name)
            self.assertNotIn(": write", text, name)

    def test_no_workflow_runs_with_the_rights_of_its_target(self) -> None:
        for name, text in self.texts.items():
            self.assertNotIn("pull_request_target", text, name)
            self.assertNotIn("workflow_run", text, name)
            self.assertNotIn("secrets.", text, name)

    def test_no_checkout_leaves_credentials_behind(self) -> None:
        for name, text in self.texts.items():
            checkouts = text.count("actions/checkout@")
            self.assertGreater(checkouts, 0, name)
            self.assertEqual(text.count("persist-credentials: false"), checkouts, name)

    def test_what_is_installed_has_its_version_in_the_checkout(self) -> None:
        lines = [line for line in CONSTRAINTS.read_text().splitlines() if line[0] != "#"]
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertRegex(line, r"^[\w.-]+==[\w.]+$")
        for text in ((ROOT / ".ci" / "run").read_text(), self.texts["macos.yml"]):
            installs = re.findall(r"pip install .*", text)
            self.assertEqual(len(installs), 1)
            self.assertIn("--constraint .ci/constraints.txt", installs[0])
        self.assertRegex(self.texts["ci.yml"], r"pip-audit==[\d.]+ .*\.ci/constraints\.txt")

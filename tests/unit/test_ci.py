"""No workflow has a right or code that it does not need."""

from __future__ import annotations

import re
import tomllib

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT
from tests.support.environment import MEASURED
from tests.support.house import sources

WORKFLOWS = ROOT / ".github" / "workflows"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"


#: What a job may do, by the workflow, beside reading the checkout.
RIGHTS = {"ci.yml": set(), "macos.yml": set(), "handbook.yml": {"pages", "id-token"}}


class WorkflowTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not WORKFLOWS.exists():
            self.skipTest("a source distribution has no workflow")
        self.texts = {path.name: path.read_text() for path in WORKFLOWS.iterdir()}

    def test_each_action_is_named_by_its_digest(self) -> None:
        for name, text in self.texts.items():
            used = re.findall(r"uses: (\S+)", text)
            self.assertGreater(len(used), 1)
            for action in used:
                self.assertRegex(action, r"^[\w/-]+@[0-9a-f]{40}$", name)

    def test_no_job_may_do_more_than_it_has_to(self) -> None:
        self.assertEqual(set(self.texts), set(RIGHTS))
        for name, text in self.texts.items():
            self.assertIn("\npermissions: {}\n", text, name)
            granted = set(re.findall(r"^ {6}([\w-]+: (?:read|write))\b", text, re.MULTILINE))
            writes = {f"{right}: write" for right in RIGHTS[name]}
            self.assertEqual(granted, {"contents: read"} | writes, name)

    def test_no_workflow_runs_with_the_rights_of_its_target(self) -> None:
        for name, text in self.texts.items():
            self.assertNotIn("pull_request_target", text, name)
            self.assertNotIn("workflow_run", text, name)
            self.assertNotIn("secrets.", text, name)

    def test_no_step_ignores_the_failure_of_what_it_denies(self) -> None:
        """``set -e`` does not end a shell for a command that begins with ``!``."""
        for name, text in self.texts.items():
            self.assertNotRegex(text, r"(?m)^\s+! ", name)

    def test_no_checkout_leaves_credentials_behind(self) -> None:
        for name, text in self.texts.items():
            checkouts = text.count("actions/checkout@")
            self.assertGreater(checkouts, 0, name)
            self.assertEqual(text.count("persist-credentials: false"), checkouts, name)

    def test_the_handbook_is_published_from_where_it_is_built(self) -> None:
        text = self.texts["handbook.yml"]
        (built,) = re.findall(r"nox -s docs -- (\S+)", text)
        self.assertIn(f"path: {built}\n", text)

    def test_what_is_installed_has_its_version_in_the_checkout(self) -> None:
        lines = [line for line in CONSTRAINTS.read_text().splitlines() if line[0] != "#"]
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertRegex(line, r"^[\w.-]+==[\w.]+$")
        pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        wanted = [*project["dependencies"], *extras["test"], *extras["docs"], *extras["dev"]]
        names = {re.split(r"[\[=><]", each)[0].lower() for each in wanted} - {"palingenesis"}
        self.assertEqual(names - pinned, set())
        for text in ((ROOT / ".ci" / "run").read_text(), self.texts["macos.yml"]):
            installs = re.findall(r"pip install .*", text)
            self.assertEqual(len(installs), 1)
            self.assertIn("--constraint .ci/constraints.txt", installs[0])
        self.assertRegex(self.texts["ci.yml"], r"pip-audit==[\d.]+ .*\.ci/constraints\.txt")


class CoverageTests(SynchronousTestCase):
    def test_each_module_that_measures_coverage_is_there(self) -> None:
        self.assertEqual(MEASURED - set(sources("tests/process")), set())

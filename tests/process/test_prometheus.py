"""Prometheus' own tools, and the examples for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.process.test_web import free_port
from tests.process.test_web_daemon import DaemonWebTestCase
from tests.support.checkout import ROOT
from tests.support.patience import PATIENCE, wait_until

EXAMPLES = ROOT / "examples"


def tool(name: str) -> str:
    """Return the path of a program of Prometheus, or skip the test."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


class PrometheusTests(DaemonWebTestCase):
    def exposed(self) -> set[str]:
        """Return the names that the daemon's metrics have, without a sample too."""
        self.start()
        text = self.said("metrics")
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        return {
            f"{name}{suffix}"
            for name, kind in kinds.items()
            for suffix in (("_sum", "_count") if kind == "summary" else ("",))
        }

    def test_the_board_asks_for_what_is_exposed_and_for_all_of_it(self) -> None:
        board = json.loads((EXAMPLES / "grafana.json").read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        asked = {name for query in queries for name in re.findall(r"palingenesis_\w+", query)}
        self.assertEqual(asked, self.exposed())

    def test_the_handbook_names_every_metric(self) -> None:
        page = (ROOT / "docs/web.rst").read_text()
        named = set(re.findall(r"``(palingenesis_\w+)``", page))
        families = {re.sub(r"_(sum|count)$", "", name) for name in self.exposed()}
        self.assertEqual(named, families)

    def test_promtool_finds_no_fault(self) -> None:
        promtool = tool("promtool")
        self.start()
        self.ask(b"PAUSE\n")
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input=self.said("metrics"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_a_real_scrape_as_the_example_has_it(self) -> None:
        prometheus = tool("prometheus")
        self.start(f'[http]\nlisten = "127.0.0.1:{self.port}"\n')
        wait_until(self.is_open, "the door listens")
        token = os.path.join(self.place.state, "http-token")
        text = (EXAMPLES / "prometheus.yml").read_text()
        for shown, here in (
            ("/etc/prometheus/palingenesis-token", token),
            ("127.0.0.1:7654", f"127.0.0.1:{self.port}"),
            ("30s", "1s"),
        ):
            self.assertIn(shown, text)
            text = text.replace(shown, here)
        port = free_port()
        self.place.spawn(
            [
                prometheus,
                f"--config.file={self.place.write('prometheus.yml', text)}",
                f"--storage.tsdb.path={self.place.path('tsdb')}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
        )

        def query(expression: str) -> list[Any]:
            address = f"http://127.0.0.1:{port}/api/v1/query?query="
            try:
                with urllib.request.urlopen(address + urllib.parse.quote(expression)) as reply:
                    return list(json.load(reply)["data"]["result"])
            except OSError:
                return []

        (up,) = wait_until(lambda: [each for each in query("up") if each["value"][1] == "1"], "up")
        self.assertEqual(up["metric"]["job"], "palingenesis")
        (paused,) = wait_until(lambda: query("palingenesis_paused"), "the metrics are stored")
        self.assertEqual(paused["value"][1], "0")

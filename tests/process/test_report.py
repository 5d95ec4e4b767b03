"""The report: the real command, over a ledger on the disk, with no daemon."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, cast

from palingenesis.words import Event, Kind
from tests.support.browser import start_browser
from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.needs import needs_revivals
from tests.support.night import END, entry, staged_night
from tests.support.patience import PATIENCE

#: A configuration that revives the sessions of the staged night.
CONFIGURATION = """\
[sessions]
agents = ["claude"]
[revive.claude]
command = ["claude", "-p", "--resume", "{id}", "{prompt}"]
"""

#: The id of a session that has a transcript.
DOCS = "0d0c5000-0000-4000-8000-000000000001"


class Page(HTMLParser):
    """What a page loads, and whether its tags are balanced."""

    VOID = frozenset({"meta", "br", "line", "rect", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe", "use", "image"):
            self.loaded.append(tag)
        self.loaded += [name for name, _ in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def limited(session: str, key: str, directory: str, at: float, **figures: Any) -> str:
    """Return the line with which Claude Code says that a limit is reached."""
    record = {
        "type": "assistant", "uuid": key, "sessionId": session, "cwd": directory,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        "isSidechain": False, "isApiErrorMessage": True, "error": "rate_limit",
        "quotaLimits": {"status": "rejected", **figures},
        "message": {"role": "assistant", "content": [], "model": "<synthetic>"},
    }  # fmt: skip
    return json.dumps(record) + "\n"


class NightTestCase(ProcessTestCase):
    """A test over the ledger of the staged night."""

    def setUp(self) -> None:
        super().setUp()
        # The staged night ends now.
        ahead = time.time() - END
        os.mkdir(self.place.state, 0o700)
        with open(os.path.join(self.place.state, "ledger.jsonl"), "wb") as file:
            for each in staged_night():
                due = None if each.due is None else each.due + ahead
                directory, transcript = map(self.here, (each.directory, each.transcript))
                os.makedirs(directory, exist_ok=True)
                moved = replace(each, directory=directory, transcript=transcript)
                file.write(replace(moved, at=each.at + ahead, due=due).line())

        path = self.place.path(".config", "palingenesis")
        os.makedirs(path)
        with open(os.path.join(path, "config.toml"), "w", encoding="utf-8") as file:
            file.write(CONFIGURATION)

    def here(self, path: str | None) -> str:
        """Return a path of the staged night as it is in this place."""
        return (path or "").replace("/home/you", self.place.directory)

    def run_report(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "report", *options],
            env=self.place.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def report(self, *options: str, status: int = 0) -> str:
        done = self.run_report(*options)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr


class ReportTests(NightTestCase):
    @needs_revivals
    def test_the_text_has_each_part_in_its_order(self) -> None:
        told = self.report()
        titles = re.findall(r"^\w.*", told, re.MULTILINE)
        self.assertIn("2 need you, 1 revival failed, 1 went on, 1 waits for a", titles[0])
        self.assertEqual(titles[1:], ["needs you", "failed", "went on", "waits", "tonight"])
        for words in (
            "claude ~/api  given up",
            "\nneeds you\n  If a session's window is still open, continue there.",
            "\nfailed\n  Type a session's line to see what its revival printed.\n",
            "exit status 3\n    palingenesis output api-id",
            f"cd {self.here('/home/you/api')} && claude --resume api-id",
            "revival 1 at",
            "2 hours in all",
        ):
            self.assertIn(words, told)

    def test_nothing_is_changed_by_it(self) -> None:
        before = sorted(os.listdir(self.place.state))
        self.report()
        self.assertEqual(sorted(os.listdir(self.place.state)), before)

    @needs_revivals
    def test_the_forecast_follows_the_configuration(self) -> None:
        self.assertIn("claude ~/docs  is brought back at", self.report())
        empty = self.place.write("c.toml", '[sessions]\nagents = ["claude"]\n')
        told = self.report("--config", empty)
        self.assertIn("no method that fits is named in [revive.claude]", told)
        self.assertNotIn("waits", told)

    @needs_revivals
    def test_every_table_of_the_daemon_is_known(self) -> None:
        revive = 'command = ["claude", "{id}"]'
        home = 'agent = "claude"\ndirectory = "~/.claude"'
        path = self.place.write(
            "c.toml", f"[homes.work]\n{home}\n[revive.work]\n{revive}\n[http]\n"
        )
        told = self.report("--config", path)
        self.assertIn("claude ~/docs  is brought back at", told)
        variable = f"CLAUDE_CONFIG_DIR={self.here('/home/you/.claude')}"
        self.assertIn(f"api && {variable} claude --resume api-id", told)

    def test_a_mistake_in_the_configuration_is_told_beside_the_report(self) -> None:
        with open(self.place.path(".config", "palingenesis", "config.toml"), "a") as file:
            file.write("\n[typo]\n")
        done = self.run_report()
        self.assertEqual(done.returncode, 0)
        self.assertIn("unknown key 'typo'", done.stderr)
        self.assertIn("the report goes by the defaults", done.stderr)
        self.assertIn("needs you", done.stdout)

    @needs_revivals
    def test_what_another_session_says_of_the_limit_holds_for_its_home(self) -> None:
        early, late = time.time() - 60, time.time() - 30
        transcripts = self.here("/home/you/.claude/projects/-/")
        os.makedirs(transcripts)
        place = self.here("/home/you/docs")
        with open(os.path.join(self.place.state, "ledger.jsonl"), "ab") as ledger:
            for name, at, reset in (("early", early, early + 10), ("late", late, late + 7200)):
                path = f"{transcripts}{name}.jsonl"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(limited(name, f"key-{name}", place, at, resetsAt=reset))
                stopped = entry("docs", 0, Event.STOPPED, kind=Kind.LIMIT, key=f"key-{name}")
                moved = replace(stopped, session=name, directory=place, transcript=path)
                ledger.write(replace(moved, at=at, due=reset).line())
        told = {each["session"]: each for each in json.loads(self.report("--json"))["forecast"]}
        self.assertTrue(told["early"]["comes_back"])
        self.assertGreater(told["early"]["due"], late + 7000)

    @needs_revivals
    def test_the_forecast_knows_what_only_the_transcript_says(self) -> None:
        path = self.here("/home/you/.claude/projects/-/docs.jsonl")
        os.makedirs(os.path.dirname(path))
        with open(os.path.join(self.place.state, "ledger.jsonl"), "ab") as file:
            stopped = entry("docs", 0, Event.STOPPED, kind=Kind.LIMIT, key="0000-record-1")
            at = time.time() - 60
            place = self.here("/home/you/docs")
            moved = replace(stopped, session=DOCS, directory=place, transcript=path)
            file.write(replace(moved, at=at, due=at + 7200).line())

        def write(key: str, **figures: Any) -> None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(limited(DOCS, key, place, at, **{"resetsAt": at + 7200, **figures}))

        def told() -> str | None:
            found = json.loads(self.report("--json"))["forecast"]
            reasons = {each["session"]: each["reason"] for each in found}
            return cast(str | None, reasons[DOCS])

        write("0000-record-1")
        self.assertIsNone(told())
        write("0000-record-2")
        self.assertEqual(told(), "its transcript has grown since")
        write("0000-record-1", isUsingOverage=True)
        self.assertIn("`spend` is not set", told() or "")

    def test_json_is_one_object(self) -> None:
        night = json.loads(self.report("--json"))
        self.assertEqual(len(night["lanes"]), 5)
        self.assertEqual(night["went_on"][0]["seconds"], 7200)

    def test_since_is_a_time_of_day(self) -> None:
        local = time.localtime(time.time() - 7200)
        night = json.loads(self.report("--json", "--since", time.strftime("%H:%M", local)))
        self.assertTrue(7200 <= night["now"] - night["since"] < 7300)
        for text in ("25:00", "7:00", "now"):
            self.assertIn("is not a time of day", self.report("--since", text, status=2))

    def test_the_page_loads_nothing_and_shows_all(self) -> None:
        path = self.place.path("night.html")
        self.assertEqual(self.report("--html", path), "")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        page = Page(text)
        self.assertEqual((page.loaded, page.open), ([], []))
        place = self.here("/home/you/<b>&site")
        self.assertIn(f"cd '{place}' && claude --resume '<b>&site-id'", "".join(page.texts))
        self.assertIn("<svg", text)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_a_page_that_cannot_be_written_is_told(self) -> None:
        told = self.report("--html", self.place.path("no", "night.html"), status=2)
        self.assertIn("cannot write", told)
        self.assertEqual(told.count("\n"), 1)

    def test_without_a_ledger_nothing_has_happened(self) -> None:
        empty = self.place.path("empty")
        self.assertIn(": nothing happened", self.report("--state", empty))
        self.assertFalse(os.path.exists(empty))

    def test_a_ledger_that_cannot_be_read_is_told(self) -> None:
        path = self.place.path("other")
        os.makedirs(os.path.join(path, "ledger.jsonl"))
        told = self.report("--state", path, status=2)
        self.assertIn("ledger.jsonl", told)
        self.assertEqual(told.count("\n"), 1)

    def test_a_directory_cannot_drive_the_terminal(self) -> None:
        with open(os.path.join(self.place.state, "ledger.jsonl"), "ab") as file:
            odd = entry("s", 0, Event.NEEDS_YOU, directory="/home/\x1b[2J", reason="x")
            file.write(replace(odd, at=time.time() - 60).line())
        self.assertNotIn("\x1b", self.report())


class BrowserTests(NightTestCase):
    """The page in a real browser."""

    def test_the_report_fits_a_phone_and_a_wide_screen(self) -> None:
        browser = start_browser(self, self.place.path("profile"))
        path = self.place.path("night.html")
        self.report("--html", path)
        for width in (320, 1280):
            # A window is no narrower than 500 pixels; a screen that is emulated is.
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(f"file://{path}")
            seen = browser.execute_script(_LOOK)
            self.assertEqual(seen["inner"], width)
            self.assertLessEqual(seen["scroll"], width)
            self.assertEqual(seen["lanes"], 5)
            self.assertGreater(seen["svg"], width / 2)
            self.assertEqual(seen["outside"], [])
            self.assertEqual(seen["loaded"], [])
        self.assertEqual(browser.get_log("browser"), [])

    def test_the_picture_is_in_the_colour_of_the_text_in_light_and_dark(self) -> None:
        browser = start_browser(self, self.place.path("profile"))
        path = self.place.path("night.html")
        self.report("--html", path)
        seen = set()
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            browser.get(f"file://{path}")
            text, label = browser.execute_script(_COLOURS)
            self.assertEqual(text, label)
            seen.add(text)
        self.assertEqual(len(seen), 2)


#: What a browser shows of the page: its size, and what is outside of it.
_LOOK = """
const width = window.innerWidth, picture = document.querySelector("svg");
const outside = [...picture.querySelectorAll("rect, line")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.right > width + 1 || box.left < -1;
});
return {
    inner: width,
    scroll: document.documentElement.scrollWidth,
    svg: picture.getBoundingClientRect().width,
    lanes: picture.querySelectorAll("g[tabindex]").length,
    outside: outside.map((each) => each.outerHTML),
    loaded: performance.getEntriesByType("resource").map((each) => each.name),
};
"""
_COLOURS = """
return [
    getComputedStyle(document.body).color,
    getComputedStyle(document.querySelector("svg g text")).fill,
];
"""

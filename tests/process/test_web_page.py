"""What a person sees on the page and does there, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Entry
from palingenesis.monitor.report import facts
from palingenesis.words import Event
from tests.process.test_web_browser import BrowserTestCase
from tests.support import axe
from tests.support.agents import AgentTestCase
from tests.support.browser import start_browser, wait_for_text
from tests.support.monitored import entry, session
from tests.support.patience import wait_until

HOSTILE = "<img src=x onerror=document.title='broken'>"
#: Seconds of processor time that a frame may take.
FRAME = 0.1
#: Types words into the filter; ``n`` is the number of the frame.
FILTER = (
    "const field = document.getElementById('words'); field.value = %s;"
    "field.dispatchEvent(new Event('input', { bubbles: true }))"
)
#: Calls the last argument once what is pending is drawn.
DRAWN = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(arguments[1], 0)))"
#: The milliseconds to the first paint, and how many more than those of a plain page they may be.
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
PAINTED = 300
#: Shows the sessions that the page leaves out.
COMMAND = "palingenesis sessions --all"
WIDTHS = (320, 1280)
THEMES = ("light", "dark")


def staged(now: float) -> list[dict[str, Any]]:
    """Return one session of each sort that the page shows differently."""
    return [
        session(id="working-1", since=now - 5, directory="/srv/shop"),
        session(id="working-2", since=now - 9, agent="codex", directory="/srv/api"),
        session(id="reviving1", since=now - 60, state="reviving", directory="/srv/site"),
        session(
            id="waiting-1",
            since=now - 3600,
            state="waiting",
            kind="limit",
            due=now + 600,
            held="not-due",
            directory="/srv/it's here",
        ),
        session(
            id="question1",
            since=now - 1800,
            state="stopped",
            kind="asking",
            needs="an answer",
            directory=f"/srv/{HOSTILE}",
            who=HOSTILE,
        ),
        session(id="finished1", since=now - 7200, state="stopped", kind="finished"),
    ]


def night(now: float) -> list[dict[str, Any]]:
    """Return entries of a log for those sessions."""
    known = {"session": "waiting-1"}
    return [
        entry("stopped", now - 3600, kind="limit", due=now - 1800, **known),
        entry("intent", now - 1800, attempt=1, **known),
        entry("started", now - 1799, attempt=1, pid=4242, **known),
        entry("failed", now - 1700, attempt=1, exit=1, output="/o/1.log", **known),
        entry("needs-you", now - 1700, session="question1", reason=HOSTILE),
    ]


class PageTestCase(BrowserTestCase):
    """A test of the page with staged sessions and a staged log."""

    def stage(self, sessions: list[dict[str, Any]]) -> None:
        """Replace the sessions."""
        path = os.path.join(self.directory, "sessions.json")
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(sessions, file)
        os.replace(f"{path}.new", path)

    def record(self, entries: list[dict[str, Any]]) -> None:
        """Append entries to the log, all at once."""
        lines = "".join(f"{json.dumps(each)}\n" for each in entries)
        with open(os.path.join(self.directory, "log"), "a", encoding="utf-8") as file:
            file.write(lines)

    def resize(self, width: int) -> None:
        """Give the page a width, whatever the least width of a window is."""
        self.command("setDeviceMetricsOverride", width=width, height=900, mobile=False)

    def prefer(self, theme: str) -> None:
        """Set the theme that the reader prefers."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.command("setEmulatedMedia", features=features)

    def command(self, name: str, **arguments: Any) -> None:
        if name == "setDeviceMetricsOverride":
            arguments["deviceScaleFactor"] = 1
        self.browser.execute_cdp_cmd(f"Emulation.{name}", arguments)

    def run_script(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def count_of(self, selector: str) -> int:
        script = "return document.querySelectorAll(arguments[0]).length"
        return int(self.run_script(script, selector))

    def click(self, selector: str) -> None:
        self.run_script("document.querySelector(arguments[0]).click()", selector)

    def text(self, element: str) -> str:
        script = "return document.getElementById(arguments[0]).textContent"
        return str(self.run_script(script, element))

    def wait_for(self, element: str, words: str) -> str:
        return wait_for_text(self.browser, element, lambda text: words in text)


class ShownTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        now = time.time()
        self.stage(staged(now))
        self.record(night(now))
        self.log_in()
        self.wait_for("log", "failed")
        self.wait_for("sessions", "shop")
        wait_until(lambda: self.count_of("#night > svg") == 1, "the night is drawn")

    def test_the_page_begins_with_a_sentence_on_how_everything_is(self) -> None:
        failed = self.wait_for("sentence", "failed")
        self.assertRegex(
            failed,
            r"^1 needs you, 1 waits for a reset or a retry until .*\d\d:\d\d, 3 work; "
            r"1 revival failed$",
        )

    def test_revivals_are_counted_apart_from_the_sessions(self) -> None:
        how = "Nothing needs you, nothing waits, nothing works"
        for worked, failed, paused, end in (
            (0, 0, False, ""),
            (2, 0, False, "; 2 revivals worked"),
            (0, 1, False, "; 1 revival failed"),
            (2, 1, True, "; 2 revivals worked, 1 failed; paused: nothing is revived"),
        ):
            told = self.browser.execute_async_script(
                "const [worked, failed, status, done] = arguments; import('/sessions.js').then("
                "(told) => done(told.sentence([], status, worked, failed)));",
                *(worked, failed, {"state": "paused"} if paused else None),
            )
            self.assertEqual(told, how + end)

    def test_a_revival_that_worked_is_counted_for_a_day(self) -> None:
        told = self.browser.execute_async_script(
            "const [entries, done] = arguments; import('/sessions.js').then("
            "(told) => done(told.workedIn(entries, 100000)));",
            [{"event": "worked", "at": at} for at in (13_599, 13_601, 99_999)],
        )
        self.assertEqual(told, 2)

    def test_what_needs_you_has_its_reason_and_the_command(self) -> None:
        shown = self.wait_for("needs", "a question waits for you")
        self.assertIn("claude --resume question1", shown)
        self.assertIn("If its window is still open, continue there. If not, type", shown)
        failed = self.wait_for("failed", "exit status 1; the next attempt is at ")
        self.assertIn("See what it printed:palingenesis output waiting-1", failed)

    def test_a_session_that_is_open_is_gone_on_with_where_it_is_open(self) -> None:
        for owner, line, words in (
            ("program", False, "It is still open (pid 7): continue there."),
            ("unknown", True, "If its window is still open, continue there."),
            (None, True, "If its window is still open, continue there."),
            ("gone", True, "Type in a terminal:"),
        ):
            shown = self.browser.execute_async_script(
                "const [session, done] = arguments; import('/sessions.js').then((told) => {"
                "const line = told.continuation(session);"
                "done([line !== null, told.advice(session, line)]); });",
                session(owner=owner, who="pid 7" if owner == "program" else None),
            )
            self.assertEqual(shown[0], line, owner)
            self.assertIn(words, shown[1])

    def test_a_failure_is_over_once_its_session_works_or_has_finished(self) -> None:
        now = time.time()
        for state, kind, since, shown in (
            ("working", None, now, False),
            ("stopped", "finished", now, False),
            ("stopped", "finished", now - 3600, True),
            ("waiting", "limit", now, True),
        ):
            sessions = staged(now)
            sessions[3] |= {"state": state, "kind": kind, "since": since}
            self.stage(sessions)
            wait_until(
                lambda is_hidden=not shown: (
                    self.run_script("return document.getElementById('failed-section').hidden")
                    == is_hidden
                ),
                f"it is {'shown' if shown else 'hidden'}: {state}",
            )

    def test_a_revival_that_was_never_started_has_no_output_to_see(self) -> None:
        reason = "not started: no process"
        known = {"session": "finished1", "attempt": 1, "exit": None, "reason": reason}
        self.record([entry("failed", time.time(), **known)])
        self.wait_for("failed", reason)
        self.assertEqual(self.text("failed").count("See what it printed"), 1)

    def test_the_command_is_that_of_the_report(self) -> None:
        for agent in AGENTS:
            directory = "/srv/it's here"
            asked = Entry(
                *(1.0, Event.NEEDS_YOU, "a-1", agent),
                transcript="/my home/a-1",
                directory=directory,
                reason="you",
            )
            home = Home("work", agent, "/my home", is_named=True)
            (told,) = facts([asked], paused=False, since=0.0, now=2.0, homes=[home])["needs_you"]
            shown = self.browser.execute_async_script(
                "const done = arguments[1];"
                "import('/sessions.js').then((told) => done(told.continuation(arguments[0])));",
                session(
                    directory=directory, id="a-1", agent=agent, variables=dict(home.environment)
                ),
            )
            # Python's quoting is another one, and a shell reads the same words.
            self.assertEqual(shlex.split(shown), shlex.split(told["line"]), agent)

    def test_nobody_is_told_to_start_a_second_program(self) -> None:
        for owner, is_told in (("program", False), ("server", False), ("gone", True)):
            shown = self.browser.execute_async_script(
                "const [session, done] = arguments; import('/sessions.js').then("
                "(told) => done(told.continuation(session)));",
                session(owner=owner),
            )
            self.assertEqual(shown is not None, is_told, owner)

    def test_the_cause_of_a_failure_is_that_of_the_report(self) -> None:
        for known in (
            *({"exit": 1}, {"exit": -9}, {}, {"reason": "/bin/claude: not executable"}),
            *({"reason": "a usage limit", "exit": 1}, {"reason": "no answer", "exit": 0}),
        ):
            for killed in (False, True):
                entries = [Entry(2.0, Event.FAILED, "a-1", "claude", attempt=1, **known)]
                if killed:
                    why = "it did not grow"
                    by = Entry(1.0, Event.KILLED, "a-1", "claude", attempt=1, reason=why)
                    entries.insert(0, by)
                (told,) = facts(entries, paused=False, since=0.0, now=3.0)["failed"]
                shown = self.browser.execute_async_script(
                    "const [entries, done] = arguments; import('/sessions.js').then("
                    "(told) => done(told.failuresIn(entries, 3).map((each) => each.cause)));",
                    [each.public() for each in entries],
                )
                self.assertEqual(shown, [told["cause"]])

    def test_what_holds_a_session_longer_than_its_due_time_counts(self) -> None:
        held = session(state="waiting", kind="limit", held="not-due", due=60, until=7260)
        shown = self.browser.execute_async_script(
            "const [session, done] = arguments; import('/sessions.js').then("
            "(told) => done([told.sentence([session]), told.storyOf(session)]));",
            held,
        )
        for text in shown:
            self.assertRegex(text, r"\b\d\d:01")

    def test_a_directory_that_cannot_be_shown_is_escaped_and_not_to_be_copied(self) -> None:
        for odd, escaped in (("\u00a0", "a0"), ("\u200d", "200d"), ("\ue000", "e000")):
            named = session(directory=f"/srv/a{odd}b c", id="a-1")
            shown = self.browser.execute_async_script(
                "const [session, done] = arguments; import('/sessions.js').then("
                "(told) => done([told.nameOf(session), told.continuation(session)]));",
                named,
            )
            self.assertEqual(shown, [f"claude a\\u{{{escaped}}}b c", None])

    def test_sessions_that_are_left_out_are_counted_by_the_status(self) -> None:
        told = self.browser.execute_async_script(
            "const [sessions, status, done] = arguments; import('/sessions.js').then("
            "(told) => done([told.sentence(sessions, status), told.sentence(sessions, null)]));",
            [session(id="question1", kind="asking", needs="an answer", state="stopped")],
            {
                "known_sessions": 500,
                "needs_you": 1,
                "next_revival": None,
                "sessions": {"waiting": 2, "working": 124, "reviving": 1, "stopped": 372},
            },
        )
        waits = "2 wait for a reset or a retry"
        self.assertEqual(told, [f"1 needs you, {waits}, 125 work", "1 needs you"])

    def test_a_commands_words_break_only_if_they_are_too_long(self) -> None:
        self.resize(320)
        broken = self.run_script(
            "const words = [...document.querySelectorAll('#needs code span')];"
            "const height = words[0].offsetHeight * 1.5;"
            "const tall = words.filter((each) => each.offsetHeight > height);"
            "return tall.map((each) => each.innerText)"
        )
        self.assertEqual([word[:17] for word in broken], ["onerror=document."])
        line = self.run_script("return document.querySelector('#needs code').innerText")
        self.assertIn("&& claude --resume question1", line)

    def test_text_from_a_session_stays_text(self) -> None:
        self.assertIn(HOSTILE, self.wait_for("log", HOSTILE))
        self.assertIn(HOSTILE, self.text("sessions"))
        self.assertIn(HOSTILE, self.text("night"))
        self.assertEqual(self.count_of("img"), 0)
        self.assertNotEqual(self.run_script("return document.title"), "broken")

    def test_the_night_is_a_picture_and_a_table_in_the_readers_zone(self) -> None:
        # The driver's zone is set for the page alone: a daemon elsewhere tells other times.
        self.command("setTimezoneOverride", timezoneId="Asia/Kathmandu")
        self.browser.refresh()
        self.wait_for("zone", "Asia/")
        wait_until(lambda: self.count_of("#night-rows tr") == 4, "the table is there")
        cells = self.run_script(
            "return [...document.querySelectorAll('#night-rows tr')].map((row) =>"
            " [...row.cells].map((cell) => cell.innerText || cell.textContent))"
        )
        planned = cells[-1]
        self.assertEqual(planned[2], "planned: revival")
        lane = self.run_script(
            "return document.querySelector('#night [tabindex]').getAttribute('aria-label')"
        )
        self.assertIn(f"{planned[1][-5:]} planned: revival", lane)

    def test_growth_alone_asks_for_no_new_picture(self) -> None:
        pictures = (
            "return performance.getEntriesByType('resource')"
            ".filter((each) => each.name.includes('/night?')).length"
        )
        # Longer than the page waits before it asks for one.
        soon = "setTimeout(arguments[0], 1500)"
        sessions = staged(time.time())
        self.stage(sessions)
        wait_until(lambda: self.run_script(pictures) > 1, "the page knows these sessions")
        self.browser.execute_async_script(soon)
        before = self.run_script(pictures)
        sessions[0]["who"] = "grown"
        self.stage(sessions)
        self.wait_for("sessions", "grown")
        self.browser.execute_async_script(soon)
        self.assertEqual(self.run_script(pictures), before)
        sessions[0]["state"] = "quiet"
        self.stage(sessions)
        wait_until(lambda: self.run_script(pictures) > before, "a new picture is there")

    def test_what_needs_you_comes_first_and_the_rest_in_the_daemons_order(self) -> None:
        names = self.run_script(
            "return [...document.querySelectorAll('#sessions .state')].map((e) => e.textContent)"
        )
        self.assertEqual(names, ["stopped", "working", "working", "reviving", "waiting", "stopped"])

    def test_sessions_are_filtered_by_state_and_by_words(self) -> None:
        filter_by = (
            "const [id, value] = arguments; const field = document.getElementById(id);"
            "field.value = value; field.dispatchEvent(new Event('input', { bubbles: true }));"
        )
        self.run_script(filter_by, "words", "CODEX api")
        self.wait_for("count", "1 of 6")
        self.run_script(filter_by, "words", "")
        self.run_script(filter_by, "state", "working")
        self.wait_for("count", "2 of 6")

    def test_a_label_stays_beside_its_field(self) -> None:
        self.resize(320)
        apart = self.run_script(
            "return [...document.querySelectorAll('#filter label')].filter((label) => {"
            "const [mine, its] = [label, label.control].map((e) => e.getBoundingClientRect());"
            "return mine.bottom < its.top || mine.top > its.bottom; }).length"
        )
        self.assertEqual(apart, 0)

    def test_a_session_is_held_by_its_button(self) -> None:
        wait_until(
            lambda: self.run_script("return document.querySelector('[data-action=HOLD]') !== null"),
            "the button is there",
        )
        self.click("[data-action=HOLD]")
        self.wait_for("outcome", "done")
        self.process.wait_for_log("HOLD question1 by http")

    def test_a_change_keeps_the_focus(self) -> None:
        wait_until(
            lambda: self.run_script("return document.querySelector('[data-action=HOLD]') !== null"),
            "the button is there",
        )
        self.run_script("document.querySelectorAll('[data-action=HOLD]')[1].focus()")
        focused = "return document.activeElement.getAttribute('aria-label')"
        before = self.run_script(focused)
        sessions = staged(time.time())
        sessions[3] |= {"state": "reviving", "due": None, "held": None}
        self.stage(sessions)
        self.wait_for("sentence", "4 work")
        self.assertEqual(self.run_script(focused), before)

    def test_the_page_pauses_and_resumes(self) -> None:
        wait_until(
            lambda: self.run_script("return !document.getElementById('pause').hidden"),
            "the button is there",
        )
        self.click("#pause")
        self.wait_for("status", "paused")
        self.wait_for("sentence", "paused: nothing is revived")
        self.assertEqual(self.state, "paused")
        self.wait_for("pause", "Resume")
        self.click("#pause")
        self.wait_for("status", "monitoring")
        self.assertEqual(self.state, "monitoring")

    def test_the_page_fits_any_width_in_any_theme_and_keeps_nobody_out(self) -> None:
        script = axe.source()
        colours = set()
        self.run_script("document.querySelector('details').open = true")
        for theme in THEMES:
            self.prefer(theme)
            for width in WIDTHS:
                self.resize(width)
                widths = self.run_script(
                    "return [document.documentElement.scrollWidth, innerWidth]"
                )
                self.assertLessEqual(widths[0], widths[1])
                self.assertEqual(axe.violations(self.browser, script), [], f"{theme}, {width}")
                self.keep_shot(f"{width}-{theme}")
            colours.add(
                self.run_script("return getComputedStyle(document.documentElement).backgroundColor")
            )
        self.assertEqual(len(colours), 2)

    def keep_shot(self, name: str) -> None:
        """Save a picture for a person, if one is wanted."""
        directory = os.environ.get("PALINGENESIS_SHOTS")
        if directory is not None:
            self.browser.save_screenshot(os.path.join(directory, f"{name}.png"))

    def test_everything_is_reached_by_the_keyboard(self) -> None:
        unreachable = self.run_script(
            "return [...document.querySelectorAll('button, input, select, a, summary')]"
            ".filter((each) => each.checkVisibility() && each.tabIndex < 0).length"
        )
        self.assertEqual(unreachable, 0)
        from selenium.webdriver.common.keys import Keys

        self.browser.find_element("tag name", "body").send_keys(Keys.TAB)
        self.assertEqual(
            self.run_script("return document.activeElement.textContent"), "Skip to the content"
        )

    def test_the_page_asks_no_other_server_for_anything(self) -> None:
        names = self.run_script(
            "return performance.getEntriesByType('resource').map((each) => each.name)"
        )
        self.assertTrue(names)
        for name in names:
            self.assertTrue(name.startswith((self.address, "data:")), name)


class GoneTests(PageTestCase):
    def test_the_log_in_keeps_nobody_out(self) -> None:
        script = axe.source()
        self.browser.get(f"{self.address}/")
        self.wait_for("news", "palingenesis web")
        for theme in THEMES:
            self.prefer(theme)
            self.assertEqual(axe.violations(self.browser, script), [], theme)

    def test_a_page_whose_daemon_is_gone_keeps_nobody_out(self) -> None:
        script = axe.source()
        self.stage(staged(time.time()))
        self.log_in()
        self.wait_for("sessions", "shop")
        self.process.kill()
        self.wait_for("news", "does not answer")
        for theme in THEMES:
            self.prefer(theme)
            self.assertEqual(axe.violations(self.browser, script), [], theme)

    def lose_the_daemon(self) -> None:
        """Show the page, and kill its daemon."""
        now = time.time()
        self.stage(staged(now))
        self.record(night(now))
        self.log_in()
        self.wait_for("log", "failed")
        self.process.kill()
        self.wait_for("news", "does not answer")

    def test_a_killed_daemon_is_said_and_the_page_goes_on_with_the_next_one(self) -> None:
        self.lose_the_daemon()
        self.assertEqual(self.text("status"), "not connected")
        self.record([entry("gave-up", time.time(), session="waiting-1")])
        self.start()
        self.wait_for("news", "new code")
        self.run_script("document.getElementById('code').value = arguments[0]", self.code())
        self.click("#login button")
        self.wait_for("news", "Live")
        shown = self.wait_for("log", "given up")
        self.assertEqual(shown.count("given up"), 1)
        self.assertEqual(shown.count("failed"), 1)

    def test_what_it_goes_on_showing_is_marked_as_old_with_the_command_to_type(self) -> None:
        self.lose_the_daemon()
        title = "return document.title"
        for words in ("does not answer", "new code"):
            said = self.wait_for("news", words)
            self.assertIn("type palingenesis web in a terminal", said.replace("T", "t"))
            self.assertRegex(said, r"What you see is from \d\d:\d\d\.$")
            self.assertIn("shop", self.text("sessions"))
            wait_until(lambda: self.run_script(title).startswith("Old: "), "the title is marked")
            if words == "does not answer":
                self.start()
        # A new address in the same tab.
        self.browser.get(f"{self.address}/#code={self.code()}")
        self.assertEqual(self.wait_for("news", "Live"), "Live")
        wait_until(lambda: self.run_script(title).startswith("1 needs"), "the title is new")
        self.assertEqual(self.browser.current_url, f"{self.address}/")

    def test_a_used_code_takes_nobody_out_who_is_in(self) -> None:
        self.log_in()
        code = self.code()
        for _ in range(2):
            self.browser.get(f"{self.address}/#code={code}")
        self.wait_for("outcome", "used, old or wrong")
        self.assertEqual(self.text("news"), "Live")
        self.assertTrue(self.run_script("return document.getElementById('login').hidden"))


class ManyTests(PageTestCase):
    def test_500_sessions_and_10_000_entries_stay_usable(self) -> None:
        now = time.time()
        self.stage(
            [
                session(id=f"session-{number:04}", since=now - number, directory=f"/srv/{number}")
                for number in range(500)
            ]
        )
        self.log_in()
        self.wait_for("count", "500 of 500")
        for batch in range(10):
            entries = [entry("worked", now + batch + n / 1e4, attempt=n) for n in range(1000)]
            self.record(entries)
            wait_until(
                lambda total=1000 * (batch + 1): (
                    self.run_script("return document.getElementById('log').start") == total
                ),
                f"{1000 * (batch + 1)} entries are taken",
            )
        shown = self.count_of("#log > li")
        self.assertLess(shown, 1000)
        while self.run_script("return !document.getElementById('more').hidden"):
            self.click("#more")
            self.cost_of("")
        self.assertEqual(self.count_of("#log > li"), 10_000)
        self.browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for action in ("scrollTo(0, 2000 * n)", FILTER % "n % 2 ? '' : 'srv/499'"):
            costs = [self.cost_of(action, number) for number in range(20)]
            self.assertLess(statistics.median(costs), FRAME, action)
        self.run_script(FILTER % "'srv/499'")
        self.wait_for("count", "1 of 500")

    def cost_of(self, action: str, number: int = 0) -> float:
        """Return the processor time in seconds that the page takes to do and to draw something."""
        before = self.busy()
        self.browser.execute_async_script(f"const n = arguments[0]; {action}; {DRAWN}", number)
        return self.busy() - before

    def busy(self) -> float:
        metrics = self.browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next((e["value"] for e in metrics if e["name"] == "TaskDuration"), 0.0))

    def test_the_page_says_where_the_older_entries_are(self) -> None:
        now = time.time()
        self.record([entry("worked", now + number, attempt=number) for number in range(1200)])
        self.log_in()
        self.wait_for("log", "revival 1199 worked")
        hidden = "return document.getElementById('log-rest').hidden"
        while self.run_script("return !document.getElementById('more').hidden"):
            self.assertTrue(self.run_script(hidden))
            self.click("#more")
            self.cost_of("")
        self.assertEqual(self.count_of("#log > li"), 1000)
        self.assertFalse(self.run_script(hidden))

    def test_the_page_is_painted_soon(self) -> None:
        plain, paints = [], []
        for _ in range(5):
            # A page without anything, since other programs hold up both.
            self.browser.get(f"{self.address}/health")
            plain.append(self.painted())
            self.log_in()
            paints.append(self.painted())
        self.assertLess(min(paints) - min(plain), PAINTED, (plain, paints))

    def painted(self) -> float:
        paint = wait_until(lambda: self.run_script(f"return {PAINT}"), "the page is painted")
        return float(paint)


class NightTests(AgentTestCase):
    """The page of the real daemon, with a stand-in agent."""

    def test_a_session_is_seen_to_stop_to_wait_and_to_come_back(self) -> None:
        browser = start_browser(self, self.place.path("profile"))
        config = self.configure()
        with open(config, "a", encoding="utf-8") as file:
            file.write("[http]\ncontrol = true\n")
        self.start_daemon(config)
        browser.get(self.reply("WEB open")["url"])
        wait_for_text(browser, "news", lambda text: text == "Live")
        wait_for_text(browser, "count", lambda text: text == "0 of 0 sessions")
        self.begin("s", "limit:6", "finish").wait()
        waits = "1 waits for a reset or a retry until "
        wait_for_text(browser, "sentence", lambda text: text.startswith(waits))
        wait_for_text(
            browser, "sessions", lambda text: "a usage limit; will be revived at " in text
        )
        shown = wait_for_text(browser, "log", lambda text: "revival 1 ended" in text)
        for words in ("stopped: a usage limit", "revival 1 begins", "revival 1 worked"):
            self.assertIn(words, shown)
        wait_for_text(browser, "sessions", lambda text: "finished" in text)
        browser.execute_script("document.getElementById('pause').click()")
        wait_for_text(browser, "status", lambda text: text == "paused")
        self.assertEqual(self.reply("STATUS")["state"], "paused")

    def test_a_revival_is_seen_to_fail_and_why(self) -> None:
        browser = start_browser(self, self.place.path("profile"))
        self.start_daemon(self.configure())
        browser.get(self.reply("WEB open")["url"])
        self.begin("s", "limit:1", "again:3600").wait()
        shown = wait_for_text(browser, "failed", lambda text: "the next attempt" in text)
        self.assertIn(" failed: a usage limit (exit status 1); the next attempt is at ", shown)
        self.assertIn(f"See what it printed:palingenesis output {self.id_of('s')}", shown)
        sentence = wait_for_text(browser, "sentence", lambda text: "failed" in text)
        self.assertRegex(sentence, r"^1 waits for a reset or a retry until .*; 1 revival failed$")

    def test_the_page_says_how_many_sessions_are_left_out(self) -> None:
        number = 400
        for each in range(number):
            directory = f"/home/you/{'deep/' * 30}{each}"
            path = self.place.path("claude", "projects", f"p{each}", f"{uuid.uuid4()}.jsonl")
            os.makedirs(os.path.dirname(path))
            record = {"type": "user", "cwd": directory, "sessionId": f"session-{each}"}
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps({**record, "message": {"content": "Begin."}}) + "\n")
        browser = start_browser(self, self.place.path("profile"))
        self.start_daemon(self.configure())
        browser.get(self.reply("WEB open")["url"])
        said = wait_for_text(browser, "count", lambda text: "left out" in text)
        ((shown, left),) = re.findall(r"of (\d+) sessions\. The (\d+) ", said)
        self.assertEqual((int(shown) + int(left), said.partition("type ")[2]), (number, COMMAND))
        listed = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "palingenesis"), *COMMAND.split()[1:]],
            env=self.place.environment(**self.variables),
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(listed.stdout.count("  claude  "), number)

"""
A staged night: made sessions and a made ledger, shown by the real daemon in a real browser.

``python tools/pictures.py docs/pictures`` makes the pictures of README and handbook anew, and
prints the sentence that the page begins with. The ledger is written by the package's own code.
The wall clock of daemon and browser stands at `NOW`, libfaketime(3), so a picture differs only
with the page, the fonts and the browser.
"""

from __future__ import annotations

import base64
import glob
import io
import json
import os
import sys
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from PIL import Image

from palingenesis.client.blocking import ControlClient
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.ledger import Attempt, Ledger, Stop
from palingenesis.monitor.times import Times
from tests.support.browser import lacking as lacking_browser
from tests.support.browser import start_browser, wait_for_text
from tests.support.place import Place

#: In the morning of 2026-11-26, in UTC, which is the zone of daemon and browser.
NOW = datetime(2026, 11, 26, 7, 4, tzinfo=UTC).timestamp()
#: Each picture: the theme, the width and height in pixels, and the element at its top.
PICTURES = {
    "page-light.png": ("light", 1100, 872, None),
    "page-dark.png": ("dark", 1100, 872, None),
    "page-narrow.png": ("light", 320, 1400, None),
    "page-sessions.png": ("light", 1100, 860, "sessions-title"),
}
FAKETIME = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
#: Colours of a picture: the few of the page, and the edges of its letters.
COLOURS = 256
CONFIG = """\
[sessions]
agents = ["claude", "codex"]
margin = 30
# The monotonic clock does not stand still, and nothing grows any more.
quiet = 300
stagger = 0

[revive.claude]
command = ["claude", "-p", "--resume", "{id}", "{prompt}"]

[revive.codex]
command = ["codex", "exec", "resume", "{id}", "{prompt}"]
"""
#: Has the browser's clock stand still at a number of milliseconds since the epoch.
CLOCK = """
const Real = Date;
Date = class extends Real {
  constructor(...given) {
    super(...(given.length > 0 ? given : [%(now)d]));
  }
  static now() {
    return %(now)d;
  }
};
"""
#: Scrolls to an element, or to the top, and waits until that is drawn.
SCROLL = """
const [top, done] = arguments;
(document.getElementById(top) ?? document.body).scrollIntoView();
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0)));
"""


def at(time: str) -> float:
    """Return a time of the night, ``HH:MM``, in seconds since the epoch."""
    hours, minutes = map(int, time.split(":"))
    days = 1 if hours > 12 else 0
    return NOW - NOW % 86_400 - days * 86_400 + hours * 3600 + minutes * 60


class NightTimes(Times):
    """
    The clock of those who write the ledger.

    :ivar now: in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now


class Session:
    """
    A made session, whose transcript is written record by record.

    :param home: the agent's directory.
    :param name: the end of the session's directory, from which its id follows.
    """

    agent: str

    def __init__(self, home: str, name: str) -> None:
        self.id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.example"))
        self.directory = f"/home/you/{name}"
        self.path = os.path.join(home, self.place())
        os.makedirs(os.path.dirname(self.path), exist_ok=True)

    def place(self) -> str:
        """Return the path of the transcript in the agent's directory."""
        raise NotImplementedError

    def append(self, time: float, record: dict[str, Any]) -> None:
        """Append a record; the file is then as old as that."""
        shown = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"timestamp": shown, **record}) + "\n")
        os.utime(self.path, (time, time))

    def stop(self) -> Stop:
        """Return the stop that the package reads in the transcript."""
        found = AGENTS[self.agent].read(self.path, None)
        assert found is not None
        verdict = found[1]
        return Stop(self.agent, self.id, verdict.key, verdict.kind, self.path, self.directory)


class Claude(Session):
    """A session of Claude Code."""

    agent = "claude"

    def place(self) -> str:
        return f"projects/{self.directory.replace('/', '-')}/{self.id}.jsonl"

    def _say(self, time: float, role: str, content: list[Any], reason: str, **more: Any) -> None:
        message = {"role": role, "content": content, "stop_reason": reason}
        known = {"sessionId": self.id, "cwd": self.directory, "isSidechain": False}
        number = f"{self.id}-{time}"
        self.append(time, {"type": role, "uuid": number, **known, "message": message, **more})

    def calls(self, time: float, tool: str = "Bash") -> None:
        """Write that a tool is called."""
        call = {"type": "tool_use", "id": f"toolu_{time}", "name": tool, "input": {}}
        self._say(time, "assistant", [call], "tool_use")

    def finishes(self, time: float) -> None:
        """Write that the turn is complete."""
        self._say(time, "assistant", [{"type": "text", "text": "Done."}], "end_turn")

    def fails(self, time: float, error: str, **more: Any) -> None:
        """Write an error of the service."""
        text = [{"type": "text", "text": "API Error"}]
        more = {"isApiErrorMessage": True, "error": error, **more}
        self._say(time, "assistant", text, "stop_sequence", **more)

    def hits_the_limit(self, time: float, reset: float) -> None:
        """Write that a usage limit is reached."""
        limits = {"status": "rejected", "resetsAt": reset}
        self.fails(time, "rate_limit", apiErrorStatus=429, quotaLimits=limits)


class Codex(Session):
    """A session of Codex."""

    agent = "codex"

    def place(self) -> str:
        return f"sessions/2026/11/25/rollout-2026-11-25T19-00-00-{self.id}.jsonl"

    def begins(self, time: float) -> None:
        """Write that a turn begins."""
        meta = {"id": self.id, "cwd": self.directory, "originator": "codex_exec", "source": "exec"}
        self.append(time, {"type": "session_meta", "payload": meta})
        self.append(time, {"type": "event_msg", "payload": {"type": "task_started"}})

    def calls(self, time: float) -> None:
        """Write that a tool is called."""
        call = {"type": "function_call", "name": "shell", "call_id": "1"}
        self.append(time, {"type": "response_item", "payload": call})

    def hits_the_limit(self, time: float, reset: float) -> None:
        """Write that a usage limit is reached."""
        full = {"used_percent": 100.0, "window_minutes": 300, "resets_at": reset}
        limits = {"limit_id": "codex", "primary": full}
        error = {"message": "You've hit your usage limit."}
        error["codex_error_info"] = "usage_limit_exceeded"
        for payload in (
            {"type": "token_count", "rate_limits": limits},
            {"type": "task_complete", "error": error},
        ):
            self.append(time, {"type": "event_msg", "payload": payload})


class Night:
    """
    The night, as it is written: each step at the time of day that it is given.

    :param place: where the sessions and the ledger are.
    """

    def __init__(self, place: Place) -> None:
        self._times = NightTimes(at("19:00"))
        self._ledger = Ledger(place.state, self._times)
        self._claude, self._codex = place.path("claude"), place.path("codex")
        if (warning := self._ledger.open()) is not None:
            raise SystemExit(warning)

    def play(self) -> None:
        """Write everything that happens in it."""
        Claude(self._claude, "notes").finishes(at("18:05"))
        shop = Claude(self._claude, "shop")
        shop.hits_the_limit(at("22:14"), at("02:43"))
        limited = self._stops(shop, due="02:43")
        site = Claude(self._claude, "site")
        site.calls(at("01:20"), "AskUserQuestion")
        self._ledger.needs_you(self._stops(site), "an answer")
        works = self._revives(limited, "02:43", 5151)
        self._ledger.worked(works)
        api = Codex(self._codex, "api")
        api.begins(at("02:10"))
        api.hits_the_limit(at("03:35"), at("08:20"))
        self._stops(api, due="08:20")
        shop.finishes(at("05:31"))
        self._times.now = at("05:31")
        self._ledger.ended(works, 0, at("05:31") - at("02:43"))
        blog = Claude(self._claude, "blog")
        blog.fails(at("06:50"), "overloaded", apiErrorStatus=529)
        fails = self._revives(self._stops(blog, due="06:55"), "06:55", 6262)
        blog.fails(at("06:56"), "overloaded", apiErrorStatus=529)
        self._ledger.failed(fails, 1, reason="an error of the service or of the network")
        self._stops(blog, due="07:11", fresh=False)
        Claude(self._claude, "billing").calls(NOW - 2)
        search = Codex(self._codex, "search")
        search.begins(at("06:10"))
        search.calls(NOW - 4)
        self._ledger.close()

    def _stops(self, session: Session, due: str | None = None, *, fresh: bool = True) -> Stop:
        self._times.now = os.stat(session.path).st_mtime
        stop = session.stop()
        self._ledger.stopped(stop, None if due is None else at(due), fresh=fresh)
        return stop

    def _revives(self, stop: Stop, time: str, pid: int) -> Attempt:
        self._times.now = at(time)
        attempt = self._ledger.intent(stop, home=stop.agent)
        self._ledger.started(attempt, pid, None, f"{pid}.log")
        self._times.now += 60
        return attempt


def lacking() -> str:
    """Return what the pictures need and is not here, in one line; empty if nothing."""
    if not FAKETIME:
        return "the clock cannot be set: install Debian's faketime"
    return lacking_browser()


class Stage(ExitStack):
    """What `Place` and `start_browser` have a test case for."""

    addCleanup = ExitStack.callback


def start_daemon(place: Place) -> str:
    """Start the daemon in the morning, and return the address of its page, with a code."""
    os.mkdir(place.path("bin"))
    for agent in ("claude", "codex"):
        # No session is due, so neither is run.
        os.symlink("/bin/false", place.path("bin", agent))
    place.daemon(
        f"--config={place.write('config.toml', CONFIG)}",
        environment={
            "PATH": place.path("bin"),
            "CLAUDE_CONFIG_DIR": place.path("claude"),
            "CODEX_HOME": place.path("codex"),
            "LD_PRELOAD": FAKETIME[0],
            "FAKETIME": datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TZ": "UTC",
        },
    )
    return str(ControlClient(place.socket).send("WEB open")["url"])


def open_page(browser: Any, url: str) -> str:
    """Open the page in a browser, and return its first sentence once all is drawn."""
    script = {"source": CLOCK % {"now": int(NOW * 1000)}}
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "UTC"})
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    browser.get(url)
    wait_for_text(browser, "count", lambda text: text.startswith("7 of 7 "))
    wait_for_text(browser, "night-rows", lambda text: "planned" in text)
    wait_for_text(browser, "log", lambda text: text.count("stopped") == 5)
    return wait_for_text(browser, "sentence", lambda text: " work" in text)


def take(browser: Any, theme: str, width: int, height: int, top: str | None) -> bytes:
    """Return a picture of the page as a PNG; see `PICTURES`."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    colours = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [colours]})
    for _ in range(2):
        # What was out of sight before gets its true height only once it is drawn.
        browser.execute_async_script(SCROLL, top)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def main(directory: str) -> None:
    """Write the pictures into a directory, and print the page's first sentence."""
    with Stage() as stage:
        place = Place(stage)  # type: ignore[arg-type]
        Night(place).play()
        url = start_daemon(place)
        browser = start_browser(stage, place.path("profile"))  # type: ignore[arg-type]
        sentence = open_page(browser, url)
        os.makedirs(directory, exist_ok=True)
        for name, picture in PICTURES.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(take(browser, *picture))
    print(sentence)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    if reason := lacking():
        sys.exit(reason)
    main(sys.argv[1])

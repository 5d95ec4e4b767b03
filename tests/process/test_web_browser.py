"""The page and hostile pages in a real browser."""

from __future__ import annotations

import http.server
import threading
from typing import Any

from palingenesis.cli.web import write_link
from tests.process.test_web import WebTestCase
from tests.support.browser import REBOUND, start_browser, wait_for_text

#: Each way in which a page can send a request to another origin, and what it learns.
ATTACKS = """
const target = arguments[0], token = arguments[1], done = arguments[2];
const learnt = [];
async function attempt(name, path, options) {
  try {
    const response = await fetch(target + path, options);
    learnt.push([name, response.type, await response.text()]);
  } catch (error) {
    learnt.push([name, "error", ""]);
  }
}
function load(tag, attribute, path) {
  return new Promise((loaded) => {
    const element = document.createElement(tag);
    element.onload = () => loaded(learnt.push([tag, "loaded", ""]));
    element.onerror = () => loaded();
    element[attribute] = target + path;
    document.body.append(element);
    setTimeout(loaded, 3000);
  });
}
function submit(path, enctype) {
  const frame = document.createElement("iframe");
  frame.name = "frame" + document.forms.length;
  const form = document.createElement("form");
  form.method = "POST";
  form.action = target + path;
  form.enctype = enctype;
  form.target = frame.name;
  const field = document.createElement("input");
  field.name = '{"arguments": [], "x": "';
  field.value = '"}';
  form.append(field);
  document.body.append(frame, form);
  return new Promise((sent) => {
    frame.onload = () => sent();
    form.submit();
    setTimeout(sent, 3000);
  });
}
(async () => {
  const auth = { Authorization: "Bearer " + token };
  const json = { "Content-Type": "application/json" };
  await attempt("plain", "/api/v1/status", {});
  await attempt("token", "/api/v1/status", { headers: auth });
  await attempt("credentials", "/api/v1/status", { credentials: "include" });
  await attempt("events", "/api/v1/events", { headers: auth });
  await attempt("post", "/api/v1/pause", { method: "POST" });
  await attempt("post with key", "/api/v1/pause", { method: "POST", headers: auth });
  await attempt("post json", "/api/v1/commands/FLUSH",
    { method: "POST", headers: json, body: "{}" });
  await attempt("no-cors", "/api/v1/status", { mode: "no-cors" });
  await attempt("no-cors post", "/api/v1/pause", { mode: "no-cors", method: "POST" });
  await attempt("no-cors keepalive", "/api/v1/pause",
    { mode: "no-cors", method: "POST", keepalive: true });
  navigator.sendBeacon(target + "/api/v1/pause", "{}");
  await load("img", "src", "/api/v1/pause");
  await load("img", "src", "/api/v1/status");
  await load("script", "src", "/api/v1/status");
  await submit("/api/v1/pause", "text/plain");
  await submit("/api/v1/commands/FLUSH", "application/x-www-form-urlencoded");
  await submit("/api/v1/login", "multipart/form-data");
  done(learnt);
})();
"""

#: What a page of another origin can see of a frame.
FRAME = """
const target = arguments[0], done = arguments[1];
const frame = document.createElement("iframe");
frame.onload = () => {
  let text = "";
  try {
    text = frame.contentDocument.body.textContent;
  } catch (error) {
    text = "blocked";
  }
  done(text);
};
frame.src = target + "/";
document.body.append(frame);
"""


class Hostile(http.server.ThreadingHTTPServer):
    """
    The server of a hostile page, on another port of the loopback.

    :ivar headers: the headers of each request that it got.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers: list[dict[str, str]] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hostile

    def do_GET(self) -> None:
        self.server.headers.append(dict(self.headers))
        body = b"<!DOCTYPE html><title>hostile</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class BrowserTestCase(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.browser = start_browser(self, self.place.path("profile"))
        self.process = self.start()
        self.address = f"http://127.0.0.1:{self.port}"

    def code(self) -> str:
        return str(self.control(b"CODE\n"))

    def log_in(self) -> None:
        code = self.code()
        self.browser.get(f"{self.address}/#code={code}")
        wait_for_text(self.browser, "news", lambda text: text == "Live")


class PageTests(BrowserTestCase):
    def test_the_page_logs_in_by_a_code_that_does_not_stay_in_the_address(self) -> None:
        self.log_in()
        wait_for_text(self.browser, "status", lambda text: "monitoring" in text)
        self.assertEqual(self.browser.current_url, f"{self.address}/")
        self.assertEqual(self.browser.get_cookies(), [])

    def test_the_file_that_starts_the_browser_leads_to_it(self) -> None:
        url = f"{self.address}/#code={self.code()}"
        path = write_link(url, self.place.runtime)
        self.browser.get(f"file://{path}")
        wait_for_text(self.browser, "news", lambda text: text == "Live")

    def test_the_page_shows_a_change_at_once(self) -> None:
        self.log_in()
        self.control(b"PAUSE\n")
        wait_for_text(self.browser, "status", lambda text: "paused" in text)

    def test_without_a_code_it_asks_for_one(self) -> None:
        self.browser.get(f"{self.address}/")
        wait_for_text(self.browser, "news", lambda text: "palingenesis web" in text)
        code = self.control(b"CODE\n")
        self.browser.execute_script(
            "document.getElementById('code').value = arguments[0];"
            "document.querySelector('#login button').click()",
            code,
        )
        wait_for_text(self.browser, "status", lambda text: "monitoring" in text)

    def test_the_page_says_that_the_daemon_is_gone_and_asks_again_after_a_restart(self) -> None:
        self.log_in()
        self.process.kill()
        wait_for_text(self.browser, "news", lambda text: "does not answer" in text)
        self.start()
        # A session ends with the daemon.
        wait_for_text(self.browser, "news", lambda text: "new code" in text)

    def test_nothing_breaks_its_own_policy(self) -> None:
        self.log_in()
        broken = [entry["message"] for entry in self.browser.get_log("browser")]
        self.assertEqual(broken, [])


class HostileTests(BrowserTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()
        self.hostile = Hostile()
        threading.Thread(target=self.hostile.serve_forever, daemon=True).start()
        self.addCleanup(self.hostile.server_close)
        self.addCleanup(self.hostile.shutdown)

    def attack(self, page: str) -> list[Any]:
        """Run every attack from a page, and check that nothing was changed or read."""
        key = self.session()
        self.browser.get(page)
        learnt: list[Any] = self.browser.execute_async_script(ATTACKS, self.address, key)
        self.assertEqual(self.state, "monitoring")
        self.assertNotIn("FLUSH by", self.process.log)
        self.assertNotIn("PAUSE by", self.process.log)
        for name, kind, text in learnt:
            self.assertIn(kind, ("error", "opaque"), name)
            self.assertEqual(text, "", name)
        return learnt

    def test_a_page_of_another_loopback_port_reads_and_changes_nothing(self) -> None:
        learnt = self.attack(f"http://127.0.0.1:{self.hostile.server_port}/")
        self.assertEqual(len(learnt), 10)

    def test_a_page_of_another_name_reads_and_changes_nothing(self) -> None:
        self.attack(f"http://{REBOUND}:{self.hostile.server_port}/")

    def test_no_secret_is_sent_to_another_port(self) -> None:
        self.browser.get(f"http://127.0.0.1:{self.hostile.server_port}/")
        self.assertTrue(self.hostile.headers)
        for headers in self.hostile.headers:
            names = {name.lower() for name in headers}
            self.assertEqual(names & {"cookie", "authorization"}, set())

    def test_a_rebound_name_is_told_nothing(self) -> None:
        self.browser.get(f"http://{REBOUND}:{self.port}/")
        source = self.browser.page_source
        self.assertIn("421", source)
        self.assertNotIn("palingenesis web", source)
        reply = self.browser.execute_async_script(
            "const done = arguments[1];"
            "fetch('/api/v1/pause', { method: 'POST', headers: { Authorization: arguments[0] } })"
            ".then((reply) => done(reply.status));",
            f"Bearer {self.session()}",
        )
        self.assertEqual((reply, self.state), (421, "monitoring"))

    def test_the_page_is_shown_in_no_frame(self) -> None:
        self.browser.get(f"http://127.0.0.1:{self.hostile.server_port}/")
        seen = self.browser.execute_async_script(FRAME, self.address)
        self.assertNotIn("palingenesis", seen)

    def test_another_page_opened_by_it_has_no_hold_of_it(self) -> None:
        self.browser.get(f"http://127.0.0.1:{self.hostile.server_port}/")
        opened = self.browser.execute_async_script(
            "const done = arguments[1];"
            "const other = window.open(arguments[0] + '/');"
            "setTimeout(() => done(other === null || other.closed), 1000);",
            self.address,
        )
        self.assertTrue(opened)

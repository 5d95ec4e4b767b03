"""Notifications on their way: the real command, against servers that check what they get."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from palingenesis.cli import notify_post as posting
from palingenesis.cli.notify import KINDS
from palingenesis.cli.notify_post import SHAPES, PostError, check_url
from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.patience import PATIENCE

EVENT = {
    "at": 1.0,
    "event": "needs-you",
    "session": "11111111-aaaa",
    "agent": "claude",
    "kind": "asking",
    "reason": "an answer",
    "directory": "/home/you/<a href>&*app*",
}


class Service(ThreadingHTTPServer):
    """
    A service on loopback.

    :ivar replies: what it replies, in turn: a status and headers; the last one repeats.
    :ivar got: what was posted: path, headers and body.
    """

    daemon_threads = True

    def __init__(self, *replies: tuple[int, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = list(replies) or [(200, {})]
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/topic"


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers.items()), body))
        status, headers = self.server.replies[
            min(len(self.server.got), len(self.server.replies)) - 1
        ]
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.got.append((self.path, dict(self.headers.items()), b""))
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


class PostTestCase(ProcessTestCase):
    def serve(self, *replies: tuple[int, dict[str, str]]) -> Service:
        service = Service(*replies)
        self.addCleanup(service.server_close)
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(service.shutdown)
        return service

    def post(
        self, kind: str, *arguments: str, event: Any = EVENT, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.palingenesis(
            "notify",
            "post",
            "--as",
            kind,
            *arguments,
            text=event if isinstance(event, str) else json.dumps(event),
            **variables,
        )

    def palingenesis(
        self,
        *arguments: str,
        text: str = "",
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=text,
            env=self.place.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def assert_posted(self, done: subprocess.CompletedProcess[str]) -> None:
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def assert_failed(
        self, done: subprocess.CompletedProcess[str], status: int, reason: str
    ) -> None:
        self.assertEqual((done.returncode, done.stdout), (status, ""))
        self.assertIn(reason, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)


class ShapeTests(PostTestCase):
    """What each service documents, as its server would check it."""

    def test_the_kinds_of_the_command_line_are_those_that_can_be_posted(self) -> None:
        self.assertEqual(KINDS, tuple(SHAPES))

    def test_ntfy_gets_plain_text_and_a_priority(self) -> None:
        service = self.serve()
        self.assert_posted(self.post("ntfy", service.url))
        ((path, headers, body),) = service.got
        self.assertEqual(path, "/topic")
        self.assertEqual(body.decode(), "<a href>&*app*: needs you: an answer")
        self.assertLessEqual(len(body), 4096)
        self.assertNotIn("Markdown", headers)
        self.assertEqual((headers["Title"], headers["Priority"]), ("palingenesis", "high"))
        self.assertTrue(headers["User-Agent"].startswith("palingenesis/"))

    def test_slack_gets_a_text_in_which_nothing_is_a_link_or_a_mention(self) -> None:
        service = self.serve()
        self.assert_posted(self.post("slack", service.url))
        ((_, headers, body),) = service.got
        self.assertEqual(headers["Content-Type"], "application/json")
        told = json.loads(body)
        self.assertEqual(told["text"], "&lt;a href&gt;&amp;*app*: needs you: an answer")
        self.assertIs(told["mrkdwn"], False)

    def test_discord_gets_escaped_markdown_and_mentions_nobody(self) -> None:
        service = self.serve((204, {}))
        event = {**EVENT, "summary": "@everyone `x` " + "\n".join(["*" * 900] * 3)}
        self.assert_posted(self.post("discord", service.url, event=event))
        told = json.loads(service.got[0][2])
        self.assertTrue(told["content"].startswith(r"\@everyone \`x\` \*\*"))
        self.assertLessEqual(len(told["content"]), 2000)
        self.assertTrue(told["content"].endswith(r"\*"))
        self.assertEqual(told["allowed_mentions"], {"parse": []})

    def test_json_is_the_event_with_its_summary(self) -> None:
        service = self.serve()
        self.assert_posted(self.post("json", service.url))
        told = json.loads(service.got[0][2])
        self.assertEqual(told, {**EVENT, "summary": "<a href>&*app*: needs you: an answer"})


class SecretTests(PostTestCase):
    def test_headers_come_from_a_file_that_nobody_else_can_read(self) -> None:
        service = self.serve()
        path = self.place.write("headers", "Authorization: Bearer s3cret\n\nTitle: mine\n")
        os.chmod(path, 0o600)
        self.assert_posted(self.post("ntfy", "--header-file", path, service.url))
        headers = service.got[0][1]
        self.assertEqual(headers["Authorization"], "Bearer s3cret")
        self.assertEqual(headers["Title"], "mine")
        os.chmod(path, 0o640)
        done = self.post("ntfy", "--header-file", path, service.url)
        self.assert_failed(done, 2, "others can read it")

    def test_a_line_that_is_no_header_is_named_and_not_shown(self) -> None:
        for text in ("s3cret\n", "Bad Name: s3cret\n", "Name: s3cr\u00e9t\n"):
            path = self.place.write("headers", text)
            os.chmod(path, 0o600)
            done = self.post("ntfy", "--header-file", path, "http://127.0.0.1/")
            self.assert_failed(done, 2, "headers, line 1: expected")
            self.assertNotIn("s3c", done.stderr)

    def test_url_and_token_come_from_the_environment(self) -> None:
        service = self.serve()
        done = self.post(
            "json",
            PALINGENESIS_NOTIFY_URL=service.url,
            PALINGENESIS_NOTIFY_TOKEN="s3cret",
        )
        self.assert_posted(done)
        self.assertEqual(service.got[0][1]["Authorization"], "Bearer s3cret")

    def test_no_error_shows_more_of_a_url_than_its_host(self) -> None:
        service = self.serve((404, {}))
        done = self.post("slack", f"{service.url}/s3cret?token=s3cret")
        self.assert_failed(done, 4, f"{service.url.removesuffix('/topic')}: HTTP status 404")
        self.assertNotIn("s3cret", done.stderr)
        for url in ("s3cret", "ftp://s3cret/", "http://you:s3cret@host/", "http://h/s3cret \u00e9"):
            done = self.post("slack", url)
            self.assert_failed(done, 2, "the URL")
            self.assertNotIn("s3cret", done.stderr)

    def test_a_missing_url_is_asked_for_by_its_two_places(self) -> None:
        done = self.post("ntfy")
        self.assert_failed(done, 2, "no URL is given; name it, or set $PALINGENESIS_NOTIFY_URL")

    def test_an_ordinary_url_is_taken_as_it_is(self) -> None:
        for url in ("https://ntfy.sh/topic", "http://[::1]:8080/x?y=1"):
            self.assertEqual(check_url(url), url)


class TriesTests(PostTestCase):
    """The tries of one process, whose waits are only written down."""

    def setUp(self) -> None:
        super().setUp()
        self.waits: list[float] = []

    def try_to_post(self, url: str) -> str | None:
        """Post the event; return why that failed."""
        try:
            posting.post("ntfy", url, "a text", EVENT, {}, sleep=self.waits.append)
        except PostError as error:
            return str(error)
        return None

    def test_what_passes_is_tried_three_times(self) -> None:
        service = self.serve((500, {}), (503, {}), (200, {}))
        self.assertIsNone(self.try_to_post(service.url))
        self.assertEqual((len(service.got), self.waits), (3, [1.0, 3.0]))

    def test_an_error_that_lasts_is_told_after_three_tries(self) -> None:
        service = self.serve((500, {}))
        told = self.try_to_post(service.url) or ""
        self.assertIn("HTTP status 500 (tried 3 times)", told)
        self.assertEqual(len(service.got), 3)

    def test_retry_after_is_waited_for_if_there_is_time(self) -> None:
        service = self.serve((429, {"Retry-After": "7.5"}), (200, {}))
        self.assertIsNone(self.try_to_post(service.url))
        self.assertEqual(self.waits, [7.5])
        service = self.serve((429, {"Retry-After": "3600"}))
        told = self.try_to_post(service.url) or ""
        self.assertIn("HTTP status 429; it asks for 3600 s", told)
        self.assertEqual(len(service.got), 1)

    def test_retry_after_may_be_a_date(self) -> None:
        service = self.serve((503, {"Retry-After": formatdate(time.time() + 20)}), (200, {}))
        self.assertIsNone(self.try_to_post(service.url))
        self.assertTrue(15 < self.waits[0] <= 20, self.waits)

    def test_a_rejected_event_is_not_tried_again(self) -> None:
        service = self.serve((403, {}))
        self.assertIn("HTTP status 403", self.try_to_post(service.url) or "")
        self.assertEqual(len(service.got), 1)

    def test_a_service_that_does_not_listen_is_tried_again(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        told = self.try_to_post(f"http://127.0.0.1:{port}/") or ""
        self.assertIn("connection refused (tried 3 times)", told)

    def test_a_name_that_does_not_exist(self) -> None:
        told = self.try_to_post("http://nowhere.invalid/topic") or ""
        self.assertIn("http://nowhere.invalid: ", told)

    def test_a_server_that_drips_has_no_more_time_than_a_silent_one(self) -> None:
        # Each byte comes well within the time limit of a socket.
        self.patch(posting, "TRY_LIMIT", 0.5)
        stopped = threading.Event()
        self.addCleanup(stopped.set)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def drip(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stopped.wait(0.1):
                    client.sendall(b"x")

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=drip, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        told = self.try_to_post(f"http://127.0.0.1:{listener.getsockname()[1]}/") or ""
        self.assertIn("no reply within 0.5 s (tried 3 times)", told)


class FailureTests(PostTestCase):
    def test_a_redirect_is_not_followed(self) -> None:
        other = self.serve()
        for status in (301, 302, 303, 307, 308):
            service = self.serve((status, {"Location": other.url}))
            done = self.post("ntfy", service.url, PALINGENESIS_NOTIFY_TOKEN="s3cret")
            self.assert_failed(done, 4, f"HTTP status {status}, a redirect")
        self.assertEqual(other.got, [])

    def test_what_is_no_event_is_a_mistake(self) -> None:
        for text in ("", "[]", "{}", '{"event": "nonsense"}', "x" * 70_000):
            done = self.post("ntfy", "http://127.0.0.1:1/", event=text)
            self.assert_failed(done, 2, "standard input")


class CertificateTests(PostTestCase):
    def secure(self, name: str) -> tuple[Service, str]:
        """Serve with a certificate of its own; return the service and the certificate's path."""
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not installed")
        key, certificate = self.place.path("key.pem"), self.place.path("cert.pem")
        command = (
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout {key} "
            f"-out {certificate} -addext subjectAltName={name}"
        )
        subprocess.run(command.split(), check=True, capture_output=True)
        service = self.serve()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        service.socket = context.wrap_socket(service.socket, server_side=True)
        return service, certificate

    def test_a_certificate_that_is_trusted_is_enough(self) -> None:
        service, certificate = self.secure("IP:127.0.0.1")
        url = service.url.replace("http:", "https:")
        self.assert_posted(self.post("ntfy", url, SSL_CERT_FILE=certificate))
        self.assertEqual(len(service.got), 1)

    def test_a_certificate_that_is_not_trusted_or_for_another_name_is_refused(self) -> None:
        service, certificate = self.secure("DNS:elsewhere.example")
        url = service.url.replace("http:", "https:")
        self.assert_failed(self.post("ntfy", url), 4, "its certificate: self")
        done = self.post("ntfy", url, SSL_CERT_FILE=certificate)
        self.assert_failed(done, 4, "its certificate: IP address mismatch")
        self.assertEqual(service.got, [])


class TryingTests(PostTestCase):
    def configured(self, *command: str) -> str:
        return self.place.write("c.toml", f"[notify]\ncommand = {json.dumps(command)}\n")

    def test_the_configured_command_is_run_once_with_an_event(self) -> None:
        service = self.serve()
        command = [*COMMAND, "notify", "post", "--as", "ntfy", service.url]
        done = self.palingenesis("notify", "test", "--config", self.configured(*command))
        told = "palingenesis: needs you: nothing, this is a test"
        self.assertEqual((done.returncode, done.stdout), (0, f"sent: {told}\n"), done.stderr)
        self.assertEqual([body.decode() for _, _, body in service.got], [told])

    def test_every_table_of_the_daemon_is_known(self) -> None:
        path = self.place.write("c.toml", "[notify]\ncommand = ['true']\n[http]\n[homes]\n")
        done = self.palingenesis("notify", "test", "--config", path)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_the_command_prints_cannot_drive_the_terminal(self) -> None:
        command = ["printf", "one\\n\\033]0;two\\007\\n"]
        done = self.palingenesis("notify", "test", "--config", self.configured(*command))
        self.assertEqual(done.stdout.splitlines()[:2], ["one", "\\x1b]0;two\\x07"])

    def test_a_command_that_fails_is_told(self) -> None:
        for command, status, reason in (
            (["sh", "-c", "exit 3"], 4, "[notify] command: exit status 3"),
            (["no-such-notifier"], 2, "no-such-notifier: no such program"),
        ):
            done = self.palingenesis("notify", "test", "--config", self.configured(*command))
            self.assert_failed(done, status, reason)

    def test_without_a_command_that_is_told(self) -> None:
        empty = self.place.write("c.toml", "")
        done = self.palingenesis("notify", "test", "--config", empty)
        self.assert_failed(done, 2, "no command is named in [notify]")
        self.assert_failed(self.palingenesis("notify", "test"), 2, "there is no configuration file")

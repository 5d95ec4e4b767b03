"""A stand-in for a model's server: HTTP on the loopback, answered by a script."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.agents.answers import Answer, Cut, Fail, Hold, Say

#: Seconds for which a held reply waits at most: the end of a test has long come by then.
HELD = 600.0
#: Events of a reply that are sent before it is held or cut.
BEGUN = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A request for a turn of a conversation.

    :ivar at: when it came, in seconds since the epoch.
    :ivar body: what it asked for.
    :ivar answer: what was answered.
    """

    at: float
    body: Mapping[str, Any]
    answer: Answer

    def __contains__(self, text: str) -> bool:
        return text in json.dumps(self.body, ensure_ascii=False)


class ModelServer(ABC):
    """
    A server that answers each turn by the next answer of its script; the last one repeats.

    :ivar port: where it listens on 127.0.0.1, also after a `stop` and `start`.
    :ivar asked: each request for a turn, in order.
    :ivar others: method and path of every other request.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.others: list[str] = []
        self._lock = threading.Lock()
        self._script: list[Answer | Callable[[], Answer]] = [Say()]
        self._decision: Callable[[Mapping[str, Any]], Answer] | None = None
        self.port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    def answers(self, *script: Answer | Callable[[], Answer]) -> None:
        """Replace the script; an answer that depends on the time is made when it is due."""
        with self._lock:
            self._script, self._decision = list(script), None

    def decide(self, decision: Callable[[Mapping[str, Any]], Answer]) -> None:
        """Have each answer follow from what is asked: the script counts no more."""
        with self._lock:
            self._decision = decision

    def start(self) -> None:
        """Listen."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A cut reply must be on its way before the connection ends.
            wbufsize = 0

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                server.handle(self, self.rfile.read(length))

            def do_GET(self) -> None:
                server.handle(self, b"")

            do_HEAD = do_GET  # noqa: N815

            def log_request(self, *_: object) -> None:
                """Print nothing."""

        self._http = _Quiet(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more: a connection is refused from now on."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def handle(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        """Answer a request by the script, or as a server does that knows no such path."""
        body = _parsed(data)
        if not self.is_turn(request.command, request.path, body):
            with self._lock:
                self.others.append(f"{request.command} {request.path}")
            status, value = self.other(request.path, body)
            if isinstance(value, list):
                _stream(request, value)
            else:
                _send(request, status, value)
            return
        with self._lock:
            answer = self._decision(body) if self._decision else self._next()
            self.asked.append(Asked(time.time(), body, answer))
        if isinstance(answer, Fail):
            _send(request, answer.status, answer.body, answer.headers)
            return
        if not body.get("stream"):
            self._answer_whole(request, body, answer)
            return
        events = list(self.events(body, answer))
        if isinstance(answer, Hold):
            _stream(request, events[:BEGUN], end=False)
            answer.released.wait(HELD)
            _chunks(request, events[BEGUN:])
        elif isinstance(answer, Cut):
            _stream(request, events[:BEGUN], end=False)
            request.close_connection = True
        else:
            _stream(request, events)

    def _next(self) -> Answer:
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return answer() if callable(answer) else answer

    def _answer_whole(
        self, request: BaseHTTPRequestHandler, body: Mapping[str, Any], answer: Answer
    ) -> None:
        if isinstance(answer, Cut):
            request.close_connection = True
            return
        if isinstance(answer, Hold):
            answer.released.wait(HELD)
        _send(request, *self.whole(body, answer))

    @abstractmethod
    def is_turn(self, method: str, path: str, body: Mapping[str, Any]) -> bool:
        """Return whether a request asks for a turn of a conversation."""

    @abstractmethod
    def other(self, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        """Return status and value for any other request; a list is a stream of events."""

    @abstractmethod
    def events(self, body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
        """Make the events of a reply, in order; the last one ends it."""

    @abstractmethod
    def whole(self, body: Mapping[str, Any], answer: Answer) -> tuple[int, object]:
        """Return status and value of a reply to a client that wants no stream."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that is killed while it is answered: that is what tests do."""


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    value: object,
    headers: Mapping[str, str] | None = None,
) -> None:
    data = json.dumps(value).encode()
    request.send_response(status)
    for name, text in (headers or {}).items():
        request.send_header(name, text)
    request.send_header("content-type", "application/json")
    request.send_header("content-length", str(len(data)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)


def _stream(
    request: BaseHTTPRequestHandler, events: Iterable[Mapping[str, Any]], end: bool = True
) -> None:
    request.send_response(200)
    request.send_header("content-type", "text/event-stream")
    request.send_header("transfer-encoding", "chunked")
    request.end_headers()
    _chunks(request, events, end)


def _chunks(
    request: BaseHTTPRequestHandler, events: Iterable[Mapping[str, Any]], end: bool = True
) -> None:
    for event in events:
        name = f"event: {event['type']}\n" if "type" in event else ""
        data = f"{name}data: {json.dumps(event)}\n\n".encode()
        request.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
    if end:
        request.wfile.write(b"0\r\n\r\n")

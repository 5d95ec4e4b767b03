"""
The control socket's commands over HTTP, as a resource for any site of ``twisted.web``.

::

    root.putChild(b"control", ControlResource(control, token="…", hosts=["watch.example"]))
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from types import EllipsisType
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from palingenesis import wire
from palingenesis.server.commands import Answer
from palingenesis.server.extensible import Extensible
from palingenesis.server.log import get_logger
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.web import events, metrics, night, problem
from palingenesis.web.access import (
    Access,
    Guard,
    Need,
    Unguarded,
    Visitor,
    header_values,
    wrong_key,
)
from palingenesis.web.channel import BODY_LIMIT, TOO_LARGE_BODY, BoundedRequest
from palingenesis.web.facts import Facts
from palingenesis.web.keys import Keys
from palingenesis.web.page import PAGE
from palingenesis.web.problem import Problem, too_many
from palingenesis.wire import Command
from palingenesis.words import Outcome, State

#: Entries of the log that are returned at most.
LOG_LIMIT = 1000

#: Hours of a night that is asked for without them, and at most.
NIGHT_DEFAULT = 12.0
NIGHT_LIMIT = 168
HOUR = 3600.0
#: Seconds that a zone may be east or west of UTC.
OFFSET_LIMIT = 86_400

_JSON = b"application/json"
_SVG = b"image/svg+xml"
#: The headers of every response.
HEADERS = {
    b"Content-Security-Policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cache-Control": b"no-store",
}
_HEADER_LINES = b"".join(b"%s: %s\r\n" % pair for pair in HEADERS.items())
_STATUSES = {
    Outcome.REFUSED: HTTPStatus.CONFLICT,
    Outcome.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    Outcome.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Outcome.UNKNOWN: HTTPStatus.NOT_FOUND,
    Outcome.ARGUMENT: HTTPStatus.BAD_REQUEST,
}
_READS = (b"GET", b"HEAD")
_CHANGES = (b"POST",)
#: What follows the version in the paths of the requests that control the daemon.
_CONTROLS = ((b"pause",), (b"resume",), (b"reload",))

_log = get_logger(__name__)

#: The segments of a request's path, below the resource.
Path: TypeAlias = tuple[bytes, ...]
#: A response: its media type and its body; None if it is sent later or has no body.
Response: TypeAlias = tuple[bytes, bytes] | Deferred[Any] | None


class ControlResource(Resource):
    """
    Serves a control socket's commands, its events and its metrics.

    Links are relative to where it is mounted. Connections, heads and idle time are bounded by
    the site; bodies, streams and keys here.

    :param control: the control socket.
    :param token: what programs send as ``Authorization: Bearer TOKEN``; it reads.
    :param hosts: names beside the loopback's under which the site may be asked for.
    :param users: users beside our own and root whose processes may ask over the loopback.
    :param changes: whether a browser's session may change something over TCP.
    :param access: decides in place of ``token``, ``hosts``, ``users`` and ``changes``; None if
        the application guards the resource itself, so that every request is allowed.
    :param facts: the sessions and the log, of a daemon that has them.
    :param clock: what events are timed with; the global reactor if None.
    :ivar guard: decides about each request; may be replaced at any time.
    :raises ValueError: if there is neither a token nor ``access``, or both; or a host or a user
        is not one.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self,
        control: Extensible,
        token: str | None = None,
        *,
        hosts: Iterable[str] = (),
        users: Iterable[str | int] = (),
        changes: bool = False,
        access: Guard | EllipsisType | None = ...,
        facts: Facts | None = None,
        clock: Any = None,
    ) -> None:
        super().__init__()
        if access is ...:
            if token is None:
                raise ValueError("give a token, or access=None if the application guards itself")
            access = Access(Keys(token), hosts=hosts, users=users, control=changes)
        elif token is not None:
            raise ValueError("give a token or access, not both")
        if clock is None:
            from twisted.internet import reactor as clock
        self._control = control
        self.guard: Guard = Unguarded() if access is None else access
        self._facts = facts
        self.events = events.Events(control.factory.commands, facts, clock)
        reads: dict[Path, Callable[[Any, Visitor], Response]] = {
            (b"api", b"v1", b"status"): self._get_status,
            (b"api", b"v1", b"access"): self._get_access,
            (b"api", b"v1", b"commands"): self._get_commands,
            (b"api", b"v1", b"events"): self._get_events,
            (b"metrics",): self._get_metrics,
        }
        if facts is not None:
            for name, get in _OF_FACTS.items():
                reads[b"api", b"v1", name] = partial(get, facts)
        self._reads = reads

    def stop(self) -> None:
        """End the streams of events, as a stop of the daemon has to."""
        self.events.stop()

    def render(self, request: Any) -> Any:
        """Answer a request; never raises."""
        request.responseHeaders.removeHeader(b"server")
        try:
            response = self._respond(request)
        except Exception:
            _fail(request, Failure())
        else:
            if isinstance(response, Deferred):
                response.addCallbacks(
                    lambda answer: _send(request, answer), lambda failure: _fail(request, failure)
                )
            elif response is not None:
                _send(request, response)
        return NOT_DONE_YET

    def _respond(self, request: Any) -> Response:
        path: Path = tuple(request.postpath)
        if not path and request.prepath and request.prepath[-1]:
            # Relative links are right only below a slash.
            request.setHeader(b"location", b"%s/" % request.prepath[-1])
            raise Problem(HTTPStatus.PERMANENT_REDIRECT, "The page is below a slash")
        path = path or (b"",)
        method = request.method
        is_public = path == (b"health",) or path in PAGE
        keys = self.guard.keys if path == (b"api", b"v1", b"login") else None
        need = Need.NOTHING if is_public else Need.KEY if keys is None else Need.USER
        try:
            visitor = self.guard.admit(request, need)
        except Problem:
            self._note(request, Visitor(""))
            raise
        self._note(request, visitor)
        if is_public:
            _check_method(method, _READS)
            return PAGE[path] if path in PAGE else self._get_health(request)
        if keys is not None:
            _check_method(method, _CHANGES)
            return self._post_login(request, visitor, keys)
        return self._respond_to(request, visitor, method, path)

    def _respond_to(self, request: Any, visitor: Visitor, method: bytes, path: Path) -> Response:
        if path in self._reads:
            _check_method(method, _READS)
            return self._reads[path](request, visitor)
        if path[:2] == (b"api", b"v1") and path[2:] in _CONTROLS:
            _check_method(method, _CHANGES)
            self._check_change(request, visitor)
            _read_body(request)
            return self._run(path[2].decode().upper(), visitor, self._status_after)
        if path[:3] == (b"api", b"v1", b"commands") and len(path) == 4:
            _check_method(method, _CHANGES)
            return self._post_command(request, visitor, path[3].decode("utf-8", "replace"))
        raise Problem(HTTPStatus.NOT_FOUND, "There is nothing at this path")

    def _get_health(self, request: Any) -> Response:
        if self._facts is None or self._facts.is_healthy():
            return _JSON, b'{"status": "ok"}\n'
        request.setResponseCode(HTTPStatus.SERVICE_UNAVAILABLE)
        return _JSON, b'{"status": "degraded"}\n'

    def _get_status(self, request: Any, visitor: Visitor) -> Response:  # noqa: ARG002
        return self._run(Command.STATUS, visitor)

    def _get_access(self, request: Any, visitor: Visitor) -> Response:  # noqa: ARG002
        return _JSON, _render({"changes": visitor.may_change})

    def _get_commands(self, request: Any, visitor: Visitor) -> Response:  # noqa: ARG002
        return self._run(Command.HELP, visitor)

    def _get_metrics(self, request: Any, visitor: Visitor) -> Response:  # noqa: ARG002
        return metrics.MEDIA_TYPE, metrics.render(self._control.metrics)

    def _get_events(self, request: Any, visitor: Visitor) -> Response:
        _set_headers(request)
        request.setHeader(b"content-type", events.MEDIA_TYPE)
        if request.method == b"HEAD":
            request.finish()
            return None
        if self.events.count >= events.STREAMS_LIMIT:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "Too many streams of events", {"Retry-After": "15"}
            )
        last = events.last_event_id("".join(header_values(request, b"last-event-id")))
        self.events.open(request, last, visitor.has_ended)
        return None

    def _post_login(self, request: Any, visitor: Visitor, keys: Keys) -> Response:
        self.guard.check_origin(request, visitor)
        body = _read_body(request)
        code = body.get("code") if isinstance(body, dict) else None
        if not isinstance(code, str):
            raise Problem(HTTPStatus.BAD_REQUEST, 'The body has to be {"code": "..."}')
        key = keys.redeem(code)
        if key is None:
            raise wrong_key(keys)
        return _JSON, _render({"key": key})

    def _post_command(self, request: Any, visitor: Visitor, name: str) -> Response:
        self._check_change(request, visitor)
        entry = self._control.factory.commands.find(name)
        if entry is None or not (entry.web or visitor.is_local):
            shown = printable(name, NAME_LIMIT)
            where = "" if visitor.is_local else " to run over TCP"
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no command {shown}{where}")
        body = _read_body(request)
        arguments = body.get("arguments", []) if isinstance(body, dict) else None
        if body is None:
            arguments = []
        if not isinstance(arguments, list) or not all(isinstance(a, str) for a in arguments):
            raise Problem(HTTPStatus.BAD_REQUEST, 'The body has to be {"arguments": ["..."]}')
        if any(len(argument.split()) != 1 for argument in arguments[:-1]):
            # They are split at blanks, and only the last one takes the rest of the line.
            raise Problem(HTTPStatus.BAD_REQUEST, "Only the last argument may have blanks")
        return self._run(entry.name, visitor, arguments=arguments)

    def _check_change(self, request: Any, visitor: Visitor) -> None:
        """
        Check that a request may change something.

        :raises Problem: if it may not, or a page of another origin sent it.
        """
        if not visitor.may_change:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "Over TCP only a browser's session changes something, and only if the "
                "configuration allows it",
            )
        self.guard.check_origin(request, visitor)

    def _run(
        self,
        name: str,
        visitor: Visitor,
        then: Callable[[Visitor], Response] | None = None,
        arguments: Sequence[str] = (),
    ) -> Response:
        """Run a command of the table as one more client."""
        try:
            line = wire.render_request(name, *arguments)
        except UnicodeError:
            raise Problem(HTTPStatus.BAD_REQUEST, "An argument is not valid Unicode") from None
        except ValueError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        answer = self._control.factory.call(line, peer=visitor.peer, origin=visitor.by)
        if answer is None:
            raise too_many()
        if isinstance(answer, Deferred):
            return answer.addCallback(lambda answer: _result(answer, visitor, then))
        return _result(answer, visitor, then)

    def _status_after(self, visitor: Visitor) -> Response:
        return self._run(Command.STATUS, visitor)

    def _note(self, request: Any, visitor: Visitor) -> None:
        if isinstance(request, BoundedRequest):
            request.channel.note_key(visitor.has_key)


def _get_sessions(facts: Facts, request: Any, _visitor: Visitor) -> Response:
    state = _argument(request, b"state")
    if state is not None and state not in list(State):
        expected = f"expected one of {', '.join(State)}"
        raise Problem(HTTPStatus.BAD_REQUEST, f"state: {expected}")
    return _JSON, _render(facts.sessions(state))


def _get_log(facts: Facts, request: Any, _visitor: Visitor) -> Response:
    count = _number(request, b"count", None, 1, LOG_LIMIT)
    since = _number(request, b"since", None, 0, 2**53)
    session = _argument(request, b"session")
    return _JSON, _render(facts.log(None if count is None else int(count), since, session))


def _get_report(facts: Facts, request: Any, _visitor: Visitor) -> Response:
    since = _number(request, b"since", time.time() - NIGHT_DEFAULT * HOUR, 0, 2**53)
    return _JSON, _render(facts.night(since or 0.0))


def _get_night(facts: Facts, request: Any, _visitor: Visitor) -> Response:
    hours = _number(request, b"hours", NIGHT_DEFAULT, 1, NIGHT_LIMIT) or NIGHT_DEFAULT
    offset = _number(request, b"offset", None, -OFFSET_LIMIT, OFFSET_LIMIT)
    found = facts.night(time.time() - hours * HOUR)
    return _SVG, night.svg(found, None if offset is None else int(offset)).encode()


#: What only a daemon with sessions answers, by the last segment of the path.
_OF_FACTS: dict[bytes, Callable[[Facts, Any, Visitor], Response]] = {
    b"sessions": _get_sessions,
    b"log": _get_log,
    b"report": _get_report,
    b"night": _get_night,
}


def _result(
    answer: Answer, visitor: Visitor, then: Callable[[Visitor], Response] | None
) -> Response:
    if answer.outcome is not Outcome.OK:
        detail = answer.line.decode().removeprefix("ERR:").strip()
        raise Problem(_STATUSES[answer.outcome], detail)
    if then is not None:
        return then(visitor)
    return (_JSON, b"" if answer.line == wire.OK else answer.line)


def _check_method(method: bytes, allowed: Sequence[bytes]) -> None:
    if method not in allowed:
        allow = b", ".join(allowed).decode()
        raise Problem(
            HTTPStatus.METHOD_NOT_ALLOWED, f"The methods here are {allow}", {"Allow": allow}
        )


def _read_body(request: Any) -> Any:
    """Return the request's body, decoded; None without one."""
    content = request.content.read(BODY_LIMIT + 1)
    if not content:
        return None
    if len(content) > BODY_LIMIT:
        raise Problem(TOO_LARGE_BODY.status, TOO_LARGE_BODY.detail)
    media_type = (
        "".join(header_values(request, b"content-type")[-1:]).partition(";")[0].strip().lower()
    )
    if media_type != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body has to be application/json")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON") from None


def _argument(request: Any, name: bytes) -> str | None:
    """Return an argument of the query; None if it is left out."""
    values = request.args.get(name, [])
    if len(values) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name.decode()} comes twice")
    return values[0].decode("utf-8", "replace") if values else None


def _number(
    request: Any, name: bytes, default: float | None, least: float, most: float
) -> float | None:
    text = _argument(request, name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"{name.decode()}: expected a number from {least} to {most}"
        )
    return value


def _render(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _send(request: Any, response: tuple[bytes, bytes]) -> None:
    """Send a whole response, unless the client is gone."""
    if request._disconnected:  # noqa: SLF001 - a client that is gone has no other sign
        return
    media_type, body = response
    if not body:
        request.setResponseCode(HTTPStatus.NO_CONTENT)
    if isinstance(request, BoundedRequest):
        content_type = b"Content-Type: %s\r\n" % media_type if body else b""
        request.answer(_HEADER_LINES + content_type, body)
        return
    _set_headers(request)
    if body:
        request.setHeader(b"content-type", media_type)
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
    request.finish()


def _set_headers(request: Any) -> None:
    for name, value in HEADERS.items():
        request.setHeader(name, value)


def _send_problem(request: Any, error: Problem) -> None:
    request.setResponseCode(error.status.value, error.status.phrase.encode())
    for name, value in error.headers.items():
        request.setHeader(name.encode(), value.encode())
    _send(request, (problem.MEDIA_TYPE, error.body()))


def _fail(request: Any, failure: Failure) -> None:
    error = failure.value
    if not isinstance(error, Problem):
        _log.failure("A request failed", failure)
        error = Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "The request failed; the daemon's log says why"
        )
    _send_problem(request, error)

"""
A connection that is bounded where ``twisted.web`` leaves it open.

Twisted bounds a line, a head and the input that is read ahead. Here are the rest: the body, the
time for a request as a whole (its own limit begins anew with each byte), the reply to a client
that has closed its half, and the output that waits for a client that does not read.
"""

from __future__ import annotations

from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request
from zope.interface import implementer

from palingenesis.web.problem import Problem

#: The longest head of a request, in bytes, the request line included.
HEAD_LIMIT = 16_384
#: The longest body of a request, in bytes.
BODY_LIMIT = 4096
#: Seconds from a request's first byte, or from connecting, to its last.
REQUEST_SECONDS = 5.0
#: Seconds that a connection may stay open between two requests.
IDLE_SECONDS = 30.0
#: Seconds that a rejected client has to hang up by itself, and the input that is discarded.
LINGER_SECONDS = 2.0
LINGER_LIMIT = 65_536

#: Longer than any header with a length that is read, white space included.
_LENGTH_LINE = 100

_TOO_LARGE_HEAD = Problem(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A request's head has {HEAD_LIMIT} bytes at most"
)
TOO_LARGE_BODY = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request's body has {BODY_LIMIT} bytes at most"
)
_TOO_SLOW = Problem(
    HTTPStatus.REQUEST_TIMEOUT, f"A request has to be whole within {REQUEST_SECONDS:g} seconds"
)
_MALFORMED = Problem(HTTPStatus.BAD_REQUEST, "The request is malformed")
_BAD_CODING = Problem(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked")


class _Phase(Enum):
    #: No byte of the next request has come.
    WAITING = auto()
    READING = auto()
    WORKING = auto()
    #: The client is being sent away, and its input discarded.
    REJECTED = auto()
    GONE = auto()


class BoundedRequest(Request):
    """
    A request whose body is bounded.

    :ivar streams: whether the response has no end of its own, so that a client that has closed
        its half is gone.
    """

    channel: Any
    streams = False
    _body_size = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > BODY_LIMIT:
            self.channel.reject(TOO_LARGE_BODY)
        else:
            super().handleContentChunk(data)

    def answer(self, head: bytes, body: bytes) -> None:
        """
        Send a whole response at once.

        Twisted's own ``write`` does the same; ``benchmarks`` has what that takes.

        :param head: lines of its head, beside those of ``responseHeaders`` and the body's length.
        :param body: its body; empty if its status code has none.
        """
        parts = [b"%s %d %s\r\n" % (self.clientproto, self.code, self.code_message), head]
        for name, values in self.responseHeaders.getAllRawHeaders():
            parts += [b"%s: %s\r\n" % (name, value) for value in values]
        parts.append(b"Content-Length: %d\r\n\r\n" % len(body) if body else b"\r\n")
        if self.method != b"HEAD":
            parts.append(body)
        self.startedWriting = 1
        self.channel.write(b"".join(parts))
        self.finish()


@implementer(IHalfCloseableProtocol)
class BoundedChannel(HTTPChannel):
    """
    The server's end of one connection.

    :ivar has_key: whether the last request came with a right key; None before the first.
    :ivar since: when the connection was made, or its last request was done.
    """

    requestFactory = BoundedRequest
    #: Their bytes are counted.
    maxHeaders = HEAD_LIMIT  # noqa: N815 - Twisted's name

    site: Any
    transport: Any
    has_key: bool | None = None
    since = 0.0

    _phase = _Phase.WAITING
    #: When the client has to have done what it has to do; None during a request.
    _expires: float | None = None
    #: Fires then or earlier, so that a request alone arms no timer.
    _timer: Any = None
    _is_leaving = False
    _head_size = 0
    _discarded = 0
    _input_ended = False
    _has_asked = False

    @property
    def is_working(self) -> bool:
        """Whether a request is being answered."""
        return self._phase is _Phase.WORKING

    def connectionMade(self) -> None:
        # Twisted's own limit, which begins anew with each byte, is not used.
        self.timeOut = None
        super().connectionMade()
        self.since = self.site.reactor.seconds()
        self._set_deadline(REQUEST_SECONDS)
        self.site.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._phase is _Phase.REJECTED:
            self._discard(data)
            return
        if data and self._phase is _Phase.WAITING:
            self._begin_request()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        self._head_size += len(line) + len(self.delimiter)
        if self._head_size > HEAD_LIMIT:
            self.reject(_TOO_LARGE_HEAD)
        elif len(line) > _LENGTH_LINE and line[:14].lower() == b"content-length":
            # So many digits that int() may raise.
            self.reject(TOO_LARGE_BODY)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self.reject(_TOO_LARGE_HEAD)

    def allHeadersReceived(self) -> None:
        codings = self.requests[-1].requestHeaders.getRawHeaders(b"transfer-encoding")
        if codings and any(coding.strip().lower() != b"chunked" for coding in codings):
            self.reject(_BAD_CODING)
        elif self.length is not None and self.length > BODY_LIMIT:
            self.reject(TOO_LARGE_BODY)
        elif self._phase is not _Phase.REJECTED:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        if self._phase is _Phase.REJECTED:
            return
        self._expires = None
        self._head_size = 0
        self._has_asked = True
        self._phase = _Phase.WORKING
        super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if self._phase is _Phase.REJECTED:
            self._discard(data)
        else:
            super().rawDataReceived(data)

    def requestDone(self, request: Any) -> None:
        self._phase = _Phase.WAITING
        self.since = self.site.reactor.seconds()
        self._set_deadline(IDLE_SECONDS)
        if self._buffer:
            # The beginning of a request that came behind this one.
            self._begin_request()
        if not self.site.is_open:
            self.persistent = 0
        super().requestDone(request)
        if self.paused:
            self.transport.pauseProducing()
        self._close_if_ended()

    def pauseProducing(self) -> None:
        # Requests that are here already are not answered either while the answers wait.
        self.paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        super().resumeProducing()
        if self._phase is not _Phase.REJECTED:
            self.dataReceived(b"")
            self._close_if_ended()

    def reject(self, problem: Problem) -> None:
        """Send a client away whose request is not read to its end."""
        if self._phase is _Phase.REJECTED:
            return
        self._phase = _Phase.REJECTED
        self.persistent = 0
        self.setRawMode()
        self.transport.write(problem.response())
        self._set_deadline(LINGER_SECONDS)
        if self._input_ended:
            self.transport.loseConnection()
        else:
            # A close with unread input resets the connection, and the client may never read why.
            self.transport.loseWriteConnection()

    def loseConnection(self) -> None:
        """Close once what waits is sent, or the client has not taken it in time."""
        if self._is_leaving:
            return
        self._is_leaving = True
        super().loseConnection()
        if self._phase is not _Phase.GONE:
            self._set_deadline(IDLE_SECONDS)

    def abort(self) -> None:
        """Disconnect the client at once; its place is free from now on."""
        self.transport.abortConnection()
        self.site.disconnected(self)

    def note_key(self, has_key: bool) -> None:
        """
        Note whether the request under way came with a right key.

        :raises Problem: if there are too many that came without one.
        """
        self.has_key = has_key
        self.site.noted(self)

    def readConnectionLost(self) -> None:
        self._input_ended = True
        if self._phase is _Phase.REJECTED:
            self.transport.loseConnection()
        elif self.requests and getattr(self.requests[0], "streams", False):
            self.abort()
        else:
            self._close_if_ended()

    def writeConnectionLost(self) -> None:
        """Do nothing: the client's end of file, or the deadline, closes the connection."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._phase = _Phase.GONE
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        super().connectionLost(reason)
        self.site.disconnected(self)

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - Twisted's name
        self.reject(_MALFORMED)

    def _begin_request(self) -> None:
        self._phase = _Phase.READING
        if self._has_asked:
            self._set_deadline(REQUEST_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        reactor = self.site.reactor
        self._expires = reactor.seconds() + seconds
        if self._timer is None:
            self._timer = reactor.callLater(seconds, self._check_deadline)
        elif self._timer.getTime() > self._expires:
            self._timer.reset(seconds)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._expires is None:
            return
        left = self._expires - self.site.reactor.seconds()
        if left > 0:
            self._timer = self.site.reactor.callLater(left, self._check_deadline)
        elif self._is_leaving or self._phase is _Phase.REJECTED:
            self.abort()
        elif self._phase is _Phase.READING:
            self.reject(_TOO_SLOW)
        else:
            self.loseConnection()

    def _close_if_ended(self) -> None:
        # Nothing more can become a request; an answer that still waits is sent.
        if self._input_ended and not self.paused and not self.is_working:
            self.loseConnection()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_LIMIT:
            self.abort()

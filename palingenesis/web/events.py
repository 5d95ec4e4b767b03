"""
Server-sent events: what changes, as it changes.

The format is the HTML standard's, section 9.2. An entry of the log has an ``id`` that only
grows; a client that comes back sends the last one as ``Last-Event-ID``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.web.server import NOT_DONE_YET

from palingenesis.server.commands import Call, CommandTable
from palingenesis.server.log import get_logger
from palingenesis.web.facts import Facts
from palingenesis.wire import Command
from palingenesis.words import Key

#: Streams at once.
STREAMS_LIMIT = 16
#: Seconds between two comments, which show both ends that the other one is there.
COMMENT_SECONDS = 15.0
#: Seconds between two looks at what may have changed, while there is a stream.
CHANGE_SECONDS = 1.0
#: Bytes that may wait for a client; one for which more wait is disconnected.
WAITING_LIMIT = 262_144
#: Bytes that the connection itself holds before it asks for no more.
_CONNECTION_HOLDS = 65_536
#: Entries of the log that a client that comes back is sent.
MISSED_LIMIT = 1000

MEDIA_TYPE = b"text/event-stream"

_COMMENT = b":\n\n"

_log = get_logger(__name__)


class Stream:
    """
    One client's stream.

    :param request: the request, whose response is the stream.
    :param ended: called once the stream is over.
    :ivar must_end: returns whether the session that opened it has ended.
    """

    def __init__(
        self, request: Any, ended: Callable[[Stream], None], must_end: Callable[[], bool]
    ) -> None:
        self._request = request
        self._ended = ended
        self.must_end = must_end
        self._paused = False
        self._waiting: list[bytes] = []
        self._size = 0
        self.is_open = True
        #: The number of the last entry that was sent.
        self.number = 0
        request.streams = True
        request.registerProducer(self, True)
        request.notifyFinish().addBoth(self._finished)

    def send(self, data: bytes) -> None:
        """Send bytes, or keep them while the client does not read."""
        if not self.is_open:
            return
        if not self._paused:
            self._request.write(data)
            return
        self._waiting.append(data)
        self._size += len(data)
        if self._size > WAITING_LIMIT - _CONNECTION_HOLDS:
            _log.info("A client of the events does not read: disconnected it")
            self._request.transport.abortConnection()

    def comment(self) -> None:
        """Send a comment, unless something waits already."""
        if not self._paused:
            self.send(_COMMENT)

    def finish(self) -> None:
        """End the stream as HTTP has it, so that the client knows that nothing is missing."""
        if self.is_open:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """Keep what is sent: the connection holds enough."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send what was kept."""
        self._paused = False
        waiting, self._waiting, self._size = self._waiting, [], 0
        for index, data in enumerate(waiting):
            if self._paused:
                self._waiting = [*waiting[index:], *self._waiting]
                self._size = sum(map(len, self._waiting))
                return
            self._request.write(data)

    def stopProducing(self) -> None:
        """Do nothing: the request reports its end."""

    def _finished(self, _result: object) -> None:
        if self.is_open:
            self.is_open = False
            self._waiting = []
            self._ended(self)


class Events:
    """
    All streams, and what they have been sent.

    Nothing is looked at, and nothing is scheduled, while there is no stream.

    :param commands: returns the status, and reports each command that has ended, which may have
        changed something.
    :param facts: the sessions and the log; None if the daemon has none.
    :param clock: what looks and comments are timed with.
    """

    def __init__(self, commands: CommandTable, facts: Facts | None, clock: Any) -> None:
        self._facts = facts
        self._streams: dict[Stream, None] = {}
        self._looks = LoopingCall(self.look)
        self._looks.clock = clock
        self._comments = LoopingCall(self._comment)
        self._comments.clock = clock
        self._commands = commands
        self._ignore_commands: Callable[[], None] | None = None
        #: The newest reply to STATUS, and whether another one is under way.
        self._reply: Any = None
        self._under_way = False
        #: The status as the streams have it.
        self._status: Any = None
        #: The event with the sessions, as the streams have it; empty without streams or sessions.
        self._sessions = b""

    @property
    def count(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def open(self, request: Any, last: int | None, must_end: Callable[[], bool]) -> Any:
        """
        Make the response to a request a stream.

        :param last: the number of the last entry that the client has; None if it has none.
        :param must_end: returns whether the client's session has ended.
        """
        # What the others have not been sent yet must not become known to all by this one.
        self.look()
        stream = Stream(request, self._forget, must_end)
        self._streams[stream] = None
        newest = 0 if self._facts is None else self._facts.last_number()
        # A number from the future is that of another ledger.
        stream.number = newest if last is None or last > newest else last
        # From the first event on, a client knows what to send when it comes back.
        stream.send(b"id: %d\n\n" % stream.number)
        status = self._newest_status()
        if status is not None:
            self._status = _without_uptime(status)
            stream.send(_event("status", status))
        # Of several streams, the look has just asked.
        self._sessions = self._sessions or self._sessions_event()
        if self._sessions:
            stream.send(self._sessions)
        self._send_entries(stream)
        if not self._looks.running:
            self._looks.start(CHANGE_SECONDS, now=False).addErrback(_failed)
            self._comments.start(COMMENT_SECONDS, now=False).addErrback(_failed)
            self._ignore_commands = self._commands.observers.add(self._command_ended)
        return NOT_DONE_YET

    def look(self) -> None:
        """Send what has changed since the last look; end the streams of ended sessions."""
        for stream in list(self._streams):
            if stream.must_end():
                stream.finish()
        if not self._streams:
            return
        status = self._newest_status()
        if status is not None and _without_uptime(status) != self._status:
            self._status = _without_uptime(status)
            self._send(_event("status", status))
        sessions = self._sessions_event()
        if sessions != self._sessions:
            self._sessions = sessions
            self._send(sessions)
        for stream in list(self._streams):
            self._send_entries(stream)

    def stop(self) -> None:
        """End every stream."""
        for stream in list(self._streams):
            stream.finish()

    def _newest_status(self) -> Any:
        """Return the newest status; None if the first one is still under way."""
        if not self._under_way:
            reply = self._commands.peek()
            if isinstance(reply, Call):
                self._under_way = True
                reply.reply.addCallback(self._answered)
            else:
                self._answered(reply)
        return self._reply

    def _answered(self, line: bytes) -> None:
        self._under_way = False
        if not line.startswith(b"ERR:"):
            self._reply = json.loads(line)

    def _sessions_event(self) -> bytes:
        return b"" if self._facts is None else _event("sessions", self._facts.sessions())

    def _send_entries(self, stream: Stream) -> None:
        if self._facts is not None and self._facts.last_number() > stream.number:
            for number, entry in self._facts.entries(stream.number, MISSED_LIMIT):
                stream.number = number
                stream.send(b"id: %d\n" % number + _event("log", entry))

    def _send(self, data: bytes) -> None:
        for stream in list(self._streams):
            stream.send(data)

    def _comment(self) -> None:
        for stream in list(self._streams):
            stream.comment()

    def _command_ended(self, name: str, *_: object) -> None:
        if name not in (Command.STATUS, Command.HELP):
            self.look()

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream, None)
        if not self._streams:
            self._status, self._sessions = None, b""
            if self._ignore_commands is not None:
                self._ignore_commands()
            for each in (self._looks, self._comments):
                if each.running:
                    each.stop()


def last_event_id(sent: str | None) -> int | None:
    """Read ``Last-Event-ID``; what is no number of ours counts as none."""
    if sent is None or not sent.isascii() or not sent.isdigit() or len(sent) > 18:
        return None
    return int(sent)


def _event(name: str, value: object) -> bytes:
    # JSON has no line break of its own, so one line of data is enough.
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def _without_uptime(status: Any) -> Any:
    if not isinstance(status, dict):
        return status
    return {key: value for key, value in status.items() if key != Key.UPTIME_SECS}


def _failed(failure: Any) -> None:
    _log.failure("The events ended", failure)

"""The server's side of the protocol: one command and one reply for each connection."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, ISystemHandle
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from palingenesis import wire
from palingenesis.procfs import Credentials, peer_credentials
from palingenesis.server.commands import Answer, Call, CommandTable
from palingenesis.server.interfaces import Clock
from palingenesis.server.log import Repeats, get_logger
from palingenesis.server.observers import Observers
from palingenesis.server.transport import DISCARD_LIMIT
from palingenesis.words import Rejection

#: The most rejected clients whose connections stay half-open at once.
REJECTED_LIMIT = 64
#: The most input of a rejected client that is read and discarded, in bytes.
REJECTED_DISCARD_LIMIT = 65_536
#: Seconds that commands under way may still take when the daemon stops.
GRACE = 2.0
#: Seconds that clients have to take their reply when the daemon stops.
REPLY_GRACE = 0.5

_log = get_logger(__name__)

_TOO_LONG = wire.render_error(f"Command too long ({wire.REQUEST_LIMIT} bytes at most)")
_TOO_MANY = wire.render_error("Too many connections")
_TIMED_OUT = wire.render_error("Connection timeout")
_NOT_PERMITTED = wire.render_error("Permission denied: not the daemon's own user, nor root")
_STOPPING = wire.render_error("The daemon is stopping")
_REASONS = {
    _TOO_MANY: Rejection.LIMIT,
    _NOT_PERMITTED: Rejection.PERMISSION,
    _STOPPING: Rejection.STOPPING,
}


class _Phase(Enum):
    READING = auto()
    WORKING = auto()
    REPLIED = auto()
    CLOSED = auto()


@implementer(IHalfCloseableProtocol)
class ControlProtocol(LineReceiver, TimeoutMixin):
    """
    Reads one command, runs it, sends one reply, and closes.

    A client that has not sent a full line ``timeout`` seconds after connecting gets
    ``ERR: Connection timeout``. A client that does not take its reply in the same time is
    disconnected. A line that ends with the client's half-close counts as whole.

    :ivar peer: the client; None if the kernel does not name it.
    """

    delimiter = b"\n"
    MAX_LENGTH = wire.REQUEST_LIMIT

    factory: ControlFactory
    transport: Any
    peer: Credentials | None = None

    _phase = _Phase.READING
    _call: Call | None = None
    _input_ended = False
    _discarded = 0
    _discard_limit = DISCARD_LIMIT

    @property
    def idle(self) -> bool:
        """Whether the client has yet to send its command."""
        return self._phase is _Phase.READING

    def connectionMade(self) -> None:
        if ISystemHandle.providedBy(self.transport):
            self.peer = peer_credentials(self.transport.getHandle())
        rejection = self.factory.admit(self)
        if rejection is None:
            self.setTimeout(self.factory.commands.limits.timeout)
        else:
            self.reject(rejection)

    def lineReceived(self, line: bytes) -> None:
        self._discarded = len(self.clearLineBuffer())
        self.factory.set_aside(self)
        reply = self.factory.commands.run(line, self.peer)
        self.factory.take_over(self)
        if isinstance(reply, Call):
            self.wait_for(reply)
        else:
            self.reply(reply)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.rawDataReceived(line)
        self.reply(_TOO_LONG)

    def rawDataReceived(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > self._discard_limit:
            self.abort()

    def readConnectionLost(self) -> None:
        self._input_ended = True
        if self._phase is _Phase.READING:
            self.lineReceived(self.clearLineBuffer())
        elif self._phase is _Phase.REPLIED:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: the connection closes at the client's end of file or at the deadline."""

    def callLater(self, delay: float, call: Callable[[], None]) -> Any:
        return self.factory.clock.callLater(delay, call)

    def timeoutConnection(self) -> None:
        if self.idle:
            self.reply(_TIMED_OUT)
        else:
            self.abort()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        call = self._call
        self._phase = _Phase.CLOSED
        self.setTimeout(None)
        if call is None:
            self.factory.forget(self)
        else:
            # The client counts until its command is done.
            call.client_gone = True

    def wait_for(self, call: Call) -> None:
        """Send the reply to a command under way once it is there."""
        self._phase = _Phase.WORKING
        self.setTimeout(None)
        self.setRawMode()
        self._call = call
        call.reply.addCallback(self.reply)

    def reply(self, line: bytes) -> None:
        """
        Send the one reply, then close.

        A second reply, such as one after the deadline, is dropped.
        """
        if self._phase is _Phase.CLOSED:
            # The client is gone, and its command is done or has taken too long.
            self.factory.forget(self)
        elif self._phase is not _Phase.REPLIED:
            self._call = None
            self._send(line, half_close=self._discarded > 0)

    def reject(self, line: bytes) -> None:
        """
        Send a client the reason, which may not have written yet, and disconnect it.

        The connection stays half-open for a while: a client that writes to a closed one gets
        a broken pipe, and may not read the reason.
        """
        self._discard_limit = REJECTED_DISCARD_LIMIT
        self._send(line, half_close=self.factory.keep_rejected(self))

    def send_rest(self, rest: bytes) -> None:
        """Send the rest of a reply, and discard what the client sends meanwhile."""
        self._send(rest, half_close=True)

    def abort(self) -> None:
        """Disconnect the client."""
        self.transport.abortConnection()

    def forget(self) -> None:
        """In a forked child: close its copy of the parent's connection."""
        handle = getattr(self.transport, "socket", None)
        if handle is not None:
            handle.close()

    def _send(self, line: bytes, half_close: bool) -> None:
        self._phase = _Phase.REPLIED
        self.setRawMode()
        if line:
            self.transport.write(line)
        if half_close and not self._input_ended:
            # If the client is still sending, closing would keep it from reading the reply.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self.setTimeout(self.factory.commands.limits.timeout)


class ControlFactory(ServerFactory):
    """
    Admits, forgets and stops the clients of one control socket.

    :param commands: what the clients can ask for, and the limits that they have.
    :param clock: what deadlines are set with.
    :param admit_others: whether clients of other users than the daemon's own and root are
        admitted.
    """

    protocol = ControlProtocol  # type: ignore[assignment]
    noisy = False

    def __init__(self, commands: CommandTable, clock: Clock, *, admit_others: bool = False) -> None:
        self.commands = commands
        self.clock = clock
        self.admit_others = admit_others
        self._uid = os.geteuid()
        self._open = True
        #: Commands under way that came by another way than the socket, which count as clients.
        self.others = 0
        #: Called with the reason of each rejection, one word.
        self.rejections = Observers()
        self._clients: set[ControlProtocol] = set()
        self._rejected: set[ControlProtocol] = set()
        self._calling: set[ControlProtocol] = set()
        self._strangers = Repeats(clock, _report_strangers)
        self._departures: list[tuple[set[ControlProtocol], Deferred[None]]] = []

    def startFactory(self) -> None:
        self._open = True
        # Not earlier: a daemon may have been started as root, and change to another user.
        self._uid = os.geteuid()

    @property
    def connected(self) -> int:
        """The number of clients that are served."""
        return len(self._clients) + self.others

    def rejection(self, peer: Credentials | None) -> bytes | None:
        """Return the reply that rejects a client, or None if it is admitted."""
        if peer is not None and peer.uid != self._uid and peer.uid != 0 and not self.admit_others:
            return _NOT_PERMITTED
        if not self._open:
            return _STOPPING
        if self.connected >= self.commands.limits.max_connections:
            return _TOO_MANY
        return None

    def call(
        self, line: bytes, *, peer: Credentials | None = None, origin: str | None = None
    ) -> Answer | Deferred[Answer] | None:
        """
        Run a command that came by another way than the socket; it counts as one client.

        :param line: the request line.
        :param peer: the client, or None if the kernel does not name it.
        :param origin: the client in words, for the audit line; made from the peer if None.
        :returns: the answer, or a Deferred of it, which never fails; None if there are too
            many clients already.
        """
        if self.connected >= self.commands.limits.max_connections:
            self.rejections.notify(_REASONS[_TOO_MANY])
            return None
        self.others += 1
        answer = self.commands.answer(line, peer, origin)
        if isinstance(answer, Answer):
            self.others -= 1
            return answer

        def done(answer: Answer) -> Answer:
            self.others -= 1
            return answer

        return answer.addCallback(done)

    def admit(self, client: ControlProtocol) -> bytes | None:
        """Admit a client, or return the reply that rejects it."""
        if client in self._clients:
            return None
        rejection = self.rejection(client.peer)
        if rejection is None:
            self._clients.add(client)
        elif rejection is _NOT_PERMITTED:
            self._strangers.add(client.peer)
        if rejection is not None and self.rejections:
            self.rejections.notify(_REASONS[rejection])
        return rejection

    def set_aside(self, client: ControlProtocol) -> None:
        """
        Exclude a client from a stop while its handler is called.

        The handler may stop the daemon, and wait until it has stopped.
        """
        self.forget(client)
        self._calling.add(client)

    def take_over(self, client: ControlProtocol) -> None:
        """Count a client whose command has run, whatever the limit is."""
        client.factory = self
        self._calling.discard(client)
        self._clients.add(client)

    def keep_rejected(self, client: ControlProtocol) -> bool:
        """Return whether the connection of a rejected client may stay half-open."""
        may_stay = len(self._rejected) < REJECTED_LIMIT
        # Remembered in any case: a child that is forked meanwhile has to close its copy.
        self._rejected.add(client)
        return may_stay

    def forget(self, client: ControlProtocol) -> None:
        """Forget a client whose connection is closed and whose command is done."""
        self._clients.discard(client)
        self._rejected.discard(client)
        self._calling.discard(client)
        for departure in list(self._departures):
            leaving, all_gone = departure
            leaving.discard(client)
            if not leaving:
                self._departures.remove(departure)
                all_gone.callback(None)

    def connections(self) -> list[ControlProtocol]:
        """Return the connected clients, those rejected or set aside included."""
        return [*self._clients, *self._rejected, *self._calling]

    def stop(self) -> Deferred[None]:
        """
        Reject the idle clients at once, and disconnect the others when their command is done.

        :returns: a Deferred that fires when all are gone: within `GRACE` plus `REPLY_GRACE`
            seconds, or within `REPLY_GRACE` if no command is under way.
        """
        self._open = False
        self._strangers.flush()
        leaving = {*self._clients, *self._rejected}
        for client in list(self._clients):
            if client.idle:
                client.reject(_STOPPING)
        leaving &= {*self._clients, *self._rejected}
        if not leaving:
            return succeed(None)
        all_gone: Deferred[None] = Deferred()
        self._departures.append((leaving, all_gone))

        def abort(clients: set[ControlProtocol]) -> None:
            for client in leaving & clients:
                client.abort()
                self.forget(client)

        def end_grace() -> None:
            for client in set(leaving):
                client.reply(_STOPPING)

        calls = [
            self.clock.callLater(REPLY_GRACE, abort, self._rejected),
            self.clock.callLater(GRACE, end_grace),
            self.clock.callLater(GRACE + REPLY_GRACE, abort, leaving),
        ]

        def cancel_calls(_: None) -> None:
            for call in calls:
                if call.active():
                    call.cancel()

        return all_gone.addCallback(cancel_calls)


def _report_strangers(peer: Credentials, count: int) -> None:
    if count == 1:
        _log.warn("Rejected a client of another user: {peer}", peer=peer)
    else:
        _log.warn(
            "Rejected {count} more clients of uid {uid}, the last one {peer}",
            count=count,
            uid=peer.uid,
            peer=peer,
        )

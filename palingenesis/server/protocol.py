"""One command a connection: the server's side of the contract on the wire."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol, ISystemHandle
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from palingenesis import wire
from palingenesis.procfs import Credentials, peer_credentials
from palingenesis.server.interfaces import CommandFailed, IDaemonState
from palingenesis.server.log import get_logger
from palingenesis.server.transport import Connection
from palingenesis.wire import Command, DaemonStatus, Unfit

#: Input that is read and thrown away besides the command, in bytes; more is cut off.
DRAIN_LIMIT = 4 * 1024 * 1024
#: Seconds that commands already under way have left when the daemon stops.
GRACE = 2.0
#: Seconds after that for their clients to take the reply.
LAST_WORDS = 0.5

_log = get_logger(__name__)

_TOO_LONG = wire.render_error(f"Command too long ({wire.REQUEST_LIMIT} bytes at most)")
_TOO_MANY = wire.render_error("Too many connections")
_TIMED_OUT = wire.render_error("Connection timeout")
_NOT_PERMITTED = wire.render_error("Permission denied: not the daemon's own user, nor root")
_STOPPING = wire.render_error("The daemon is stopping")


class _Phase(Enum):
    READING = auto()
    WORKING = auto()
    REPLIED = auto()
    CLOSED = auto()


# A member of an enumeration takes five times as long to look up as a name.
_READING, _WORKING, _REPLIED, _CLOSED = _Phase
_STATUS, _RELOAD = Command.STATUS, Command.RELOAD
_COMMANDS = {command.encode(): command for command in Command if command != "HELP"}


@implementer(IHalfCloseableProtocol)
class ControlProtocol(LineReceiver):
    """
    Reads one command, has it carried out, sends one reply, and closes.

    Whoever sends no whole line within ``factory.timeout`` seconds is told so and dropped,
    however the bytes dribble in; whoever does not take the reply in the same time is
    dropped too. A line that ends with the client's half-close counts as whole.

    :ivar peer: who the client is, where the kernel tells.
    """

    delimiter = b"\n"
    MAX_LENGTH = wire.REQUEST_LIMIT

    factory: ControlFactory
    transport: Any
    peer: Credentials | None = None

    _phase = _READING
    _deadline: Any = None
    _input_ended = False
    _thrown_away = 0

    @property
    def idle(self) -> bool:
        """Whether the client has yet to send its command."""
        return self._phase is _READING

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._phase is _CLOSED

    def connectionMade(self) -> None:
        transport = self.transport
        early = isinstance(transport, Connection)
        if early or ISystemHandle.providedBy(transport):
            self.peer = peer_credentials(transport.getHandle())
        refusal = self.factory.admit(self)
        if refusal is not None:
            self.reply(refusal)
            return
        if early:
            transport.read_early()
        if self._phase is _READING:
            self._set_deadline(self._request_timed_out)

    def lineReceived(self, line: bytes) -> None:
        self._phase = _WORKING
        self._clear_deadline()
        self.setRawMode()
        self._thrown_away = len(self.clearLineBuffer())
        name, argument = wire.split_request(line)
        command = _COMMANDS.get(name)
        if command is None or argument:
            self.reply(wire.render_unknown(line))
            return
        answer = self.factory.carry_out(command, self)
        if isinstance(answer, bytes):
            self.reply(answer)
        else:
            answer.addCallback(self.reply)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.rawDataReceived(line)
        self.reply(_TOO_LONG)

    def rawDataReceived(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > DRAIN_LIMIT:
            self.abort()

    def readConnectionLost(self) -> None:
        self._input_ended = True
        if self._phase is _READING:
            self.lineReceived(self.clearLineBuffer())
        elif self._phase is _REPLIED:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: the client's end of file, or the deadline, closes the connection."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        working = self._phase is _WORKING
        self._phase = _CLOSED
        self._clear_deadline()
        if not working:
            self.factory.leave(self)

    def reply(self, line: bytes) -> None:
        """
        Send the one reply, then close.

        A second reply, as after a deadline, is dropped.
        """
        if self._phase is _CLOSED:
            self.factory.leave(self)
        if self._phase is _CLOSED or self._phase is _REPLIED:
            return
        self._phase = _REPLIED
        self._clear_deadline()
        self.setRawMode()
        transport = self.transport
        taken = False
        if isinstance(transport, Connection):
            taken = transport.write_early(line)
        else:
            transport.write(line)
        if self._thrown_away and not self._input_ended:
            # The client may be sending still: a close now would keep it from reading.
            transport.loseWriteConnection()
            taken = False
        else:
            transport.loseConnection()
        if not taken:
            self._set_deadline(self.abort)

    def abort(self) -> None:
        """Drop the client."""
        self.transport.abortConnection()

    def _request_timed_out(self) -> None:
        self.reply(_TIMED_OUT)

    def _set_deadline(self, at_deadline: Callable[[], None]) -> None:
        factory = self.factory
        self._deadline = factory.reactor.callLater(factory.timeout, at_deadline)

    def _clear_deadline(self) -> None:
        deadline = self._deadline
        if deadline is not None:
            self._deadline = None
            if deadline.active():
                deadline.cancel()


class ControlFactory(ServerFactory):
    """
    What the connections of one control socket share.

    Its limits may be changed at any time; they hold for what comes after.

    :param state: provides `IDaemonState`.
    :param reactor: provides ``IReactorTime``.
    :param timeout: seconds a client has to send its command, and again to take the reply.
    :param handler_timeout: seconds a command may take before its client is told so.
    :param max_connections: clients served at once.
    :param admit_others: whether clients of other users than the daemon's own and root are
        served, where the kernel tells.
    """

    protocol = ControlProtocol  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        state: IDaemonState,
        reactor: Any,
        *,
        timeout: float,
        handler_timeout: float,
        max_connections: int,
        admit_others: bool,
    ) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self.handler_timeout = handler_timeout
        self.max_connections = max_connections
        self.admit_others = admit_others
        self._uid = os.geteuid()
        self._methods: dict[Command, Callable[[], Any]] = {
            Command.STATUS: state.get_status,
            Command.PAUSE: state.pause,
            Command.RESUME: state.resume,
            Command.RELOAD: state.reload_config,
        }
        self._clients: set[ControlProtocol] = set()
        self._reloading = DeferredLock()
        self._open = True
        self._departures: list[tuple[set[ControlProtocol], Deferred[None]]] = []

    def startFactory(self) -> None:
        self._open = True
        # Not before: a daemon may have been started as root and have become another user.
        self._uid = os.geteuid()

    def admit(self, client: ControlProtocol) -> bytes | None:
        """Take a client in, or answer with the reply that turns it away."""
        peer = client.peer
        if peer is not None and peer.uid != self._uid and peer.uid != 0 and not self.admit_others:
            _log.warn("Refused a client of another user: {peer}", peer=peer)
            return _NOT_PERMITTED
        if not self._open:
            return _STOPPING
        if len(self._clients) >= self.max_connections:
            return _TOO_MANY
        self._clients.add(client)
        return None

    def leave(self, client: ControlProtocol) -> None:
        """Forget a client: its connection is closed, and nothing is under way for it."""
        self._clients.discard(client)
        for departure in list(self._departures):
            leaving, all_gone = departure
            leaving.discard(client)
            if not leaving:
                self._departures.remove(departure)
                all_gone.callback(None)

    def carry_out(self, command: Command, client: ControlProtocol) -> bytes | Deferred[bytes]:
        """
        Have the daemon carry out a client's command.

        :returns: the reply, or a Deferred of it, which never fails.
        """
        if command is _RELOAD:
            return self.reload(client)
        try:
            answer = self._methods[command]()
        except BaseException:
            # Even an exit: the daemon is not a client's to end.
            answer = Failure()
        if not isinstance(answer, DaemonStatus):
            if isinstance(answer, Coroutine):
                answer = Deferred.fromCoroutine(answer)
            if isinstance(answer, Deferred):
                return self._in_time(command, client, answer)
        return self._conclude(command, client, answer)

    def reload(self, client: ControlProtocol | None = None) -> Deferred[bytes]:
        """
        Have the daemon reload its configuration, once those before are done with it.

        :param client: who asked; None for the daemon itself, on SIGHUP.
        :returns: a Deferred of the reply, which never fails.
        """
        begun = False

        def begin() -> Any:
            nonlocal begun
            begun = True
            return self._methods[Command.RELOAD]()

        def give_up() -> None:
            if not begun:
                turn.cancel()

        def never_begun(failure: Failure) -> Failure:
            if begun:
                return failure
            raise CommandFailed("Another RELOAD is still under way")

        turn: Deferred[Any] = self._reloading.run(begin)
        turn.addErrback(never_begun)
        return self._in_time(Command.RELOAD, client, turn, give_up)

    def stop(self) -> Deferred[None]:
        """
        Send away the idle clients at once, and the others when their command is done.

        :returns: a Deferred that fires when all are gone, within `GRACE` and `LAST_WORDS`
            seconds.
        """
        self._open = False
        leaving = set(self._clients)
        for client in leaving:
            if client.idle:
                client.reply(_STOPPING)
        leaving &= self._clients
        if not leaving:
            return succeed(None)
        all_gone: Deferred[None] = Deferred()
        self._departures.append((leaving, all_gone))

        def end_grace() -> None:
            for client in set(leaving):
                client.reply(_STOPPING)

        def abort() -> None:
            for client in set(leaving):
                client.abort()
                self.leave(client)

        calls = [
            self.reactor.callLater(GRACE, end_grace),
            self.reactor.callLater(GRACE + LAST_WORDS, abort),
        ]

        def cancel_calls(_: None) -> None:
            for call in calls:
                if call.active():
                    call.cancel()

        return all_gone.addCallback(cancel_calls)

    def _in_time(
        self,
        command: Command,
        client: ControlProtocol | None,
        answer: Deferred[Any],
        give_up: Callable[[], None] | None = None,
    ) -> Deferred[bytes]:
        seconds = self.handler_timeout
        replied: Deferred[bytes] = Deferred()

        def too_late() -> None:
            replied.callback(
                wire.render_error(f"{command.name} is not done after {seconds:g} seconds")
            )
            _log.warn(
                "{command} is not done after {seconds:g} seconds",
                command=command.name,
                seconds=seconds,
            )
            if give_up is not None:
                give_up()

        deadline = self.reactor.callLater(seconds, too_late)

        def done(result: Any) -> None:
            late = not deadline.active()
            reply = self._conclude(command, client, result, late)
            if not late:
                deadline.cancel()
                replied.callback(reply)

        answer.addBoth(done)
        return replied

    def _conclude(
        self, command: Command, client: ControlProtocol | None, result: Any, late: bool = False
    ) -> bytes:
        if command is _STATUS and isinstance(result, DaemonStatus):
            try:
                return wire.render_status(result)
            except Unfit:
                result = Failure()
        reply = self._reply_for(command, result)
        if command is not _STATUS or late:
            _log.info(
                "{command} by {who}: {outcome}{late}{gone}",
                command=command.name,
                who="SIGHUP" if client is None else _who(client.peer),
                outcome=reply.decode().rstrip("\n"),
                late=" (late)" if late else "",
                gone=" (the client is gone)" if client is not None and client.gone else "",
            )
        return reply

    def _reply_for(self, command: Command, result: Any) -> bytes:
        if isinstance(result, Failure):
            if isinstance(result.value, CommandFailed):
                return wire.render_error(result.value.message)
            _log.failure("{command} failed", failure=result, command=command.name)
            return wire.render_error(f"{command.name} failed; the daemon's log says why")
        if command is _STATUS:
            _log.error("The status is no DaemonStatus but {result!r}", result=result)
            return wire.render_error("STATUS failed; the daemon's log says why")
        return wire.OK


def _who(peer: Credentials | None) -> str:
    return "an unknown client" if peer is None else f"uid {peer.uid}, pid {peer.pid}"

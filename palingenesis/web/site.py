"""Where HTTP is served, and how many connections there may be."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site

from palingenesis.server.fileport import FilePort
from palingenesis.server.forks import started_here
from palingenesis.server.log import get_logger
from palingenesis.server.socketfile import SocketFile, SocketFileError
from palingenesis.server.transport import Connection, ControlPort, ListeningSocket
from palingenesis.text import in_short, printable
from palingenesis.web.channel import BoundedChannel, BoundedRequest
from palingenesis.web.problem import too_many
from palingenesis.web.resource import ControlResource
from palingenesis.web.settings import Place

#: Connections at once.
CONNECTIONS_LIMIT = 64
#: Of those, connections whose last request came without a right key.
KEYLESS_LIMIT = 8
#: Seconds that requests under way have left at a stop.
GRACE = 2.0
#: Connections that the kernel lets wait to be accepted.
BACKLOG = 128

_log = get_logger(__name__)


class BoundedSite(Site):
    """
    A site whose connections are bounded.

    A connection beyond the limit takes the place of the one that has waited longest without
    having shown a right key, so that clients without a key keep out no client that has one.

    :param resource: what is served.
    :param reactor: what to run on.
    """

    protocol = BoundedChannel  # type: ignore[assignment]
    noisy = False

    def __init__(self, resource: IResource, reactor: Any) -> None:
        super().__init__(resource, requestFactory=BoundedRequest, reactor=reactor)
        self.is_open = True
        self._channels: dict[BoundedChannel, None] = {}
        self._all_gone: list[Deferred[None]] = []

    def startFactory(self) -> None:
        """Do nothing: there is no access log, whose clock would wake the daemon each second."""
        self.is_open = True

    def stopFactory(self) -> None:
        """Do nothing, as `startFactory` does."""

    def log(self, request: Any) -> None:
        """Do nothing: commands leave their audit line, and reads leave none."""

    def connected(self, channel: BoundedChannel) -> None:
        """Count a connection, and make room for it."""
        self._channels[channel] = None
        if not self.is_open:
            channel.reject(too_many())
        elif len(self._channels) > CONNECTIONS_LIMIT:
            others = [each for each in self._channels if each is not channel and not each.has_key]
            if not _send_away(others):
                channel.reject(too_many())

    def noted(self, channel: BoundedChannel) -> None:
        """
        Make room for a request that came without a right key.

        :raises Problem: if all places of such requests are taken by some under way.
        """
        if channel.has_key:
            return
        keyless = [each for each in self._channels if each.has_key is False]
        others = [each for each in keyless if each is not channel]
        if len(keyless) > KEYLESS_LIMIT and not _send_away(others):
            raise too_many({"Connection": "close"})

    def disconnected(self, channel: BoundedChannel) -> None:
        """Forget a connection."""
        self._channels.pop(channel, None)
        if not self._channels:
            waiting, self._all_gone = self._all_gone, []
            for each in waiting:
                each.callback(None)

    def forget(self) -> None:
        """In a forked child: close its copies of the connections, which are the parent's."""
        for channel in self._channels:
            channel.transport.socket.close()

    def stop(self) -> Deferred[None]:
        """
        Close the connections: idle ones at once, the others once they are answered.

        :returns: a Deferred that fires when all are gone, `GRACE` seconds later at most.
        """
        self.is_open = False
        for channel in list(self._channels):
            if not channel.is_working:
                channel.loseConnection()
        if not self._channels:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._all_gone.append(gone)

        def abort() -> None:
            for channel in list(self._channels):
                channel.abort()

        deadline = self.reactor.callLater(GRACE, abort)

        def done(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return gone.addCallback(done)


def _send_away(channels: Iterable[BoundedChannel]) -> bool:
    """Disconnect the connection that has waited longest, and return whether there was one."""
    waiting = [each for each in channels if not each.is_working]
    if not waiting:
        return False
    min(waiting, key=lambda channel: channel.since).abort()
    return True


class _Sending(Enum):
    #: There is nothing to send.
    NOTHING = auto()
    #: Input is dealt with, and what is written meanwhile is sent after it.
    LATER = auto()
    #: That has been written.
    NOW = auto()
    #: The reactor sends once the kernel takes more.
    WAITING = auto()


class _Connection(Connection):
    """
    A connection that sends a reply in the turn of the reactor that reads the request.

    Twisted's own sends it in the next turn; ``benchmarks`` has what that takes.
    """

    _sending = _Sending.NOTHING

    def __init__(self, accepted: socket.socket, protocol: Any, reactor: Any) -> None:
        super().__init__(accepted, protocol, reactor)
        # Each request asks for both.
        self._host = super().getHost()
        self._peer = super().getPeer()

    def getHost(self) -> Any:
        return self._host

    def getPeer(self) -> Any:
        return self._peer

    def doRead(self) -> Any:
        return self._send_after(super().doRead)

    def readConnectionLost(self, reason: Failure) -> None:
        self._send_after(super().readConnectionLost, reason)

    def writeSomeData(self, data: bytes) -> Any:
        # Twisted asks the kernel to send nothing before it closes.
        return super().writeSomeData(data) if data else 0

    def startWriting(self) -> None:
        if self._sending is _Sending.NOTHING:
            self._sending = _Sending.WAITING
            super().startWriting()
        elif self._sending is _Sending.LATER:
            self._sending = _Sending.NOW

    def stopWriting(self) -> None:
        if self._sending is _Sending.WAITING:
            super().stopWriting()
        self._sending = _Sending.NOTHING

    def _send_after(self, read: Callable[..., Any], *arguments: Any) -> Any:
        if self._sending is not _Sending.NOTHING:
            return read(*arguments)
        self._sending = _Sending.LATER
        result = read(*arguments)
        if self._sending is _Sending.LATER:
            self._sending = _Sending.NOTHING
        elif self._sending is _Sending.NOW:
            lost = self.doWrite()
            if lost is not None:
                self.connectionLost(Failure(lost))
            elif self._sending is _Sending.NOW:
                # Not all was sent.
                self._sending = _Sending.NOTHING
                self.startWriting()
        return result


class WebService(Service):
    """
    Listens in several places for one resource.

    A place that cannot be listened at is logged in one line. The others are served.

    :param reactor: what to run on.
    :param resource: what is served.
    :param mode: permission bits of Unix sockets.
    :ivar mode: permission bits of the Unix sockets that are opened from now on.
    :ivar failures: why a place is not served, by the place.
    """

    def __init__(self, reactor: Any, resource: ControlResource, mode: int = 0o600) -> None:
        self._reactor = reactor
        self._resource = resource
        self._site = BoundedSite(resource, reactor)
        self.mode = mode
        self._wanted: tuple[Place, ...] = ()
        self._ports: dict[Place, FilePort | ControlPort] = {}
        self.failures: dict[Place, str] = {}

    @property
    def addresses(self) -> dict[Place, Place]:
        """Where the service listens: each place that was asked for, with its real port."""
        found = {}
        for place, port in self._ports.items():
            host: Any = port.getHost()
            found[place] = place if place.path is not None else place._replace(port=host.port)
        return found

    def startService(self) -> None:
        super().startService()
        started_here.add(self)
        self._open()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        closed = [self._close(place) for place in list(self._ports)]
        # A stream has no end of its own to wait for.
        self._resource.stop()
        return DeferredList(closed).addCallback(lambda _: self._site.stop())

    def listen(self, places: Sequence[Place]) -> Deferred[None]:
        """
        Listen in these places and in no others; what is served already stays open.

        :returns: a Deferred that fires once the others are closed and these are open.
        """
        self._wanted = tuple(places)
        self.failures = {}
        closed = [self._close(place) for place in list(self._ports) if place not in places]
        return DeferredList(closed).addCallback(lambda _: self._open())

    def forget(self) -> None:
        """In a forked child: close what is the parent's, and change nothing."""
        for port in self._ports.values():
            port.forget()
        self._site.forget()

    def _open(self) -> None:
        if not self.running:
            return
        for place in self._wanted:
            if place not in self._ports:
                try:
                    self._ports[place] = self._listen(place)
                except (SocketFileError, OSError) as error:
                    why = error.reason if isinstance(error, SocketFileError) else in_short(error)
                    self.failures[place] = why
                    _log.error(
                        "HTTP is not served at {place}: {why}", place=str(place), why=printable(why)
                    )
                else:
                    _log.info("HTTP is served at {place}", place=str(self.addresses[place]))

    def _listen(self, place: Place) -> FilePort | ControlPort:
        factory: Any = self._site
        port: FilePort | ControlPort
        if place.path is not None:
            file = SocketFile(place.path, self.mode)
            port = FilePort(self._reactor, factory, file, self._serve)
        else:
            listening = _listening_socket(place)
            port = ControlPort(self._reactor, factory, listening, self._serve)
        port.startListening()
        return port

    def _serve(self, accepted: socket.socket) -> None:
        protocol: Any = self._site.buildProtocol(None)
        try:
            connection = _Connection(accepted, protocol, self._reactor)
            if not isinstance(connection.getPeer(), UNIXAddress):
                # A small event is not to wait for the client's word about the one before it.
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            # The client is gone already.
            accepted.close()
            return
        connection.startReading()
        protocol.makeConnection(connection)
        try:
            # The request has mostly arrived by now. An end of the input is found again by the
            # reactor.
            connection.doRead()
        except BaseException:
            # As a reactor does, because the connection is registered with it.
            _log.failure("A connection could not be served")
            connection.connectionLost(Failure())

    def _close(self, place: Place) -> Deferred[Any]:
        port = self._ports.pop(place)
        closed = port.stopListening()
        if isinstance(port, FilePort):
            port.file.release()
        _log.info("HTTP is served no more at {place}", place=str(place))
        return closed


def _listening_socket(place: Place) -> ListeningSocket:
    """
    Return a socket that listens on an address.

    :raises OSError: if it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listening = ListeningSocket(family, socket.SOCK_STREAM)
    listening.family = family
    try:
        # Connections of before, which the kernel has not forgotten yet, are not in the way.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((place.host, place.port))
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening

"""The endpoints of the control socket: a claimed path, or an inherited socket."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any, cast

from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from palingenesis.server.express import Express
from palingenesis.server.fileport import FilePort
from palingenesis.server.interfaces import Reactor
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.socketfile import SocketFile
from palingenesis.server.transport import ControlPort, ListeningSocket

#: The description of a socket that systemd passes, by index or by name.
SYSTEMD_PATTERN = re.compile(r"systemd:domain=UNIX:(?:index=(?P<index>[0-9]{1,4})|name=[^:=]+)")
#: The first descriptor that systemd passes, sd_listen_fds(3).
SD_LISTEN_FDS_START = 3


@implementer(IStreamServerEndpoint)
class FileEndpoint:
    """
    Listens on a claimed path.

    :param reactor: what to run on.
    :param file: the path, which `listen` claims unless it is claimed already.
    """

    def __init__(self, reactor: Reactor, file: SocketFile) -> None:
        self._reactor = reactor
        self._file = file

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """
        Claim the path, and listen.

        :returns: a Deferred of the port. It fails with a
            `palingenesis.server.socketfile.SocketFileError` if the path cannot be claimed.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: ControlFactory) -> FilePort:
        serve = Express(factory, self._reactor).serve
        port = FilePort(self._reactor, factory, self._file, serve)
        port.startListening()
        return port


@implementer(IStreamServerEndpoint)
class InheritedEndpoint:
    """
    Listens on a Unix socket that another process made, bound and will unlink.

    Twisted's own endpoint for it works only once, makes the file 0666, and unlinks it.

    :param reactor: what to run on.
    :param descriptor: the socket's descriptor; the endpoint uses a copy.
    :raises ValueError: if the descriptor is no listening Unix socket.
    """

    def __init__(self, reactor: Reactor, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        if not _is_listening(descriptor):
            raise ValueError(f"no listening Unix socket was inherited as descriptor {descriptor}")

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """
        Listen on a copy of the descriptor.

        :returns: a Deferred of the port.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: ControlFactory) -> ControlPort:
        listening = ListeningSocket(
            socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(self._descriptor)
        )
        serve = Express(factory, self._reactor).serve
        port = ControlPort(self._reactor, factory, listening, serve, shared=True)
        port.startListening()
        return port


def make_endpoint(reactor: Reactor, given: IStreamServerEndpoint | str) -> IStreamServerEndpoint:
    """
    Return the endpoint of a description, and ours instead of Twisted's for inherited sockets.

    :raises ValueError: if it is neither, if a description is malformed, or if no such socket
        was inherited.
    :raises LookupError: if no socket of that name was inherited.
    """
    if isinstance(given, str):
        match = SYSTEMD_PATTERN.fullmatch(given)
        if match and match["index"]:
            # Twisted's parser finds the socket only if LISTEN_FDNAMES is set as well, and it
            # removes these variables if they are meant for this process.
            if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
                raise ValueError("the inherited sockets are meant for another process")
            return InheritedEndpoint(reactor, SD_LISTEN_FDS_START + int(match["index"]))
    endpoint: Any = serverFromString(reactor, given) if isinstance(given, str) else given
    if (
        isinstance(endpoint, AdoptedStreamServerEndpoint)
        and endpoint.addressFamily == socket.AF_UNIX
    ):
        return InheritedEndpoint(reactor, endpoint.fileno)
    if not callable(getattr(endpoint, "listen", None)):
        raise ValueError(f"endpoint: expected one, or the description of one, not {endpoint!r}")
    return cast(IStreamServerEndpoint, endpoint)


def _is_listening(descriptor: int) -> bool:
    try:
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False
    with duplicate:
        if duplicate.family != socket.AF_UNIX or duplicate.type != socket.SOCK_STREAM:
            return False
        try:
            return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        except OSError as error:
            # macOS has the option, and answers no question about it: a name has to do.
            return error.errno == errno.ENOPROTOOPT and bool(duplicate.getsockname())

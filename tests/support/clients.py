"""Test cases for the two clients, with a listener in the daemon's place."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from palingenesis.client import blocking, deferred
from tests.support.impostors import Impostor, Treatment
from tests.support.patience import PATIENCE
from tests.support.place import Place


class ListenerTestCase(SynchronousTestCase):
    """
    A test that may listen in the daemon's place.

    :ivar place: where it does.
    :ivar path: the default path of the socket.
    """

    def setUp(self) -> None:
        self.place = Place(self)
        self.path = self.place.socket

    def listen(self, treat: Treatment) -> Impostor:
        """Listen in the daemon's place until the test is over."""
        listening = Impostor(self.path, treat)
        self.addCleanup(listening.close)
        return listening


class BlockingClientTestCase(ListenerTestCase):
    """A test of the blocking client."""

    def client(self, timeout: float = PATIENCE) -> blocking.ControlClient:
        """Make a client of the default path; the time-out is in seconds."""
        return blocking.ControlClient(self.path, timeout)


class DeferredClientTestCase(ListenerTestCase, TestCase):
    """
    A test of the client for Twisted.

    trial fails one that leaves a connection or a delayed call in the reactor.
    """

    timeout = 2 * PATIENCE

    def client(self, timeout: float = PATIENCE) -> deferred.ControlClient:
        """Make a client of the default path; the time-out is in seconds."""
        return deferred.ControlClient(reactor, self.path, timeout)

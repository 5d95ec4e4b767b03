"""The daemon's service over HTTP: nothing of it is imported before it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed

from palingenesis.daemon.commands import fitting
from palingenesis.monitor.ledger import ENTRIES_LIMIT
from palingenesis.monitor.listing import LogQuery, SessionsQuery
from palingenesis.monitor.service import Monitor
from palingenesis.paths import PathError
from palingenesis.server.interfaces import CommandRefused
from palingenesis.server.log import get_logger
from palingenesis.server.service import ControlService
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.web.settings import DEFAULT_PORT, HTTPSettings, Place
from palingenesis.words import Key

if TYPE_CHECKING:
    from palingenesis.web.keys import Keys
    from palingenesis.web.resource import ControlResource
    from palingenesis.web.site import WebService

#: Bytes of the sessions in one event: two of them may wait for a client of the events.
SESSIONS_LIMIT = 96 * 1024

_log = get_logger(__name__)


class WebDoor(Service):
    """
    Serves HTTP at the places of the configuration, and at the one that a command has opened.

    :param reactor: what to run on.
    :param control: the control socket.
    :param monitor: the monitor.
    :param state_directory: where the token is.
    :param settings: the table ``[http]``.
    """

    def __init__(
        self,
        reactor: Any,
        control: ControlService,
        monitor: Monitor,
        state_directory: str,
        settings: HTTPSettings,
    ) -> None:
        self._reactor = reactor
        self._control = control
        self._monitor = monitor
        self._state_directory = state_directory
        self._settings = settings
        self._keys: Keys | None = None
        self._resource: ControlResource | None = None
        self._web: WebService | None = None
        #: Where a command has opened it, beside the configuration's places.
        self._opened: Place | None = None
        #: Why the token cannot be used; None if it can.
        self._warning: str | None = None

    def startService(self) -> None:
        super().startService()
        self._apply()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return succeed(None) if self._web is None else self._web.stopService()

    def configure(self, settings: HTTPSettings) -> None:
        """Apply other settings: places are opened and closed, and sessions go on."""
        moved = settings.mode != self._settings.mode
        self._settings = settings
        if moved and self._web is not None:
            self._web.mode = settings.mode
            # Unix sockets are bound anew, and no port is closed here.
            self._web.listen([place for place in self._web.addresses if place.path is None])
        self._apply()

    async def command(self, action: str = "") -> dict[str, Any] | None:
        """
        Carry out ``WEB [ACTION]``.

        :raises CommandRefused: if the action is none, or cannot be carried out.
        """
        match action.lower():
            case "":
                return self.report()
            case "open":
                self._check_own_user()
                return await self._open()
            case "close":
                self._check_own_user()
                return await self._close()
            case "revoke":
                self._check_own_user()
                ended = 0 if self._keys is None else self._keys.revoke()
                return {Key.SESSIONS: ended}
        shown = printable(action, NAME_LIMIT)
        raise CommandRefused(f"WEB {shown}: expected open, close or revoke")

    def report(self) -> dict[str, Any]:
        """Return where HTTP is served, and why not elsewhere."""
        web = self._web
        failures = {} if web is None else {str(p): why for p, why in web.failures.items()}
        if self._warning is not None:
            failures.update({str(place): self._warning for place in self._ports})
        served = [] if web is None else [str(place) for place in web.addresses.values()]
        return {Key.LISTENING: served, Key.FAILURES: failures}

    def _apply(self) -> None:
        if not self.running or not (self._settings.listen or self._web):
            return
        self._listen(self._make())
        if self._warning is not None and self._ports:
            _log.error("HTTP is not served over TCP: {why}", why=self._warning)

    def _listen(self, web: WebService) -> Deferred[None]:
        """
        Listen in the places that are wanted now.

        If a port is closed, every browser's session ends: a page that is still open asks there
        again and again, and any program that listens there then gets its key.
        """
        before = set(_tcp(web))

        def done(_: None) -> None:
            if self._keys is not None and before - set(_tcp(web)):
                self._keys.revoke()

        return web.listen(self._places()).addCallback(done)

    @property
    def _ports(self) -> list[Place]:
        """The places of the configuration that are ports."""
        return [place for place in self._settings.listen if place.path is None]

    def _places(self) -> list[Place]:
        """Return where to listen now: without a token in Unix sockets alone, which need none."""
        extra = () if self._opened is None else (self._opened,)
        places = [*self._settings.listen, *extra]
        return [place for place in places if place.path is not None or self._warning is None]

    def _make(self) -> WebService:
        """Return the service that listens, with the settings and the token as they are now."""
        import secrets

        from palingenesis.web.access import Access
        from palingenesis.web.keys import Keys, read_token
        from palingenesis.web.resource import ControlResource
        from palingenesis.web.site import WebService

        settings = self._settings
        try:
            token, self._warning = read_token(self._state_directory), None
        except PathError as error:
            # What nobody knows takes its place.
            token, self._warning = secrets.token_urlsafe(), str(error)
        if self._keys is None:
            self._keys = Keys(token)
        else:
            self._keys.replace_token(token)
        guard = Access(
            self._keys,
            hosts=settings.hosts,
            users=settings.users,
            control=settings.control,
            admit_others=bool(settings.mode & 0o077) and not settings.users,
        )
        if self._resource is None:
            self._resource = ControlResource(
                self._control, access=guard, facts=MonitorFacts(self._monitor), clock=self._reactor
            )
        self._resource.guard = guard
        if self._web is None:
            self._web = WebService(self._reactor, self._resource, settings.mode)
            self._web.startService()
        return self._web

    async def _open(self) -> dict[str, Any]:
        web = self._make()
        await self._listen(web)
        if self._warning is not None:
            raise CommandRefused(f"The page cannot be opened: {self._warning}")
        if not _tcp(web):
            for port in (DEFAULT_PORT, 0):
                self._opened = Place(host="127.0.0.1", port=port)
                await self._listen(web)
                if _tcp(web):
                    break
                self._opened = None
        served = _tcp(web)
        if not served:
            raise CommandRefused("The page cannot be opened: no port of 127.0.0.1 is free")
        assert self._keys is not None  # noqa: S101 - made with the service
        address = str(served[0])
        return {"address": address, "url": f"http://{address}/#code={self._keys.issue_code()}"}

    async def _close(self) -> dict[str, Any]:
        if self._opened is None and self._ports:
            raise CommandRefused(
                f"The configuration has HTTP served at {', '.join(map(str, self._ports))}: remove "
                "http.listen there, and reload"
            )
        self._opened = None
        if self._web is not None:
            await self._listen(self._web)
        return self.report()

    def _check_own_user(self) -> None:
        peer = self._control.peer
        if peer is None and not self._control.factory.admit_others:
            return
        if peer is None or peer.uid not in (0, os.geteuid()):
            raise CommandRefused("Only the daemon's own user and root open and close the page")


class MonitorFacts:
    """
    The sessions and the log, as HTTP serves them.

    :param monitor: whose they are.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def sessions(self, state: str | None = None) -> list[dict[str, Any]]:
        """Return the sessions as all pages of ``SESSIONS`` have them, as far as they fit."""
        return fitting(self._monitor.all_sessions(SessionsQuery(state=state)), SESSIONS_LIMIT)

    def log(
        self, count: int | None, since: float | None, session: str | None
    ) -> list[dict[str, Any]]:
        """Return the last entries of the ledger, chosen as ``LOG`` does."""
        return LogQuery(count, since, session).chosen(self._monitor.log(ENTRIES_LIMIT))

    def entries(self, after: int, most: int) -> Sequence[tuple[int, dict[str, Any]]]:
        """Return the entries with a number above this one, the last ones, in order."""
        last = self._monitor.recorded
        count = min(last - after, most, ENTRIES_LIMIT)
        found = self._monitor.log(count) if count > 0 else []
        return list(enumerate(found, last - len(found) + 1))

    def last_number(self) -> int:
        """Return how many entries were ever recorded."""
        return self._monitor.recorded

    def night(self, since: float) -> dict[str, Any]:
        """Return the facts of the time since then."""
        return self._monitor.night(since)

    def is_healthy(self) -> bool:
        """Return whether the ledger can be written and the scans succeed."""
        return self._monitor.is_healthy


def _tcp(web: WebService) -> list[Place]:
    return [place for place in web.addresses.values() if place.path is None]


def add_web_commands(control: ControlService, door: WebDoor) -> None:
    """Add ``WEB`` and ``METRICS`` to a control socket."""

    def metrics() -> str:
        from palingenesis.web.metrics import render

        return render(control.metrics).decode()

    control.command("WEB", door.command, "open, close or revoke the web page", "[ACTION]")
    control.command("METRICS", metrics, "show the metrics for Prometheus", audit=False)

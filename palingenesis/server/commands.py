"""
The table of commands: from a request line to the one line that answers it.

The built-in commands and an application's own are run in the same way: in time, RELOAD in
turn, with an audit line and their result rendered. The table knows no transport and no
protocol.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

from palingenesis import wire
from palingenesis.config import DEFAULTS
from palingenesis.procfs import Credentials
from palingenesis.server.interfaces import Clock, CommandRefused, Controllable, FixedKeys
from palingenesis.server.log import get_logger
from palingenesis.text import NAME_LIMIT, VALUE_LIMIT, printable
from palingenesis.wire import Command, DaemonStatus, Unfit

#: The most commands an application can add.
OWN_COMMANDS_LIMIT = 200
#: The longest summary of a command, in characters.
SUMMARY_LIMIT = 80

_NAME = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_ARGUMENT = re.compile(rf"{_NAME.pattern}|\[{_NAME.pattern}\]")

#: How asyncio complains when Twisted drives a coroutine that awaits what is asyncio's.
_ASYNCIO_COMPLAINTS = (
    "await wasn't used with future",
    "no running event loop",
    "should be used inside a task",
    "cannot determine the parent task",
)
_ASYNCIO_ADVICE = (
    "Twisted drives a handler's coroutine, which awaits Deferreds only; wrap an asyncio "
    "future with Deferred.fromFuture"
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A command of the table.

    :ivar name: the command's name.
    :ivar run: carries it out; takes the argument, if there is one.
    :ivar render: makes the reply from the result.
    :ivar summary: what the command does, in a few words.
    :ivar argument: what the argument is called, in brackets where it may be left out; None
        where the command takes none.
    :ivar audit: whether the outcome is logged with the client's uid and pid.
    """

    name: str
    run: Callable[..., Any]
    render: Callable[[Any], bytes]
    summary: str
    argument: str | None = None
    audit: bool = True

    @property
    def usage(self) -> str:
        """The name, and what the argument is called."""
        return self.name if self.argument is None else f"{self.name} {self.argument}"


class Running:
    """
    A command under way.

    :ivar reply: a Deferred of the reply, which never fails.
    :ivar client_gone: whether nobody waits for the reply any more; set by the client's
        connection, and told in the log.
    """

    __slots__ = ("client_gone", "reply")

    def __init__(self) -> None:
        self.reply: Deferred[bytes] = Deferred()
        self.client_gone = False


class CommandTable:
    """
    Runs the commands of one daemon.

    :param state: the daemon.
    :param clock: what deadlines are set with.
    :param handler_timeout: seconds a command may take before its client gets ``ERR:``; may
        be changed at any time, and holds for the commands that come after.
    :param monotonic: tells seconds, from any beginning, that never run backwards.
    :ivar peer: the client whose command is carried out, when its handler is called.
    """

    def __init__(
        self,
        state: Controllable,
        clock: Clock,
        handler_timeout: float = DEFAULTS.handler_timeout,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.handler_timeout = handler_timeout
        self.peer: Credentials | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._started = monotonic()
        self._reload_config = state.reload_config
        self._reloading = DeferredLock()
        self._entries: dict[bytes, Entry] = {}
        self._status: DaemonStatus | None = None
        self._around_uptime = ("", "")
        for command, run, render, summary in (
            (Command.STATUS, state.get_status, self._render_status, "show the daemon's status"),
            (Command.PAUSE, state.pause, _render_ok, "pause the daemon"),
            (Command.RESUME, state.resume, _render_ok, "end the pause"),
            (Command.RELOAD, self._reload_in_turn, _render_ok, "apply the configuration again"),
            (Command.HELP, self.help, wire.render_value, "list the commands"),
        ):
            audit = command not in (Command.STATUS, Command.HELP)
            self._entries[command.encode()] = Entry(command, run, render, summary, audit=audit)

    def start_clock(self) -> None:
        """Count the uptime from here."""
        self._started = self._monotonic()

    def register(
        self,
        name: str,
        handler: Callable[..., Any],
        summary: str,
        argument: str | None = None,
        *,
        audit: bool = True,
    ) -> None:
        """
        Add a command of the application's own.

        :param name: matches ``[A-Z][A-Z0-9_-]{0,31}``.
        :param handler: called with the argument, a string, or with nothing where there is
            none. It returns None, answered with ``OK``, or a value fit for JSON; at once,
            as a Deferred, or as a coroutine. It may raise `CommandRefused`.
        :param summary: one line of at most `SUMMARY_LIMIT` characters, for ``HELP``.
        :param argument: what the argument is called, formed like a name; in brackets where
            it may be left out; None where the command takes none.
        :param audit: whether the outcome is logged with the client's uid and pid.
        :raises ValueError: when the name is malformed, built in or taken, the argument's
            name is malformed, the summary is empty, too long or not printable, or there
            are too many commands.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"command name {name!r}: expected {_NAME.pattern}")
        key = name.encode()
        if key in self._entries:
            kind = "built in" if name in Command.__members__ else "registered already"
            raise ValueError(f"command {name} is {kind}")
        if argument is not None and not (
            isinstance(argument, str) and _ARGUMENT.fullmatch(argument)
        ):
            raise ValueError(f"argument {argument!r} of {name}: expected NAME or [NAME]")
        if (
            not isinstance(summary, str)
            or not 0 < len(summary.strip()) <= len(summary) <= SUMMARY_LIMIT
            or not summary.isprintable()
        ):
            raise ValueError(
                f"summary of {name}: expected a printable line of 1 to {SUMMARY_LIMIT} characters"
            )
        if not callable(handler):
            raise ValueError(f"handler of {name}: {handler!r} cannot be called")
        if len(self._entries) >= len(Command) + OWN_COMMANDS_LIMIT:
            raise ValueError(f"command {name} is one more than {OWN_COMMANDS_LIMIT}")
        self._entries[key] = Entry(name, handler, _render_own, summary, argument, audit)
        try:
            wire.render_value(self.help())
        except Unfit as unfit:
            del self._entries[key]
            raise ValueError(f"with command {name} the answer to HELP is {unfit.reason}") from None

    def help(self) -> dict[str, str]:
        """Return the usage and the summary of each command, in order."""
        return {entry.usage: entry.summary for entry in self._entries.values()}

    def run(self, line: bytes, peer: Credentials | None) -> bytes | Running:
        """
        Run the command of a request line.

        :param line: the line, with or without its end.
        :param peer: the client, where the kernel tells.
        :returns: the reply, or the command under way.
        """
        entry = self._entries.get(line[:-1] if line.endswith(b"\n") else line)
        if entry is not None and entry.argument is None:
            # Written as documented, which is nearly always so.
            return self._run(entry, (), peer)
        name, sent = wire.split_request(line)
        entry = self._entries.get(name)
        if entry is None:
            return wire.render_unknown(line)
        arguments: tuple[str, ...] = ()
        if sent:
            if entry.argument is None:
                if entry.name in Command.__members__:
                    return wire.render_unknown(line)
                return wire.render_error(f"{entry.name} takes no argument")
            try:
                arguments = (sent.decode(),)
            except UnicodeDecodeError:
                return wire.render_error(f"{entry.usage}: the argument is not UTF-8")
        elif entry.argument is not None and entry.argument[0] != "[":
            return wire.render_error(f"{entry.name} needs {entry.argument}")
        return self._run(entry, arguments, peer)

    def reload(self) -> Deferred[bytes]:
        """
        Run RELOAD for the daemon itself, as on SIGHUP.

        :returns: a Deferred of the reply that a client would get; it never fails.
        """
        reply = self._run(self._entries[Command.RELOAD.encode()], (), None, by="SIGHUP")
        return reply.reply if isinstance(reply, Running) else succeed(reply)

    def _run(
        self,
        entry: Entry,
        arguments: tuple[str, ...],
        peer: Credentials | None,
        by: str | None = None,
    ) -> bytes | Running:
        self.peer = peer
        try:
            result = entry.run(*arguments)
            if result.__class__ is not DaemonStatus:
                result = _to_deferred(result)
        except BaseException:
            # A client's command must not stop the daemon, not even with SystemExit.
            result = Failure()
        if isinstance(result, Deferred):
            return self._wait(_Call(entry, arguments, peer, by), result)
        return self._conclude(_Call(entry, arguments, peer, by) if entry.audit else entry, result)

    def _wait(self, call: _Call, result: Deferred[Any]) -> bytes | Running:
        """Wait for a result, for as long as a handler may take."""
        seconds = self.handler_timeout
        running = Running()
        answered = False

        def too_late() -> None:
            nonlocal answered
            answered = True
            _log.warn(
                "{command} is not done after {seconds:g} seconds",
                command=call.entry.name,
                seconds=seconds,
            )
            running.reply.callback(
                wire.render_error(f"{call.entry.name} is not done after {seconds:g} seconds")
            )
            if isinstance(result, _Turn):
                result.give_up()

        def done(outcome: Any) -> None:
            reply = self._conclude(call, outcome, late=answered, client_gone=running.client_gone)
            if not answered:
                if deadline is not None:
                    deadline.cancel()
                running.reply.callback(reply)

        deadline = None
        result.addBoth(done)
        if running.reply.called:
            # A Deferred that had its result already: there is nothing to wait for.
            replies: list[bytes] = []
            running.reply.addCallback(replies.append)
            return replies[0]
        deadline = self._clock.callLater(seconds, too_late)
        return running

    def _reload_in_turn(self) -> _Turn:
        return _Turn(self._reloading, self._reload_config)

    def _conclude(
        self,
        call: _Call | Entry,
        result: Any,
        *,
        late: bool = False,
        client_gone: bool = False,
    ) -> bytes:
        """Make the reply from a result, and leave the audit line."""
        entry = call.entry if isinstance(call, _Call) else call
        try:
            try:
                if isinstance(result, Failure):
                    result.raiseException()
                reply = entry.render(result)
            except CommandRefused as refused:
                # A subclass may have forgotten its message, which is a failure as well.
                reply = wire.render_error(refused.message)
        except Unfit as unfit:
            _log.error(
                "{command} failed: its result is {reason}",
                command=entry.name,
                reason=printable(unfit.reason),
            )
            reply = _failed(entry)
        except BaseException as error:
            _log.failure("{command} failed{hint}", command=entry.name, hint=_hint(error))
            reply = _failed(entry)
        if isinstance(call, _Call) and (entry.audit or late):
            _log.info(
                "{command} by {who}: {outcome}{late}{gone}",
                command=printable(" ".join((entry.name, *call.arguments)), NAME_LIMIT),
                who=call.by or _who(call.peer),
                outcome=printable(reply.rstrip(b"\n"), wire.ERROR_LIMIT)
                if reply.startswith(b"ERR:")
                else "OK",
                late=" (late)" if late else "",
                gone=" (the client is gone)" if client_gone else "",
            )
        return reply

    def _render_status(self, result: Any) -> bytes:
        if not isinstance(result, DaemonStatus):
            raise Unfit(f"no DaemonStatus but {printable(repr(result), VALUE_LIMIT)}")
        uptime = int(self._monotonic() - self._started)
        if result.uptime_secs is not None or result.extra.__class__ is not FixedKeys:
            return wire.render_status(result, uptime)
        if result is not self._status:
            # Keys that never change, in a status that is returned again: rendered once.
            self._around_uptime = wire.render_around_uptime(result)
            self._status = result
        before, after = self._around_uptime
        return wire.whole_line(f"{before}{uptime}{after}")


@dataclass(frozen=True, slots=True)
class _Call:
    """One run of a command, for the audit line."""

    entry: Entry
    arguments: tuple[str, ...]
    peer: Credentials | None
    by: str | None


class _Turn(Deferred[Any]):
    """
    The Deferred of a RELOAD that waits for the one before it.

    It can be given up for as long as its turn has not come.
    """

    def __init__(self, lock: DeferredLock, reload_config: Callable[[], Any]) -> None:
        super().__init__()
        self._begun = False

        def begin() -> Any:
            self._begun = True
            return reload_config()

        def never_begun(failure: Failure) -> Failure:
            if self._begun:
                return failure
            raise CommandRefused("Another RELOAD is still under way")

        self._turn: Deferred[Any] = lock.run(begin)
        self._turn.addErrback(never_begun)
        self._turn.addBoth(self._pass_on)

    def give_up(self) -> None:
        """Do without the turn, unless it has come."""
        if not self._begun:
            self._turn.cancel()

    def _pass_on(self, result: Any) -> None:
        if isinstance(result, Failure):
            self.errback(result)
        else:
            self.callback(result)


def _to_deferred(result: Any) -> Any:
    """Return a Deferred for a coroutine, and any other result as it is."""
    if isinstance(result, Coroutine):
        return Deferred.fromCoroutine(result)
    if hasattr(result, "__await__") and not isinstance(result, Deferred):
        # An asyncio future, say: an OK would tell that it is done.
        raise Unfit(f"no Deferred but {printable(repr(result), VALUE_LIMIT)}; {_ASYNCIO_ADVICE}")
    return result


def _render_ok(_result: Any) -> bytes:
    return wire.OK


def _render_own(result: Any) -> bytes:
    return wire.OK if result is None else wire.render_value(result)


def _failed(entry: Entry) -> bytes:
    return wire.render_error(f"{entry.name} failed; the daemon's log says why")


def _hint(error: BaseException) -> str:
    if isinstance(error, RuntimeError):
        text = safe_str(error)
        if any(complaint in text for complaint in _ASYNCIO_COMPLAINTS):
            return f": {_ASYNCIO_ADVICE}"
    return ""


def _who(peer: Credentials | None) -> str:
    return "an unknown client" if peer is None else f"uid {peer.uid}, pid {peer.pid}"

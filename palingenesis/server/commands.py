"""
The table of commands: from a request line to the one line that answers it.

The built-in commands and an application's own run in the same way: with a deadline, RELOAD
one at a time, with an audit line and their result rendered. The table knows no transport
and no protocol.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.python.failure import Failure
from twisted.python.reflect import safe_str

from palingenesis import wire
from palingenesis.config import Limits
from palingenesis.procfs import Credentials, client_in_words
from palingenesis.server.interfaces import Clock, CommandRefused, Controllable, FixedKeys
from palingenesis.server.log import get_logger
from palingenesis.server.observers import Observers
from palingenesis.text import NAME_LIMIT, VALUE_LIMIT, printable
from palingenesis.wire import Command, DaemonStatus, Unfit
from palingenesis.words import Outcome

#: The most commands an application can add.
OWN_COMMANDS_LIMIT = 200
#: The longest summary of a command, in characters.
SUMMARY_LIMIT = 80

_NAME = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
#: Names with one blank between them; the last one may be in brackets.
_ARGUMENTS = re.compile(rf"({_NAME.pattern} )*({_NAME.pattern}|\[{_NAME.pattern}\])")

#: How asyncio complains if Twisted drives a coroutine that awaits an asyncio future.
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
class CommandSpec:
    """
    A command of the table.

    :ivar name: the command's name.
    :ivar run: carries it out; takes the arguments, if there are any.
    :ivar render: makes the reply from the result.
    :ivar summary: what the command does, in a few words.
    :ivar arguments: the names of its arguments; the last one is in brackets if it may be
        left out.
    :ivar audit: whether the outcome is logged with the client's uid and pid.
    :ivar web: whether it may be run over TCP.
    """

    name: str
    run: Callable[..., Any]
    render: Callable[[Any], bytes]
    summary: str
    arguments: tuple[str, ...]
    audit: bool
    web: bool = False

    @property
    def usage(self) -> str:
        """The name of the command and those of its arguments."""
        return " ".join((self.name, *self.arguments))

    def split(self, sent: bytes) -> tuple[str, ...]:
        """
        Split what a client sent after the name into the arguments; the last takes the rest.

        :raises CommandRefused: if one is missing, none is taken, or one is not UTF-8.
        """
        if sent and not self.arguments:
            raise CommandRefused(f"{self.name} takes no argument")
        words = sent.split(None, len(self.arguments) - 1)
        needed = [name for name in self.arguments if name[0] != "["]
        if len(words) < len(needed):
            raise CommandRefused(f"{self.name} needs {' '.join(needed)}")
        try:
            return tuple([word.decode() for word in words])
        except UnicodeDecodeError:
            raise CommandRefused(f"{self.usage}: the argument is not UTF-8") from None


class Answer(NamedTuple):
    """
    The result of a request.

    :ivar outcome: how it ended.
    :ivar line: the reply, as a client of the socket gets it.
    """

    outcome: Outcome
    line: bytes


class Call:
    """
    One run of a command.

    :ivar table: the table that runs it.
    :ivar peer: the client, or None if the kernel does not name it.
    :ivar origin: the source of the command, if it is no client.
    :ivar begun: whether the handler has been called; a RELOAD may have to wait.
    :ivar late: whether the handler took too long, and the client got ``ERR:``.
    :ivar over: whether the handler is done.
    :ivar failure: why it failed, if it did.
    :ivar started: when it began, if there are observers to notify of it.
    :ivar client_gone: whether the client has disconnected before the reply; set by its
        connection, for the log.
    :ivar reply: if the command is under way, a Deferred of the reply, which never fails.
    """

    # Made for each request: class attributes cost nothing there.
    begun = True
    late = False
    over = False
    failure: Failure | None = None
    started: float | None = None
    client_gone = False
    reply: Deferred[bytes]

    def __init__(
        self,
        table: CommandTable,
        spec: CommandSpec,
        arguments: tuple[str, ...] = (),
        peer: Credentials | None = None,
        origin: str | None = None,
    ) -> None:
        self.table = table
        self.spec = spec
        self.arguments = arguments
        self.peer = peer
        self.origin = origin

    @property
    def outcome(self) -> Outcome:
        """How it ended, once there is a reply."""
        if self.failure is None:
            return Outcome.OK
        if self.failure.check(CommandRefused):
            return Outcome.REFUSED
        return Outcome.FAILED if self.over else Outcome.TIMEOUT


#: The call whose handler runs in this context.
_current: ContextVar[Call | None] = ContextVar("palingenesis call", default=None)


class CommandTable:
    """
    Runs the commands of one daemon.

    :param state: the daemon.
    :param clock: what deadlines are set with.
    :param limits: the limits of its clients; replaced, they apply to what begins after that.
    :param monotonic: returns seconds, from any beginning, that never run backwards.
    :ivar observers: called with the name of a command that has ended, its `Outcome`, and the
        seconds that it took.
    """

    def __init__(
        self,
        state: Controllable,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - it is immutable
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.observers = Observers()
        self._clock = clock
        self._monotonic = monotonic
        self._started = monotonic()
        self._reload_config = state.reload_config
        self._reloading = DeferredLock()
        self._specs: dict[bytes, CommandSpec] = {}
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
            self._specs[command.encode()] = CommandSpec(command, run, render, summary, (), audit)

    def start_clock(self) -> None:
        """Count the uptime from here."""
        self._started = self._monotonic()

    @property
    def peer(self) -> Credentials | None:
        """
        The client whose command the calling code carries out; None if there is none.

        A coroutine and ``inlineCallbacks`` have it until they end. A callback of a Deferred
        has none.
        """
        call = _current.get()
        if call is None or call.table is not self or call.over or _is_callback():
            return None
        return call.peer

    def register(
        self,
        name: str,
        handler: Callable[..., Any],
        summary: str,
        argument: str | None = None,
        *,
        audit: bool = True,
        web: bool = False,
    ) -> None:
        """
        Add a command of the application's own.

        The parameters and the errors are those of `ControlService.command`.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"command name {name!r}: expected {_NAME.pattern}")
        key = name.encode()
        if key in self._specs:
            kind = "built in" if name in Command.__members__ else "registered already"
            raise ValueError(f"command {name} is {kind}")
        if argument is not None and not (
            isinstance(argument, str) and _ARGUMENTS.fullmatch(argument)
        ):
            raise ValueError(
                f"argument {argument!r} of {name}: expected NAME or [NAME], or several with "
                "one blank between them, of which only the last may be in brackets"
            )
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
        if len(self._specs) >= len(Command) + OWN_COMMANDS_LIMIT:
            raise ValueError(f"command {name} is one more than {OWN_COMMANDS_LIMIT}")
        arguments = tuple((argument or "").split())
        self._specs[key] = CommandSpec(name, handler, _render_own, summary, arguments, audit, web)
        try:
            wire.render_value(self.help())
        except Unfit as unfit:
            del self._specs[key]
            raise ValueError(f"with command {name} the reply to HELP is {unfit.reason}") from None

    def help(self) -> dict[str, str]:
        """Return the usage and the summary of each command, in order."""
        return {spec.usage: spec.summary for spec in self._specs.values()}

    def find(self, name: str) -> CommandSpec | None:
        """Return the command of a name, in any case of its letters, or None."""
        return self._specs.get(name.upper().encode())

    def run(self, line: bytes, peer: Credentials | None) -> bytes | Call:
        """
        Run the command of a request line.

        :param line: the line, with or without its end.
        :param peer: the client, or None if the kernel does not name it.
        :returns: the reply, or the call if it is under way.
        """
        call = self._parse(line, peer)
        return call.line if isinstance(call, Answer) else self._run(call)

    def answer(
        self, line: bytes, peer: Credentials | None, origin: str | None = None
    ) -> Answer | Deferred[Answer]:
        """
        Run the command of a request line that came by another way than the socket.

        :param origin: the client in words, for the audit line; made from the peer if None.
        :returns: the outcome and the reply, or a Deferred of both, which never fails.
        """
        call = self._parse(line, peer, origin)
        if isinstance(call, Answer):
            return call
        reply = self._run(call)
        if isinstance(reply, Call):
            return reply.reply.addCallback(lambda line: Answer(call.outcome, line))
        return Answer(call.outcome, reply)

    def peek(self) -> bytes | Call:
        """Run STATUS for the daemon itself; the observers are not notified."""
        call = Call(self, self._specs[Command.STATUS.encode()])
        return self._run(call, observed=False)

    def _parse(
        self, line: bytes, peer: Credentials | None, origin: str | None = None
    ) -> Call | Answer:
        spec = self._specs.get(line.removesuffix(b"\n"))
        if spec is not None and not spec.arguments:
            # Nearly every request is written like this.
            return Call(self, spec, (), peer, origin)
        name, sent = wire.split_request(line)
        spec = self._specs.get(name)
        if spec is None or (sent and spec.name in Command.__members__):
            return Answer(Outcome.UNKNOWN, wire.render_unknown(line))
        try:
            arguments = spec.split(sent)
        except CommandRefused as refused:
            return Answer(Outcome.ARGUMENT, wire.render_error(refused.message))
        return Call(self, spec, arguments, peer, origin)

    def reload(self) -> Deferred[None]:
        """
        Run RELOAD for the daemon itself, after those that are under way.

        :returns: a Deferred of None. It fails with what the state raised, with a
            `CommandRefused` for example, or with ``TimeoutError`` if that takes longer than
            ``handler_timeout``. The outcome has been logged.
        """
        call = Call(self, self._specs[Command.RELOAD.encode()], origin="the daemon itself")
        reply = self._run(call)
        done = reply.reply if isinstance(reply, Call) else succeed(reply)
        return done.addCallback(lambda _: call.failure)

    def _run(self, call: Call, *, observed: bool = True) -> bytes | Call:
        if observed and self.observers:
            call.started = self._monotonic()
        try:
            result = _carry_out(call, call.spec.run, *call.arguments)
        except BaseException:
            # A client's command must not stop the daemon, not even with SystemExit.
            result = Failure()
        if isinstance(result, Deferred):
            return self._wait(call, result)
        return self._conclude(call, result)

    def _wait(self, call: Call, result: Deferred[Any]) -> bytes | Call:
        """Wait for a result, for as long as a handler may take."""
        seconds = self.limits.handler_timeout
        call.reply = Deferred()
        deadline: Any = None

        def too_late() -> None:
            call.late = True
            name = call.spec.name
            text = f"{name} is not done after {seconds:g} seconds"
            _log.warn("{text}", text=text, command=name, seconds=seconds)
            call.failure = Failure(TimeoutError(text))
            self._notify(call)
            call.reply.callback(wire.render_error(text))
            if not call.begun:
                result.cancel()

        def done(outcome: Any) -> None:
            reply = self._conclude(call, outcome)
            if not call.late:
                if deadline is not None:
                    deadline.cancel()
                call.reply.callback(reply)

        result.addBoth(done)
        if call.reply.called:
            # The Deferred had its result already: there is nothing to wait for.
            return cast(bytes, call.reply.result)
        deadline = self._clock.callLater(seconds, too_late)
        return call

    def _reload_in_turn(self) -> Deferred[Any]:
        """Reload once the RELOAD before this one is done; cancelled at its deadline until then."""
        call = _current.get()
        assert call is not None  # noqa: S101 - it runs as a handler only
        call.begun = False

        def begin() -> Any:
            call.begun = True
            return _carry_out(call, self._reload_config)

        def never_begun(failure: Failure) -> Failure:
            if call.begun:
                return failure
            raise CommandRefused("Another RELOAD is still under way")

        return self._reloading.run(begin).addErrback(never_begun)

    def _conclude(self, call: Call, result: Any) -> bytes:
        """Make the reply from a result, and log the audit line."""
        spec = call.spec
        call.over = True
        call.failure = result if isinstance(result, Failure) else None
        try:
            try:
                if call.failure is not None:
                    call.failure.raiseException()
                reply = spec.render(result)
            except CommandRefused as refused:
                # A subclass may have forgotten its message, which is a failure as well.
                reply = wire.render_error(refused.message)
        except BaseException as error:
            call.failure = Failure()
            if isinstance(error, Unfit):
                reason = printable(error.reason)
                _log.error(
                    "{command} failed: its result is {reason}", command=spec.name, reason=reason
                )
            else:
                _log.failure("{command} failed{hint}", command=spec.name, hint=_hint(error))
            reply = wire.render_error(f"{spec.name} failed; the daemon's log says why")
        if not call.late:
            self._notify(call)
        if spec.audit or call.late:
            outcome = reply.rstrip(b"\n") if call.failure else b"OK"
            _log.info(
                "{command} by {who}: {outcome}{late}{gone}",
                command=printable(" ".join((spec.name, *call.arguments)), NAME_LIMIT),
                who=call.origin or client_in_words(call.peer),
                outcome=printable(outcome, wire.ERROR_LIMIT),
                late=" (late)" if call.late else "",
                gone=" (the client is gone)" if call.client_gone else "",
            )
        return reply

    def _notify(self, call: Call) -> None:
        if call.started is not None:
            seconds = self._monotonic() - call.started
            self.observers.notify(call.spec.name, call.outcome, seconds)

    def _render_status(self, result: Any) -> bytes:
        if not isinstance(result, DaemonStatus):
            raise Unfit(f"no DaemonStatus but {printable(repr(result), VALUE_LIMIT)}")
        uptime = int(self._monotonic() - self._started)
        if result.uptime_secs is not None or (
            result.extra and not isinstance(result.extra, FixedKeys)
        ):
            return wire.render_status(result, uptime)
        if result != self._status:
            # Only the uptime changes from one reply to the next: the rest is rendered once.
            self._around_uptime = wire.render_around_uptime(result)
            self._status = result
        before, after = self._around_uptime
        return wire.whole_line(f"{before}{uptime}{after}")


def _carry_out(call: Call, handler: Callable[..., Any], *arguments: str) -> Any:
    """Call a handler, so that it sees its client; return a Deferred for a coroutine."""
    token = _current.set(call)
    try:
        result = handler(*arguments)
        if not hasattr(result, "__await__") or isinstance(result, Deferred):
            return result
        if isinstance(result, Coroutine):
            return Deferred.fromCoroutine(result)
    finally:
        _current.reset(token)
    # An asyncio future for example: OK would mean that it is done.
    raise Unfit(f"no Deferred but {printable(repr(result), VALUE_LIMIT)}; {_ASYNCIO_ADVICE}")


def _is_callback() -> bool:
    """
    Return whether the code that asks for its client runs as a callback of a Deferred.

    Callbacks have no context of their own, but run in that of the code that fires the
    Deferred, and this may be the handler of another client. Coroutines and
    ``inlineCallbacks`` always run in the context in which they were called.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - only the stack shows it
    while frame is not None and frame.f_code is not _carry_out.__code__:
        if frame.f_globals.get("__name__") == defer.__name__:
            if frame.f_code.co_name == "_inlineCallbacks":
                return False
            if frame.f_code.co_name == "_runCallbacks":
                return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _render_ok(_result: Any) -> bytes:
    return wire.OK


def _render_own(result: Any) -> bytes:
    return wire.OK if result is None else wire.render_value(result)


def _hint(error: BaseException) -> str:
    if isinstance(error, RuntimeError):
        text = safe_str(error)
        if any(complaint in text for complaint in _ASYNCIO_COMPLAINTS):
            return f": {_ASYNCIO_ADVICE}"
    return ""

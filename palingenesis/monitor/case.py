"""
A case: what is known of one session at one moment.

Nothing here does I/O, so that a test plays a whole night in milliseconds. The one question that
costs a look at the system, `Circumstances.finds`, is asked by the gate alone, and last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from palingenesis.monitor.ledger import History, Stop
from palingenesis.monitor.revive import QUICK_LIMIT, Command
from palingenesis.monitor.roster import Session
from palingenesis.monitor.running_attempt import Running
from palingenesis.monitor.settings import HomeRevival, Project, Settings
from palingenesis.words import REVIVABLE, Kind, Method, Owner

#: Seconds after the first stop without progress for which attempts go on if no reset is stated:
#: a window has five hours.
UNSTATED = 6 * 3600.0
#: Seconds after its start within which a script that has a text of its own has given it.
SCRIPTED = 300.0
#: Seconds after a stated reset within which an open program goes on by itself.
SELF_RESUME = 600.0
#: Seconds ahead beyond which a reset is not waited for: eight days.
TOO_FAR = 8 * 86400.0
#: The methods that can bring back a session by what has it, the best first. A command that
#: is named for a session whose program is open waits until that has ended.
_BY_OWNER: Mapping[Owner | None, tuple[Method, ...]] = {
    None: (Method.COMMAND, Method.QUEUE, Method.TYPE_INTO),
    Owner.UNKNOWN: (Method.COMMAND, Method.QUEUE, Method.TYPE_INTO),
    Owner.GONE: (Method.COMMAND,),
    Owner.PROGRAM: (Method.QUEUE, Method.TYPE_INTO, Method.COMMAND),
    Owner.SERVER: (Method.QUEUE, Method.COMMAND),
}


class Statement(NamedTuple):
    """
    A limit is the account's: what one session states about its end holds for the whole home.

    :ivar at: when it was stated, in seconds since the epoch.
    :ivar due: when the limit ends, with the margin added, in seconds since the epoch.
    :ivar window: which of the account's limits it is, by the agent's own name; None if that is
        not stated: it may be any.
    """

    at: float
    due: float
    window: str | None = None


class Load(NamedTuple):
    """
    What is being revived in a home.

    :ivar running: the commands that run, of revivals that may still work.
    :ivar leading: whether one of them is the first after a reset, and has not shown yet whether
        the limit has really ended.
    """

    running: int = 0
    leading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """
    What holds for all sessions at one moment.

    :ivar now: the time, in seconds since the epoch.
    :ivar monotonic: the time, in seconds of a clock that is never set back.
    :ivar kept: the homes that this daemon keeps, by name, and since when, in seconds since the
        epoch; None if no other daemon kept it before.
    :ivar resets: of each home, by name, the newest statement of when each of its limits ends.
    :ivar loads: of each home, by name, what is being revived there.
    :ivar may_start: whether the ledger can be written, and a command can be started.
    :ivar first_at: the time of the ledger's first entry, in seconds since the epoch.
    :ivar starts: when commands were started in the last hour, by the home's name, the first first.
    :ivar finds: whether a command's program is found, for the sessions of a home by its name.
    """

    now: float
    monotonic: float
    settings: Settings
    paused: bool
    kept: Mapping[str, float | None]
    may_start: bool
    first_at: float | None
    starts: Callable[[str], Sequence[float]]
    resets: Mapping[str, Sequence[Statement]] = field(default_factory=dict)
    loads: Mapping[str, Load] = field(default_factory=dict)
    finds: Callable[[str, Command], bool] = lambda *_: True


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a session ended.

    :ivar at: when, in seconds since the epoch.
    :ivar due: when it may go on, in seconds since the epoch; None if it never may.
    :ivar reset_stated: whether ``due`` follows from a reset that the record states.
    :ivar fresh: whether the agent made progress since the stop before this one.
    :ivar attempts: attempts since the last progress.
    """

    kind: Kind
    at: float
    due: float | None
    reset_stated: bool
    fresh: bool
    attempts: int


@dataclass(frozen=True)
class Case:
    """
    All that is known of one session at one moment: what follows from it is found once.

    :ivar ending: how it ended, see `ending_of`; None if it has not, or that is not known yet.
    :ivar running: the attempt to revive it that is under way; None if none is.
    :ivar newer_record: whether the transcript has grown since the revival was planned.
    """

    session: Session
    history: History
    circumstances: Circumstances
    ending: Ending | None
    running: Running | None = None
    newer_record: bool = False

    @property
    def stop(self) -> Stop:
        """What the ledger records of how the session ended."""
        session, identity = self.session, self.session.identity
        key, path = session.verdict.key, session.path
        return Stop(session.agent, identity.id, key, self.kind, path, identity.directory)

    @property
    def settings(self) -> Settings:
        """The settings that hold."""
        return self.circumstances.settings

    @property
    def kind(self) -> Kind | None:
        """How the session stopped; None if it has not, or that is not known yet."""
        return None if self.ending is None else self.ending.kind

    @property
    def due(self) -> float | None:
        """
        When the session may go on, in seconds since the epoch; None if it never may.

        What is typed waits for the program itself, if that has said that it goes on.
        """
        if self.ending is None or self.ending.due is None:
            return None
        verdict = self.session.verdict
        if verdict.goes_on and verdict.reset is not None and self.method is Method.TYPE_INTO:
            return max(self.ending.due, verdict.reset + SELF_RESUME)
        return self.ending.due

    @cached_property
    def method(self) -> Method | None:
        """
        The method that revives the session; None if none that is named fits its owner.

        A prompt is typed after a limit only.
        """
        if self.revival is None:
            return None
        fits = {
            Method.COMMAND: True,
            Method.QUEUE: _takes_messages(self.session),
            Method.TYPE_INTO: self.kind in (None, Kind.LIMIT),
        }
        named = self.revival.methods
        best = (each for each in _BY_OWNER[self.session.owner] if each in named and fits[each])
        return next(best, None)

    @property
    def command(self) -> Command | None:
        """What its method runs; None if it runs nothing."""
        if self.revival is None or self.method is None:
            return None
        return self.revival.run_for(self.method)

    @cached_property
    def revival(self) -> HomeRevival | None:
        """How the sessions of its home are brought back in its directory; None if not at all."""
        session = self.session
        return self.settings.revival_of(session.home.name, session.identity.directory)

    @property
    def lacks_method(self) -> bool:
        """Whether it is to be brought back, and no method is named that fits what has it."""
        return self.method is None and self.kind in REVIVABLE

    @property
    def misfit(self) -> str | None:
        """
        Why a method that is named for open programs does nothing for this one, in words.

        None if one fits, none is named, or its program is not open.
        """
        revival, session = self.revival, self.session
        if revival is None or not session.is_open:
            return None
        if self.method in (Method.QUEUE, Method.TYPE_INTO):
            return None
        if revival.type_into and self.kind in REVIVABLE:
            if Method.TYPE_INTO not in revival.methods:
                return "a prompt is typed on Linux only"
            if session.owner is Owner.SERVER:
                return "a prompt is typed into a program at a terminal only"
            return "a prompt is typed after a limit only"
        return "it is not known to take a message" if revival.queue else None

    @property
    def types(self) -> bool:
        """Whether a prompt is to be typed into the session's program, now or later."""
        return (
            self.method is Method.TYPE_INTO
            and self.kind is Kind.LIMIT
            and self.is_kept
            and not self.running
        )

    @property
    def is_kept(self) -> bool:
        """Whether this daemon keeps the session's home."""
        return self.session.home.name in self.circumstances.kept

    @property
    def project(self) -> Project | None:
        """What the configuration says of the session's directory; None if it says nothing."""
        return self.settings.project_of(self.session.identity.directory)

    @property
    def is_asked(self) -> bool:
        """Whether a person wants this very stop to be revived now."""
        return self.ending is not None and self.history.asked == self.session.verdict.key

    @property
    def has_person(self) -> bool:
        """Whether a person wrote in the session since it was last brought back."""
        verdict, intended_at = self.session.verdict, self.history.intended_at
        written_at, text = verdict.last_prompt_at, verdict.last_prompt
        if intended_at is None or written_at is None or written_at <= intended_at:
            return False
        method = self.history.method or Method.COMMAND
        # What is typed for a person looks like what a person types.
        if verdict.last_typed and method is not Method.TYPE_INTO:
            return True
        if self.revival is None or text is None:
            return True
        is_given = self.revival.gives(method, text)
        return not (written_at - intended_at < SCRIPTED if is_given is None else is_given)

    @property
    def windows(self) -> int:
        """After how many limits, this one not counted, it was brought back without a person."""
        if self.has_person:
            return 0
        history = self.history
        return history.windows - (self.session.verdict.key in (history.intended, history.found))

    @property
    def is_after_reset(self) -> bool:
        """Whether the session stopped at a limit whose end is stated."""
        return self.kind is Kind.LIMIT and self.ending is not None and self.ending.reset_stated

    @property
    def stated(self) -> Statement | None:
        """What its home's newest limit says of when it ends, if that is newer than the stop."""
        if self.ending is None or self.kind is not Kind.LIMIT:
            return None
        at, window = self.ending.at, self.session.verdict.window
        newer = (
            each
            for each in self.circumstances.resets.get(self.session.home.name, ())
            if each.at > at and (None in (window, each.window) or window == each.window)
        )
        return max(newer, key=_at, default=None)

    @property
    def load(self) -> Load:
        """What is being revived in the session's home."""
        return self.circumstances.loads.get(self.session.home.name, Load())

    @property
    def is_quiet(self) -> bool:
        """Whether the session has not grown for long enough that its end can be read."""
        return self.circumstances.monotonic - self.session.grown >= self.settings.quiet

    @property
    def is_given_up(self) -> bool:
        """Whether the session is given up: until it makes progress by other means."""
        return self.history.given_up and not (self.ending is not None and self.ending.fresh)

    @property
    def is_from_before(self) -> bool:
        """
        Whether the session stopped before this daemon's ledger knew of its home.

        That is so before the ledger's first entry, and while another daemon with a ledger of its
        own kept the home: what was tried then is unknown. ``backlog`` revives such sessions too.
        """
        if self.settings.backlog:
            return False
        first_at = self.circumstances.first_at
        kept_since = self.circumstances.kept.get(self.session.home.name)
        stopped = self.session.since if self.ending is None else self.ending.at
        return first_at is None or stopped < max(first_at, kept_since or 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the session stopped too long ago, or was due too long ago, to be revived."""
        end = self.ending
        if end is None:
            since = self.session.since
        else:
            since = end.due if end.reset_stated and end.due is not None else end.at
        return self.circumstances.now - since > self.settings.max_age

    @property
    def is_settled(self) -> bool:
        """Whether nothing can change about the session until it grows; an open program may end."""
        if self.ending is None:
            return self.session.owner is not None and self.is_over
        if self.is_asked:
            return False
        is_open = self.session.is_open
        return self.is_over or (self.ending.kind not in REVIVABLE and not is_open)

    @property
    def belongs_in_the_ledger(self) -> bool:
        """Whether the ledger records this stop: nobody has to act on any other."""
        end = self.ending
        if end is None or end.kind is Kind.FINISHED:
            return False
        return not self.is_from_before and not self.is_over


def ending_of(session: Session, history: History, circumstances: Circumstances) -> Ending | None:
    """Return how a session ended by its kind of stop; None if that is not known yet."""
    if session.kind is None:
        return None
    settings = circumstances.settings
    verdict = session.verdict.believed(circumstances.now)
    at = min(session.since, circumstances.now) if verdict.at is None else verdict.at
    fresh = (
        verdict.key not in (history.key, history.found)
        and verdict.progress is not None
        and history.stopped_at is not None
        and verdict.progress > history.stopped_at
    )
    attempts = 0 if fresh else history.attempts
    failed_at = None if fresh else history.failed_at
    has_waited = history.waited and history.open is None and not fresh
    may_go_on = due(
        settings if not has_waited else replace(settings, retry=(0.0,)),
        session.kind,
        verdict.reset,
        at if failed_at is None else max(at, failed_at),
        session.identity.id,
        # An attempt that is under way has not failed.
        attempts - 1 if history.open is not None and attempts else attempts,
    )
    return Ending(session.kind, at, may_go_on, verdict.reset is not None, fresh, attempts)


def due(
    settings: Settings,
    kind: Kind,
    reset: float | None,
    since: float,
    session: str,
    attempts: int = 0,
) -> float | None:
    """
    Return when a session may be revived, in seconds since the epoch; None if never.

    :param reset: when the limit ends, in seconds since the epoch; None if that is not stated.
    :param since: the time of the stop or, after a failed attempt, of that attempt's end.
    :param session: the session's id.
    :param attempts: how many attempts have failed since the stop.
    """
    if kind not in REVIVABLE:
        return None
    last = len(settings.retry) - 1
    if reset is None:
        return since + settings.retry[min(attempts, last)]
    after = reset + settings.margin + settings.stagger * share(session)
    if attempts:
        after = max(after, since + settings.retry[min(attempts - 1, last)])
    return after


def share(session: str) -> float:
    """Hash a session's id to a number from 0 to 1, the same one on every machine."""
    digest = hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def newest_resets(sessions: Iterable[Session], margin: float) -> dict[str, list[Statement]]:
    """Return the newest statement of each home's limits, by the home's name."""
    newest: dict[tuple[str, str | None], Statement] = {}
    for session in sessions:
        verdict = session.verdict
        if verdict.kind is Kind.LIMIT and verdict.at is not None and verdict.reset is not None:
            statement = Statement(verdict.at, verdict.reset + margin, verdict.window)
            limit = (session.home.name, verdict.window)
            newest[limit] = max(statement, newest.get(limit, statement), key=_at)
    resets: dict[str, list[Statement]] = {}
    for (home, _), statement in newest.items():
        resets.setdefault(home, []).append(statement)
    return resets


def _at(statement: Statement) -> float:
    return statement.at


def is_left_over(case: Case) -> bool:
    """
    Return whether the transcript ends with what a failed attempt left there.

    That is its own prompt, or the end of a turn that had no more: the stop before it is still the
    session's last.
    """
    return case.session.verdict.key == case.history.found


def kind_of(case: Case, asking: bool | None) -> Kind | None:
    """
    Return how the session stopped; None if it has not, or that is not known yet.

    :param asking: whether the agent said that it waits for a person; None if nobody asked.
    """
    session = case.session
    if not case.is_quiet:
        return None
    if session.left and not case.running and session.verdict.kind in (None, *REVIVABLE):
        return Kind.USER
    if case.history.successor is not None and session.verdict.key in (
        case.history.key,
        case.history.found,
    ):
        return Kind.CONTINUED
    if is_left_over(case):
        return case.history.kind
    if session.verdict.kind is not None:
        return session.verdict.kind
    if case.running:
        # The command that revives it lives, whatever its name.
        return None
    if session.kind is not None or asking is None or session.owner is None:
        return session.kind
    if asking:
        return Kind.ASKING
    return Kind.DIED if session.owner is Owner.GONE else None


def is_hopeless(case: Case) -> bool:
    """Return whether its last attempt failed and no further one is allowed."""
    history = case.history
    if history.given_up or history.open is not None or history.failed_at is None:
        return False
    return history.quick >= QUICK_LIMIT or has_run_out(case)


def has_run_out(case: Case) -> bool:
    """Return whether another attempt for this stop would be one too many."""
    end = case.ending
    if end is None:
        return False
    if end.reset_stated or case.kind is Kind.DIED:
        return end.attempts >= case.settings.attempts
    first = case.history.first_stop_at
    return not end.fresh and first is not None and case.circumstances.now - first > UNSTATED


def _takes_messages(session: Session) -> bool:
    """Return whether what has a session takes a message; if nothing has it, its next owner may."""
    return session.is_interactive or not session.is_open

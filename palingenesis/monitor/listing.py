"""Which sessions and entries a client asks for, in which order it gets them, and in which form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.case import Case
from palingenesis.monitor.gate import assess, shown_reason
from palingenesis.monitor.ledger import ENTRIES_LIMIT
from palingenesis.monitor.needs import needs
from palingenesis.monitor.roster import Session
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import REVIVABLE, Key, Method, State

#: Sessions in one page.
PAGE = 100
#: Entries of the ledger if their number is not given.
COUNT = 20

#: Characters of an id that name a session.
SHORTEST = 4

_URGENCIES = {State.REVIVING: 1, State.WAITING: 2, State.WORKING: 3}
_REST = 4


class QueryError(ValueError):
    """A filter that cannot be understood; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class SessionsQuery:
    """
    Which sessions are asked for.

    :ivar after: the id of the last session of the page before; None for the first page.
    """

    state: str | None = None
    agent: str | None = None
    home: str | None = None
    after: str | None = None

    @classmethod
    def parsed(cls, text: str) -> SessionsQuery:
        """
        Return the query in a filter.

        :raises QueryError: if it is none.
        """
        pairs = _pairs(text, cls)
        _check(pairs, Key.STATE, State)
        _check(pairs, Key.AGENT, AGENTS)
        return cls(**pairs)

    def chosen(self, sessions: Iterable[Session], oldest: float) -> list[Session]:
        """
        Return the sessions that are asked for: the urgent first, then by their latest growth.

        :param oldest: the time before which a stop is no longer urgent, in seconds since the
            epoch.
        :raises QueryError: if the last session of the page before is gone.
        """
        rest = sorted(sessions, key=lambda each: (urgency(each, oldest), -each.since, each.name))
        if self.after is not None:
            # Among all of them: it may have changed since, so that it is no longer asked for.
            ids = [each.identity.id for each in rest]
            if self.after not in ids:
                shown = printable(self.after, NAME_LIMIT)
                raise QueryError(f"after={shown}: that session is gone; begin with the first page")
            rest = rest[ids.index(self.after) + 1 :]
        return [each for each in rest if self._includes(each)]

    def _includes(self, session: Session) -> bool:
        return (
            self.state in (None, session.state)
            and self.agent in (None, session.agent)
            and self.home in (None, session.home.name)
        )


#: The query without a filter.
EVERY = SessionsQuery()


@dataclass(frozen=True, slots=True)
class LogQuery:
    """
    Which entries of the ledger are asked for.

    :ivar count: how many, the last ones; None for the default.
    :ivar since: the earliest time, in seconds since the epoch.
    :ivar session: the beginning of an id.
    """

    count: int | None = None
    since: float | None = None
    session: str | None = None

    @classmethod
    def parsed(cls, text: str) -> LogQuery:
        """
        Return the query in a filter; a number alone is the count.

        :raises QueryError: if it is none.
        """
        text = text.strip()
        pairs = {Key.COUNT.value: text} if _is_count(text) else _pairs(text, cls)
        count, since = pairs.get(Key.COUNT), pairs.get(Key.SINCE)
        if count is not None and not _is_count(count):
            raise QueryError(f"count={count}: expected a number from 1 to {ENTRIES_LIMIT}")
        if since is not None and not since.replace(".", "", 1).isdecimal():
            raise QueryError(f"since={since}: expected seconds since the epoch")
        return cls(
            None if count is None else min(int(count), ENTRIES_LIMIT),
            None if since is None else float(since),
            pairs.get(Key.SESSION),
        )

    def chosen(self, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """
        Return the entries that are asked for, in their order.

        Without a count, a time or a session has all of its entries.

        :param entries: as `LOG` shows them.
        """
        found = [each for each in entries if self._includes(each)]
        is_all = self.count is None and (self.since is not None or self.session is not None)
        return found if is_all else found[-(self.count or COUNT) :]

    def _includes(self, entry: Mapping[str, Any]) -> bool:
        id = entry[Key.SESSION]  # noqa: A001 - the field's name
        return (self.since is None or entry[Key.AT] >= self.since) and (
            self.session is None or (id is not None and id.startswith(self.session))
        )


def urgency(session: Session, oldest: float) -> int:
    """
    Return how urgent a session is for a person, the most urgent lowest.

    :param oldest: as in `SessionsQuery.chosen`.
    """
    if session.needs is not None and session.since >= oldest:
        return 0
    return _URGENCIES.get(session.state, _REST)


def session_named(sessions: Collection[Session], beginning: str) -> Session:
    """
    Return the session whose id begins so.

    :param beginning: at least `SHORTEST` characters of an id.
    :raises QueryError: if no session's id does, or those of several.
    """
    if len(beginning) < SHORTEST:
        raise QueryError(f"give at least {SHORTEST} characters of the id")
    found = [each for each in sessions if each.identity.id.startswith(beginning)]
    whole = [each for each in found if each.identity.id == beginning]
    if len(whole or found) == 1:
        return (whole or found)[0]
    if not found:
        raise QueryError("no session has an id that begins so")
    ids = ", ".join(sorted(each.identity.id for each in found)[:5])
    raise QueryError(f"{len(found)} sessions have an id that begins so: {ids}")


def session_report(case: Case) -> dict[str, Any]:
    """Return a session as the reply to ``SESSIONS`` has it."""
    session, assessment = case.session, assess(case)
    return {
        Key.AGENT: session.agent,
        Key.ID: session.identity.id,
        Key.DIRECTORY: session.identity.directory,
        Key.TRANSCRIPT: session.path,
        Key.STATE: assessment.state,
        Key.KIND: assessment.kind,
        Key.SINCE: session.since,
        Key.DUE: assessment.due,
        Key.UNTIL: assessment.until,
        Key.ATTEMPTS: case.history.attempts if case.ending is None else case.ending.attempts,
        Key.HELD: shown_reason(case) if assessment.kind in REVIVABLE else None,
        Key.NEEDS: needs(case, assessment),
        Key.HOME: session.home.name,
        Key.VARIABLES: dict(session.home.environment) or None,
        Key.OWNER: session.owner,
        Key.WHO: session.who,
        Key.METHOD: assessment.method,
        Key.DOUBT: _doubt(case),
        Key.OUTPUT: case.running and case.running.output,
    }


def _doubt(case: Case) -> str | None:
    """Return why a session's open program is not given its prompt, in words."""
    return case.session.doubt if case.method is Method.TYPE_INTO else case.misfit


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0


def _pairs(text: str, query: type[SessionsQuery | LogQuery]) -> dict[str, str]:
    known = [each.name for each in fields(query)]
    pairs = {}
    for word in text.split():
        key, _, value = word.partition("=")
        if key not in known or not value:
            shown = printable(word, NAME_LIMIT)
            number = f"a number from 1 to {ENTRIES_LIMIT}, or " if query is LogQuery else ""
            expected = " ".join(f"{each}={each.upper()}" for each in known)
            raise QueryError(f"{shown}: expected {number}{expected}")
        pairs[key] = printable(value)
    return pairs


def _check(pairs: Mapping[str, str], key: str, known: Iterable[str]) -> None:
    if key in pairs and pairs[key] not in list(known):
        shown = printable(pairs[key], NAME_LIMIT)
        raise QueryError(f"{key}={shown}: expected one of {', '.join(known)}")

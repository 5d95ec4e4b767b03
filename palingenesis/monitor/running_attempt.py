"""An attempt to bring a session back, while it is under way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from palingenesis.monitor.ledger import Attempt, Name
from palingenesis.monitor.revive import Ended, Revival
from palingenesis.monitor.settings import HomeRevival
from palingenesis.monitor.transcript import Growth
from palingenesis.monitor.typist import Typing
from palingenesis.words import Method


@dataclass(slots=True)
class Running:
    """
    An attempt whose outcome is open, or whose command still runs.

    :ivar revival: its command; None if that was gone when a daemon came back.
    :ivar named: how the configuration brought the session back when it began, or when a daemon
        came back; None if it named nothing then.
    :ivar began_here: whether this daemon started it, so that ``before`` is known.
    :ivar before: the agent's last progress before it started, as the transcript shows it.
    :ivar growth: how much there was of the session when it was last looked at; None until then.
    :ivar observed: whether this daemon has looked at the session since the attempt is known.
    :ivar calling: whether a call of a tool was under way then.
    :ivar home: the name of the session's home.
    :ivar leads_until: until when the others of the home wait for it, in seconds of the clock
        that is never set back; 0 if they do not.
    :ivar others: the sessions that were known in the session's directory when it began.
    :ivar worked: whether it has worked: its outcome is recorded then.
    :ivar ended: how its command ended; None while it runs.
    :ivar handed_over: whether its command ended because a living program has the prompt: its
        outcome is in the session's records alone.
    :ivar grown: when the session last grew, in seconds of the clock that is never set back.
    :ivar gone: since when nothing has the session, in seconds of the same clock; None while
        something may.
    :ivar stall: for how many seconds the session may not grow.
    :ivar typing: the prompt that is being typed, if it is; None once its outcome is known.
    :ivar sent_at: when Enter was pressed, in seconds of the clock that is never set back; None
        if that is not known, or nothing is typed.
    """

    attempt: Attempt
    revival: Revival | None
    named: HomeRevival | None = None
    began_here: bool = False
    before: float | None = None
    growth: Growth | None = None
    observed: bool = False
    calling: bool = False
    home: str = ""
    leads_until: float = 0.0
    others: frozenset[Name] = frozenset()
    worked: bool = False
    ended: Ended | None = None
    handed_over: bool = False
    grown: float = 0.0
    gone: float | None = None
    stall: float = math.inf
    typing: Typing | None = None
    sent_at: float | None = None

    @property
    def runs(self) -> bool:
        """Whether its command runs, or a program that it was handed over to may."""
        return self.ended is None or self.handed_over

    def has_given(self, text: str | None, at: float | None) -> bool | None:
        """
        Return whether it has given a prompt, by its text and its time.

        None if that cannot be known.
        """
        if self.named is None:
            return None
        if text is None or at is None or at < self.attempt.at:
            return False
        return self.named.gives(self.attempt.method or Method.COMMAND, text)

    @property
    def output(self) -> str | None:
        """The file with the output of its command; None if that is unknown."""
        return None if self.revival is None else self.revival.output

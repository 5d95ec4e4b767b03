"""The monitor's words: what a session is, how its end reads, and why it is left alone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum, StrEnum

from palingenesis.words import REVIVABLE as REVIVABLE
from palingenesis.words import Kind as Kind
from palingenesis.words import State as State


class Reason(StrEnum):
    """Why a session is not revived, in the order in which the gate asks."""

    PAUSED = "paused"
    NO_COMMAND = "no-command"
    NOT_THE_KEEPER = "not-the-keeper"
    LEDGER = "ledger"
    KIND = "kind"
    CRASHES = "crashes"
    GIVEN_UP = "given-up"
    NEWER_RECORD = "newer-record"
    TOO_FAR = "too-far"
    TOO_OLD = "too-old"
    NOT_DUE = "not-due"
    ALREADY_RUNNING = "already-running"
    OWNER_ALIVE = "owner-alive"
    OWNER_UNKNOWN = "owner-unknown"
    DIRECTORY = "directory"
    ATTEMPTS = "attempts"
    HOURLY_LIMIT = "hourly-limit"
    NO_BINARY = "no-binary"


class Owner(Enum):
    """Whether the process that a session belongs to lives; only GONE is proof."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Which session a transcript holds.

    :ivar id: the session's id, from its records; fit for one argument of a command line.
    :ivar directory: the directory it was started in, absolute.
    """

    id: str
    directory: str


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: The longest path of a directory, in characters: ``PATH_MAX`` less its NUL, limits.h.
_DIRECTORY_LIMIT = 4095


def identified(id: object, directory: object) -> Identity | None:  # noqa: A002
    """
    Make an identity of what a record says, which may be anything.

    None unless the id is a name that no command takes for an option and no system for a
    path, and the directory an absolute path that can be printed.
    """
    if not isinstance(id, str) or not isinstance(directory, str):
        return None
    if _ID.fullmatch(id) is None or not os.path.isabs(directory):
        return None
    if len(directory) > _DIRECTORY_LIMIT or not directory.isprintable():
        return None
    return Identity(id, directory)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the last meaningful record of a transcript says.

    :ivar kind: how the session stopped; None in the middle of a turn.
    :ivar key: tells this record from every other of the transcript.
    :ivar at: the record's timestamp, in seconds since the epoch; None where it has none.
    :ivar reset: when a limit ends, in seconds since the epoch; None where it is not stated.
    :ivar left: whether the user ended the program, rather than a turn.
    :ivar continues: whether the agent goes on by itself for as long as it lives.
    :ivar progress: the timestamp of the last record of the agent's that is no error, in
        seconds since the epoch; None where none was read.
    """

    kind: Kind | None
    key: str
    at: float | None = None
    reset: float | None = None
    left: bool = False
    continues: bool = False
    progress: float | None = None

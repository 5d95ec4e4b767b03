"""
opencode: its sessions in one SQLite database, and what its messages mean.

Seen in opencode 1.18.33, and reported in anomalyco/opencode#43126 and #39790. A message changes
while its turn goes on; each of its parts is a row of its own. What a retry waits for is not
written down.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import tzinfo
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import tee
from typing import NamedTuple

from palingenesis.monitor import database, files
from palingenesis.monitor.agents.agent import STATUSES, UNREAD, Agent, Step, What
from palingenesis.monitor.database import Database
from palingenesis.monitor.files import Walk
from palingenesis.monitor.owners import NOTHING, Owners, Snapshot, Witness
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import TEXT_LIMIT, Record, Stamp, mapping, number
from palingenesis.words import Kind

#: The columns by which a database is known.
_TABLES: Mapping[str, Collection[str]] = {
    "session": {"id", "parent_id", "directory", "time_archived"},
    "message": {"id", "session_id", "time_created", "time_updated", "data"},
    "part": {"id", "message_id", "time_updated", "data"},
    "event_sequence": {"aggregate_id", "seq"},
}
#: Sessions of a database, messages of a session, and parts of a message that are looked at.
SESSIONS = files.BOUNDS.directory
_MESSAGES = 20
_PARTS = 16

_SEQUENCES = """SELECT aggregate_id, seq FROM event_sequence
    WHERE aggregate_id IN (SELECT id FROM session) LIMIT ?"""
_FAMILY = """SELECT s.id, e.seq FROM session AS s
    JOIN event_sequence AS e ON e.aggregate_id = s.id WHERE s.id = ? OR s.parent_id = ?"""
_PARENT = "SELECT parent_id FROM session WHERE id = ?"
_GROWN = """SELECT m.time_updated, (SELECT max(time_updated) FROM
    (SELECT time_updated FROM part WHERE message_id = m.id ORDER BY id DESC LIMIT ?))
    FROM message AS m WHERE m.session_id = ? ORDER BY m.time_created DESC, m.id DESC LIMIT 1"""
_SESSION = "SELECT id, directory, parent_id, time_archived FROM session WHERE id = ?"
_NEWEST = """SELECT id FROM message WHERE session_id = ?
    ORDER BY time_created DESC, id DESC LIMIT ?"""
_MESSAGE = """SELECT json_extract(data, '$.role', '$.time', '$.finish', '$.error')
    FROM message WHERE id = ?"""
_PARTS_OF = "SELECT id FROM part WHERE message_id = ? ORDER BY id DESC LIMIT ?"
_PART = """SELECT json_extract(data, '$.type', '$.tool', '$.state.status', '$.state.error',
    '$.state.time', '$.text') FROM part WHERE id = ?"""
_PART_WIDTH = 6

_ERRORS = {
    "ContextOverflowError": Kind.CONTEXT,
    "MessageAbortedError": Kind.USER,
    "ProviderAuthError": Kind.REFUSED,
}
#: A limit that no waiting cures.
_REFUSED = re.compile(
    r"insufficient_quota|exceeded your current quota|credit balance|billing", re.IGNORECASE
)
#: The words of the transport, for errors without a status.
_TRANSIENT = re.compile(
    r"cannot connect|connection (?:reset|refused|closed|error)|\bsocket\b|timed? ?out"
    r"|fetch failed|overloaded|ECONN[A-Z]+|ETIMEDOUT|ENOTFOUND|EAI_AGAIN",
    re.IGNORECASE,
)
_REJECTED = "The user rejected permission"
_DISMISSED = "The user dismissed this question"
_QUESTION = "question"
#: What separates a database's path from a session's id.
_MARK = "#"


class Grown(NamedTuple):
    """
    How far a session has grown.

    :ivar seq: the number of its newest event.
    :ivar at: the time of its newest message or part, in milliseconds since the epoch; 0 if it
        has none.
    :ivar parent: the session whose sub-agent has it; None if it is a person's own.
    """

    seq: int
    at: int
    parent: str | None


class Listing(NamedTuple):
    """
    The sessions of a database as they were listed.

    :ivar files: the stamps of the database's files just before.
    :ivar settled: whether the listing before it found them the same.
    :ivar rows: the id and the newest event's number of each session, as they were read.
    :ivar grown: each session's growth, by its id; those of sub-agents too.
    :ivar stamps: the stamp of each session that is no sub-agent's.
    """

    files: tuple[Stamp | None, Stamp | None]
    settled: bool
    rows: frozenset[tuple[object, ...]]
    grown: Mapping[str, Grown]
    stamps: Mapping[str, Stamp]


_NOTHING = Listing((None, None), False, frozenset(), {}, {})


class Opencode(Agent):
    """
    opencode. A transcript is the path of a database, ``#`` and the session's id.

    Its home is the directory of its database.
    """

    name = "opencode"
    programs = frozenset({"opencode", "opencode.exe"})
    home_variable = "OPENCODE_DB"
    home_name = ".local/share/opencode"
    #: Each release channel has a database of its own.
    transcripts = "*.db"
    preset = ("run", "--session", "{id}", "--dir", "{directory}", "{prompt}")

    def __init__(self) -> None:
        self._listings: dict[str, Listing] = {}
        #: Transcripts that could not be read for a moment, and are to be read anew.
        self._doubted: set[str] = set()

    def home(self, environment: Mapping[str, str]) -> str:
        """Return the directory of the database."""
        given = environment.get(self.home_variable, "")
        if os.path.isabs(given):
            return os.path.dirname(os.path.normpath(given))
        data = environment.get("XDG_DATA_HOME", "")
        if os.path.isabs(data):
            return os.path.join(os.path.normpath(data), "opencode")
        return super().home({**environment, self.home_variable: ""})

    def variables(self, home: str) -> Mapping[str, str]:
        """Return what the program needs in its environment to use a home."""
        above, name = os.path.split(home)
        if name == "opencode":
            # Its log-in is in this directory too.
            return {"XDG_DATA_HOME": above}
        return {self.home_variable: os.path.join(home, "opencode.db")}

    def sessions(self, home: str, walk: Walk) -> Iterator[tuple[str, Stamp] | None]:
        """Yield each session with its stamp, and None for a pause."""
        for found in walk.files(home, self.transcripts):
            if found is None:
                yield None
                continue
            path = found[0]
            stamps: Mapping[str, Stamp] = {}
            try:
                listing = yield from self._listed(path)
            except database.Missing:
                continue
            except database.Unreadable as error:
                stamps = self._listings.get(path, _NOTHING).stamps
                if not isinstance(error, database.Busy):
                    walk.warn(f"{path}: cannot be read: {error.reason}; its sessions are unknown")
                    stamps = {each: _other(stamp) for each, stamp in stamps.items()}
            else:
                stamps = listing.stamps
                if len(listing.grown) > SESSIONS:
                    walk.cut_short = True
                    walk.warn(f"{path}: more than {SESSIONS} sessions; the rest is not monitored")
            for count, (session, stamp) in enumerate(stamps.items(), 1):
                transcript = f"{path}{_MARK}{session}"
                if transcript in self._doubted:
                    self._doubted.discard(transcript)
                    stamp = _other(stamp)
                yield transcript, stamp
                if count % files.STRIDE == 0:
                    yield None

    def stamp(self, transcript: str) -> Stamp | None:
        """Return a session's stamp; None if it is gone, or cannot be read."""
        path, _, session = transcript.rpartition(_MARK)
        known, now = self._listings.get(path, _NOTHING), database.stamps(path)
        if known.settled and known.files == now:
            return known.stamps.get(session)
        try:
            with database.opened(path) as opened:
                opened.check(_TABLES)
                rows = opened.rows(_FAMILY, session, session)
                grown = dict(filter(None, _grown(opened, rows, known.grown)))
            return _stamps(now[0], grown).get(session)
        except database.Unreadable:
            self._doubted.add(transcript)
            return None

    def read(
        self, transcript: str, known: Identity | None = None, local: tzinfo | None = None
    ) -> tuple[Identity, Verdict] | None:
        """
        Read which session it is, and what its newest messages say; unknown if that is not read.

        :raises FileNotFoundError: if the database or the session is gone.
        :raises OSError: if it cannot be read, and its identity is not known.
        """
        path, _, session = transcript.rpartition(_MARK)
        try:
            with database.opened(path) as opened:
                opened.check(_TABLES)
                rows = opened.rows(_SESSION, session)
                if not rows:
                    raise FileNotFoundError(transcript)
                known = self.identity([_of_session(rows[0])])
                if known is None:
                    return None
                steps, again = tee(self.meaningful(_messages(opened, session), local))
                verdict = self.verdict(steps)
                progress = self.progress(again)
        except database.Missing:
            raise FileNotFoundError(transcript) from None
        except database.Unreadable as error:
            if isinstance(error, database.Busy):
                self._doubted.add(transcript)
            if known is None:
                raise OSError(error.reason) from None
            return known, UNREAD
        return known, replace(verdict, progress=progress)

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of a row; a sub-agent's and an archived one are none."""
        for record in records:
            row = mapping(record.value)
            if row.get("parent_id") is None and row.get("time_archived") is None:
                return identified(row.get("id"), row.get("directory"))
        return None

    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """Return what a message reports."""
        return _step(record, local)

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """Judge by the newest message: it holds the end of its turn, if there is one."""
        return next((step.verdict() for step in steps), UNREAD)

    def owners(self, home: str, snapshot: Snapshot) -> Openers:
        """Read which processes have the databases open."""
        return Openers(home, snapshot)

    def _listed(self, path: str) -> Generator[None, None, Listing]:
        """
        List the sessions of a database, anew only if its files have changed.

        A change that follows at once may not show in a file's time, so the listing of a scan
        counts from then on only if the scan after it finds the files as they were.

        :returns: yields None for a pause.
        :raises Unreadable: if it cannot be read.
        """
        old = self._listings.get(path, _NOTHING)
        now = database.stamps(path)
        if old.settled and old.files == now:
            return old
        grown = dict(old.grown)
        with database.opened(path) as opened:
            opened.check(_TABLES)
            rows = frozenset(opened.rows(_SEQUENCES, SESSIONS + 1))
            changed = {str(session) for session, _ in rows ^ old.rows}
            before = [grown.pop(session, None) for session in changed]
            for each in _grown(opened, rows - old.rows, {}):
                if each is None:
                    yield None
                else:
                    grown[each[0]] = each[1]
        after = [grown.get(session) for session in changed]
        changed |= {each.parent for each in (*before, *after) if each and each.parent is not None}
        # The others keep their stamps: thousands of new ones cost more than all the rest.
        family = grown
        stamps = {}
        if _place(old.files[0]) == _place(now[0]):
            family = {
                session: each
                for session, each in grown.items()
                if session in changed or each.parent in changed
            }
            stamps = {each: stamp for each, stamp in old.stamps.items() if each not in changed}
        stamps |= _stamps(now[0], family)
        listing = Listing(now, old.files == now, rows, grown, stamps)
        self._listings[path] = listing
        return listing


class Openers(Owners):
    """
    Which sessions have a living process: none, if no process has a database open.

    Each process opens it whole, in whatever directory, so which session it has shows only if
    its command line names one. While it is open, SQLite holds record locks on it and on its
    ``-shm`` file, which the kernel lists whatever user holds them.

    :param home: the directory of the databases.
    """

    def __init__(self, home: str, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._home = home

    def witnessed(self, session: Identity, transcript: str) -> Witness:  # noqa: ARG002
        """Return what has a session: nothing, if no process has a database open."""
        snapshot = self.snapshot
        if snapshot.processes is None or snapshot.locks is None:
            return Witness.unknown("this machine lists no processes and locks")
        if self._are_open:
            return Witness.unknown("an opencode has the database open")
        return NOTHING

    @cached_property
    def _are_open(self) -> bool:
        """Whether a process may have one of the databases open."""
        paths = _files_in(self._home)
        locks = self.snapshot.locks or frozenset()
        try:
            inodes = {os.lstat(path).st_ino for path in paths or ()}
        except OSError:
            return True
        if paths is None or any(lock.inode in inodes for lock in locks):
            return True
        return self.snapshot.have_open(paths)


def _files_in(home: str) -> frozenset[str] | None:
    """Return the files of the databases in a home; None if they cannot be listed."""
    try:
        names = files.names_in(home, files.BOUNDS.directory)
    except OSError:
        return None
    of_databases = re.compile(r".*\.db(?:-wal|-shm)?", re.DOTALL)
    real = os.path.realpath(home)
    return frozenset(os.path.join(real, name) for name in names if of_databases.fullmatch(name))


def _grown(
    opened: Database, rows: Iterable[tuple[object, ...]], old: Mapping[str, Grown]
) -> Iterator[tuple[str, Grown] | None]:
    """
    Yield how far each session has grown, and None for a pause.

    :param rows: ids and numbers of events.
    :param old: what was known; only what differs is looked up.
    """
    count = 0
    for session, seq in rows:
        if not isinstance(session, str) or not isinstance(seq, int) or not 0 <= seq < 2**53:
            continue
        known = old.get(session)
        if known is None or known.seq != seq:
            times = [number(time) for row in opened.rows(_GROWN, _PARTS, session) for time in row]
            newest = max((time for time in times if time is not None), default=0)
            parents = [parent for (parent,) in opened.rows(_PARENT, session)]
            parent = next((each for each in parents if isinstance(each, str)), None)
            known = Grown(seq, int(newest), parent)
            count += 1
            if count % files.STRIDE == 0:
                yield None
        yield session, known


def _stamps(file: Stamp | None, grown: Mapping[str, Grown]) -> dict[str, Stamp]:
    """Return the stamp of each session: it changes with those of its sub-agents too."""
    device, inode = _place(file)
    stamps = {
        session: Stamp(device, inode, seq, at * 1_000_000)
        for session, (seq, at, parent) in grown.items()
        if parent is None and at
    }
    for seq, at, parent in grown.values():
        if parent is not None and (stamp := stamps.get(parent)) is not None:
            newest = max(stamp.mtime_ns, at * 1_000_000)
            stamps[parent] = Stamp(device, inode, stamp.size + seq, newest)
    return stamps


def _place(file: Stamp | None) -> tuple[int, int]:
    return (0, 0) if file is None else (file.device, file.inode)


def _other(stamp: Stamp) -> Stamp:
    """Return a stamp that no session has, so that it is read anew."""
    return stamp._replace(mtime_ns=stamp.mtime_ns + 1)


def _of_session(row: tuple[object, ...]) -> Record:
    return Record(0, dict(zip(("id", "directory", "parent_id", "time_archived"), row, strict=True)))


def _messages(opened: Database, session: str) -> Iterator[Record]:
    """Yield the newest messages of a session, newest first; the first one with its parts."""
    names = ("role", "time", "finish", "error")
    for count, (message,) in enumerate(opened.rows(_NEWEST, session, _MESSAGES)):
        values = _extracted(opened, _MESSAGE, message, len(names))
        parts = () if count else opened.rows(_PARTS_OF, message, _PARTS)
        yield Record(
            0,
            {
                **dict(zip(names, values, strict=True)),
                "id": message,
                "parts": [_extracted(opened, _PART, part, _PART_WIDTH) for (part,) in parts],
            },
        )


def _extracted(opened: Database, query: str, row: object, width: int) -> list[object]:
    """Return what is extracted of a row's JSON; Nones if it is too long."""
    try:
        rows = opened.rows(query, row)
    except database.TooLong:
        rows = []
    for (text,) in rows:
        try:
            values = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            continue
        if isinstance(values, list) and len(values) == width:
            return values
    return [None] * width


def _step(record: Record, local: tzinfo | None) -> Step:
    """Return what a message reports."""
    value = mapping(record.value)
    key = str(value.get("id"))
    times = mapping(value.get("time"))
    begun, ended = number(times.get("created")), number(times.get("completed"))
    error = mapping(value.get("error"))
    finish = value.get("finish")
    if value.get("role") != "assistant":
        return Step(What.PROMPT, _key(key), _seconds(begun), prompt=_prompt(value))
    if not error and ended is None:
        return _under_way(value, _key(key), begun)
    at = _seconds(ended or begun)
    key = _key(key, ended)
    if error:
        kind, reset = _failure(error, at, local)
        return Step(What.END, key, at, kind, reset)
    if finish in (None, "tool-calls", "unknown"):
        # The next message follows at once, but not after a refusal of a person's.
        end, progress = _turned_down(value), finish is not None
        needed = end is Kind.REFUSED
        return Step(What.WORK, key, at, end, progress=progress, permission=needed)
    kind = Kind.FINISHED if finish == "stop" else Kind.UNKNOWN
    return Step(What.END, key, at, kind, progress=True)


def _under_way(value: Mapping[str, object], key: str, begun: float | None) -> Step:
    """Return what a message reports that has no end yet: its tools may say more."""
    asking = worked = calling = False
    moments = [begun]
    for _, tool, status, _, times, _ in _parts(value, "tool"):
        open_ = status in ("pending", "running")
        asking |= open_ and tool == _QUESTION
        calling |= open_
        worked |= status == "completed"
        moments += [number(mapping(times).get(name)) for name in ("start", "end")]
    newest = max((moment for moment in moments if moment is not None), default=None)
    kind = Kind.ASKING if asking else None
    return Step(What.WORK, key, _seconds(newest), kind, progress=worked, calling=calling)


def _turned_down(value: Mapping[str, object]) -> Kind | None:
    """Return how a person ended a turn that waited for them; None if nobody did."""
    for _, _, status, error, *_ in _parts(value, "tool"):
        if status == "error" and isinstance(error, str):
            if error.startswith(_REJECTED):
                return Kind.REFUSED
            if error.startswith(_DISMISSED):
                return Kind.USER
    return None


def _failure(
    error: Mapping[str, object], at: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """Return what an error means, and when a limit ends."""
    name, data = error.get("name"), mapping(error.get("data"))
    texts = (data.get(key) for key in ("message", "responseBody"))
    text = "\n".join(each[:TEXT_LIMIT] for each in texts if isinstance(each, str))
    status = data.get("statusCode")
    kind = _ERRORS.get(name) if isinstance(name, str) else None
    if kind is None and isinstance(status, int):
        kind = STATUSES.get(status, Kind.UNKNOWN)
    if kind is Kind.LIMIT and _REFUSED.search(text):
        return Kind.REFUSED, None
    if kind is Kind.LIMIT:
        reset = _reset(mapping(data.get("responseHeaders")), at)
        return kind, reset_in(text, at, local) if reset is None else reset
    if kind is None and (data.get("isRetryable") is True or _TRANSIENT.search(text)):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _reset(headers: Mapping[str, object], at: float | None) -> float | None:
    """Return when a limit ends, by ``retry-after``: a date, or seconds (RFC 9110, 10.2.3)."""
    wait = headers.get("retry-after")
    if not isinstance(wait, str):
        return None
    if (moment := _moment(wait)) is not None:
        return stated(moment, at)
    since = _moment(headers.get("date")) or at
    if since is None or re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", wait) is None:
        return None
    return stated(since + float(wait), at)


def _moment(date: object) -> float | None:
    """Return an HTTP date in seconds since the epoch; None if it is none."""
    if not isinstance(date, str) or len(date) > 40:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _prompt(value: Mapping[str, object]) -> str | None:
    """Return the text of a prompt; None if it is not one text."""
    texts = [part[-1] for part in _parts(value, "text")]
    if len(texts) != 1 or not isinstance(texts[0], str):
        return None
    # ``opencode run`` quotes an argument that has a blank.
    quoted = re.fullmatch(r'"(.*)"', texts[0], re.DOTALL)
    return texts[0] if quoted is None else quoted[1].replace('\\"', '"')


def _parts(value: Mapping[str, object], type_: str) -> Iterator[list[object]]:
    """Yield type, name, status, error, times and text of a message's parts, newest first."""
    parts = value.get("parts")
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, list) and len(part) == _PART_WIDTH and part[0] == type_:
            yield part


def _key(message: str, ended: float | None = None) -> str:
    if re.fullmatch(r"[0-9A-Za-z_-]{1,64}", message) is None:
        message = ""
    return message if ended is None else f"{message}@{ended:.0f}"


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000

"""Databases of opencode, with the tables that opencode 1.18.33 makes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

SCHEMA = """
CREATE TABLE `session` (`id` text PRIMARY KEY, `project_id` text NOT NULL, `workspace_id` text,
    `parent_id` text, `slug` text NOT NULL, `directory` text NOT NULL, `path` text,
    `title` text NOT NULL, `version` text NOT NULL, `share_url` text,
    `summary_additions` integer, `summary_deletions` integer, `summary_files` integer,
    `summary_diffs` text, `metadata` text, `cost` real DEFAULT 0 NOT NULL, `revert` text,
    `permission` text, `agent` text, `model` text, `time_created` integer NOT NULL,
    `time_updated` integer NOT NULL, `time_compacting` integer, `time_archived` integer);
CREATE INDEX `session_parent_idx` ON `session` (`parent_id`);
CREATE TABLE `message` (`id` text PRIMARY KEY, `session_id` text NOT NULL,
    `time_created` integer NOT NULL, `time_updated` integer NOT NULL, `data` text NOT NULL);
CREATE INDEX `message_session_time_created_id_idx`
    ON `message` (`session_id`,`time_created`,`id`);
CREATE TABLE `part` (`id` text PRIMARY KEY, `message_id` text NOT NULL,
    `session_id` text NOT NULL, `time_created` integer NOT NULL,
    `time_updated` integer NOT NULL, `data` text NOT NULL);
CREATE INDEX `part_message_id_id_idx` ON `part` (`message_id`,`id`);
CREATE INDEX `part_session_idx` ON `part` (`session_id`);
CREATE TABLE `event_sequence` (`aggregate_id` text PRIMARY KEY, `seq` integer NOT NULL,
    `owner_id` text);
"""
SESSION = "ses_de311d31bffeUrzvQf80fGTRI1"
DIRECTORY = "/home/user/app"
#: 2026-09-19 12:25 UTC, in milliseconds since the epoch.
AT = 1789820700000

USER = {"role": "user", "time": {"created": AT}}


def assistant(finish: str | None = None, ended: int | None = AT + 2000, **more: Any) -> Any:
    """Make the data of a message of the model's."""
    times = {"created": AT + 1000} if ended is None else {"created": AT + 1000, "completed": ended}
    return {"role": "assistant", "time": times, **({"finish": finish} if finish else {}), **more}


def tool(status: str, name: str = "bash", **state: Any) -> Any:
    """Make the data of a tool's part."""
    return {"type": "tool", "tool": name, "state": {"status": status, **state}}


def failed(
    status: int | None, message: str = "x", headers: Any = None, body: str = "", **data: Any
) -> Any:
    """Make the data of a message that ended with an error of the API."""
    data |= {"message": message, "responseHeaders": headers or {}, "responseBody": body}
    if status is not None:
        data["statusCode"] = status
    return assistant(error={"name": "APIError", "data": data})


def make(path: str, *statements: str) -> None:
    """Make a database with its tables, and run further statements."""
    with closing(_connected(path)) as connection:
        connection.executescript(SCHEMA)
        for statement in statements:
            connection.executescript(statement)


def add(
    path: str,
    messages: Iterable[Any] = (),
    parts: Sequence[Any] = (),
    session: str = SESSION,
    **columns: Any,
) -> None:
    """
    Add a session, or messages to one.

    :param parts: of the last message.
    """
    with closing(_connected(path)) as connection, connection:
        fill(connection, messages, parts, session, **columns)


def fill(
    connection: sqlite3.Connection,
    messages: Iterable[Any] = (),
    parts: Sequence[Any] = (),
    session: str = SESSION,
    **columns: Any,
) -> None:
    """Add what `add` does by an open connection."""
    known = {"directory": DIRECTORY, "parent_id": None, "time_archived": None, **columns}
    row = {"project_id": "global", "slug": "s", "title": "t", "version": "1.18.33", **known}
    row |= {"id": session, "time_created": AT, "time_updated": AT}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(
        f"INSERT OR IGNORE INTO session ({names}) VALUES ({marks})", tuple(row.values())
    )
    (first,) = connection.execute(
        "SELECT count(*) FROM message WHERE session_id = ?", (session,)
    ).fetchone()
    for count, data in enumerate(messages, first):
        message = f"msg_{session[4:]}_{count:04}"
        text = data if isinstance(data, str) else json.dumps(data)
        connection.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
            (message, session, AT + count, AT + count, text),
        )
    (message,) = connection.execute(
        "SELECT max(id) FROM message WHERE session_id = ?", (session,)
    ).fetchone()
    for number, data in enumerate(parts):
        text = data if isinstance(data, str) else json.dumps(data)
        connection.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)",
            (f"prt_{message}_{number:04}", message, session, AT, AT + number, text),
        )
    connection.execute(
        "INSERT INTO event_sequence VALUES (?, 1, NULL)"
        " ON CONFLICT (aggregate_id) DO UPDATE SET seq = seq + 1",
        (session,),
    )


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    # Nothing here has to outlive the machine.
    connection.execute("PRAGMA synchronous = OFF")
    return connection

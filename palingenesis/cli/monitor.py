"""The questions that only a daemon with a monitor answers: ``SESSIONS``, ``LOG``, ``INSPECT``."""

from __future__ import annotations

import json

from palingenesis.client.errors import ErrorReply, InvalidReply, TimedOut
from palingenesis.wire import UNKNOWN
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from palingenesis.client.blocking import ControlClient

SESSIONS, LOG, INSPECT = "SESSIONS", "LOG", "INSPECT"


def is_unknown(error: ErrorReply) -> bool:
    """Return whether a daemon has replied that it does not have the command."""
    return error.message.startswith(UNKNOWN)


def list_line(client: ControlClient, name: str, *arguments: str) -> bytes:
    """
    Ask for a list of objects, and return the reply's line as it came, checked.

    :raises palingenesis.client.errors.ClientError: when the reply is no such list.
    """
    try:
        line = client.send_line(name, *arguments)
    except ErrorReply as error:
        if is_unknown(error):
            error.advice = (
                "only `twistd palingenesis` monitors sessions; name its socket with --socket"
            )
        raise
    except TimedOut as error:
        # A question changes nothing, so it does not matter that it may still be answered.
        raise TimedOut(error.path, error.timeout, advice=error.advice) from None
    if not line.startswith(b"[") or not all(isinstance(each, dict) for each in json.loads(line)):
        raise InvalidReply(client.path, line)
    return line


def objects(client: ControlClient, name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the list of objects that a command replies with; raises what `list_line` does."""
    listed: list[dict[str, Any]] = json.loads(list_line(client, name, *arguments))
    return listed


def every_session(client: ControlClient, filters: Sequence[str] = ()) -> list[dict[str, Any]]:
    """
    Return each session once, over all pages; raises what `list_line` does.

    :param filters: those of ``SESSIONS``.
    """
    sessions: list[dict[str, Any]] = []
    seen = set()
    after: list[str] = []
    while True:
        page = objects(client, SESSIONS, *filters, *after)
        names = [(each.get(Key.AGENT), each.get(Key.ID)) for each in page]
        fresh = [each for each, name in zip(page, names, strict=True) if name not in seen]
        if not fresh:
            return sessions
        sessions += fresh
        seen.update(names)
        after = [f"after={page[-1].get(Key.ID)}"]

"""What a model server can answer, whatever its wire format."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Say:
    """A complete reply in words, which ends the turn."""

    text: str = "The work is done."


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call of a tool.

    :ivar tool: its name.
    :ivar arguments: what it is called with.
    :ivar namespace: the group of tools that it belongs to, if there are groups.
    """

    tool: str
    arguments: Mapping[str, Any]
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """
    A failure by HTTP.

    :ivar status: of the response.
    :ivar body: what is sent as JSON.
    :ivar headers: further headers.
    """

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply whose stream ends in the middle."""

    text: str = "The work beg"


@dataclass(frozen=True, slots=True)
class Break:
    """
    A reply that begins, and ends in an error within its stream.

    :ivar code: the error's.
    :ivar message: its words.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Hold:
    """
    A reply that begins, and goes on only once it is released.

    :ivar released: ends the wait.
    """

    released: threading.Event = field(default_factory=threading.Event)
    text: str = "The work took long."


Answer = Say | Call | Fail | Cut | Break | Hold

"""What the test bed knows of an agent, whichever it is."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.agents.answers import Answer
from tests.agents.model_server import ModelServer


class Agent(ABC):
    """
    A real agent.

    :cvar name: the agent's name, as the configuration has it.
    :cvar server: the stand-in of its model server.
    :cvar transcripts: where its transcripts are, below the home directory.
    :cvar empty: what its empty input line shows.
    """

    name: str
    server: Callable[[], ModelServer]
    transcripts: str
    empty: str

    def __init__(self, version: str) -> None:
        self.version = version

    @property
    def release(self) -> tuple[int, ...]:
        """The version, to be compared."""
        return tuple(int(part) for part in self.version.split(".")[:3])

    def statable(self, moment: float) -> int:
        """Return the first reset, not before a moment, that it can state: whole seconds."""
        return math.ceil(moment)

    def read(self, path: str) -> list[dict[str, Any]]:
        """Return the whole records of a transcript."""
        return [json.loads(line) for line in self.text(path).split("\n")[:-1]]

    def text(self, path: str) -> str:
        """Return what a transcript says."""
        with open(path, encoding="utf-8") as file:
            return file.read()

    @abstractmethod
    def environment(self, port: int) -> Mapping[str, str]:
        """Return the variables by which it finds its model server at a port."""

    @abstractmethod
    def files(self, port: int, project: str) -> Mapping[str, str]:
        """Return what its files say, by path below the home: no questions at its start."""

    @abstractmethod
    def headless(self, prompt: str) -> list[str]:
        """Return the arguments of a session without a terminal."""

    @abstractmethod
    def resumed(self, session: str) -> list[str]:
        """Return the arguments that open a session again on a terminal."""

    @abstractmethod
    def limited(self, resets: float | None) -> Answer:
        """Make the answer that a usage limit is reached until a moment, if that is stated."""

    @abstractmethod
    def runs(self, command: str) -> Answer:
        """Make the call of its tool that runs a command."""

    @abstractmethod
    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        """Return the id of the session whose records these are."""

    @abstractmethod
    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the newest turn in these records has ended without a reply."""

    @abstractmethod
    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        """Count the prompts of a text that a user or a command gave."""

"""
A stand-in for an agent on a terminal: it paints screens, and keeps each key that it gets.

It runs as ``claude``, with an entry in the registry of a home: ``painter.py HOME SESSION``. Each
line of its orders is JSON: what it paints (``rows``, ``cursor``, ``shown``), which ``status`` its
entry has, or that it ``ends``. After each its terminal's title is the number of the order. Text
that is typed stands in its line, if ``echoes`` is where that is.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tty
from typing import Any


class Painter:
    """
    The program.

    :ivar home: the home with its entry.
    :ivar place: the directory with its orders, and what it tells.
    """

    def __init__(self, home: str, session: str) -> None:
        self.home = home
        self.place = os.path.join(home, "painter")
        self._session = session
        self._orders = 0
        self._buffer = b""
        self._typed = ""
        self._echoes: list[int] | None = None
        self._keys = os.open(
            os.path.join(self.place, "keys"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )
        self.tell("idle")

    def tell(self, status: str) -> None:
        """Write the entry of this process."""
        with open("/proc/self/stat", encoding="ascii") as file:
            start = file.read().rpartition(")")[2].split()[19]
        entry = {
            "pid": os.getpid(),
            "sessionId": self._session,
            "cwd": os.getcwd(),
            "procStart": start,
            "status": status,
            "kind": "interactive",
        }
        path = os.path.join(self.home, "sessions", f"{os.getpid()}.json")
        with open(f"{path}.new", "w", encoding="ascii") as file:
            json.dump(entry, file)
        os.rename(f"{path}.new", path)

    def obey(self, order: dict[str, Any]) -> None:
        """Carry out an order, and say that it is done."""
        if "status" in order:
            self.tell(order["status"])
        if "rows" in order:
            self._typed, self._echoes = "", order.get("echoes")
            column, row = order["cursor"]
            rows = "\r\n".join(order["rows"])
            shown = "h" if order["shown"] else "l"
            write(f"\x1b[0m\x1b[H\x1b[2J{rows}\x1b[0m\x1b[?25{shown}\x1b[{row + 1};{column + 1}H")
        self._orders += 1
        # The title is the last that the terminal gets.
        write(f"\x1b]2;{self._orders}\x07")
        if order.get("ends"):
            sys.exit(0)

    def take(self, keys: bytes) -> None:
        """Keep keys, and show those that are typed into the line."""
        os.write(self._keys, keys)
        if self._echoes is not None and b"\r" not in keys:
            column, row = self._echoes
            self._typed += keys.decode()
            write(f"\x1b[{row + 1};{column + 1}H{self._typed}\x1b[7m \x1b[0m\x1b[K\x1b[D")

    def run(self) -> None:
        """Obey, until there are no more orders."""
        orders = os.open(os.path.join(self.place, "orders"), os.O_RDWR)
        while True:
            readable, _, _ = select.select([0, orders], [], [])
            if 0 in readable:
                self.take(os.read(0, 65536))
            if orders in readable:
                self._buffer += os.read(orders, 65536)
                *lines, self._buffer = self._buffer.split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))


def write(text: str) -> None:
    """Write to the terminal."""
    data = text.encode()
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    tty.setraw(0)
    Painter(*sys.argv[1:]).run()

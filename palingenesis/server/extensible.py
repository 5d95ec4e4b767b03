"""What an application adds to a control socket: commands and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palingenesis.server.metrics import Metrics, Reading, check_own_name, daemon_metrics
from palingenesis.server.protocol import ControlFactory


class Extensible:
    """
    A control socket to which an application adds commands and metrics.

    :param factory: its server.
    """

    def __init__(self, factory: ControlFactory) -> None:
        self.factory = factory
        self._metrics: Metrics | None = None

    def command(
        self,
        name: str,
        handler: Callable[..., Any],
        summary: str,
        argument: str | None = None,
        *,
        audit: bool = True,
        web: bool = False,
    ) -> None:
        """
        Add a command of the application's own; at any time, running or not.

        ::

            control.command("FLUSH", flush, "drop what waits in a queue", argument="QUEUE")

        :param name: a capital letter, then at most 31 capital letters, digits, ``_`` and
            ``-``. Clients may write it in small letters.
        :param handler: called with each argument as a string. It returns None, for which
            the client gets ``OK``, or a value fit for JSON; at once, as a Deferred, or as a
            coroutine that awaits Deferreds. To refuse, it raises `CommandRefused`.
        :param summary: what the command does, in at most 80 characters, for ``HELP``.
        :param argument: the name of its argument, formed like a command's, or several names
            with one blank between them. The last one may be in brackets: it may be left
            out, and the handler is then called without it. What a client sends is split at
            blanks, and the last argument takes the rest of the line. None if the command
            takes no argument.
        :param audit: whether the log gets a line with the outcome and the client's uid and
            pid. Use False for commands that only read.
        :param web: whether a browser's session may run it over TCP, if it may change something.
            Over a Unix socket, HTTP runs every command.
        :raises ValueError: if the name is malformed, built in or taken, if another argument
            is malformed, or if there are 200 commands already.
        """
        self.factory.commands.register(name, handler, summary, argument, audit=audit, web=web)

    def metric(self, name: str, kind: str, help: str, read: Callable[[], Reading]) -> None:  # noqa: A002
        """
        Add a metric of the application's own.

        ::

            control.metric("jobs_waiting", "gauge", "jobs that wait", lambda: len(queue))

        :param name: as Prometheus has names; a counter's ends in ``_total``.
        :param kind: ``gauge``, ``counter`` or ``summary``.
        :param help: what is measured, with its unit, in one line.
        :param read: returns a number, or an iterable of labels and numbers:
            ``[({"queue": "mail"}, 3)]``. For a summary, each number is a pair of a sum and a
            count.
        :raises ValueError: if the name is malformed, taken or begins with ``palingenesis_``, or
            another argument is malformed.
        """
        check_own_name(name)
        self.metrics.add(name, kind, help, read)

    @property
    def metrics(self) -> Metrics:
        """The registry of metrics; commands are counted from its first use on."""
        if self._metrics is None:
            self._metrics = daemon_metrics(self.factory)
        return self._metrics

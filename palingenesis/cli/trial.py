"""A command that is run once, as the daemon would run it, and what comes of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import namedtuple
from contextlib import suppress

from palingenesis.monitor import child
from palingenesis.monitor.child import CommandError
from palingenesis.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Bytes of its output that are kept, the last ones.
_OUTPUT_LIMIT = 65_536
#: Seconds between two looks whether it has ended, while something else has its output open.
_LOOK = 0.05


class Outcome(namedtuple("Outcome", "trouble output was_run", defaults=(True,))):
    """
    How a trial ended.

    :ivar trouble: why it failed, in words; None if it succeeded.
    :ivar output: what it printed.
    :ivar was_run: whether it could be started at all.
    """

    __slots__ = ()

    trouble: str | None
    output: str
    was_run: bool

    @property
    def failure(self) -> str | None:
        """Why it failed, with the last line that it printed; None if it succeeded."""
        if self.trouble is None or not self.output:
            return self.trouble
        last = self.output.rpartition("\n")[2]
        return f"{self.trouble}, and printed: {printable(last)}"


def attempt(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    limit: float,
    *,
    directory: str = "/",
    event: bytes | None = None,
) -> Outcome:
    """
    Run a command once, and wait until it ends; at the limit its process group is killed.

    :param limit: seconds that it may take.
    :param event: its standard input, shorter than a pipe's buffer; then it runs in ``/``.
    """
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0):
        try:
            program = child.find_program(arguments[0], environment)
            if event is None:
                process = child.start(arguments, program, environment, directory, output=writer)
            else:
                process = child.start_with(event, arguments, program, environment, writer)
        except CommandError as error:
            return Outcome(str(error), "", was_run=False)
        finally:
            os.close(writer)
        try:
            printed = _printed(process, reader, time.monotonic() + limit)
        finally:
            # Unless it is reaped, the pid and its group are still its own.
            if is_late := process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output = printed.decode("utf-8", "replace").strip()
    if is_late:
        return Outcome(f"took longer than {limit:g} seconds and was killed", output)
    return Outcome(_in_words(process.returncode), output)


def _printed(process: subprocess.Popen[bytes], output: int, end: float) -> bytes:
    """Return what a process has printed when it ends, or when the time is over."""
    printed = b""
    while True:
        # A process that it left behind may have its output open for ever.
        has_ended = process.poll() is not None
        readable, _, _ = select.select([output], [], [], 0 if has_ended else _LOOK)
        data = os.read(output, _OUTPUT_LIMIT) if readable else b""
        printed = (printed + data)[-_OUTPUT_LIMIT:]
        if (has_ended and not data) or time.monotonic() >= end:
            return printed
        if readable and not data:
            time.sleep(_LOOK)


def _in_words(status: int) -> str | None:
    if status == 0:
        return None
    return f"exit status {status}" if status > 0 else f"ended by signal {-status}"

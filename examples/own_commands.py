"""
A job queue with commands and a state of its own.

Run it with ``twistd -ny own_commands.py``; then, for example,
``palingenesis --socket jobs.sock send ADD mail 3``.
"""

from __future__ import annotations

from twisted.application.service import Application

from palingenesis import CommandRefused, ControlService, DaemonStatus, SignalService


class JobQueue:
    """Takes jobs until it drains; the control socket calls the first four methods."""

    def __init__(self) -> None:
        self.queues = {"mail": [1, 2, 3], "print": [4]}
        self.draining = False

    def get_status(self) -> DaemonStatus:
        """Return the state and, as a key of our own, how many jobs wait."""
        state = "draining" if self.draining else "monitoring"
        return DaemonStatus(state, extra={"jobs": self.count()})

    def pause(self) -> None:
        """Take no more jobs."""
        self.draining = True

    def resume(self) -> None:
        """Take jobs again."""
        self.draining = False

    def reload_config(self) -> None:
        """Refuse, because there is no configuration."""
        raise CommandRefused("a job queue has nothing to reload")

    def flush(self, queue: str) -> dict[str, int]:
        """Drop what waits in a queue."""
        if queue not in self.queues:
            raise CommandRefused(f"there is no queue {queue}")
        dropped = len(self.queues[queue])
        self.queues[queue].clear()
        return {"dropped": dropped}

    def add(self, queue: str, number: str = "1") -> None:
        """Add jobs to a queue."""
        if not (number.isascii() and number.isdecimal() and 0 < int(number) < 100):
            raise CommandRefused(f"{number}: expected a number from 1 to 99")
        self.queues.setdefault(queue, []).extend(range(int(number)))

    def count(self) -> int:
        """Count the jobs that wait."""
        return sum(map(len, self.queues.values()))


jobs = JobQueue()
control = ControlService(jobs, "jobs.sock")
control.command("ADD", jobs.add, "add jobs to a queue", argument="QUEUE [NUMBER]")
control.command("FLUSH", jobs.flush, "drop what waits in a queue", argument="QUEUE")
control.command("COUNT", jobs.count, "count the jobs that wait", audit=False)

application = Application("jobs")
SignalService(control.reload).setServiceParent(application)
control.setServiceParent(application)

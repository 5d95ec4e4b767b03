"""``palingenesis demo``: shows a session that stops at a limit and comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import DIM, coloured, complain
from palingenesis.cli.log import story
from palingenesis.cli.monitor import LOG, SESSIONS, objects
from palingenesis.cli.sessions import table
from palingenesis.cli.twistd import twistd_command
from palingenesis.client.blocking import ControlClient
from palingenesis.client.errors import ClientError
from palingenesis.monitor import pretend
from palingenesis.monitor.owners import take_snapshot
from palingenesis.paths import state_directory
from palingenesis.text import in_short, printable
from palingenesis.words import Event, Key, Kind, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

#: Seconds that the whole demo may take on a busy machine; some twenty on an idle one.
PATIENCE = 120.0
#: Seconds from one look to the next.
INTERVAL = 0.2
#: Seconds that a process of the demo has to end.
GRACE = 10.0

INTRODUCTION = "A pretend agent works, and will stop at a limit. The daemon is real; nobody helps."
END = "It came back by itself. Everything of this demo is gone again."

#: The pretend agent.
_AGENT = [sys.executable, "-I", os.path.abspath(pretend.__file__)]
#: The beginnings of variables that belong to the daemon and the agents of the user.
_OTHERS = ("PALINGENESIS_", "XDG_", "CLAUDE", "CODEX_", "NOTIFY_", "LISTEN_", "WATCHDOG_")
_SETTINGS = """\
[sessions]
agents = ["claude"]
interval = 0.25
quiet = 1.0
margin = 0.0
stagger = 0.0

[revive.claude]
command = {command}
"""


def demo(colour: bool) -> Exit:
    """
    Show it, in temporary directories, and remove them.

    :param colour: whether the lines are in colour.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Noted, and not raised: in the middle of `subprocess` an exception could leave its lock
        # held, and the wait for that process would never end.
        signal.signal(number, _note)
    home = dict(os.environ)
    stage = None
    try:
        stage = _Stage(_place())
        return stage.play(colour)
    except BrokenPipeError:
        raise  # The reader of the output has gone.
    except OSError as error:
        _end_if_asked()
        name = f"{printable(str(error.filename))}: " if error.filename else ""
        complain(f"cannot show the demo: {name}{in_short(error)}")
        return Exit.NO_ANSWER
    except _Failed as error:
        # A process that had not left our group yet got the signal too.
        _end_if_asked()
        complain(f"cannot show the demo: {error}")
        return Exit.NO_ANSWER
    finally:
        os.environ.clear()
        os.environ.update(home)
        if stage is not None:
            stage.clear()


class _Failed(Exception):
    """The demo cannot go on; the text says why."""


def _place() -> str:
    """
    Make the directory of the demo, where the daemon sees every process that may write to it.

    A directory that a container shares with others proves nothing about the owner of a session.
    """
    snapshot = take_snapshot()
    # The path of a socket has to be short, so not $TMPDIR.
    if os.path.isdir("/tmp") and snapshot.sees_all_of("/tmp/demo"):  # noqa: S108
        return tempfile.mkdtemp(prefix=f"palingenesis-demo-{os.getpid()}-", dir="/tmp")
    state = state_directory()
    os.makedirs(state, 0o700, exist_ok=True)
    if not snapshot.sees_all_of(os.path.join(state, "demo")):
        raise _Failed(
            f"neither /tmp nor {state} is on a file system that only this machine writes to, so "
            "no session there is brought back; name another with $PALINGENESIS_STATE"
        )
    return tempfile.mkdtemp(prefix=f"demo-{os.getpid()}-", dir=state)


class _Stage:
    """The directory of a demo, the processes in it, and what has been shown."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipe: int | None = None
        self._session = str(uuid.uuid4())
        self._told = 0
        self._last: tuple[object, ...] = ()

    def play(self, colour: bool) -> Exit:
        """Start the daemon and the agent, and show what becomes of the session."""
        print(coloured(INTRODUCTION, DIM) if colour else INTRODUCTION, flush=True)
        self._environment()
        client = ControlClient(self._path("s"), INTERVAL * 10)
        end = time.monotonic() + PATIENCE
        self._start_daemon()
        self._wait_for(client, end)
        self._start_agent()
        while time.monotonic() < end:
            if self._show(client, colour):
                self._last_lines(client, end, colour)
                print(coloured(END, DIM) if colour else END, flush=True)
                return Exit.DONE
            self._check_daemon()
            _pause()
        raise _Failed(f"the session has not come back within {PATIENCE:.0f} seconds")

    def clear(self) -> None:
        """End every process, and remove the directory."""
        if self._pipe is not None:
            # Every pretend agent ends with the pipe.
            os.close(self._pipe)
        for daemon in self._processes[:1]:
            daemon.terminate()
        end = time.monotonic() + GRACE
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        end = time.monotonic() + GRACE
        while self._has_agents() and time.monotonic() < end:
            time.sleep(0.02)
        shutil.rmtree(self._directory, ignore_errors=True)
        if os.path.lexists(self._directory):
            complain(f"cannot remove {printable(self._directory)}; remove it yourself")

    def _has_agents(self) -> bool:
        """Return whether an agent has the pipe open: one that the daemon has started, too."""
        try:
            os.close(os.open(self._path("alive"), os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False  # ENXIO: nobody reads from it.
        return True

    def _path(self, *names: str) -> str:
        return os.path.join(self._directory, *names)

    def _environment(self) -> None:
        """Have the demo's own environment, so that nothing of the user's is seen or touched."""
        for name in list(os.environ):
            if name.startswith(_OTHERS):
                del os.environ[name]
        alive = self._path("alive")
        os.mkfifo(alive, 0o600)
        # Both ends, since one alone would wait for the other.
        self._pipe = os.open(alive, os.O_RDWR)
        os.environ.update(
            {
                "HOME": self._directory,
                "CLAUDE_CONFIG_DIR": self._path("claude"),
                "CODEX_HOME": self._path("codex"),
                "PALINGENESIS_STATE": self._path("memory"),
                "XDG_RUNTIME_DIR": self._directory,
                pretend.ALIVE_VARIABLE: alive,
            }
        )

    def _start_daemon(self) -> None:
        os.mkdir(self._path("claude"))
        os.mkdir(self._path("app"))
        command = json.dumps([*_AGENT, "--resume", "{id}", "{prompt}"])
        config = self._path("config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(_SETTINGS.format(command=command))
        options = [f"--socket={self._path('s')}", f"--config={config}"]
        options.append(f"--state={self._path('memory')}")
        logging = ["--nodaemon", "--pidfile=", f"--logfile={self._path('log')}"]
        self._spawn([*twistd_command(), *logging, "palingenesis", *options], "/", "printed")

    def _start_agent(self) -> None:
        self._spawn([*_AGENT, "begin", self._session], self._path("app"), "agent.log")

    def _spawn(self, command: list[str], directory: str, output: str) -> None:
        with open(self._path(output), "wb") as file:
            process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                # Ctrl-C is for the demo, which ends the others itself.
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait_for(self, client: ControlClient, end: float) -> None:
        while True:
            try:
                client.status()
            except ClientError as error:
                self._check_daemon()
                if time.monotonic() > end:
                    raise _Failed(str(error)) from None
                _pause()
            else:
                return

    def _check_daemon(self) -> None:
        """Raise the reason if the daemon has ended."""
        if self._processes[0].poll() is not None:
            with open(self._path("printed"), encoding="utf-8", errors="replace") as file:
                lines = file.read().strip().splitlines()
            raise _Failed(lines[-1] if lines else "the daemon has ended")

    def _show(self, client: ControlClient, colour: bool) -> bool:
        """Show what is news, and return whether the session has come back and finished."""
        try:
            sessions, entries = objects(client, SESSIONS), objects(client, LOG)
        except ClientError:
            return False
        news = [each for each in sessions if each.get(Key.ID) == self._session]
        self._tell(entries)
        for session in news:
            shown = session.get(Key.STATE), session.get(Key.KIND)
            # A moment without growth is no news.
            if shown != self._last and shown[0] != State.QUIET:
                head, row, *_ = table([session], time.time(), colour)
                print(*([row] if self._last else [head, row]), sep="\n", flush=True)
                self._last = shown
        worked = any(entry.get(Key.EVENT) == Event.WORKED for entry in entries)
        return worked and self._last[1:] == (Kind.FINISHED,)

    def _last_lines(self, client: ControlClient, end: float, colour: bool) -> None:
        """Show that the revival has ended too, which the daemon sees a moment later."""
        end = min(end, time.monotonic() + GRACE)
        while time.monotonic() < end:
            self._show(client, colour)
            if any(entry.get(Key.EVENT) == Event.ENDED for entry in objects(client, LOG)):
                self._show(client, colour)
                return
            _pause()

    def _tell(self, entries: list[dict[str, Any]]) -> None:
        """Print the new entries, as ``log`` does."""
        if len(entries) > self._told:
            names = {("claude", self._session): self._path("app")}
            _day, *lines = story(entries, names)
            for line in lines[self._told :]:
                print(line, flush=True)
            self._told = len(entries)


_CAUGHT: list[int] = []


def _note(number: int, _frame: FrameType | None) -> None:
    _CAUGHT.append(number)


def _pause() -> None:
    """Wait until the next look; raise SystemExit if a signal asks for the end."""
    time.sleep(INTERVAL)
    _end_if_asked()


def _end_if_asked() -> None:
    """Raise SystemExit if a signal asked for the end."""
    if _CAUGHT:
        raise SystemExit(128 + _CAUGHT[0])

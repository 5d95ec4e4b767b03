"""Programs on a terminal: tmux with a server of its own."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import wait_for_end

SIZE = (100, 40)
#: Seconds after which a key is no part of a pasted text (0.12 in Codex).
PASTE = 0.4


class Tmux:
    """
    A tmux server of a test's own.

    :param directory: where its socket is.
    :param environment: the environment of all that it starts.
    :param socket: the name of its socket.
    """

    def __init__(self, directory: str, environment: Mapping[str, str], socket: str = "bed") -> None:
        self._directory = directory
        self._environment = {**environment, "TMUX_TMPDIR": directory}
        self._tmux = ("tmux", "-L", socket, "-f", "/dev/null")
        self._number = 0

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux, and return what it prints."""
        done = subprocess.run(
            [*self._tmux, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def attached(self, name: str) -> Iterator[None]:
        """Have a terminal attached to a session."""
        command = shlex.join([*self._tmux, "attach", "-t", name])
        client = subprocess.Popen(
            ["script", "-qfc", command, "/dev/null"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: self.tmux("list-clients", "-t", name), "a client")
            yield
        finally:
            client.kill()
            client.communicate()

    def nest(self, name: str) -> Window:
        """Attach to a session from within a tmux of another server."""
        outer = Tmux(self._directory, self._environment, "outer")
        attach = ["-u", "TMUX", *self._tmux, "attach", "-t", name]
        window = outer.open(attach, self._directory)
        wait_until(lambda: self.tmux("list-clients", "-t", name), "a client")
        return window

    def open(self, command: Sequence[str], directory: str, size: tuple[int, int] = SIZE) -> Window:
        """Start a program in a window of its own, of so many columns and lines."""
        self._number += 1
        name = f"w{self._number}"
        width, height = map(str, size)
        shape = ("-x", width, "-y", height)
        # Not by a shell, which would stay beside it.
        self.tmux("new-session", "-d", "-s", name, *shape, "-c", directory, "env", *command)
        return Window(self, name)


class Window:
    """
    A window with one program in it.

    :ivar pid: the program's process.
    """

    def __init__(self, tmux: Tmux, name: str) -> None:
        self._tmux = tmux
        self.name = name
        self.pid = int(tmux.tmux("display-message", "-p", "-t", name, "#{pane_pid}"))

    @property
    def screen(self) -> str:
        """What is shown."""
        return self._tmux.tmux("capture-pane", "-p", "-t", self.name)

    def wait_for(self, text: str) -> str:
        """Wait until a text is shown, and return the screen."""
        try:
            return wait_until(lambda: self._shows(text), f"{text!r} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.screen}") from None

    def _shows(self, text: str) -> str:
        screen = self.screen
        return screen if text in screen else ""

    def tmux(self, command: str, *arguments: str) -> None:
        """Have tmux do something with the window."""
        self._tmux.tmux(command, "-t", self.name, *arguments)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Have a person look at the window, from a terminal of its own."""
        with self._tmux.attached(self.name):
            yield

    def nested(self) -> Window:
        """Look at the window from within another tmux, and return the window there."""
        return self._tmux.nest(self.name)

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux.tmux("send-keys", "-t", self.name, *keys)

    def type(self, text: str) -> None:
        """Type a line: its text, and Enter once it stands on the screen."""
        self._tmux.tmux("send-keys", "-t", self.name, "-l", text)
        self.wait_for(text)
        # Codex takes what comes quickly for pasted, and this key then for the end of a line.
        time.sleep(PASTE)
        self.keys("Enter")

    def press_twice(self, key: str) -> None:
        """Press a key, and once more when the program asks for that."""
        self.keys(key)
        self.wait_for("again to ")
        self.keys(key)

    def wait(self) -> None:
        """Wait until the program has ended."""
        wait_for_end(self.pid)

    def close(self) -> None:
        """Close the window, as a person does: its programs get SIGHUP."""
        self._tmux.tmux("kill-session", "-t", self.name)

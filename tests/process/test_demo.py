"""The demo: real processes, shown as they go, and nothing left of them."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from palingenesis.cli.demo import GRACE
from palingenesis.cli.exit_status import Exit
from palingenesis.client.blocking import ControlClient
from palingenesis.monitor import pretend
from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.checkout import ROOT
from tests.support.lines import next_line
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, wait_until

#: The news of a demo, in their order.
NEWS = (
    "working",
    "stopped: limit, due",
    "waiting",
    "revival 1 begins",
    "revival 1 started, pid",
    "reviving",
    "revival 1 worked",
    "finished",
    "It came back by itself.",
)


class PretendTests(ProcessTestCase):
    def test_an_agent_that_starts_when_the_demo_is_over_makes_nothing(self) -> None:
        alive, app = self.place.path("alive"), self.place.path("app")
        os.mkdir(app)
        for is_there in (False, True):
            if is_there:
                os.mkfifo(alive)
            agent = self.place.spawn(
                [sys.executable, "-I", pretend.__file__, "--resume", "an-id", "continue"],
                {"CLAUDE_CONFIG_DIR": self.place.path("claude"), pretend.ALIVE_VARIABLE: alive},
                cwd=app,
            )
            self.assertEqual(agent.wait(), 1)
            self.assertFalse(os.path.exists(self.place.path("claude")))


class DemoTestCase(ProcessTestCase):
    def spawn(self, command: Sequence[str], **variables: str) -> subprocess.Popen[str]:
        demo = subprocess.Popen(
            command,
            env=self.place.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, demo)
        return demo

    def end(self, demo: subprocess.Popen[str]) -> None:
        if demo.poll() is None:
            demo.kill()
        demo.communicate()


class DemoTests(DemoTestCase):
    def start(self) -> subprocess.Popen[str]:
        return self.spawn([*COMMAND, "demo"])

    def end_daemon(self, directory: str) -> None:
        """End the daemon of a demo that was killed, and remove its directory."""
        socket = os.path.join(directory, "s")
        os.kill(ControlClient(socket).status().extra["pid"], signal.SIGTERM)
        wait_until(lambda: not os.path.lexists(socket), "the daemon has ended")
        shutil.rmtree(directory, ignore_errors=True)

    def assert_nothing_is_left(self, demo: subprocess.Popen[str]) -> None:
        """Check that no file and no process of a demo is there."""
        name = f"demo-{demo.pid}-"
        self.assertEqual(glob.glob(f"/tmp/palingenesis-{name}*"), [])
        if os.path.isdir(self.place.state):
            self.assertEqual([each for each in os.listdir(self.place.state) if name in each], [])
        # Each process of it has its directory in its command line or in its environment.
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as file:
                    self.assertNotIn(name.encode(), file.read(), path)
            except OSError:
                continue
        self.assertEqual(self.place.leftovers, ["run"])

    def assert_in_order(self, output: str) -> None:
        rest = output
        for each in NEWS:
            self.assertIn(each, rest, output)
            rest = rest.partition(each)[2]

    def test_a_session_comes_back_and_nothing_is_left(self) -> None:
        demo = self.start()
        output, errors = demo.communicate(timeout=3 * PATIENCE)
        self.assertEqual((demo.returncode, errors), (0, ""), output)
        self.assert_in_order(output)
        self.assertNotIn("demo-", output)
        self.assert_nothing_is_left(demo)

    def test_nothing_is_left_when_the_reader_of_the_output_goes(self) -> None:
        demo = self.start()
        assert demo.stdout is not None
        next_line(demo.stdout, lambda line: "working" in line)
        demo.stdout.close()
        assert demo.stderr is not None
        self.assertEqual((demo.stderr.read(), demo.wait(2 * PATIENCE)), ("", Exit.CLOSED_PIPE))
        self.assert_nothing_is_left(demo)

    def test_nothing_is_left_after_ctrl_c_or_a_kill_in_the_middle(self) -> None:
        for number, moment in (
            (signal.SIGINT, "A pretend agent works"),
            (signal.SIGTERM, "working"),
            (signal.SIGINT, "revival 1 begins"),
            (signal.SIGTERM, "revival 1 started, pid"),
        ):
            demo = self.start()
            assert demo.stdout is not None
            next_line(demo.stdout, lambda line, moment=moment: moment in line)
            os.killpg(demo.pid, number)
            began = time.monotonic()
            _, errors = demo.communicate(timeout=2 * PATIENCE)
            self.assertEqual((demo.returncode, errors), (128 + number, ""))
            # It waits for its processes, and never until it loses patience with one.
            self.assertLess(time.monotonic() - began, GRACE, moment)
            self.assert_nothing_is_left(demo)

    def test_the_agents_end_with_a_demo_that_cannot_clean_up(self) -> None:
        demo = self.start()
        assert demo.stdout is not None
        next_line(demo.stdout, lambda line: "working" in line)
        (directory,) = glob.glob(f"/tmp/palingenesis-demo-{demo.pid}-*")
        self.addCleanup(self.end_daemon, directory)
        entries = os.path.join(directory, "claude", "sessions")
        self.assertEqual(len(os.listdir(entries)), 1)
        demo.kill()
        wait_until(lambda: not os.listdir(entries), "the pretend agent has ended")


def _places() -> dict[str, str]:
    return {"checkout": str(ROOT), "environment": sys.prefix}


@needs_root
@needs_linux("mount namespaces are Linux's")
class ContainerTests(DemoTestCase):
    def test_where_tmp_proves_nothing_the_state_directory_is_used(self) -> None:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if shutil.which("unshare") is None or subprocess.call([*unshare, "true"]) != 0:
            self.skipTest("no namespaces can be made here")
        beside = tempfile.mkdtemp(prefix="pal-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, beside)
        state = os.path.join(beside, "state")
        # What the demo runs may be below /tmp itself: the checkout, and the environment.
        kept = {os.path.join(beside, name): path for name, path in _places().items()}
        for stash in kept:
            os.mkdir(stash)
        if os.stat(beside).st_dev != os.stat("/").st_dev:
            self.skipTest("/var/tmp is a file system of its own")
        # A volume at /tmp, which others than this container may share.
        script = " && ".join(
            (
                *(shlex.join(["mount", "--bind", path, stash]) for stash, path in kept.items()),
                "mount -t tmpfs tmpfs /tmp",
                *(shlex.join(["mkdir", "-p", path]) for path in kept.values()),
                *(shlex.join(["mount", "--bind", stash, path]) for stash, path in kept.items()),
                f"cd / && exec {shlex.join(COMMAND)} demo",
            )
        )
        demo = self.spawn(
            [*unshare, "sh", "-c", script], PALINGENESIS_STATE=state, PYTHONPATH=str(ROOT)
        )
        assert demo.stdout is not None
        next_line(demo.stdout, lambda line: "working" in line)
        (directory,) = os.listdir(state)
        self.assertRegex(directory, "^demo-")
        output, errors = demo.communicate(timeout=3 * PATIENCE)
        self.assertEqual((demo.returncode, errors), (0, ""), output)
        self.assertIn("It came back by itself.", output)
        self.assertEqual(os.listdir(state), [])

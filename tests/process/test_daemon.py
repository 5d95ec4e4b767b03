"""The real ``twistd palingenesis``, through all that can happen to its socket and clients."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

from palingenesis.paths import PATH_LIMIT
from tests.support.cases import ProcessTestCase
from tests.support.measures import descriptors, median_seconds, memory, processor_time
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, in_background, wait_until
from tests.support.processes import Process, kill_if_there, read_pid, twistd_command, wait_for_end
from tests.support.sockets import (
    ask,
    fill_backlog,
    identity,
    leave_stale,
    listen_at,
    read_all,
    send_all,
)
from tests.support.users import NOBODY

#: How often what only chance brings about is tried.
REPEATS = int(os.environ.get("PALINGENESIS_TEST_REPEATS", "1"))

TIMED_OUT = b"ERR: Connection timeout\n"
TOO_LONG = b"ERR: Command too long (512 bytes at most)\n"
STOPPING = b"ERR: The daemon is stopping\n"

#: Connects as another user, and prints what it is told.
CLIENT = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
    connection.sendall(b"STATUS\\n")
except BrokenPipeError:
    pass
except OSError as error:
    print(type(error).__name__, end="")
    sys.exit()
print(connection.recv(4096).decode(), end="")
"""

#: Hands a listening socket on, as an init system does, and becomes another program.
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
os.execv(sys.argv[2], sys.argv[2:])
"""

INHERITED = "--endpoint=systemd:domain=UNIX:index=0"


class StartTests(ProcessTestCase):
    """What a start finds at the path."""

    def test_a_fresh_start_serves_and_a_stop_leaves_only_the_lock_file(self):
        daemon = self.place.daemon()
        self.assert_serves()
        self.assert_stops_cleanly(daemon)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock.lock"])
        self.assertEqual(daemon.stderr, "")

    def test_a_killed_daemons_socket_is_replaced(self):
        self.place.daemon().kill()
        self.assertTrue(os.path.lexists(self.place.socket))
        self.assertTrue(os.path.lexists(self.place.pidfile))
        again = self.place.daemon()
        self.assert_serves()
        self.assert_stops_cleanly(again)

    @needs_linux
    def test_a_killed_daemons_pid_may_be_anothers_by_now(self):
        self.place.daemon().kill()
        other = self.place.spawn(["sleep", "1000"])
        with open(self.place.pidfile, "w", encoding="ascii") as file:
            file.write(str(other.pid))
        # As if it had been written before that process began.
        os.utime(self.place.pidfile, (time.time() - 1000, time.time() - 1000))
        again = self.place.daemon()
        self.assert_serves()
        self.assert_stops_cleanly(again)
        self.assertTrue(other.running)

    @needs_linux
    def test_a_pid_file_of_a_running_process_is_respected(self):
        other = self.place.spawn(["sleep", "1000"])
        content = str(other.pid)
        self.place.write("twistd.pid", content)
        refused = self.place.twistd()
        self.assertEqual(refused.wait(), 1)
        self.assertIn(content, refused.stderr)
        with open(self.place.pidfile, encoding="ascii") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(self.place.leftovers, ["run", "twistd.pid"])

    @needs_root
    @needs_linux
    def test_a_daemon_that_is_process_one_in_its_container_starts_again(self):
        if shutil.which("unshare") is None:
            self.skipTest("needs unshare(1)")
        container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if subprocess.run([*container, "true"], check=False, capture_output=True).returncode:
            self.skipTest("needs the right to make a PID namespace")
        for _ in range(2):
            daemon = self.place.twistd(program=[*container, *twistd_command()])
            daemon.wait_for_log("Listening on")
            with open(self.place.pidfile, encoding="ascii") as file:
                self.assertEqual(file.read(), "1")
            self.assert_serves()
            daemon.kill()
            wait_until(lambda: not self.place.strays(), "the container is gone")

    def test_a_second_start_is_refused_and_changes_nothing(self):
        daemon = self.place.daemon()
        before = identity(self.place.socket)
        os.unlink(self.place.pidfile)
        second = self.place.twistd()
        self.assert_refused(second, self.place.socket, f"pid {daemon.pid} ")
        self.assertEqual(identity(self.place.socket), before)
        self.assert_serves()

    def test_a_second_start_is_told_of_the_socket_and_not_of_a_pid_file(self):
        daemon = self.place.daemon()
        self.assert_refused(self.place.twistd(), self.place.socket, f"pid {daemon.pid} ")
        self.assertTrue(os.path.lexists(self.place.pidfile))

    def test_of_twenty_started_at_once_on_a_stale_path_one_serves(self):
        for _ in range(REPEATS):
            if not os.path.lexists(self.place.socket):
                leave_stale(self.place.socket)
            daemons = []
            for number in range(20):
                self.place.pidfile = self.place.path(f"{number}.pid")
                daemons.append(self.place.twistd())
            ended = wait_until(
                lambda daemons=daemons: (
                    [d for d in daemons if not d.running]
                    if sum(d.running for d in daemons) <= 1
                    else None
                ),
                "nineteen have ended",
                3 * PATIENCE,
            )
            (winner,) = set(daemons) - set(ended)
            winner.wait_for_log("Listening on")
            self.assert_serves()
            for loser in ended:
                self.assert_refused(loser, self.place.socket, f"pid {winner.pid} ")
            winner.kill()

    @needs_linux
    def test_a_frozen_daemon_keeps_its_socket(self):
        daemon = self.place.daemon()
        daemon.send(signal.SIGSTOP)
        waiting = fill_backlog(self.place.socket)
        before = identity(self.place.socket)
        began = time.monotonic()
        second = self.place.twistd()
        self.assert_refused(second, self.place.socket, f"pid {daemon.pid} ")
        # Two seconds, and what a busy machine needs to start Python.
        self.assertLess(time.monotonic() - began, 8)
        self.assertEqual(identity(self.place.socket), before)
        self.assertTrue(os.path.lexists(self.place.pidfile))
        daemon.send(signal.SIGCONT)
        for client in waiting:
            client.close()
        self.assert_serves()

    def test_a_frozen_daemon_in_the_background_is_named(self):
        self.assertEqual(self.place.twistd(before=()).wait(), 0)
        pid = wait_until(lambda: read_pid(self.place.pidfile), "the daemon has a PID file")
        self.addCleanup(kill_if_there, pid)
        self.assert_serves()
        os.kill(pid, signal.SIGSTOP)
        clients = fill_backlog(self.place.socket)
        self.addCleanup(lambda: [client.close() for client in clients])
        self.assert_refused(self.place.twistd(), self.place.socket, f"pid {pid} ")

    def test_a_daemon_whose_standard_descriptors_were_closed_holds_the_lock(self):
        for closed in ("<&-", "<&- >&- 2>&-"):
            with self.subTest(closed=closed):
                command = shlex.join(twistd_command())
                started = self.place.twistd(
                    before=(), program=["sh", "-c", f'exec {command} "$@" {closed}', "twistd"]
                )
                self.assertEqual(started.wait(), 0, started.stderr)
                pid = wait_until(lambda: read_pid(self.place.pidfile), "there is a PID file")
                self.addCleanup(kill_if_there, pid)
                self.assert_serves()
                with open(f"{self.place.socket}.lock", "rb") as lock:
                    self.assertRaises(
                        BlockingIOError, fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB
                    )
                os.kill(pid, signal.SIGTERM)
                wait_until(lambda: not os.path.lexists(self.place.pidfile), "it has stopped")

    def test_a_listener_that_is_not_ours_is_never_evicted(self):
        theirs = listen_at(self.place.socket)
        self.addCleanup(theirs.close)
        before = identity(self.place.socket)
        refused = self.place.twistd()
        self.assert_refused(refused, self.place.socket)
        if sys.platform == "linux":
            self.assertIn(f"pid {os.getpid()} ", refused.stderr)
        self.assertEqual(identity(self.place.socket), before)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock"])

    def test_a_file_in_the_way_is_moved_aside_and_told_of(self):
        with open(self.place.socket, "w", encoding="ascii") as file:
            file.write("precious")
        daemon = self.place.daemon()
        self.assert_serves()
        self.assertIn(f"{self.place.socket}.moved-1", daemon.log)
        with open(f"{self.place.socket}.moved-1", encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_a_directory_in_the_way_is_refused_and_stays(self):
        os.mkdir(self.place.socket)
        self.assert_refused(self.place.twistd(), self.place.socket, "a directory")
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock"])

    def test_a_symbolic_link_to_a_live_socket_is_refused_and_stays(self):
        target = self.place.path("live")
        self.addCleanup(listen_at(target).close)
        os.symlink(target, self.place.socket)
        self.assert_refused(self.place.twistd(), self.place.socket, "a symbolic link")
        self.assertEqual(os.readlink(self.place.socket), target)

    @needs_root
    def test_a_socket_of_another_user_is_refused_and_stays(self):
        leave_stale(self.place.socket)
        os.chown(self.place.socket, NOBODY, NOBODY)
        before = identity(self.place.socket)
        self.assert_refused(self.place.twistd(), self.place.socket, f"uid {NOBODY}")
        self.assertEqual(identity(self.place.socket), before)

    def test_the_longest_path_is_served_and_a_longer_one_refused(self):
        room = PATH_LIMIT - len(self.place.runtime) - 1
        longest = os.path.join(self.place.runtime, "x" * room)
        daemon = self.place.daemon("--socket", longest)
        self.assert_serves(longest)
        self.assertEqual(daemon.stop(), 0)
        os.unlink(f"{longest}.lock")
        refused = self.place.twistd("--socket", f"{longest}x")
        self.assert_refused(refused, f"{PATH_LIMIT + 1} bytes", f"{PATH_LIMIT} at most")
        self.assertEqual(self.place.leftovers, ["run"])

    def test_a_name_of_several_bytes_a_character_is_served(self):
        path = os.path.join(self.place.runtime, "söckél-重生.sock")
        self.place.daemon("--socket", path)
        self.assert_serves(path)

    def test_a_relative_path_is_where_the_daemon_was_started(self):
        os.mkdir(self.place.path("elsewhere"))
        before = ["-n", "--rundir", self.place.path("elsewhere")]
        daemon = self.place.daemon("--socket", "relative.sock", before=before)
        self.assert_serves(self.place.path("relative.sock"))
        self.assertEqual(os.listdir(self.place.path("elsewhere")), [])
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.lexists(self.place.path("relative.sock")))

    def test_a_missing_directory_is_made_private(self):
        path = self.place.path("a", "b", "s.sock")
        self.place.daemon("--socket", path, umask=0)
        self.assert_serves(path)
        for made in ("a", "a/b"):
            mode = os.stat(self.place.path(made)).st_mode
            self.assertEqual(stat.S_IMODE(mode), 0o700)

    def test_a_parent_that_cannot_be_used_is_refused_and_unchanged(self):
        self.place.write("file", "kept")
        os.mkdir(self.place.path("open"))
        os.chmod(self.place.path("open"), 0o777)
        before = self.place.leftovers
        for path, reason in (
            (self.place.path("file", "s.sock"), "not a directory"),
            (self.place.path("open", "s.sock"), "can be written to by all"),
            ("/proc/nowhere/s.sock", "/proc/nowhere"),
        ):
            self.assert_refused(self.place.twistd("--socket", path), path, reason)
        self.assertEqual(self.place.leftovers, before)

    def test_the_socket_is_private_whatever_the_umask(self):
        for umask in (0, 0o777):
            daemon = self.place.twistd(umask=umask)
            seen = set()
            while "Listening on" not in daemon.log and daemon.running:
                if os.path.lexists(self.place.socket):
                    seen.add(stat.S_IMODE(os.lstat(self.place.socket).st_mode))
            self.assert_serves()
            seen.add(stat.S_IMODE(os.lstat(self.place.socket).st_mode))
            self.assertEqual(seen - {0}, {0o600})
            self.assertEqual(daemon.stop(), 0)

    def test_a_mode_that_was_asked_for_is_given(self):
        self.place.daemon("--mode", "0660", umask=0o077)
        self.assertEqual(stat.S_IMODE(os.lstat(self.place.socket).st_mode), 0o660)


class FailedStartTests(ProcessTestCase):
    """A start that fails says so, once, where it was started, and leaves nothing."""

    def refused(self, *options: str, told: str = "", **how: object) -> None:
        before = self.place.leftovers
        self.assert_refused(self.place.twistd(*options, **how), told)
        self.assertEqual(self.place.leftovers, before)

    def test_a_broken_configuration_is_told_in_one_line(self):
        path = self.place.path("sub", "s.sock")
        for content, told in (
            ("timeout = 'soon'", "timeout"),
            ("timeuot = 5", "timeuot"),
            ("[", "not TOML"),
        ):
            config = self.place.write("broken.toml", content)
            self.refused("--config", config, "--socket", path, told=told)
        self.refused("--config", self.place.path("missing.toml"), told="missing.toml")

    def test_an_endpoint_that_makes_no_sense_is_told_in_one_line(self):
        for endpoint in ("nonsense:1", "systemd:domain=UNIX:index=0"):
            self.refused("--endpoint", endpoint, told="palingenesis: ")

    def test_an_endpoint_that_cannot_listen_is_told_in_one_line(self):
        path = self.place.path("nowhere", "s.sock")
        self.refused("--endpoint", f"unix:{path}", told=path)

    def test_a_file_that_was_moved_aside_for_it_is_put_back(self):
        path = self.place.write("precious", "precious")
        self.place.pidfile = self.place.write("live.pid", str(os.getpid()))
        refused = self.place.twistd("--socket", path)
        self.assertEqual(refused.wait(), 1)
        self.assertIn("Another twistd server is running", refused.stderr)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")
        self.assertEqual(self.place.leftovers, ["live.pid", "precious", "run"])

    @needs_root
    def test_a_place_where_twistd_cannot_write_is_told_in_one_line(self):
        bound = ["setpriv", "--bounding-set=-all", *twistd_command()]
        os.chmod(self.place.runtime, 0o500)
        self.place.pidfile = os.path.join(self.place.runtime, "twistd.pid")
        self.refused(told="twistd --pidfile=", program=bound)
        self.place.pidfile = self.place.path("twistd.pid")
        log = os.path.join(self.place.runtime, "log")
        self.refused(told="twistd --logfile=", before=("--logfile", log), program=bound)

    def test_an_inherited_descriptor_that_is_no_socket_is_told_in_one_line(self):
        with open(os.devnull, "rb") as file:
            self.refused(
                INHERITED,
                told="palingenesis: ",
                program=[sys.executable, "-c", LAUNCHER, str(file.fileno()), *twistd_command()],
                pass_fds=(file.fileno(),),
            )

    def test_a_daemonised_start_that_fails_is_told_where_it_was_started(self):
        os.mkdir(self.place.socket)
        self.refused(told="a directory", before=())
        self.assertEqual(self.place.strays(), [])

    def test_a_daemonised_second_start_is_told_of_the_first(self):
        daemon = self.place.daemon()
        self.place.pidfile = self.place.path("second.pid")
        self.refused(told=f"pid {daemon.pid} ", before=())
        self.assert_serves()

    def test_a_start_that_cannot_bind_leaves_nothing_and_is_told_in_one_line(self):
        # The directory is there for the claim, but gone when it comes to the bind.
        path = self.place.path("sub", "s.sock")
        code = (
            "import shutil, sys\n"
            "from palingenesis import socketfile\n"
            "bind = socketfile.SocketFile.bind\n"
            "def gone(self):\n"
            f"    shutil.rmtree({self.place.path('sub')!r})\n"
            "    return bind(self)\n"
            "socketfile.SocketFile.bind = gone\n"
            "from twisted.scripts.twistd import run\n"
            "run()\n"
        )
        program = [sys.executable, "-c", code]
        self.refused("--socket", path, told=path, program=program)
        daemonised = self.place.twistd("--socket", path, program=program, before=())
        self.assertEqual(daemonised.wait(), 1)
        # twistd hands on the first hundred bytes.
        self.assertIn("cannot listen on", daemonised.stderr)
        self.assertNotIn("Traceback", daemonised.stderr)
        self.assertFalse(os.path.lexists(self.place.pidfile))

    def test_a_start_that_twistd_refuses_gives_up_what_was_claimed(self):
        other = self.place.spawn(["sleep", "1000"])
        self.place.write("twistd.pid", str(other.pid))
        before = self.place.leftovers
        refused = self.place.twistd("--socket", self.place.path("sub", "s.sock"))
        self.assertEqual(refused.wait(), 1)
        self.assertEqual(self.place.leftovers, before)


class DaemonisedTests(ProcessTestCase):
    """Without ``-n``."""

    def test_it_serves_when_the_command_returns_and_stops_cleanly(self):
        started = self.place.twistd(before=("--logfile", self.place.path("log")))
        self.assertEqual(started.wait(), 0, started.stderr)
        with open(self.place.pidfile, encoding="ascii") as file:
            pid = int(file.read())
        wait_until(lambda: os.path.lexists(self.place.socket), "the socket is there")
        self.assert_serves()
        second = self.place.twistd(before=())
        self.assert_refused(second, f"pid {pid} ")
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)
        self.assertEqual(self.place.leftovers, ["log", "run", "run/palingenesis.sock.lock"])
        with open(self.place.path("log"), encoding="utf-8") as file:
            self.assertNotIn("Traceback", file.read())


class WatchTests(ProcessTestCase):
    """The socket's file while the daemon runs."""

    def test_a_deleted_socket_is_bound_anew(self):
        daemon = self.place.daemon()
        os.unlink(self.place.socket)
        daemon.wait_for_log("was deleted: bound it anew")
        self.assert_serves()
        self.assertEqual(stat.S_IMODE(os.lstat(self.place.socket).st_mode), 0o600)
        self.assert_stops_cleanly(daemon)

    def test_a_deleted_directory_is_made_anew(self):
        daemon = self.place.daemon()
        shutil.rmtree(self.place.runtime)
        daemon.wait_for_log("was deleted: bound it anew")
        self.assert_serves()
        self.assert_refused(self.place.twistd(), f"pid {daemon.pid} ")
        self.assert_stops_cleanly(daemon)

    def test_a_stop_after_the_socket_was_deleted_is_clean(self):
        daemon = self.place.daemon()
        os.unlink(self.place.socket)
        self.assert_stops_cleanly(daemon)

    def test_a_stop_after_the_directory_was_deleted_is_clean(self):
        daemon = self.place.daemon()
        shutil.rmtree(self.place.runtime)
        self.assert_stops_cleanly(daemon)

    def test_a_socket_replaced_by_somebody_elses_is_left_alone(self):
        daemon = self.place.daemon()
        os.unlink(self.place.socket)
        theirs = listen_at(self.place.socket)
        self.addCleanup(theirs.close)
        before = identity(self.place.socket)
        daemon.wait_for_log("something else is at")
        self.assertEqual(daemon.stop(), 0)
        self.assert_no_traceback(daemon)
        self.assertEqual(identity(self.place.socket), before)


class ClientTests(ProcessTestCase):
    """Clients that are slow, rude or many."""

    def configured(self, content: str, **how: object) -> Process:
        return self.place.daemon("--config", self.place.write("c.toml", content), **how)

    def test_four_hundred_that_keep_it_waiting_slow_nobody_down(self):
        self.configured("timeout = 3")
        began = time.monotonic()
        clients = [self.connect() for _ in range(400)]
        silent, partial, dribbling, never_reading = (clients[i::4] for i in range(4))
        for client in partial:
            client.sendall(b"STAT")
        for client in never_reading:
            client.sendall(b"STATUS\n" * 100)

        def dribble(over: threading.Event) -> None:
            while not over.wait(0.4):
                for client in dribbling:
                    send_all(client, b"x")

        with in_background(dribble):
            self.assertLess(median_seconds(self.assert_serves), 0.5)
            for client in silent + partial + dribbling:
                self.assertEqual(read_all(client).removesuffix(b"[reset]"), TIMED_OUT)
            took = time.monotonic() - began
        # The deadline is one for the whole line: bytes that dribble in do not move it.
        self.assertGreater(took, 2.5)
        self.assertLess(took, 15)
        for client in never_reading:
            self.assertTrue(read_all(client).startswith(b'{"state": '))
        self.assert_serves()

    @needs_linux
    def test_clients_that_keep_it_waiting_are_gone_by_the_deadline(self):
        daemon = self.configured("timeout = 0.5")
        self.assert_serves()
        before = len(descriptors(daemon.pid))
        for request in (b"", b"STAT", b"x" * 600, b"STATUS\nSTATUS\n", b"\n\n"):
            for _ in range(10):
                send_all(self.connect(), request)
        wait_until(lambda: len(descriptors(daemon.pid)) <= before, "all connections are closed")
        self.assert_no_traceback(daemon)

    def test_one_client_too_many_is_told_so_at_once(self):
        daemon = self.configured("max_connections = 5")
        within = [self.connect() for _ in range(5)]
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual(read_all(self.connect()), b"ERR: Too many connections\n")
        self.assertLess(time.monotonic() - began, 4)
        for client in within:
            client.sendall(b"STATUS\n")
            self.assertTrue(read_all(client).startswith(b'{"state": '))
        self.assert_serves()
        self.assert_no_traceback(daemon)

    def test_every_split_of_a_command_is_the_same_command(self):
        self.place.daemon()
        command = b"STATUS\r\n"
        for cuts in itertools.product((False, True), repeat=len(command) - 1):
            parts, rest = [], command
            for position in reversed([i + 1 for i, cut in enumerate(cuts) if cut]):
                parts.insert(0, rest[position:])
                rest = rest[:position]
            client = self.connect()
            for part in [rest, *parts]:
                client.send(part)
            answer = read_all(client)
            self.assertTrue(answer.startswith(b'{"state": "monitoring"'), (cuts, answer))
            client.close()

    def test_what_is_no_command_is_answered_with_one_printable_line(self):
        daemon = self.place.daemon()
        for request in (
            b"\0STATUS\n",
            b"STATUS\0\n",
            b"\xff\xfe\n",
            b"\x1b[2J\x1b]0;title\x07\n",
            "a\u2028b\u2029c\n".encode(),
            "\u202eSUTATS\n".encode(),
            "\u017ftatus\n".encode(),
            "\uff33TATUS\n".encode(),
            b"STATUS now\n",
            b"STATUS\rPAUSE\n",
            b"\n",
            b"\r\n",
            b"\x7f\x80\x9b\n",
            b"x" * 512 + b"\n",
        ):
            answer = self.ask(request)
            self.assertTrue(answer.startswith(b"ERR: Unknown command: "), (request, answer))
            self.assertEqual(answer.count(b"\n"), 1, (request, answer))
            self.assertTrue(answer.decode().rstrip("\n").isprintable(), (request, answer))
            self.assertLess(len(answer), 400)
        self.assert_no_traceback(daemon)

    def test_a_line_that_is_too_long_is_told_so_without_its_end(self):
        self.place.daemon()
        for size in (513, 65536, 2 * 1024 * 1024):
            self.assertEqual(self.ask(b"x" * size), TOO_LONG)
        client = self.connect()
        client.sendall(b"x" * 513)
        self.assertEqual(read_all(client), TOO_LONG)

    @needs_linux
    def test_long_lines_take_no_memory(self):
        daemon = self.place.daemon()
        for _ in range(100):
            self.ask(b"x" * 10_000)
            self.assert_serves()
        before = memory(daemon.pid, "VmHWM")
        line = b"x" * 2 * 1024 * 1024
        clients = [self.connect() for _ in range(20)]
        senders = [
            threading.Thread(target=send_all, args=(client, line), daemon=True)
            for client in clients
        ]
        for sender in senders:
            sender.start()
        for client, sender in zip(clients, senders, strict=True):
            self.assertEqual(read_all(client).removesuffix(b"[reset]"), TOO_LONG)
            sender.join(PATIENCE)
        self.assertLess(memory(daemon.pid, "VmHWM") - before, 2 * 1024 * 1024)
        self.assert_serves()

    def test_only_the_first_of_a_thousand_commands_is_run(self):
        daemon = self.place.daemon()
        self.assertEqual(self.ask(b"PAUSE\n" + b"RESUME\n" * 999), b"OK\n")
        self.assertIn(b'"paused"', self.ask())
        self.assertNotIn("RESUME", daemon.log)

    @needs_linux
    def test_a_process_out_of_descriptors_waits_and_recovers(self):
        daemon = self.configured("timeout = 60", files=64)
        clients = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(client.close)
            client.setblocking(False)
            try:
                client.connect(self.place.socket)
            except BlockingIOError:
                # The backlog is full.
                continue
            clients.append(client)
        self.assertGreater(len(clients), 64)
        daemon.wait_for_log("Clients have to wait")
        before = processor_time(daemon.pid)
        time.sleep(3)
        self.assertLess(processor_time(daemon.pid) - before, 0.5)
        self.assertLess(daemon.log.count("\n"), 12, daemon.log)
        for client in clients:
            client.close()
        self.assert_serves()
        self.assertLess(daemon.log.count("\n"), 16, daemon.log)
        self.assert_stops_cleanly(daemon)

    @needs_linux
    def test_a_stop_while_out_of_descriptors_is_clean(self):
        daemon = self.configured("timeout = 60", files=64)
        for _ in range(100):
            self.connect()
        daemon.wait_for_log("Clients have to wait")
        self.assert_stops_cleanly(daemon)

    @needs_linux
    def test_a_socket_deleted_while_out_of_descriptors_is_bound_anew_later(self):
        daemon = self.configured("timeout = 60", files=64)
        clients = [self.connect() for _ in range(100)]
        daemon.wait_for_log("Clients have to wait")
        os.unlink(self.place.socket)
        daemon.wait_for_log("No client can connect|Traceback")
        for client in clients:
            client.close()
        daemon.wait_for_log("was deleted: bound it anew")
        self.assert_serves()
        self.assert_stops_cleanly(daemon)

    @needs_linux
    def test_nothing_is_left_of_five_thousand_commands(self):
        daemon = self.place.daemon()
        requests = (b"STATUS\n", b"STATUS\n", b"PAUSE\n", b"RELOAD\n", b"nonsense\n")
        for number in range(1000):
            self.ask(requests[number % len(requests)])
        files, resident = len(descriptors(daemon.pid)), memory(daemon.pid)
        for number in range(5000):
            self.ask(requests[number % len(requests)])
        self.assertEqual(len(descriptors(daemon.pid)), files)
        self.assertLess(memory(daemon.pid) - resident, 1024 * 1024)
        self.assert_no_traceback(daemon)

    @needs_root
    @needs_linux
    def test_another_user_is_refused_though_the_mode_was_loosened_by_hand(self):
        daemon = self.place.daemon()
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        self.assertEqual(self.ask_as(NOBODY), "PermissionError")
        os.chmod(self.place.socket, 0o666)
        self.assertEqual(
            self.ask_as(NOBODY), "ERR: Permission denied: not the daemon's own user, nor root\n"
        )
        daemon.wait_for_log(f"Refused a client of another user: .*uid {NOBODY}")
        self.assert_serves()

    @needs_root
    @needs_linux
    def test_another_user_is_served_where_the_mode_lets_it_in(self):
        daemon = self.place.daemon("--mode", "0666")
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        self.assertIn('"state"', self.ask_as(NOBODY))
        self.assertNotIn("Refused", daemon.log)

    @needs_root
    @needs_linux
    def test_a_daemon_that_became_another_user_serves_that_one_and_root(self):
        os.chmod(self.place.directory, 0o755)
        os.chown(self.place.runtime, NOBODY, NOBODY)
        daemon = self.place.daemon(before=("-n", "--uid", str(NOBODY), "--gid", str(NOBODY)))
        self.assertEqual(os.lstat(self.place.socket).st_uid, NOBODY)
        self.assert_serves()
        self.assertIn('"state"', self.ask_as(NOBODY))
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.lexists(self.place.socket))

    def ask_as(self, uid: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, self.place.socket, str(uid)],
            check=False,
            # Where coverage is measured, that user has nowhere to write it to.
            env={},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout


class HandlerTests(ProcessTestCase):
    """An application's own handlers, which may be slow, wrong or stuck."""

    def test_a_half_close_before_a_slow_handler_is_done_loses_nothing(self):
        self.place.application(get_status=("slow", 2), pause=("slow", 2))
        clients = []
        for request in (b"STATUS", b"STATUS\n", b"PAUSE", b"PAUSE\nmore"):
            client = self.connect()
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            clients.append(client)
        answers = [read_all(client) for client in clients]
        for answer in answers[:2]:
            self.assertEqual(json.loads(answer)["uptime_secs"], 1)
            self.assertTrue(answer.endswith(b"}\n"))
        self.assertEqual(answers[2:], [b"OK\n"] * 2)

    @needs_linux
    def test_a_client_that_vanishes_does_not_undo_its_command(self):
        daemon = self.place.application(pause=("slow", 0.5))
        self.ask()
        before = len(descriptors(daemon.pid))
        client = self.connect()
        client.sendall(b"PAUSE\n")
        daemon.wait_for_log("pause begins")
        client.close()
        daemon.wait_for_log(r"PAUSE by uid \d+, pid \d+: OK")
        self.assertEqual(daemon.log.count("pause is done"), 1)
        self.assertEqual(daemon.log.count("PAUSE by"), 1)
        wait_until(lambda: len(descriptors(daemon.pid)) <= before, "the connection is closed")
        self.assert_stops_cleanly(daemon)

    def test_a_handler_that_raises_is_logged_and_told_in_one_line(self):
        daemon = self.place.application(
            pause=("raise", "secret"), get_status=("raise", "secret"), resume=("refuse", "no\nway")
        )
        for command in (b"PAUSE", b"STATUS"):
            answer = self.ask(command + b"\n")
            self.assertEqual(answer, b"ERR: %s failed; the daemon's log says why\n" % command)
        self.assertEqual(self.ask(b"RESUME\n"), b"ERR: no\\nway\n")
        self.assertEqual(daemon.wait_for_log("RuntimeError: secret", 2).count("Traceback"), 2)
        self.assertEqual(self.ask(b"RELOAD\n"), b"OK\n")

    def test_a_status_that_is_none_is_told_in_one_line(self):
        for nonsense in (None, ["monitoring", 1, None, 0, 0, {}]):
            daemon = self.place.application(get_status=("answer", nonsense))
            self.assertEqual(self.ask(), b"ERR: STATUS failed; the daemon's log says why\n")
            daemon.wait_for_log("no DaemonStatus")
            self.assertEqual(self.ask(b"PAUSE\n"), b"OK\n")
            daemon.kill()

    def test_a_handler_that_never_answers_is_given_up_and_the_rest_goes_on(self):
        daemon = self.place.application({"handler_timeout": 0.5}, pause=("never", None))
        self.assertEqual(self.ask(b"PAUSE\n"), b"ERR: PAUSE is not done after 0.5 seconds\n")
        self.assertTrue(self.ask().startswith(b'{"state": '))
        self.assert_stops_cleanly(daemon)

    def test_reloads_are_carried_out_one_after_the_other(self):
        daemon = self.place.application(reload_config=("slow", 0.3))
        clients = [self.connect() for _ in range(4)]
        for client in clients:
            client.sendall(b"RELOAD\n")
        daemon.send(signal.SIGHUP)
        for client in clients:
            self.assertEqual(read_all(client), b"OK\n")
        log = daemon.wait_for_log("reload_config is done", 5)
        steps = re.findall("reload_config (begins|is done)", log)
        self.assertEqual(steps, ["begins", "is done"] * 5)
        daemon.wait_for_log("RELOAD by SIGHUP: OK")


class SignalTests(ProcessTestCase):
    """What an operator or an init system sends."""

    def test_a_hangup_reloads_the_configuration(self):
        config = self.place.write("c.toml", "timeout = 60")
        daemon = self.place.daemon("--config", config)
        self.place.write("c.toml", "timeout = 0.2")
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by SIGHUP: OK")
        self.assertEqual(read_all(self.connect()), TIMED_OUT)
        self.place.write("c.toml", "timeout = 'never'")
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by SIGHUP: ERR: .*timeout")
        self.assertTrue(self.ask(b"RELOAD\n").startswith(b"ERR: "))
        self.assertEqual(read_all(self.connect()), TIMED_OUT)
        self.assert_stops_cleanly(daemon)

    def test_a_storm_of_hangups_is_survived(self):
        daemon = self.place.daemon()
        for _ in range(200):
            daemon.send(signal.SIGHUP)
        self.assert_serves()
        self.assert_stops_cleanly(daemon)

    def test_an_interrupt_stops_it_cleanly_too(self):
        daemon = self.place.daemon()
        self.assertEqual(daemon.stop(signal.SIGINT), 0)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock.lock"])
        self.assert_no_traceback(daemon)

    def test_a_stop_lets_a_command_end_and_sends_the_idle_away(self):
        daemon = self.place.application(pause=("slow", 1))
        idle = [self.connect() for _ in range(20)]
        working = self.connect()
        working.sendall(b"PAUSE\n")
        daemon.wait_for_log("pause begins")
        began = time.monotonic()
        daemon.send(signal.SIGTERM)
        for client in idle:
            self.assertEqual(read_all(client), STOPPING)
        self.assertEqual(read_all(working), b"OK\n")
        self.assertEqual(daemon.wait(), 0)
        # Three seconds, on a machine that has nothing else to do.
        self.assertLess(time.monotonic() - began, 8)
        self.assertEqual(self.place.leftovers, ["app.tac", "run", "run/palingenesis.sock.lock"])
        self.assert_no_traceback(daemon)

    def test_a_stop_does_not_wait_for_a_command_that_never_ends(self):
        daemon = self.place.application(pause=("never", None))
        client = self.connect()
        client.sendall(b"PAUSE\n")
        daemon.wait_for_log("pause begins")
        began = time.monotonic()
        daemon.send(signal.SIGTERM)
        self.assertEqual(read_all(client), STOPPING)
        self.assertEqual(daemon.wait(), 0)
        self.assertLess(time.monotonic() - began, 8)
        self.assert_no_traceback(daemon)

    def test_further_signals_change_nothing_about_a_stop(self):
        daemon = self.place.application(pause=("slow", 1))
        client = self.connect()
        client.sendall(b"PAUSE\n")
        daemon.wait_for_log("pause begins")
        for _ in range(50):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                daemon.send(number)
        self.assertEqual(read_all(client), b"OK\n")
        self.assertEqual(daemon.wait(), 0)
        self.assert_no_traceback(daemon)
        self.assertFalse(os.path.lexists(self.place.pidfile))

    def test_signals_until_the_very_end_change_nothing_about_a_stop(self):
        for _ in range(2 * REPEATS):
            daemon = self.place.daemon()
            while daemon.running:
                daemon.send(signal.SIGTERM)
                time.sleep(0.0005)
            self.assertEqual(daemon.wait(), 0)
            self.assert_no_traceback(daemon)
            self.assertEqual(daemon.stderr, "")
            self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock.lock"])

    def test_a_stop_while_the_reactor_starts_is_clean(self):
        # The reactor installs handlers of its own then.
        code = (
            "import os, signal\n"
            "from twisted.internet import reactor\n"
            "for phase in ('before', 'during', 'after'):\n"
            "    reactor.addSystemEventTrigger(\n"
            "        phase, 'startup', os.kill, os.getpid(), signal.SIGTERM)\n"
            "from twisted.scripts.twistd import run\n"
            "run()\n"
        )
        daemon = self.place.twistd(program=[sys.executable, "-c", code])
        self.assertEqual(daemon.wait(), 0, daemon.log)
        self.assert_no_traceback(daemon)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock.lock"])

    def test_a_stop_at_any_moment_of_the_start_leaves_nothing(self):
        began = time.monotonic()
        self.place.daemon().kill()
        usual = time.monotonic() - began
        os.unlink(self.place.pidfile)
        seed = random.randrange(1 << 32)
        moments = random.Random(seed)
        for _ in range(6 * REPEATS):
            daemon = self.place.twistd()
            moment = moments.uniform(0, 1.3 * usual)
            # No event to wait for: any moment is to be tried.
            time.sleep(moment)
            status = daemon.stop()
            told = f"seed {seed}, after {moment:.3f} s: {daemon.log}{daemon.stderr}"
            self.assertIn(status, (0, -signal.SIGTERM), told)
            self.assert_no_traceback(daemon)
            self.assertEqual(daemon.stderr, "", told)
            left = [name for name in self.place.leftovers if "palingenesis.sock" not in name]
            self.assertEqual(left, ["run"], told)
            if "Listening on" in daemon.log:
                self.assertFalse(os.path.lexists(self.place.socket), told)


class InheritedTests(ProcessTestCase):
    """A socket that was bound by somebody else, who goes on to own it."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = listen_at(self.place.socket, backlog=64)
        self.addCleanup(self.listening.close)
        os.chmod(self.place.socket, 0o640)
        self.before = identity(self.place.socket)

    def inheriting(self, *before: str) -> Process:
        number = self.listening.fileno()
        return self.place.twistd(
            INHERITED,
            before=before,
            program=[sys.executable, "-c", LAUNCHER, str(number), *twistd_command()],
            pass_fds=(number,),
        )

    def test_it_is_served_and_left_as_it_was(self):
        daemon = self.inheriting("-n")
        daemon.wait_for_log("Listening on")
        for _ in range(3):
            self.assert_serves()
        self.assertEqual(daemon.stop(), 0)
        self.assert_no_traceback(daemon)
        self.assertEqual(identity(self.place.socket), self.before)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock"])

    def test_it_goes_on_to_accept_for_whoever_inherits_it_next(self):
        first = self.inheriting("-n")
        first.wait_for_log("Listening on")
        self.assertEqual(first.stop(), 0)
        waiting = self.connect()
        waiting.sendall(b"STATUS\n")
        self.inheriting("-n").wait_for_log("Listening on")
        self.assertTrue(read_all(waiting).startswith(b'{"state": '))
        self.assert_serves()

    def test_it_is_served_by_a_daemonised_process_too(self):
        started = self.inheriting()
        self.assertEqual(started.wait(), 0, started.stderr)
        self.assert_serves()
        with open(self.place.pidfile, encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)
        self.assertEqual(identity(self.place.socket), self.before)

    def test_a_killed_daemon_leaves_it_as_it_was(self):
        daemon = self.inheriting("-n")
        daemon.wait_for_log("Listening on")
        daemon.kill()
        os.unlink(self.place.pidfile)
        self.inheriting("-n").wait_for_log("Listening on")
        self.assert_serves()
        self.assertEqual(identity(self.place.socket), self.before)

    def test_a_socket_that_was_meant_for_another_process_is_refused(self):
        # sd_listen_fds(3): the variables are inherited further than they are meant.
        number = self.listening.fileno()
        launcher = LAUNCHER.replace("os.getpid()", "os.getppid()")
        refused = self.place.twistd(
            INHERITED,
            program=[sys.executable, "-c", launcher, str(number), *twistd_command()],
            pass_fds=(number,),
        )
        self.assert_refused(refused, INHERITED.partition("=")[2])

    def test_systemd_itself_activates_it(self):
        activate = shutil.which("systemd-socket-activate")
        if activate is None:
            self.skipTest("needs systemd-socket-activate(1)")
        path = os.path.join(self.place.runtime, "activated.sock")
        daemon = self.place.twistd(
            INHERITED, program=[activate, "--listen", path, "--fdname=control", *twistd_command()]
        )
        wait_until(lambda: os.path.lexists(path), "systemd has made the socket")
        self.assertIn(b'"state"', wait_until(lambda: self.try_to_ask(path), "it listens"))
        self.assertEqual(daemon.stop(), 0)
        self.assertTrue(os.path.lexists(path))

    def try_to_ask(self, path: str) -> bytes:
        try:
            return ask(path)
        except ConnectionRefusedError:
            return b""

"""What a start of the real ``twistd palingenesis`` finds, makes and refuses."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time

from palingenesis.paths import PATH_LIMIT
from palingenesis.server.transport import BACKLOG
from tests.support.activation import INHERITED, activated_twistd
from tests.support.cases import ProcessTestCase
from tests.support.descriptors import allow_descriptors
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, REPEATS, wait_until
from tests.support.processes import kill_if_there, program, read_pid, twistd_command, wait_for_end
from tests.support.sockets import (
    fill_backlog,
    identity,
    leave_stale,
    listen_at,
)
from tests.support.users import NOBODY


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

    def test_a_pid_file_of_a_living_process_that_is_no_daemon_blocks_no_start(self):
        other = self.place.spawn(["sleep", "1000"])
        self.place.write("twistd.pid", str(other.pid))
        daemon = self.place.daemon()
        self.assertEqual(read_pid(self.place.pidfile), daemon.pid)
        self.assert_serves()
        self.assert_stops_cleanly(daemon)
        self.assertTrue(other.running)

    @needs_root
    @needs_linux("PID namespaces are Linux's")
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
                self.assert_refused(loser, self.place.socket)
                # On macOS, another one that looked at the lock at that moment hides the holder.
                or_none = "|another process " if sys.platform == "darwin" else ""
                self.assertRegex(loser.stderr, f"pid {winner.pid} {or_none}")
            winner.kill()

    def test_a_frozen_daemon_keeps_its_socket(self):
        allow_descriptors(self, BACKLOG)
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
        allow_descriptors(self, BACKLOG)
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
        # Claimed first, and then there is no place for the PID file.
        self.place.pidfile = self.place.path("fifo.pid")
        os.mkfifo(self.place.pidfile)
        self.assert_refused(self.place.twistd("--socket", path), "is not a regular file")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")
        self.assertEqual(self.place.leftovers, ["fifo.pid", "precious", "run"])

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
                program=activated_twistd(file.fileno()),
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
        twistd = program("twistd_unable_to_bind", self.place.path("sub"))
        self.refused("--socket", path, told=path, program=twistd)
        daemonised = self.place.twistd("--socket", path, program=twistd, before=())
        self.assertEqual(daemonised.wait(), 1)
        self.assertIn(f"palingenesis: cannot listen on {path}: no such file", daemonised.stderr)
        self.assertNotIn("Traceback", daemonised.stderr)
        with open(self.place.path("twistd.log"), encoding="utf-8") as log:
            self.assertIn(f"cannot listen on {path}: no such file", log.read())
        self.assertFalse(os.path.lexists(self.place.pidfile))

    def test_a_start_that_fails_after_the_claim_gives_up_what_was_claimed(self):
        os.mkfifo(self.place.pidfile)
        self.refused("--socket", self.place.path("sub", "s.sock"), told="not a regular file")

    def test_a_directory_named_for_a_file_is_told_in_one_line(self):
        self.refused(told="is a directory", before=("--logfile", self.place.runtime))
        self.place.pidfile = self.place.runtime
        self.refused(told="is a directory")

    @needs_root
    def test_a_start_as_another_user_that_fails_is_told_and_leaves_nothing(self):
        path = os.path.join(self.place.runtime, "of", "a", "long", "path" * 10, "s.sock")
        told = f"{self.place.directory}: is not the home of uid {NOBODY}"
        self.refused("--socket", path, told=told, before=("--uid", str(NOBODY)))

    @needs_root
    def test_a_start_as_an_unknown_user_is_told_and_leaves_nothing(self):
        for before in (("-n", "--uid", "2000000001"), ("--uid", "2000000001")):
            self.refused(told="--uid 2000000001: no such user", before=before)

    @needs_root
    def test_a_start_in_another_root_that_fails_shows_the_reason_and_leaves_no_pid_file(self):
        os.mkdir(self.place.path("run", "s.sock"))
        os.mkdir(self.place.path("dev"))
        # Without it there, twistd waits for its child for ever.
        os.mknod(self.place.path("dev", "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        log = self.place.path("log")
        self.place.pidfile = f"/{os.path.basename(self.place.directory)}.pid"
        started = self.place.twistd(
            "--socket", "/run/s.sock", before=("--chroot", self.place.directory, "--logfile", log)
        )
        self.assertEqual(started.wait(), 1)
        self.assertIn(
            "/run/s.sock: there is a directory; remove it or choose another", started.stderr
        )
        self.assertFalse(os.path.lexists(self.place.path(self.place.pidfile[1:])))


class UnusablePidFileTests(ProcessTestCase):
    """The socket's lock says whether a daemon runs."""

    def test_an_unusable_pid_file_does_not_stop_a_start(self):
        for content in "", "\0\0\0\0", "nonsense", "0", "99999999999999999999":
            self.place.write("twistd.pid", content)
            daemon = self.place.daemon()
            with open(self.place.pidfile, encoding="ascii") as file:
                self.assertEqual(file.read(), str(daemon.pid))
            self.assert_stops_cleanly(daemon)

    def test_a_living_daemon_s_pid_file_is_never_taken(self):
        daemon = self.place.daemon()
        other = self.place.twistd("--socket", self.place.path("other.sock"))
        self.assertEqual(other.wait(), 1)
        self.assertIn(f"the PID file of pid {daemon.pid} (", other.stderr)
        with open(self.place.pidfile, encoding="ascii") as file:
            self.assertEqual(file.read(), str(daemon.pid))


class OtherEnvironmentTests(ProcessTestCase):
    """A daemon whose default place is another one."""

    def test_a_start_tells_of_a_daemon_at_the_other_default_place(self):
        other = self.place.path(f"last-resort-{os.geteuid()}")
        without = {"XDG_RUNTIME_DIR": ""}
        first = self.place.daemon(environment=without)
        self.place.pidfile = self.place.path("second.pid")
        second = self.place.daemon()
        self.assertIn(
            f"pid {first.pid} (twistd), uid {os.geteuid()} serves "
            f"{other}/palingenesis.sock already (/tmp/palingenesis-UID)",
            second.log,
        )


class ContainerTests(ProcessTestCase):
    @needs_root
    @needs_linux("PID namespaces are Linux's")
    def test_a_holder_in_another_container_is_called_so(self):
        container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        if (
            shutil.which("unshare") is None
            or subprocess.run([*container, "true"], check=False, capture_output=True).returncode
        ):
            self.skipTest("needs unshare(1) and the right to make a PID namespace")
        self.place.daemon()
        self.place.pidfile = self.place.path("second.pid")
        second = self.place.twistd(program=[*container, *twistd_command()])
        self.assertEqual(second.wait(), 1)
        self.assertEqual(
            second.stderr,
            "palingenesis: a process in another container, uid 0, "
            f"has {self.place.socket}; stop that one first\n",
        )


class DaemonisedTests(ProcessTestCase):
    """Without ``-n``."""

    def test_a_daemonised_twistd_serves_when_it_returns_and_stops_cleanly(self):
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

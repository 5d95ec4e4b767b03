"""What signals do to the real daemon, and what its end leaves behind."""

from __future__ import annotations

import os
import random
import signal
import time

from tests.support.cases import ProcessTestCase
from tests.support.patience import REPEATS
from tests.support.processes import program
from tests.support.replies import STOPPING, TIMED_OUT
from tests.support.sockets import (
    read_all,
)


class SignalTests(ProcessTestCase):
    """What an operator or an init system sends."""

    def test_a_hangup_reloads_the_configuration(self):
        config = self.place.write("c.toml", "timeout = 60")
        daemon = self.place.daemon("--config", config)
        self.place.write("c.toml", "timeout = 0.2")
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by the daemon itself: OK")
        self.assertEqual(read_all(self.connect()), TIMED_OUT)
        self.place.write("c.toml", "timeout = 'never'")
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by the daemon itself: ERR: .*timeout")
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
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock.lock"])
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
        daemon = self.place.twistd(program=program("twistd_stopped_at_start"))
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

"""A running daemon checks its socket's file, and binds it anew if it has vanished."""

from __future__ import annotations

import os
import shutil
import signal
import stat

from tests.support.cases import ProcessTestCase


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

    def test_a_second_daemon_that_is_killed_on_our_path_leaves_it_to_us(self):
        daemon = self.place.daemon()
        # However long the second one takes to start, the first one does not look meanwhile.
        daemon.send(signal.SIGSTOP)
        for name in self.place.socket, f"{self.place.socket}.lock":
            os.unlink(name)
        pidfile, self.place.pidfile = self.place.pidfile, self.place.path("second.pid")
        second = self.place.daemon()
        daemon.send(signal.SIGCONT)
        daemon.wait_for_log("something else is at")
        second.kill()
        daemon.wait_for_log("was replaced by a socket that is stale: bound it anew")
        self.assert_serves()
        self.place.pidfile = pidfile
        self.assert_stops_cleanly(daemon)

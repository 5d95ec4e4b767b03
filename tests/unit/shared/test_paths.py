"""Where the socket is: each rule in its turn, and every path that cannot be one."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import sys
import tempfile
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import paths
from palingenesis.config import ConfigError
from palingenesis.locate import Location, locate_socket, serving_elsewhere
from palingenesis.paths import (
    PATH_LIMIT,
    Exposure,
    PathError,
    exposure,
    home_directory,
    runtime_directories,
    socket_path,
    state_directory,
)
from tests.support.needs import needs_linux
from tests.support.sockets import fill_backlog, leave_stale, listen_at
from tests.support.users import NOBODY


class PathsTestCase(SynchronousTestCase):
    """An environment of our own, and no more of the real file system than we made."""

    def setUp(self) -> None:
        # Not below trial's directory: the path of a socket has to be short.
        self.home = tempfile.mkdtemp(prefix="p")
        self.addCleanup(shutil.rmtree, self.home)
        self.environment = {
            "HOME": self.home,
            "XDG_RUNTIME_DIR": "/run/of/mine",
        }
        self.patch(os, "environ", self.environment)
        self.patch(sys, "platform", "linux")

    def configure(self, content: str, path: str = ".config/palingenesis/config.toml") -> str:
        path = os.path.join(self.home, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def found(self, path: str, *, mode: int = stat.S_IFDIR | 0o700, uid: int = 1234) -> None:
        """Have the file system say that this is at the path, and that we are uid 1234."""
        real_lstat = os.lstat

        def lstat(asked: str) -> object:
            if asked == path:
                return SimpleNamespace(st_mode=mode, st_uid=uid)
            return real_lstat(asked)

        self.patch(os, "geteuid", lambda: 1234)
        self.patch(os, "lstat", lstat)

    def missing(self, path: str) -> None:
        real_lstat, real_isdir = os.lstat, os.path.isdir

        def lstat(asked: str) -> object:
            if asked == path:
                raise FileNotFoundError(asked)
            return real_lstat(asked)

        self.patch(os, "geteuid", lambda: 1234)
        self.patch(os, "lstat", lstat)
        self.patch(os.path, "isdir", lambda asked: asked != path and real_isdir(asked))

    def no_home(self) -> None:
        def unknown(uid: int) -> None:
            raise KeyError(uid)

        del self.environment["HOME"]
        self.patch(pwd, "getpwuid", unknown)


class RulesTests(PathsTestCase):
    """Every rule with all that come after it there as well."""

    def test_what_a_person_gave_decides(self) -> None:
        self.environment["PALINGENESIS_SOCKET"] = "/from/variable"
        self.configure('socket = "/from/config"')
        self.assertEqual(locate_socket("/given"), Location("/given", "--socket"))

    def test_the_variable_comes_second(self) -> None:
        self.environment["PALINGENESIS_SOCKET"] = "/from/variable"
        self.configure('socket = "/from/config"')
        self.assertEqual(locate_socket(), Location("/from/variable", "$PALINGENESIS_SOCKET"))

    def test_the_named_configuration_comes_third(self) -> None:
        self.configure('socket = "/from/config"')
        named = self.configure('socket = "/from/named"', "named.toml")
        self.assertEqual(locate_socket(config=named), Location("/from/named", f"socket in {named}"))

    def test_the_default_configuration_comes_fourth(self) -> None:
        path = self.configure('socket = "/from/config"')
        self.assertEqual(locate_socket(), Location("/from/config", f"socket in {path}"))

    def test_the_runtime_directory_comes_fifth(self) -> None:
        self.assertEqual(
            locate_socket(), Location("/run/of/mine/palingenesis.sock", "$XDG_RUNTIME_DIR")
        )

    def test_the_directory_of_the_user_in_run_comes_last(self) -> None:
        del self.environment["XDG_RUNTIME_DIR"]
        self.patch(os, "geteuid", lambda: 1234)
        self.patch(os.path, "isdir", lambda path: path == "/run/user/1234")
        self.assertEqual(
            locate_socket(), Location("/run/user/1234/palingenesis.sock", "/run/user/UID")
        )

    def test_at_last_a_directory_in_tmp(self) -> None:
        del self.environment["XDG_RUNTIME_DIR"]
        self.found("/tmp/palingenesis-1234")
        self.assertEqual(
            locate_socket(),
            Location("/tmp/palingenesis-1234/palingenesis.sock", "/tmp/palingenesis-UID"),
        )

    def test_an_empty_variable_counts_as_unset(self) -> None:
        self.environment["PALINGENESIS_SOCKET"] = ""
        self.assertEqual(locate_socket().source, "$XDG_RUNTIME_DIR")

    def test_an_empty_path_that_a_person_gave_is_an_error(self) -> None:
        self.assertRaises(PathError, locate_socket, "")

    def test_a_relative_runtime_directory_is_ignored(self) -> None:
        for value in "", "run", "./run", "~/run":
            self.environment["XDG_RUNTIME_DIR"] = value
            self.found("/tmp/palingenesis-1234")
            with self.subTest(value=value):
                self.assertEqual(locate_socket().source, "/tmp/palingenesis-UID")

    def test_a_runtime_directory_need_not_be_there_yet(self) -> None:
        self.environment["XDG_RUNTIME_DIR"] = os.path.join(self.home, "run")
        self.assertEqual(locate_socket().path, os.path.join(self.home, "run", "palingenesis.sock"))
        self.assertEqual(os.listdir(self.home), [])

    def test_a_path_that_was_given_is_made_absolute(self) -> None:
        self.assertEqual(locate_socket("x.sock").path, os.path.abspath("x.sock"))

    def test_a_path_from_the_variable_is_made_absolute(self) -> None:
        self.environment["PALINGENESIS_SOCKET"] = "run/../x.sock"
        self.assertEqual(locate_socket().path, os.path.abspath("x.sock"))

    def test_every_rule_s_path_is_checked(self) -> None:
        long = "/" + "x" * PATH_LIMIT
        self.assertRaises(PathError, locate_socket, long)
        self.environment["XDG_RUNTIME_DIR"] = long
        self.assertRaises(PathError, locate_socket)
        self.configure(f'socket = "{long}"')
        self.assertRaises(PathError, locate_socket)
        self.environment["PALINGENESIS_SOCKET"] = long
        self.assertRaises(PathError, locate_socket)


class ConfiguredTests(PathsTestCase):
    def test_a_configuration_without_a_socket_decides_nothing(self) -> None:
        self.configure("timeout = 1\n")
        self.assertEqual(locate_socket().source, "$XDG_RUNTIME_DIR")

    def test_a_comment_about_the_socket_decides_nothing(self) -> None:
        self.configure('# socket = "/x"\n')
        self.assertEqual(locate_socket().source, "$XDG_RUNTIME_DIR")

    def test_a_relative_socket_is_beside_the_configuration(self) -> None:
        path = self.configure('socket = "x.sock"')
        self.assertEqual(locate_socket().path, os.path.join(os.path.dirname(path), "x.sock"))

    def test_a_mistake_in_another_key_does_not_change_the_socket(self) -> None:
        for mistake in 'timeout = "soon"', "timeout 5":
            self.configure(f'socket = "/x"\n{mistake}\n')
            with self.subTest(mistake=mistake):
                self.assertEqual(locate_socket().path, "/x")

    def test_a_socket_that_is_no_path_is_an_error(self) -> None:
        path = self.configure("socket = 5")
        error = self.assertRaises(ConfigError, locate_socket)
        self.assertEqual(error.path, path)

    def test_a_configuration_that_cannot_be_read_decides_nothing(self) -> None:
        self.assertEqual(
            locate_socket(config=os.path.join(self.home, "no.toml")).source, "$XDG_RUNTIME_DIR"
        )
        os.makedirs(os.path.join(self.home, ".config/palingenesis/config.toml"))
        self.assertEqual(locate_socket().source, "$XDG_RUNTIME_DIR")

    def test_without_a_home_the_state_is_in_the_runtime_directory(self) -> None:
        self.no_home()
        self.environment["XDG_RUNTIME_DIR"] = "/run/user/7"
        self.assertEqual(state_directory(), "/run/user/7/palingenesis")
        self.assertRaises(PathError, state_directory, "~/state")

    def test_without_a_home_there_is_no_default_configuration(self) -> None:
        self.no_home()
        os.makedirs(os.path.join(self.home, "~/.config/palingenesis"))
        self.configure('socket = "/x"', "~/.config/palingenesis/config.toml")
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.home)
        self.assertIsNone(paths.config_file())
        self.assertEqual(locate_socket().source, "$XDG_RUNTIME_DIR")

    def test_no_configuration_is_read_when_the_path_is_known_before(self) -> None:
        self.configure("socket = broken")
        self.environment["PALINGENESIS_SOCKET"] = "/from/variable"
        self.assertEqual(locate_socket("/given").path, "/given")
        self.assertEqual(locate_socket().path, "/from/variable")

    def test_the_default_configuration_is_where_xdg_says(self) -> None:
        self.environment["XDG_CONFIG_HOME"] = "/etc/of/mine"
        self.assertEqual(paths.config_file(), "/etc/of/mine/palingenesis/config.toml")

    def test_a_relative_configuration_home_is_ignored(self) -> None:
        self.environment["XDG_CONFIG_HOME"] = "config"
        self.assertEqual(
            paths.config_file(), os.path.join(self.home, ".config/palingenesis/config.toml")
        )


class PrivacyTests(PathsTestCase):
    """The last resort is in a directory where everybody can make things."""

    directory = "/tmp/palingenesis-1234"

    def setUp(self) -> None:
        super().setUp()
        del self.environment["XDG_RUNTIME_DIR"]

    def reason(self) -> str:
        error = self.assertRaises(PathError, locate_socket)
        self.assertEqual(error.path, self.directory)
        return error.reason

    def test_a_directory_that_is_ours_alone_is_used(self) -> None:
        self.found(self.directory)
        self.assertEqual(locate_socket().path, f"{self.directory}/palingenesis.sock")

    def test_a_directory_that_is_missing_is_used(self) -> None:
        self.missing(self.directory)
        self.assertEqual(locate_socket().path, f"{self.directory}/palingenesis.sock")

    def test_somebody_else_s_directory_is_not_used(self) -> None:
        self.found(self.directory, uid=666)
        self.assertEqual(
            self.reason(),
            f"belongs to uid 666, not to uid {os.geteuid()}; "
            "set XDG_RUNTIME_DIR, or name a socket elsewhere",
        )

    def test_a_directory_that_is_open_to_others_is_not_used(self) -> None:
        for mode in 0o755, 0o770, 0o702, 0o710, 0o701, 0o1777:
            self.found(self.directory, mode=stat.S_IFDIR | mode)
            with self.subTest(mode=oct(mode)):
                self.assertIn("is open to others; chmod 0700 it", self.reason())

    def test_what_is_no_directory_is_not_used(self) -> None:
        for kind in stat.S_IFLNK, stat.S_IFREG, stat.S_IFSOCK, stat.S_IFIFO:
            self.found(self.directory, mode=kind | 0o700)
            with self.subTest(kind=kind):
                self.assertIn("is not a directory", self.reason())


class OtherPlatformsTests(PathsTestCase):
    """The same rules as on Linux."""

    def test_the_environment_names_the_runtime_directory(self) -> None:
        self.patch(sys, "platform", "darwin")
        self.environment["TMPDIR"] = "/var/folders/x"
        self.assertEqual(locate_socket().path, "/run/of/mine/palingenesis.sock")

    def test_without_one_it_is_in_the_directory_for_temporary_files(self) -> None:
        self.patch(sys, "platform", "darwin")
        self.environment["TMPDIR"] = "/var/folders/x"
        del self.environment["XDG_RUNTIME_DIR"]
        uid = 4_000_000
        self.assertEqual(
            runtime_directories(uid), [(f"/tmp/palingenesis-{uid}", "/tmp/palingenesis-UID")]
        )

    def test_configuration_and_state_are_where_they_are_on_linux(self) -> None:
        for platform in ("freebsd14", "darwin"):
            self.patch(sys, "platform", platform)
            with self.subTest(platform):
                self.assertEqual(
                    paths.config_file(), f"{self.home}/.config/palingenesis/config.toml"
                )
                self.assertEqual(paths.state_directory(), f"{self.home}/.local/state/palingenesis")

    def test_the_environment_decides_as_on_linux(self) -> None:
        self.environment |= {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}
        self.assertEqual(paths.config_file(), "/c/palingenesis/config.toml")
        self.assertEqual(paths.state_directory(), "/s/palingenesis")

    def test_files_where_macos_has_them_are_found_and_not_read(self) -> None:
        self.patch(sys, "platform", "darwin")
        self.assertIsNone(paths.unread_directory())
        path = f"{self.home}/Library/Application Support/palingenesis"
        os.makedirs(path)
        self.assertEqual(paths.unread_directory(), path)
        self.patch(sys, "platform", "linux")
        self.assertIsNone(paths.unread_directory())


class OtherPlacesTests(PathsTestCase):
    """The default places of programs that were started in another environment."""

    def setUp(self) -> None:
        super().setUp()
        self.run = os.path.join(self.home, "run")
        self.tmp = os.path.join(self.home, "tmp")
        for directory in self.run, self.tmp:
            os.mkdir(directory, 0o700)
        self.environment["XDG_RUNTIME_DIR"] = self.run
        # A user's own daemon may listen at the real ones.
        self.patch(paths, "_of_the_session", lambda _: os.path.join(self.home, "missing"))
        self.patch(paths, "_last_resort", lambda _: self.tmp)
        self.socket = os.path.join(self.tmp, "palingenesis.sock")

    def serving(self, location: Location | None = None, uid: int | None = None) -> list[Location]:
        return [place for place, _ in serving_elsewhere(location or locate_socket(), uid)]

    def listen(self, path: str) -> None:
        self.addCleanup(listen_at(path).close)

    def test_a_process_at_the_other_default_place_is_found(self) -> None:
        self.listen(self.socket)
        ((place, credentials),) = serving_elsewhere(locate_socket())
        self.assertEqual(place, Location(self.socket, "/tmp/palingenesis-UID"))
        if credentials is not None:
            self.assertEqual(credentials.pid, os.getpid())

    def test_a_place_that_is_not_safe_for_the_user_is_left_out(self) -> None:
        self.listen(self.socket)
        self.assertEqual(self.serving(uid=NOBODY - 1), [])
        os.chmod(self.tmp, 0o777)
        self.assertEqual(self.serving(), [])

    def test_from_the_last_default_place_the_first_one_is_found(self) -> None:
        self.listen(os.path.join(self.run, "palingenesis.sock"))
        here = Location(self.socket, "/tmp/palingenesis-UID")
        self.assertEqual([place.source for place in self.serving(here)], ["$XDG_RUNTIME_DIR"])

    def test_without_a_socket_no_process_serves_elsewhere(self) -> None:
        self.assertEqual(self.serving(), [])

    def test_a_socket_that_the_user_chose_has_no_other_place(self) -> None:
        self.listen(self.socket)
        self.assertEqual(self.serving(locate_socket("/x")), [])

    def test_a_stale_socket_elsewhere_does_not_count(self) -> None:
        leave_stale(self.socket)
        self.assertEqual(self.serving(), [])

    @needs_linux("a full backlog makes a client wait on Linux alone")
    def test_a_process_elsewhere_with_a_full_backlog_counts(self) -> None:
        self.addCleanup(listen_at(self.socket, backlog=0).close)
        for connection in fill_backlog(self.socket):
            self.addCleanup(connection.close)
        self.assertEqual([place.path for place in self.serving()], [self.socket])


class ExposureTests(SynchronousTestCase):
    """What others can do in a directory, by its kind, owner and mode."""

    def judge(self, mode: int, owner: int = 1000, kind: int = stat.S_IFDIR) -> Exposure:
        return exposure(os.stat_result((kind | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0)), 1000)

    def test_the_mode_decides(self) -> None:
        for mode, expected in (
            (0o700, Exposure.PRIVATE),
            (0o1700, Exposure.PRIVATE),
            (0o710, Exposure.OPEN),
            (0o701, Exposure.OPEN),
            (0o755, Exposure.OPEN),
            (0o770, Exposure.GROUP_WRITABLE),
            (0o720, Exposure.GROUP_WRITABLE),
            (0o702, Exposure.WORLD_WRITABLE),
            (0o777, Exposure.WORLD_WRITABLE),
            (0o1777, Exposure.OPEN),
            (0o1770, Exposure.OPEN),
        ):
            with self.subTest(mode=oct(mode)):
                self.assertIs(self.judge(mode), expected)

    def test_root_s_directory_is_as_good_as_our_own(self) -> None:
        self.assertIs(self.judge(0o755, owner=0), Exposure.OPEN)

    def test_a_directory_of_another_user_is_foreign_whatever_its_mode(self) -> None:
        for mode in 0o700, 0o755, 0o1777:
            self.assertIs(self.judge(mode, owner=1001), Exposure.FOREIGN)

    def test_anything_else_is_no_directory(self) -> None:
        for kind in stat.S_IFREG, stat.S_IFLNK, stat.S_IFSOCK:
            self.assertIs(self.judge(0o700, kind=kind), Exposure.NO_DIRECTORY)

    def test_the_exposures_are_in_order(self) -> None:
        self.assertEqual(
            [e.name for e in sorted(Exposure)],
            ["PRIVATE", "OPEN", "GROUP_WRITABLE", "WORLD_WRITABLE", "FOREIGN", "NO_DIRECTORY"],
        )


class WrittenPathTests(PathsTestCase):
    """What people write in front of a path."""

    def test_a_tilde_is_the_home_directory(self) -> None:
        self.assertEqual(locate_socket("~/x").path, f"{self.home}/x")
        self.environment["PALINGENESIS_SOCKET"] = "~/x"
        self.assertEqual(locate_socket().path, f"{self.home}/x")

    def test_a_tilde_elsewhere_is_a_name(self) -> None:
        self.assertEqual(socket_path("/a/~/b"), "/a/~/b")
        self.assertEqual(socket_path("/a/~"), "/a/~")

    def test_a_tilde_needs_a_home(self) -> None:
        self.no_home()
        error = self.assertRaises(PathError, socket_path, "~/x")
        self.assertEqual(str(error), "~/x: no home directory is known; give an absolute path")

    def test_the_home_is_the_password_file_s_where_the_variable_is_missing_or_relative(
        self,
    ) -> None:
        for value in None, "", "home", "~":
            if value is None:
                del self.environment["HOME"]
            else:
                self.environment["HOME"] = value
            with self.subTest(value=value):
                self.assertEqual(home_directory(), pwd.getpwuid(os.getuid()).pw_dir)

    def test_unix_in_front_means_the_path(self) -> None:
        self.assertEqual(socket_path("unix:/x"), "/x")
        self.assertEqual(socket_path("unix:~/x"), f"{self.home}/x")
        self.assertRaises(PathError, socket_path, "unix:")

    def test_an_abstract_name_is_refused_with_the_reason(self) -> None:
        for path in "@x", "unix:@x":
            error = self.assertRaises(PathError, socket_path, path)
            self.assertEqual(
                str(error),
                "@x: is the name of an abstract socket, which has no owner and no mode; "
                "give the path of a file, ./@x if it is one",
            )
        self.assertEqual(socket_path("/a/@x"), "/a/@x")


class SocketPathTests(SynchronousTestCase):
    def test_the_longest_path_is_taken(self) -> None:
        path = "/" + "x" * (PATH_LIMIT - 1)
        self.assertEqual(socket_path(path), path)

    def test_a_path_one_byte_over_the_limit_is_refused(self) -> None:
        path = "/" + "x" * PATH_LIMIT
        error = self.assertRaises(PathError, socket_path, path)
        self.assertEqual(
            str(error),
            f"{path}: {PATH_LIMIT + 1} bytes is too long for a Unix socket "
            f"({PATH_LIMIT} at most); choose a shorter path",
        )

    def test_bytes_count_and_not_characters(self) -> None:
        wide = os.fsdecode("é".encode())
        fits = "/" + wide * ((PATH_LIMIT - 1) // 2)
        self.assertEqual(socket_path(fits), fits)
        self.assertRaises(PathError, socket_path, fits + wide)

    def test_a_name_that_is_no_utf_8_is_counted_as_it_is(self) -> None:
        name = os.fsdecode(b"\xff")
        path = "/" + name * (PATH_LIMIT - 1)
        self.assertEqual(socket_path(path), path)
        self.assertRaises(PathError, socket_path, path + name)

    def test_a_path_counts_by_its_absolute_form(self) -> None:
        size = PATH_LIMIT - len(os.getcwd().encode()) - 1
        if size > 0:
            self.assertEqual(len(os.fsencode(socket_path("x" * size))), PATH_LIMIT)
        self.assertRaises(PathError, socket_path, "x" * (max(size, 0) + 1))

    def test_what_a_path_leaves_again_does_not_count(self) -> None:
        self.assertEqual(socket_path("/" + "x/../" * 100 + "a"), "/a")

    def test_the_limit_is_the_kernel_s(self) -> None:
        self.assertEqual(PATH_LIMIT, 107 if sys.platform == "linux" else 103)

    def test_no_path_at_all_is_refused(self) -> None:
        error = self.assertRaises(PathError, socket_path, "")
        self.assertEqual(str(error), "'': is not the path of a file")

    def test_a_nul_is_refused_and_shown(self) -> None:
        error = self.assertRaises(PathError, socket_path, "/a\0b")
        self.assertEqual(str(error), r"'/a\x00b': is not the path of a file")

    def test_an_abstract_name_is_refused(self) -> None:
        self.assertRaises(PathError, socket_path, "\0palingenesis")

    def test_a_relative_path_is_refused_where_there_is_no_directory(self) -> None:
        gone = self.mktemp()
        os.mkdir(gone)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(gone)
        os.rmdir(os.getcwd())
        self.assertRaises(PathError, socket_path, "x.sock")

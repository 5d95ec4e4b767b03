"""The handbook: every command in it is typed, every example run, and it builds."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import docutils.nodes

import palingenesis
from palingenesis import ControlService, IDaemonState, Limits
from palingenesis.cli.main import COMMANDS
from palingenesis.cli.parser import make_parser
from palingenesis.client import errors
from palingenesis.config import load_config
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.resets import reset_in
from palingenesis.monitor.settings import TABLES, settings_of
from palingenesis.server.socketfile import SocketFile
from palingenesis.web.settings import TABLES as HTTP_TABLES
from palingenesis.words import REVIVABLE, Event, Kind, Reason, State
from tests.agents.install import PACKAGES, VERSIONS
from tests.process.test_web import free_port
from tests.support.agents import AgentTestCase
from tests.support.checkout import ROOT, copy_of_the_checkout
from tests.support.environment import apart
from tests.support.house import modules
from tests.support.needs import needs_linux
from tests.support.pages import (
    PageTestCase,
    Shell,
    blocks,
    console_blocks,
    document,
    section,
    table,
)
from tests.support.patience import wait_until
from tests.support.sockets import ask
from tools.agents_page import NAMES

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))

#: What ends a command of a shell.
SIGNS = (">", ">>", "|", "&&", "&")
#: Each section with commands to type, by its page.
TYPED = {
    "embedding.rst": {"A minimal application", "Start and stop"},
    "first-steps.rst": {"First steps"},
    "howto.rst": {"Two accounts", "The morning's report, also by ssh"},
    "install.rst": {"With pip", "With pipx", "With uv", "Upgrade", "Removal"},
    "macos.rst": {"As a LaunchAgent", "Sleep"},
    "operations.rst": {
        "As a user's service",
        "Inherited sockets",
        "Containers",
        "Finding a daemon",
    },
    "protocol.rst": {"The protocol", "The commands of twistd palingenesis"},
    "web.rst": {"For programs"},
}


class CommandTests(PageTestCase):
    def follow(self, page: str, title: str) -> Shell:
        """Type the commands of a section."""
        self.assertIn(title, TYPED[page])
        shell = Shell(self, self.home)
        self.type_all(shell, console_blocks(DOCS / page)[title])
        return shell

    def test_no_page_has_commands_that_are_not_typed_here(self) -> None:
        found = {page.name: set(console_blocks(page)) for page in PAGES}
        self.assertEqual({page: titles for page, titles in found.items() if titles}, TYPED)

    def test_the_first_steps_go_as_shown(self) -> None:
        self.follow("first-steps.rst", "First steps")

    def test_the_everyday_tools_talk_the_protocol(self) -> None:
        self.need("nc", "socat")
        self.follow("protocol.rst", "The protocol")

    def test_the_daemon_s_own_commands_are_listed(self) -> None:
        self.follow("protocol.rst", "The commands of twistd palingenesis")

    def test_socket_activation_goes_as_shown(self) -> None:
        self.need("systemd-socket-activate")
        self.follow("operations.rst", "Inherited sockets")

    @needs_linux("PID namespaces are Linux's")
    def test_a_daemon_that_is_pid_1_goes_as_shown(self) -> None:
        self.need("unshare")
        boxed = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
        if subprocess.run(boxed, capture_output=True).returncode:
            self.skipTest("this user may make no PID namespace")
        self.follow("operations.rst", "Containers")

    def test_curl_talks_http(self) -> None:
        self.need("curl")
        self.assertEqual(TYPED["web.rst"], {"For programs"})
        shell = Shell(self, self.home)
        transcripts = console_blocks(DOCS / "web.rst")["For programs"]
        port = str(free_port())
        self.type_all(shell, [text.replace("7654", port) for text in transcripts])

    @needs_linux("what is shown was printed on Linux")
    def test_the_doctor_tells_what_is_shown(self) -> None:
        self.follow("operations.rst", "Finding a daemon")

    def test_the_unit_is_installed_as_shown(self) -> None:
        shell = self.shell_with_stubs("systemctl", "loginctl")
        self.type_all(shell, console_blocks(DOCS / "operations.rst")["As a user's service"])
        unit = self.home / ".config/systemd/user/palingenesis.service"
        self.assertIn("Type=notify", unit.read_text())
        self.assertIn("enable --now palingenesis\n", (self.home / "told").read_text())

    def shell_with_stubs(self, *names: str) -> Shell:
        """Make a shell with the examples, and with programs that only note their arguments."""
        (self.home / "examples").symlink_to(ROOT / "examples")
        stubs = self.home / "bin"
        stubs.mkdir()
        for name in names:
            (stubs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> ~/told\n')
            (stubs / name).chmod(0o755)
        shell = Shell(self, self.home)
        shell.type(f"PATH={stubs}:$PATH")
        return shell

    def test_the_launch_agent_is_installed_as_shown(self) -> None:
        shell = self.shell_with_stubs("launchctl", "caffeinate")
        agents = self.home / "Library/LaunchAgents"
        agents.mkdir(parents=True)
        found = console_blocks(DOCS / "macos.rst")
        self.type_all(shell, [*found["As a LaunchAgent"], *found["Sleep"]])
        shell.type("wait")
        self.assertIn("KeepAlive", (agents / "palingenesis.plist").read_text())
        told = (self.home / "told").read_text().splitlines()
        self.assertEqual(
            [line.split()[:2] for line in told],
            [
                ["launchctl", "bootstrap"],
                ["launchctl", "kickstart"],
                ["launchctl", "bootout"],
                ["caffeinate", "-s"],
            ],
        )

    def test_every_command_in_a_sentence_is_one(self) -> None:
        parser, found = make_parser(COMMANDS), 0
        for page in (*PAGES, ROOT / "README.rst", ROOT / "SECURITY.rst"):
            for node in document(page).findall(docutils.nodes.literal):
                program, *words = node.astext().split() or [""]
                if program != "palingenesis" or not words or "=" in words[0]:
                    continue
                found += 1
                # What follows a sign of the shell is not the command's.
                end = next((at for at, word in enumerate(words) if word in SIGNS), len(words))
                said = io.StringIO()
                with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                    try:
                        parser.parse_args(words[:end])
                    except SystemExit as exit_:
                        # A sentence about the command need not have its arguments.
                        if exit_.code and "arguments are required" not in said.getvalue():
                            self.fail(f"{page.name}: {words}: {said.getvalue()}")
        self.assertGreater(found, 50)

    def test_a_second_account_is_a_home(self) -> None:
        self.follow("howto.rst", "Two accounts")

    def test_the_daemon_is_read_by_ssh(self) -> None:
        # A server that is this machine: its commands run in the home, as sshd runs them.
        stubs = self.home / "stubs"
        stubs.mkdir()
        (stubs / "ssh").write_text('#!/bin/sh\nshift\ncd && exec sh -c "$*"\n')
        (stubs / "ssh").chmod(0o755)
        program = self.home / ".local/bin/palingenesis"
        program.parent.mkdir(parents=True)
        program.symlink_to(shutil.which("palingenesis", path=os.path.dirname(sys.executable)) or "")
        shell = Shell(self, self.home)
        shell.type(f"PATH={stubs}:$PATH")
        self.type_all(
            shell, console_blocks(DOCS / "howto.rst")["The morning's report, also by ssh"]
        )

    def test_cron_starts_the_daemon(self) -> None:
        (line,) = blocks(
            DOCS / "operations.rst", "text", section(DOCS / "operations.rst", "As a user's service")
        )
        when, command = line.split(maxsplit=1)
        self.assertEqual(when, "@reboot")
        program = self.home / ".local/bin/palingenesis"
        program.parent.mkdir(parents=True)
        program.symlink_to(shutil.which("palingenesis", path=os.path.dirname(sys.executable)) or "")
        shell = Shell(self, self.home)
        told = shell.type(command.replace("/home/you", str(self.home)))
        self.assertTrue(told.startswith("started: pid "), told)
        self.assertEqual(shell.type("palingenesis stop | cut -c 1-7"), "stopped")

    def test_logrotate_s_script_has_twistd_open_the_new_file(self) -> None:
        self.need("pkill")
        (text,) = blocks(DOCS / "operations.rst", "text", section(DOCS / "operations.rst", "Logs"))
        script = text.partition("postrotate\n")[2].partition("endscript")[0].strip()
        log = self.home / ".local/state/palingenesis/twistd.log"
        self.assertTrue(text.startswith(str(log).replace(str(self.home), "/home/you")), text)
        shell = Shell(self, self.home)
        shell.type("palingenesis start")
        log.rename(log.with_name("twistd.log-20261125"))
        log.touch()
        shell.type(script.replace("/run/user/1000", str(self.home / "run")))
        wait_until(log.with_name("twistd.log.1").exists, "the file is reopened")
        shell.type("palingenesis pause; palingenesis stop")
        self.assertIn("PAUSE by", log.read_text())

    def test_the_embedding_application_runs(self) -> None:
        (self.home / "jobs.py").write_text(blocks(DOCS / "embedding.rst", "python")[0])
        self.follow("embedding.rst", "A minimal application")

    def test_a_second_application_fails_as_shown(self) -> None:
        (self.home / "jobs.py").write_text(blocks(DOCS / "embedding.rst", "python")[0])
        self.follow("embedding.rst", "Start and stop")

    def test_every_example_in_python_runs(self) -> None:
        (self.home / "run").mkdir(mode=0o700)
        for page in PAGES:
            for number, text in enumerate(blocks(page, "python")):
                path = self.home / f"{page.stem}_{number}.py"
                path.write_text(text)
                done = subprocess.run(
                    [sys.executable, str(path)],
                    cwd=self.home,
                    env=apart(str(self.home), str(self.home / "run")),
                    capture_output=True,
                    text=True,
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""), path.name)


class InstallationTests(PageTestCase):
    """The page of the installation, typed in a copy of the checkout."""

    def follow(self, *titles: str) -> None:
        """Type the commands of some sections, one after the other."""
        self.need("git")
        checkout = copy_of_the_checkout(self.home / "checkout")
        shell = Shell(self, self.home)
        shell.type(f"cd '{checkout}'")
        # What the tests themselves set must not reach the fresh environment.
        shell.type("unset PYTHONPATH VIRTUAL_ENV")
        shell.type("export PIP_DISABLE_PIP_VERSION_CHECK=1")
        for title in titles:
            if title == "Upgrade":
                # A daemon that runs is restarted.
                shell.type("~/palingenesis-env/bin/palingenesis start")
            if title == "Removal":
                shell.type('PATH="$HOME/stubs:$HOME/.local/bin:$PATH"')
            self.type_all(shell, console_blocks(DOCS / "install.rst")[title])

    def test_pip_installs_upgrades_and_removes_it(self) -> None:
        for name in ("stubs/systemctl", ".local/bin/other"):
            path = self.home / name
            path.parent.mkdir(parents=True)
            path.write_text('#!/bin/sh\necho "$*" >> ~/told\n')
            path.chmod(0o755)
        for name in ("systemd/user/palingenesis.service", "palingenesis/config.toml"):
            path = self.home / ".config" / name
            path.parent.mkdir(parents=True)
            path.touch()
        self.follow("With pip", "Upgrade", "Removal")
        self.assertIn("disable --now palingenesis", (self.home / "told").read_text())
        # What is the person's own, or has no content, stays.
        left = {
            str(path.relative_to(self.home))
            for place in (".config", ".local", "run")
            for path in (self.home / place).rglob("*")
            if not path.is_dir()
        }
        self.assertEqual(left, {".local/bin/other", "run/palingenesis.sock.lock"})

    def test_pipx_installs_the_package(self) -> None:
        self.need("pipx")
        self.follow("With pipx")

    def test_uv_installs_the_package(self) -> None:
        self.need("uv")
        self.follow("With uv")


class TrialTests(PageTestCase):
    """The trials of operations.rst: cleaners and mounts."""

    def begin(self) -> Shell:
        shell = Shell(self, self.home)
        self.assertTrue(shell.type("palingenesis start").startswith("started"))
        return shell

    def test_a_cleaner_of_old_files_leaves_the_socket_of_a_living_daemon(self) -> None:
        self.need("systemd-tmpfiles")
        shell = self.begin()
        litter = self.home / "run/litter"
        litter.touch()
        rule = self.home / "age.conf"
        rule.write_text(f"d {self.home}/run 0700 - - 0\n")
        shell.type(f"systemd-tmpfiles --clean {rule}")
        self.assertFalse(litter.exists())
        self.assertTrue((self.home / "run/palingenesis.sock").is_socket())
        self.assertTrue(shell.type("palingenesis start").startswith("already running"))
        shell.type("palingenesis stop")

    def test_a_mounted_socket_dies_at_a_restart_and_a_mounted_directory_lives(self) -> None:
        self.need("unshare", "mount")
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
            self.skipTest("this user may mount nothing")
        shell = self.begin()
        script = self.home / "mounted.sh"
        script.write_text(
            textwrap.dedent(
                """\
                touch file.sock && mkdir directory
                mount --bind run/palingenesis.sock file.sock
                mount --bind run directory
                palingenesis stop > /dev/null && palingenesis start > /dev/null
                palingenesis --socket file.sock pause
                palingenesis --socket directory/palingenesis.sock pause
                """
            )
        )
        told = shell.type("unshare --mount bash mounted.sh")
        self.assertIn("its socket is stale", told)
        self.assertEqual(told.splitlines()[-1], "paused")
        shell.type("palingenesis stop")


class ConfigurationTests(PageTestCase):
    def test_every_configuration_is_a_good_one(self) -> None:
        path = self.home / "c.toml"
        for page in PAGES:
            for text in blocks(page, "toml"):
                path.write_text(text)
                load_config(str(path), {**TABLES, **HTTP_TABLES})

    def test_the_configuration_of_the_monitor_shows_the_defaults(self) -> None:
        (text, *_) = blocks(DOCS / "monitor.rst", "toml")
        shown, defaults = self.home / "shown.toml", self.home / "none.toml"
        shown.write_text(text.partition("[revive")[0])
        defaults.write_text('[sessions]\nagents = ["claude", "codex"]\n')
        self.assertEqual(
            settings_of(load_config(str(shown), TABLES).tables),
            settings_of(load_config(str(defaults), TABLES).tables),
        )

    def test_every_command_of_the_notifications_gets_the_summary(self) -> None:
        # Each program is replaced by one that takes down its arguments and its input.
        monitor = DOCS / "monitor.rst"
        texts = blocks(monitor, "toml", section(monitor, "Notifications"))
        *texts, posting = texts
        self.assertEqual(len(texts), 2)
        stubs = self.home / "bin"
        stubs.mkdir()
        for name in ("notify-send", "mail"):
            (stubs / name).write_text("#!/bin/sh\nprintf '%s|' \"$@\"; cat\n")
            (stubs / name).chmod(0o755)
        for text in texts:
            path = self.home / "c.toml"
            path.write_text(text)
            command = settings_of(load_config(str(path), TABLES).tables).notify
            done = subprocess.run(
                command,
                env={
                    "PATH": f"{stubs}:{os.environ['PATH']}",
                    "PALINGENESIS_SUMMARY": "it works again",
                },
                input="{}\n",
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertIn("it works again|", done.stdout)
        path.write_text(posting)
        _, *arguments = settings_of(load_config(str(path), TABLES).tables).notify
        self.assertEqual(make_parser(COMMANDS).parse_args(arguments).kind, "ntfy")


class WordTests(PageTestCase):
    """What the pages say is what the code has."""

    def test_every_reason_is_explained_in_the_gate_s_order(self) -> None:
        rows = table(DOCS / "monitor.rst", "Why a session is not revived")
        self.assertEqual([row[0] for row in rows], list(Reason))

    def test_every_state_is_named(self) -> None:
        rows = table(DOCS / "monitor.rst", "States")
        self.assertEqual([row[0] for row in rows], list(State))

    def test_every_kind_is_told_with_whether_it_is_revived(self) -> None:
        rows = table(DOCS / "monitor.rst", "Kinds of a stop")
        self.assertEqual([row[0] for row in rows], list(Kind))
        revived = {kind for kind, _, told in rows if told != "no"}
        self.assertEqual(revived, REVIVABLE)

    def test_every_event_is_explained(self) -> None:
        rows = table(DOCS / "monitor.rst", "The ledger")
        self.assertEqual([event for row in rows for event in row[0].split(", ")], list(Event))

    def test_every_agent_has_a_place(self) -> None:
        rows = table(DOCS / "monitor.rst", "The monitor")
        self.assertEqual([row[0] for row in rows], list(AGENTS))

    def test_every_agent_has_the_versions_that_are_tried(self) -> None:
        rows = table(DOCS / "monitor.rst", "The monitor")
        tried = {name: (versions[-1], versions[0]) for name, versions in VERSIONS.items()}
        told = {row[0]: tuple(row[2].split(" to ")) for row in rows}
        self.assertEqual({name: (told[name][0], told[name][-1]) for name in told}, tried)
        self.assertEqual(list(PACKAGES), list(tried))

    def test_every_agent_has_its_command_its_permissions_and_its_rows(self) -> None:
        texts = {name: (DOCS / f"{name}.rst").read_text() for name in ("monitor", "agents")}
        texts["permissions"] = (DOCS / "permissions.rst").read_text()
        self.assertEqual(list(NAMES), list(AGENTS))
        for name, agent in AGENTS.items():
            command = json.dumps([name, *agent.preset])
            self.assertIn(f"[revive.{name}]\n   command = {command}\n", texts["monitor"])
            title = f"\n{NAMES[name]}\n{'-' * len(NAMES[name])}\n"
            self.assertIn(title, texts["permissions"])
            self.assertIn(title, texts["agents"])

    def test_the_stated_resets_are_read_as_shown(self) -> None:
        def seconds(shown: str) -> float:
            return datetime.strptime(shown, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC).timestamp()

        rows = table(DOCS / "monitor.rst", "Stated resets")
        for text, at, reset in rows:
            written = 0.0 if at == "any" else seconds(at)
            expected = None if reset == "none" else seconds(reset)
            self.assertEqual(reset_in(text, written), expected, text)

    def test_the_picture_of_the_parts_has_every_module(self) -> None:
        (picture, *_) = blocks(DOCS / "architecture.rst", "text")
        shown = set(picture.replace("/", " ").split())
        names = {name.rpartition(".")[2] for name in modules()}
        # The agents are one directory there.
        self.assertEqual({name for name in names if name[0] != "_"} - shown, set(AGENTS))

    def test_every_example_is_named(self) -> None:
        rows = table(DOCS / "embedding.rst", "A minimal application")
        there = {path.name for path in (ROOT / "examples").iterdir()}
        self.assertEqual({row[0] for row in rows}, there - {"systemd", "launchd"})

    def test_the_arguments_of_the_service_have_their_defaults(self) -> None:
        for made in (ControlService, Limits):
            rows = table(DOCS / "embedding.rst", f"Arguments of {made.__name__}")
            expected = defaults(made)
            self.assertEqual([name for name, _, _ in rows][-len(expected) :], [*expected])
            self.assertEqual(
                {name: ast.literal_eval(default) for name, default, _ in rows if default},
                {name: value for name, value in expected.items() if name != "limits"},
            )

    def test_every_error_of_the_clients_is_named(self) -> None:
        rows = table(DOCS / "embedding.rst", "Asking a daemon")
        named = {getattr(errors, row[0]) for row in rows}
        self.assertEqual(named, set(errors.ClientError.__subclasses__()))


def defaults(made: type) -> dict[str, object]:
    """The parameters of a constructor that have a default."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(made).parameters.items()
        if parameter.default is not parameter.empty
    }


class ApiTests(PageTestCase):
    """The page of the API, as far as it does not come from docstrings."""

    def setUp(self) -> None:
        super().setUp()
        self.page = (DOCS / "api.rst").read_text()

    def test_every_public_name_is_there(self) -> None:
        for name in palingenesis.__all__:
            self.assertIn(f":: palingenesis.{name}", self.page)

    def test_each_section_has_a_table_of_its_names(self) -> None:
        for title in ("From the package", "From its modules", "For tests", "Over HTTP"):
            text = self.page.partition(f"\n{title}\n")[2]
            text = re.split(r"\n\n[^\n]+\n---", text)[0]
            directives = re.findall(
                r"^\.\. (?:auto|py:)\w+:: palingenesis\.([\w.]+)", text, re.MULTILINE
            )
            prefix = "" if title == "From the package" else "palingenesis."
            named = [row[0] for row in table(DOCS / "api.rst", title)]
            self.assertEqual(named, [f"{prefix}{name}" for name in directives])

    def test_the_methods_of_a_state_are_described_in_the_interface_s_words(self) -> None:
        for name in IDaemonState.names():
            self.assertRegex(
                self.page, rf"method:: {name}\(\).*\n\n      {IDaemonState[name].getDoc()}"
            )

    def test_the_signatures_that_are_written_out_are_right(self) -> None:
        for made in (ControlService, Limits, SocketFile):
            shown = self.page.partition(f".{made.__name__}(")[2].partition("\n")[0]
            (function,) = ast.parse(f"def {made.__name__}({shown}: ...").body
            assert isinstance(function, ast.FunctionDef)
            given = function.args
            self.assertEqual(
                [each.arg for each in (*given.args, *given.kwonlyargs)],
                list(inspect.signature(made).parameters),
            )
            self.assertEqual(
                [
                    Limits() if ast.unparse(each) == "Limits()" else ast.literal_eval(each)
                    for each in (*given.defaults, *given.kw_defaults)
                    if each
                ],
                list(defaults(made).values()),
            )


class WireTests(AgentTestCase):
    """The keys that the page of the protocol tells of, against those of the real daemon."""

    def keys(self, title: str) -> list[str]:
        rows = table(DOCS / "protocol.rst", title)
        return [key for row in rows for key in row[0].split(", ")]

    def test_status_sessions_and_log_have_the_keys_that_are_told(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "finish").wait()
        self.wait_for_event("worked")
        status = json.loads(ask(self.place.socket, b"STATUS\n"))
        self.assertEqual(list(status)[5:], self.keys("Keys that its STATUS has after the five"))
        self.assertEqual(list(self.session("s")), self.keys("Keys of a session"))
        told = self.keys("Keys of an entry")
        for entry in self.reply("LOG"):
            self.assertEqual([key for key in told if key in entry], list(entry))
            self.assertEqual(list(entry)[:5], told[:5])


class BuildTests(PageTestCase):
    def test_the_handbook_builds_without_a_warning(self) -> None:
        done = subprocess.run(
            [*(sys.executable, "-m", "sphinx", "-q", "-W", "-E"), str(DOCS), str(self.home)],
            capture_output=True,
            text=True,
        )
        if "No module named sphinx" in done.stderr:
            self.skipTest("Sphinx is not installed")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

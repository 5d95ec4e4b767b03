"""Tonight's own set-up, tried now: ``doctor --try``, and what ``config check`` warns of."""

from __future__ import annotations

import json
import os
import signal
import time

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.trial import attempt
from tests.support.cases import CommandTestCase
from tests.support.patience import PATIENCE, wait_until
from tests.support.users import obey_modes

#: An agent that tells where it runs and with what, and works only where it is meant to.
AGENT = """\
#!/bin/sh
echo "$(pwd) ${CLAUDE_CONFIG_DIR-unset} ${KEY-unset} ${CLAUDECODE-unset}" >> "$HOME/told"
test -e broken && { echo No version is set here; exit 126; }
echo 2.1.332
"""


class TrialTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home("")

    def home(self, suffix: str) -> str:
        """Make a home of Claude Code, and return its path."""
        path = self.place.path(f".claude{suffix}")
        os.makedirs(os.path.join(path, "projects"))
        return path

    def program(self, content: str = AGENT, name: str = "agent") -> str:
        path = self.place.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, 0o700)
        return path

    def configure(self, text: str) -> str:
        os.makedirs(self.place.path(".config", "palingenesis"), exist_ok=True)
        return self.place.write(".config/palingenesis/config.toml", text)

    def revive(self, program: str, home: str = "claude", more: str = "") -> str:
        return f'[revive.{home}]\ncommand = ["{program}", "{{id}}"]\n{more}\n'

    def session(self, directory: str, home: str = ".claude", kind: str | None = None) -> str:
        """
        Have a session in a project, and return the project's path.

        :param kind: why its last turn stopped; None in the middle of a turn.
        """
        path = self.place.path(directory)
        os.makedirs(path)
        transcripts = self.place.path(home, "projects", directory)
        os.makedirs(transcripts)
        identity = "0000aaaa-0000-4000-8000-00000000000f"
        record = {
            "type": "user", "uuid": "u", "sessionId": identity, "cwd": path,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "isSidechain": False,
            "message": {"role": "user", "content": "go"},
        }  # fmt: skip
        if kind is not None:
            content = [{"type": "text", "text": "Done."}]
            message = {"role": "assistant", "stop_reason": kind, "content": content}
            record |= {"type": "assistant", "message": message}
        with open(os.path.join(transcripts, f"{identity}.jsonl"), "w", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return path

    def doctor(self, status: Exit, *options: str, **how: object) -> dict[str, list[str]]:
        """Run it, and return what it says by label."""
        done = self.run_command("doctor", *options, **how)  # type: ignore[arg-type]
        self.assertEqual((done.returncode, done.stderr), (status, b""), done.stdout.decode())
        found: dict[str, list[str]] = {}
        for line in done.stdout.decode().splitlines():
            found.setdefault(line[:11].strip(), []).append(line[11:])
        return found

    def told(self) -> list[str]:
        with open(self.place.path("told"), encoding="utf-8") as file:
            return file.read().splitlines()


class WithoutDaemonTests(TrialTestCase):
    def test_each_program_is_tried_where_a_session_would_come_back(self) -> None:
        work = self.home("-work")
        secret = self.place.write("secret", "KEY=from the file\n")
        program = self.program()
        self.configure(
            f'[homes.work]\nagent = "claude"\ndirectory = "{work}"\n'
            + self.revive(program)
            + self.revive(program, "work", f'environment_file = "{secret}"')
        )
        app, site = self.session("app"), self.session("site", ".claude-work")
        found = self.doctor(Exit.NOT_RUNNING, "--try", variables={"CLAUDECODE": "1"})
        self.assertEqual(found["tried"], ["claude in ~/app: 2.1.332", "work in ~/site: 2.1.332"])
        self.assertEqual(
            self.told(), [f"{app} unset unset unset", f"{site} {work} from the file unset"]
        )
        self.assertEqual(found["ready"], ["a daemon started now would bring sessions back"])
        self.assertIn("no daemon is running", found["verdict"][0])

    def test_the_program_of_a_queue_is_tried_too(self) -> None:
        bad = self.program("#!/bin/sh\nexit 3\n", "queue")
        self.configure(self.revive(self.program(), more=f'queue = ["{bad}", "{{id}}"]'))
        found = self.doctor(Exit.NOT_RUNNING, "--try")
        self.assertEqual(found["tried"][0], "claude: 2.1.332")
        self.assertIn("claude.queue: ~/queue --version: exit status 3", found["tried"][1])

    def test_a_missing_node_is_seen_today(self) -> None:
        node = self.program("#!/bin/sh\necho v22.1.0\n", ".nvm/versions/node/v22.1.0/bin/node")
        agent = self.program("#!/usr/bin/env node\n", ".nvm/versions/node/v22.1.0/bin/claude")
        self.configure(self.revive(agent))
        variables = {"PATH": self.place.path("bin")}
        found = self.doctor(Exit.NOT_RUNNING, "--try", variables=variables)
        self.assertIn("exit status 127", found["tried"][0])
        self.assertIn("node", found["tried"][0])
        self.assertIn("the command of claude does not run", found["lacks"][0])
        self.assertNotIn("ready", found)
        path = f"{os.path.dirname(node)}:/usr/bin:/bin"
        self.configure(self.revive(agent, more=f'environment = {{ PATH = "{path}" }}'))
        found = self.doctor(Exit.NOT_RUNNING, "--try", variables=variables)
        self.assertEqual(found["tried"], ["claude: v22.1.0"])
        self.assertIn("ready", found)

    def test_a_missing_interpreter_is_not_a_missing_program(self) -> None:
        agent = self.program("#!/none/at/all/node\n")
        self.configure(self.revive(agent))
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertIn("the interpreter that its first line names is not there", found["lacks"][0])

    def test_nothing_is_made_or_removed(self) -> None:
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        stale = os.path.join(self.place.runtime, "palingenesis.pid")
        self.place.write("run/palingenesis.pid", "1\n")
        before = self.place.leftovers
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertEqual(found["PID file"], [os.path.join("~", "run", "palingenesis.pid")])
        self.assertEqual(self.place.leftovers, before)
        self.assertFalse(os.path.lexists(self.place.state))
        self.assertTrue(os.path.lexists(stale))

    def test_a_log_that_a_start_would_refuse_is_told(self) -> None:
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        os.mkdir(self.place.state, 0o700)
        os.symlink(self.place.write("elsewhere", ""), os.path.join(self.place.state, "twistd.log"))
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertIn("the log cannot be opened: is a symbolic link", found["log"][0])
        self.assertNotIn("ready", found)

    def test_a_session_that_has_finished_is_no_reason_to_try_its_directory(self) -> None:
        os.rmdir(self.session("gone", kind="end_turn"))
        self.configure(self.revive(self.program()))
        found = self.doctor(Exit.NOT_RUNNING, "--try")
        self.assertEqual(found["tried"], ["claude: 2.1.332"])
        self.assertIn("ready", found)

    def test_a_command_without_a_home_is_not_called_none(self) -> None:
        self.configure(self.revive(self.program(), "codex"))
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertIn("no command is named for claude", found["lacks"][0])
        os.rename(self.place.path(".claude"), self.place.path(".other"))
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertEqual(found["lacks"], ["no agent's directory is there to monitor"])

    def test_a_configuration_with_a_mistake_is_told(self) -> None:
        self.configure("[sessions]\nquiet = 'x'\n")
        found = self.doctor(Exit.NOT_RUNNING, "--try")
        self.assertIn("sessions.quiet", found["lacks"][0])

    def test_the_notification_is_sent_once(self) -> None:
        got = self.place.path("got")
        notify = self.program(f'#!/bin/sh\necho "$PALINGENESIS_SUMMARY" >> {got}\n', "notify")
        self.configure(self.revive(self.program()) + f'[notify]\ncommand = ["{notify}"]\n')
        found = self.doctor(Exit.NOT_RUNNING, "--try")
        told = "palingenesis: needs you: nothing, this is a test"
        self.assertEqual(found["notify"], [notify, f"sent: {told}"])
        with open(got, encoding="utf-8") as file:
            self.assertEqual(file.read(), f"{told}\n")
        self.doctor(Exit.NOT_RUNNING)
        with open(got, encoding="utf-8") as file:
            self.assertEqual(file.read(), f"{told}\n")

    def test_programs_see_the_trials_too(self) -> None:
        self.configure(self.revive(self.program()))
        done = self.run_command("doctor", "--try", "--json")
        rows = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
        self.assertEqual(rows["tried"]["value"], "claude: 2.1.332")
        self.assertEqual(rows["ready"]["level"], "good")


class WithDaemonTests(TrialTestCase):
    def started(self, text: str, **variables: str) -> None:
        self.configure(text)
        self.place.daemon(environment=variables).wait_for_log("This daemon is the keeper")

    def test_the_environment_is_the_daemons_own(self) -> None:
        app = self.session("app")
        self.started(self.revive(self.program()), KEY="of the daemon")
        found = self.doctor(Exit.DONE, "--try", variables={"KEY": "of the shell"})
        self.assertEqual(found["tried"], ["claude in ~/app: 2.1.332"])
        self.assertEqual(found["verdict"], ["the daemon runs and would bring sessions back"])
        self.assertEqual(self.told(), [f"{app} unset of the daemon unset"])

    def test_a_directory_in_which_the_program_fails_is_named(self) -> None:
        self.session("app")
        self.place.write("app/broken", "")
        self.started(self.revive(self.program()))
        found = self.doctor(Exit.ERROR_REPLY, "--try")
        self.assertIn("claude in ~/app: ~/agent --version: exit status 126", found["tried"][0])
        self.assertIn("No version is set here", found["verdict"][0])

    def test_a_directory_that_is_gone_is_named(self) -> None:
        os.rmdir(self.session("app"))
        self.started(self.revive(self.program()))
        found = self.doctor(Exit.ERROR_REPLY, "--try")
        self.assertIn("app: No such file or directory", found["verdict"][0])

    def test_a_notification_that_fails_is_no_good_verdict(self) -> None:
        notify = self.program("#!/bin/sh\necho no route; exit 5\n", "notify")
        self.started(self.revive(self.program()) + f'[notify]\ncommand = ["{notify}"]\n')
        found = self.doctor(Exit.ERROR_REPLY, "--try")
        told = "[notify] command: exit status 5, and printed: no route"
        self.assertEqual(found["notify"][-1], told)
        self.assertEqual(found["verdict"], ["the daemon is healthy, but cannot notify you"])

    def test_a_notification_without_its_program_keeps_no_session_from_coming_back(self) -> None:
        self.started(self.revive(self.program()) + "[notify]\ncommand = ['/none/at/all']\n")
        found = self.doctor(Exit.ERROR_REPLY)
        self.assertEqual(found["verdict"], ["the daemon is healthy, but cannot notify you"])
        self.assertNotIn("lacks", found)

    def test_nothing_is_tried_in_an_environment_that_is_not_known(self) -> None:
        needy = self.program('#!/bin/sh\ntest -n "$KEY"\n', "needy")
        text = self.revive(needy, more="environment = { KEY = 'x' }")
        self.started(text)
        self.assertNotIn("lacks", self.doctor(Exit.DONE))
        self.configure(f"{text}typo = 1\n")
        found = self.doctor(Exit.ERROR_REPLY, "--try")
        self.assertIn("the configuration has a mistake", found["verdict"][0])
        self.assertNotIn("lacks", found)
        self.assertNotIn("tried", found)

    def test_an_application_has_nothing_to_try(self) -> None:
        self.place.application()
        found = self.doctor(Exit.ERROR_REPLY, "--socket", self.path, "--try")
        self.assertEqual(found["tried"], ["nothing, since this daemon has no monitor"])


class MistakeTests(TrialTestCase):
    """Each mistake is told in one line, before the night."""

    def warnings(self, **how: object) -> list[str]:
        done = self.run_command("config", "check", **how)  # type: ignore[arg-type]
        self.assertEqual(done.returncode, Exit.DONE)
        return done.stderr.decode().splitlines()

    def test_an_unknown_placeholder_is_a_mistake(self) -> None:
        self.configure('[revive.claude]\ncommand = ["claude", "{id}", "{promt}"]\n')
        said = self.assert_fails(Exit.USAGE, "config", "check")
        self.assertIn("unknown placeholder {promt}", said)
        self.assertIn("{promt}", self.doctor(Exit.NOT_RUNNING)["config"][0])

    def test_a_missing_program_is_a_mistake(self) -> None:
        self.configure(self.revive("/none/claude"))
        (said,) = self.warnings()
        self.assertIn("revive.claude.command: /none/claude: no such program", said)
        found = self.doctor(Exit.NOT_RUNNING)
        self.assertIn("/none/claude: no such program", found["lacks"][0])

    def test_an_unreadable_home_is_a_mistake(self) -> None:
        os.chmod(self.place.path(".claude"), 0o000)
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        found = self.doctor(Exit.NOT_RUNNING, preexec_fn=obey_modes)
        self.assertEqual(found["lacks"], ["~/.claude cannot be read"])

    def test_a_second_account_that_nothing_monitors(self) -> None:
        work = self.home("-work")
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        (said,) = self.warnings()
        self.assertIn(f"{work} is a home of claude that is not monitored", said)
        (told,) = self.doctor(Exit.NOT_RUNNING)["warning"]
        self.assertIn("name it in [homes.NAME]", told)

    def test_a_second_account_that_only_the_shell_names(self) -> None:
        other = self.place.path("other")
        os.mkdir(other)
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        self.place.daemon()
        found = self.doctor(Exit.DONE, variables={"CLAUDE_CONFIG_DIR": other})
        self.assertIn(f"{other} is a home of claude that is not monitored", found["warning"][0])

    def test_a_second_account_that_a_command_of_the_first_would_use(self) -> None:
        other = self.place.path("other")
        self.configure(
            self.revive(
                self.program("#!/bin/sh\n"),
                more=f'environment = {{ CLAUDE_CONFIG_DIR = "{other}" }}',
            )
        )
        (said,) = self.warnings()
        self.assertIn(f"CLAUDE_CONFIG_DIR leads to {other}, but the sessions are in", said)

    def test_a_second_account_without_a_command(self) -> None:
        work = self.home("-work")
        self.configure(
            f'[homes.work]\nagent = "claude"\ndirectory = "{work}"\n'
            + self.revive(self.program("#!/bin/sh\n"))
        )
        (said,) = self.warnings()
        self.assertIn("[revive.work] names no command, so it is only monitored", said)
        self.assertIn(said.partition("warning: ")[2], self.doctor(Exit.NOT_RUNNING)["warning"])

    def test_a_notify_command_that_fails_is_a_mistake(self) -> None:
        self.configure(
            self.revive(self.program("#!/bin/sh\n")) + '[notify]\ncommand = ["no-such-notifier"]\n'
        )
        (said,) = self.warnings()
        self.assertIn("notify.command: no-such-notifier: no such program", said)
        self.assertIn("no-such-notifier", self.doctor(Exit.NOT_RUNNING)["warning"][0])

    def test_a_state_directory_that_is_read_only(self) -> None:
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        os.mkdir(self.place.state, 0o500)
        found = self.doctor(Exit.NOT_RUNNING, preexec_fn=obey_modes)
        self.assertIn("nothing can be recorded or started", found["lacks"][0])
        self.assertIn("cannot be written; give --state DIR", found["log"][0])

    def test_a_state_directory_that_is_read_only_under_a_daemon(self) -> None:
        self.configure(self.revive(self.program("#!/bin/sh\n")))
        os.mkdir(self.place.state, 0o500)
        self.place.daemon(preexec_fn=obey_modes)
        found = self.doctor(Exit.ERROR_REPLY)
        self.assertIn("no session back: nothing can be recorded or started", found["verdict"][0])


class AttemptTests(TrialTestCase):
    def attempt(self, script: str, limit: float = PATIENCE) -> tuple[str | None, str]:
        outcome = attempt([self.program(f"#!/bin/sh\n{script}\n")], os.environ, limit)
        return outcome.trouble, outcome.output

    def test_how_it_ends_is_told(self) -> None:
        self.assertEqual(self.attempt("echo 1.0"), (None, "1.0"))
        self.assertEqual(self.attempt("exit 3"), ("exit status 3", ""))
        self.assertEqual(self.attempt("kill -9 $$"), ("ended by signal 9", ""))

    def test_what_it_leaves_behind_holds_up_nobody(self) -> None:
        began = time.monotonic()
        pid = self.place.path("pid")
        self.assertEqual(self.attempt(f"sleep 600 & echo $! > {pid}; echo 1.0"), (None, "1.0"))
        self.assertLess(time.monotonic() - began, PATIENCE)
        with open(pid, encoding="utf-8") as file:
            os.kill(int(file.read()), signal.SIGKILL)

    def test_at_the_limit_its_children_end_too(self) -> None:
        pid = self.place.path("pid")
        trouble, _ = self.attempt(f"sleep 600 & echo $! > {pid}; wait", limit=0.5)
        self.assertEqual(trouble, "took longer than 0.5 seconds and was killed")
        with open(pid, encoding="utf-8") as file:
            child = int(file.read())

        def is_gone() -> bool:
            try:
                with open(f"/proc/{child}/stat", encoding="ascii") as file:
                    return file.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                return True

        wait_until(is_gone, "its child ends")

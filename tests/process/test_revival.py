"""The real daemon brings sessions of stand-in agents back: every rule, and every way to end."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

from palingenesis.monitor.keeper import LOCK_NAME
from palingenesis.monitor.ledger import LEDGER_NAME
from palingenesis.monitor.processes import look_at
from palingenesis.monitor.revive import OUTPUT_DIRECTORY
from tests.support.agents import AGENTS, RESUME, AgentTestCase
from tests.support.cases import COMMAND
from tests.support.patience import wait_until


class ComingBackTests(AgentTestCase):
    def test_a_session_of_each_agent_that_hits_a_limit_comes_back_by_itself(self) -> None:
        daemon = self.monitor()
        for agent in AGENTS:
            self.begin(agent, "limit:2", "finish", agent=agent).wait()
        for agent in AGENTS:
            self.wait_for_session(agent, state="stopped", kind="finished", attempts=0)
            (_, run) = self.runs(agent)
            self.assertEqual(run["arguments"][-2:], [self.id_of(agent), "continue"])
            self.assertEqual(run["directory"], self.place.path(f"project-{agent}"))
            self.assertTrue(run["leads"])
        status = self.reply("STATUS")
        self.assertEqual((status["total_resumes"], status["saves_count"]), (2, 2))
        self.assertEqual(status["sessions"], {"stopped": 2})
        self.assert_stops_cleanly(daemon)

    def test_a_revival_waits_for_the_reset_and_tells_when_that_is(self) -> None:
        self.monitor()
        self.begin("s", "limit:2", "finish").wait()
        told = self.wait_for_session("s", state="waiting", kind="limit", held="not-due")
        # STATUS counts when a look is over, SESSIONS tells each session as it is judged.
        wait_until(lambda: self.reply("STATUS")["next_revival"] == told["due"], "STATUS tells when")
        self.wait_for_session("s", kind="finished")
        self.assertGreaterEqual(self.runs("s")[1]["at"], told["due"])

    def test_the_ledger_tells_it_as_a_story(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "finish").wait()
        entries = self.wait_for_event("ended")
        self.assertEqual(
            [entry["event"] for entry in entries],
            ["stopped", "intent", "started", "worked", "ended"],
        )
        self.assertEqual({entry["session"] for entry in entries}, {self.id_of("s")})
        self.assertEqual(entries[2]["pid"], self.runs("s")[1]["pid"])

    def test_a_directory_with_characters_that_cannot_be_shown_is_one_like_any_other(self) -> None:
        odd = {"space": "\xa0", "joined": "\N{MAN}\u200d\N{PERSONAL COMPUTER}", "private": "\ue000"}
        told = self.place.path("told")
        script = self.place.write("tell", f'#!/bin/sh\necho "$PALINGENESIS_SUMMARY" >> {told}\n')
        os.chmod(script, 0o755)
        homes = {"claude": f"claude-{odd['space']}", "codex": f"codex-{odd['private']}"}
        for agent, name in homes.items():
            os.rename(self.place.path(agent), self.place.path(name))
        config = Path(self.configure(notify=[script]))
        project = self.place.path(f"project-{odd['private']}")
        lines = [config.read_text(encoding="utf-8")]
        for agent, name in homes.items():
            directory = json.dumps(self.place.path(name), ensure_ascii=False)
            lines += [f"[homes.{agent}-2]", f'agent = "{agent}"', f"directory = {directory}"]
            lines += [f"[revive.{agent}-2]", f"command = {json.dumps(RESUME[agent])}"]
        lines += ["[[projects]]", f"directory = {json.dumps(project, ensure_ascii=False)}"]
        lines += ['prompt = "for this project"']
        config.write_text("\n".join(lines), encoding="utf-8")
        variables = {
            **self.variables,
            "CLAUDE_CONFIG_DIR": self.place.path(homes["claude"]),
            "CODEX_HOME": self.place.path(homes["codex"]),
        }
        self.patch(type(self), "variables", variables)
        daemon = self.start_daemon(str(config))
        for name, character in odd.items():
            directory = self.place.path(f"project-{character}")
            self.begin(name, "limit:1", "finish", directory=directory).wait()
        for name, character in odd.items():
            shown = self.wait_for_session(name, kind="finished", state="stopped")
            self.assertEqual(shown["directory"], self.place.path(f"project-{character}"))
            self.assertEqual(self.runs(name)[1]["directory"], shown["directory"])
        self.assertEqual(self.runs("private")[1]["arguments"][-1], "for this project")
        environment = self.place.environment(**variables)
        for command in ("sessions", "log", "report", "status", "doctor"):
            done = subprocess.run([*COMMAND, command], env=environment, capture_output=True)
            text = done.stdout.decode() + done.stderr.decode()
            self.assertTrue(text.replace("\n", "").isprintable(), text)
            if command in ("sessions", "log"):
                for escaped in ("\\xa0", "\\u200d", "\\ue000"):
                    self.assertIn("project-", text)
                    self.assertIn(escaped, text)
        wait_until(lambda: Path(told).read_text().count("works again") == 3, "three are told")
        self.assertIn("project-\\ue000: works again", Path(told).read_text())
        self.assertTrue(daemon.log.replace("\n", "").isprintable(), daemon.log)

    def test_a_commands_umask_is_the_users(self) -> None:
        config = self.configure()
        daemon = self.place.daemon("--config", config, environment=self.variables, umask=0o027)
        self.begin("s", "limit:1", "finish").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(self.runs("s")[1]["umask"], 0o027)
        self.assert_stops_cleanly(daemon)

    def test_a_person_is_told(self) -> None:
        told = self.place.path("told")
        script = self.place.write("tell", f"#!/bin/sh\ncat > {told}.new && mv {told}.new {told}\n")
        os.chmod(script, 0o755)
        self.monitor(notify=[script])
        self.begin("s", "limit:1", "finish").wait()
        wait_until(lambda: os.path.exists(told), "the event is told")
        with open(told, encoding="utf-8") as file:
            event = json.load(file)
        self.assertEqual((event["event"], event["session"]), ("worked", self.id_of("s")))


class NeverTests(AgentTestCase):
    """The rules that nothing may break."""

    def assert_left_alone(self, *sessions: str, runs: int = 1) -> None:
        """Check that nothing is started in sessions which were due long ago."""
        self.wait_for_looks()
        for session in sessions:
            self.assertEqual(len(self.runs(session)), runs, self.session(session))

    def test_a_living_session_never_gets_a_second_process(self) -> None:
        self.monitor()
        for agent in AGENTS:
            self.begin(agent, "alive:1", "finish", agent=agent)
        for agent in AGENTS:
            self.wait_for_session(agent, state="stopped", kind="limit", held="owner-alive")
        self.assert_left_alone(*AGENTS)
        for agent in AGENTS:
            self.kill_run(agent)
        self.wait_for_session("claude", kind="finished")

    def test_what_has_a_session_is_named_and_the_session_is_left_alone(self) -> None:
        self.monitor()
        agents = {"named": "claude", "opened": "codex", "supervised": "claude"}
        for session, agent in agents.items():
            self.begin(session, "limit:4", "finish", agent=agent).wait()
            self.wait_for_session(session, kind="limit")
        path = {session: self.session(session)["transcript"] for session in agents}
        program = shutil.copy(os.path.realpath("/bin/sh"), self.place.path("codex-copy"))
        children = {
            "named": self.waiting("/bin/sh", "x", path["named"]),
            "opened": self.waiting("codex", opened=path["opened"], program=program),
            "supervised": self.waiting("/bin/sh"),
        }
        self.supervise("supervised", children["supervised"].pid)
        for session, words in (
            ("named", "pid {} (sh)"),
            ("opened", "pid {} (codex-copy)"),
            ("supervised", "Claude's supervisor, pid {}"),
        ):
            owner = "server" if session == "supervised" else "program"
            who = words.format(children[session].pid)
            self.wait_for_session(session, held="owner-alive", owner=owner, who=who)
        self.assert_left_alone(*agents)
        for session, child in children.items():
            child.kill()
            child.wait()
            self.wait_for_session(session, kind="finished")

    def waiting(
        self, *command: str, opened: str = os.devnull, program: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a shell that has a file open, and waits."""
        name, *arguments = command
        child = subprocess.Popen(
            [name, "-c", 'exec 3>>"$OPENED"; echo; read line', *arguments],
            executable=program,
            cwd="/",
            env={"OPENED": opened},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(child.__exit__, None, None, None)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    def supervise(self, session: str, pid: int) -> None:
        """Write what Claude Code's supervisor writes of itself and of a session."""
        process = look_at(pid)
        assert process is not None
        status = {"supervisorPid": pid, "supervisorProcStart": process.start}
        job = {"state": "working", "backend": "daemon", "sessionId": self.id_of(session)}
        name = f"claude/jobs/{self.id_of(session)[:8]}/state.json"
        for path, value in (("claude/daemon.status.json", status), (name, job)):
            os.makedirs(os.path.dirname(self.place.path(path)), exist_ok=True)
            with open(self.place.path(path), "w") as file:
                json.dump(value, file)

    def test_a_stop_is_never_acted_on_twice_though_the_daemon_is_killed(self) -> None:
        daemon = self.monitor()
        self.begin("s", "limit:1", "work").wait()
        self.wait_for_event("worked")
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        self.assert_left_alone("s", runs=2)
        self.assertEqual(self.story().count("intent"), 1)

    def test_a_revival_that_outlives_its_daemon_is_found_again(self) -> None:
        daemon = self.monitor()
        self.begin("s", "limit:1", "hang", "finish").wait()
        self.wait_for_event("started")
        wait_until(lambda: len(self.runs("s")) == 2, "the command runs")
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        self.wait_for_session("s", state="reviving")
        self.assert_left_alone("s", runs=2)
        self.kill_run("s")
        self.wait_for_session("s", kind="finished")
        failed = next(e for e in self.reply("LOG 100") if e["event"] == "failed")
        self.assertIsNone(failed["exit"])

    def test_a_crash_is_revived_only_if_the_configuration_says_so(self) -> None:
        self.monitor()
        self.begin("s", "killed", "finish").wait()
        self.wait_for_session("s", state="stopped", kind="died", held="crashes")
        self.assert_left_alone("s")
        self.configure(crashes=True)
        self.assertEqual(self.ask(b"RELOAD\n"), b"OK\n")
        self.wait_for_session("s", kind="finished")

    def test_a_crash_behind_a_huge_record_is_revived(self) -> None:
        self.monitor(crashes=True)
        self.begin("s", "huge", "finish").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)

    def test_nothing_is_revived_while_paused_and_a_kill_ends_no_pause(self) -> None:
        daemon = self.monitor()
        self.begin("s", "limit:2", "finish").wait()
        self.assertEqual(self.ask(b"PAUSE\n"), b"OK\n")
        self.wait_for_session("s", kind="limit", held="paused")
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        self.assertEqual(self.reply("STATUS")["state"], "paused")
        self.wait_for_session("s", kind="limit", held="paused")
        due = self.session("s")["due"]
        wait_until(lambda: time.time() > due, "the session is due")
        self.assert_left_alone("s")
        self.assertEqual(self.ask(b"RESUME\n"), b"OK\n")
        self.wait_for_session("s", kind="finished")
        self.assertRegex(
            next(e["by"] for e in self.reply("LOG 100") if e["event"] == "paused"),
            rf"uid {os.getuid()}, pid {os.getpid()}|an unknown client",
        )

    def test_a_daemon_that_is_not_the_keeper_revives_nothing(self) -> None:
        self.monitor()
        pid = self.reply("STATUS")["pid"]
        other = self.place.path("other.sock")
        self.place.pidfile = self.place.path("other.pid")
        config = self.place.path("c.toml")
        second = self.place.daemon(
            "--config", config, "--socket", other, environment=self.variables
        )
        self.assertEqual(json.loads(self.ask(path=other))["keeper"], pid)
        self.begin("s", "limit:1", "finish").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(second.stop(), 0)

    def test_no_word_of_a_conversation_is_logged(self) -> None:
        daemon = self.monitor(prompt="Secret words.")
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="finished")
        daemon.stop()
        with open(os.path.join(self.state, LEDGER_NAME), encoding="utf-8") as file:
            self.assertNotIn("Secret", file.read())
        self.assertNotIn("Secret", daemon.log + daemon.stderr)

    def test_no_file_of_the_monitor_is_open_to_others(self) -> None:
        self.monitor()
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="finished")
        modes = {
            os.path.relpath(os.path.join(directory, name), self.state): stat.S_IMODE(
                os.stat(os.path.join(directory, name)).st_mode
            )
            for directory, directories, files in os.walk(self.state)
            for name in directories + files
        }
        self.assertEqual(modes.pop(OUTPUT_DIRECTORY), 0o700)
        self.assertEqual(set(modes.values()), {0o600})
        self.assertGreaterEqual(set(modes), {LEDGER_NAME, LOCK_NAME})


class BadSurroundingsTests(AgentTestCase):
    def test_a_program_that_is_missing_is_said(self) -> None:
        daemon = self.monitor(revive={"claude": ["no-such-agent", "{id}"]})
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", held="no-binary")
        daemon.wait_for_log("no-such-agent: no such program")
        trouble = self.reply("INSPECT")["commands"]["claude"]["trouble"]
        self.assertIn("no-such-agent", trouble)

    def test_a_ledger_that_cannot_be_written_starts_nothing_and_is_told(self) -> None:
        self.monitor()
        self.assertEqual(self.reply("STATUS")["ledger"], "ok")
        path = os.path.join(self.state, LEDGER_NAME)
        os.rename(path, f"{path}.elsewhere")
        os.mkdir(path)
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", held="ledger")
        self.assertIn(LEDGER_NAME, self.reply("STATUS")["ledger"])
        self.assertIn(b"ERR: Paused, but not for after a restart: ", self.ask(b"PAUSE\n"))
        self.assertEqual(self.reply("STATUS")["state"], "paused")

    def test_a_file_in_the_place_of_the_output_starts_nothing_counts_nothing_and_is_told(
        self,
    ) -> None:
        os.mkdir(self.state, 0o700)
        path = os.path.join(self.state, OUTPUT_DIRECTORY)
        with open(path, "w"):
            pass
        daemon = self.monitor()
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", held="ledger", attempts=0)
        self.assertIn(f"{path}: not a directory", self.reply("STATUS")["ledger"])
        daemon.wait_for_log(f"Nothing is revived: {path}: not a directory")
        self.assertEqual(self.story(), ["stopped"])
        os.unlink(path)
        self.wait_for_session("s", kind="finished")
        self.assertEqual(self.reply("STATUS")["ledger"], "ok")

    def test_a_state_directory_that_lets_others_in_starts_nothing_and_is_told(self) -> None:
        os.mkdir(self.state)
        os.chmod(self.state, 0o755)
        self.monitor()
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="limit", held="ledger")
        self.assertIn("0755", self.reply("STATUS")["ledger"])
        self.assertIn("chmod 700", self.reply("STATUS")["ledger"])

    def test_what_a_scan_misses_is_told_and_hides_no_session_of_another_home(self) -> None:
        projects = self.place.path("claude", "projects")
        os.symlink(projects, projects)
        self.monitor()
        self.begin("s", "limit:0", "finish", agent="codex").wait()
        self.wait_for_session("s", kind="finished")
        warning = f"{projects}: cannot be read: "
        self.assertIn(warning, self.reply("STATUS")["scan"])
        environment = self.place.environment(**self.variables)
        done = subprocess.run([*COMMAND, "doctor"], env=environment, capture_output=True, text=True)
        self.assertIn(f"\nscan       {warning}", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_a_configuration_that_is_wrong_changes_nothing(self) -> None:
        self.monitor()
        self.configure(interval=-1)
        reply = self.ask(b"RELOAD\n").decode()
        self.assertIn("sessions.interval: expected a number of seconds above 0", reply)
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="finished")
        self.assertIn("sessions.interval", self.reply("INSPECT")["configuration"]["mistake"])

    def test_a_start_with_a_configuration_that_is_wrong_fails(self) -> None:
        config = self.configure(attempts=0)
        process = self.place.twistd("--config", config, environment=self.variables)
        self.assert_refused(process, "sessions.attempts: expected a whole number")

    def test_the_state_directory_can_be_named(self) -> None:
        config = self.configure()
        state = self.place.path("elsewhere")
        self.place.daemon("--config", config, "--state", state, environment=self.variables)
        self.assertEqual(self.reply("INSPECT")["state_directory"], state)
        self.assertTrue(os.path.exists(os.path.join(state, LOCK_NAME)))
        self.assertFalse(os.path.exists(self.state))

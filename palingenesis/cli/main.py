"""The ``palingenesis`` command, with which an operator controls a daemon."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from types import SimpleNamespace

from palingenesis.cli.command import CliCommand
from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import complain, json_line, table_lines
from palingenesis.client.blocking import ControlClient
from palingenesis.client.errors import ClientError, NotRunning
from palingenesis.client.exchange import DEFAULT_TIMEOUT
from palingenesis.client.location import find_socket
from palingenesis.paths import PathError
from palingenesis.text import in_short
from palingenesis.words import Key, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import NoReturn, TextIO

    from palingenesis.cli.live import View
    from palingenesis.cli.outcome import Report

#: Seconds that a prompt or a status bar waits for an answer by default.
SHORT_TIMEOUT = 2.0
#: Seconds between two refreshes of ``--watch``, by default.
WATCH_INTERVAL = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status."""
    # Closed by our parent. The next file opened would have their descriptor: let it be this.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        return _run(arguments)
    finally:
        # Now: at exit, a standard error that cannot be written to would change the status.
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _run(arguments: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
            return COMMANDS[options.command].run(options)
        finally:
            # Now: at exit, Python itself would complain about a closed pipe.
            sys.stdout.flush()
    except ClientError as error:
        complain(str(error))
        return exit_status(error)
    except PathError as error:
        complain(str(error))
        return Exit.USAGE
    except BrokenPipeError:
        _discard(sys.stdout)
        return Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:
        # The others are handled where they happen: one without a file is the output, a full disk.
        what = "write the output" if error.filename is None else f"use {error.filename}"
        complain(f"cannot {what}: {in_short(error)}")
        _discard(sys.stdout)
        return Exit.NO_ANSWER


def _parsed(words: list[str]) -> Namespace:
    # For a prompt or a status bar, again and again: argparse takes a fifth of the time.
    socket, rest = None, words
    if len(words) > 2 and words[0] == "--socket" and words[1][:1] not in ("", "-"):
        socket, rest = words[1], words[2:]
    if rest in (["status"], ["status", "--short"]):
        return SimpleNamespace(  # type: ignore[return-value]
            command="status", short=len(rest) > 1, json=False, watch=None, socket=socket,
            timeout=None,
        )  # fmt: skip
    from palingenesis.cli.parser import make_parser

    # Only the parser of the command, which is made much sooner than those of all.
    name = words[0] if words else ""
    commands = {name: COMMANDS[name]} if name in COMMANDS else COMMANDS
    return make_parser(commands).parse_args(words)


def _client(options: Namespace, default: float = DEFAULT_TIMEOUT) -> ControlClient:
    return ControlClient(options.socket, _timeout(options, default))


def _timeout(options: Namespace, default: float = DEFAULT_TIMEOUT) -> float:
    return default if options.timeout is None else float(options.timeout)


def _status(options: Namespace) -> Exit:
    from palingenesis.cli.status import StatusView

    if options.short:
        return _short_status(options)
    return _show(StatusView(_client(options), _colour()), options)


def _short_status(options: Namespace) -> Exit:
    from palingenesis.cli.status import ASCII_MARKS, MARKS, short

    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    try:
        status = _client(options, SHORT_TIMEOUT).status()
    except NotRunning:
        return Exit.DONE  # A prompt then shows nothing.
    print(short(status, MARKS if is_unicode else ASCII_MARKS))
    return Exit.DONE


def _add_status_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--short",
        action="store_true",
        help=f"print a few characters, for a prompt (default timeout: {SHORT_TIMEOUT:g})",
    )
    _add_view_options(parser)


def _sessions(options: Namespace) -> Exit:
    from palingenesis.cli.sessions import SessionsView

    # The live view scrolls through all of them.
    everything = options.all or (options.watch is not None and _on_terminal())
    chosen = ((Key.STATE, options.state), (Key.AGENT, options.agent))
    filters = [f"{key}={value}" for key, value in chosen if value is not None]
    return _show(SessionsView(_client(options), _colour(), filters, everything), options)


def _add_sessions_options(parser: ArgumentParser) -> None:
    from palingenesis.agents import CONTINUE

    # Plain strings, since argparse shows the choices by their repr.
    states = tuple(map(str, State))
    parser.add_argument("--state", choices=states, help="show only sessions in this state")
    parser.add_argument("--agent", choices=tuple(CONTINUE), help="show only sessions of this agent")
    parser.add_argument(
        "--all", action="store_true", help="show all sessions, not only the most urgent"
    )
    _add_view_options(parser)


def _show(view: View, options: Namespace) -> Exit:
    if options.watch is not None:
        return _live(view, options)
    if options.json:
        sys.stdout.buffer.write(json_line(view.line()))
    else:
        print("\n".join(view.lines()))
    return Exit.DONE


def _live(view: View, options: Namespace) -> NoReturn:
    from palingenesis.cli.live import print_json, print_lines, show_screen

    if options.json:
        print_json(view, options.watch)
    elif _on_terminal():
        show_screen(view, options.watch, _colour())
    else:
        print_lines(view, options.watch)


def _add_json_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the daemon's reply as JSON")


def _add_view_options(parser: ArgumentParser) -> None:
    from palingenesis.cli.parser import seconds

    _add_json_option(parser)
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=seconds,
        const=WATCH_INTERVAL,
        help="refresh it every SECONDS (%(const)g), until interrupted",
    )


def _log(options: Namespace) -> Exit:
    from palingenesis.cli.log import follow, log_filter, log_lines
    from palingenesis.cli.monitor import LOG, list_line

    client = _client(options)
    filters = log_filter(options.number, options.since, options.session)
    if options.follow:
        follow(client, filters, options.json)
    if options.json:
        sys.stdout.buffer.write(json_line(list_line(client, LOG, *filters)))
    else:
        print("\n".join(log_lines(client, filters)))
    return Exit.DONE


def _add_log_options(parser: ArgumentParser) -> None:
    from palingenesis.cli.parser import number_of_entries, past_time

    parser.add_argument(
        "-n",
        metavar="N",
        dest="number",
        type=number_of_entries,
        help="show the last N entries (default: 20)",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="print each new entry, until interrupted"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=past_time,
        help="show entries since a local time, such as 22:00",
    )
    parser.add_argument("--session", metavar="ID", help="show entries of one session, by its id")
    _add_json_option(parser)


def _steer(options: Namespace) -> Exit:
    from palingenesis.cli.steer import steer

    return steer(_client(options), options.command, options.id)


def _add_id(parser: ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="ID", help="the session's id, or at least its first 4 characters"
    )


def _output(options: Namespace) -> Exit:
    from palingenesis.cli.output import output

    return output(_client(options), options.id)


def _pause(options: Namespace) -> Exit:
    if options.end:
        from palingenesis.cli.steer import pause_and_end

        return pause_and_end(_client(options))
    _client(options).pause()
    print("paused")
    return Exit.DONE


def _add_pause_options(parser: ArgumentParser) -> None:
    parser.add_argument("--end", action="store_true", help="also end each revival that runs")


def _resume(options: Namespace) -> Exit:
    _client(options).resume()
    print("resumed")
    return Exit.DONE


def _reload(options: Namespace) -> Exit:
    _client(options).reload()
    print("reloaded")
    return Exit.DONE


def _commands(options: Namespace) -> Exit:
    commands = _client(options).commands()
    if options.json:
        import json

        print(json.dumps(commands))
    else:
        print("\n".join(table_lines(commands)))
    return Exit.DONE


def _add_commands_options(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object: usage to summary")


def _send(options: Namespace) -> Exit:
    try:
        line = _client(options).send_line(options.name, *options.arguments)
    except ValueError as error:
        complain(str(error))
        return Exit.USAGE
    sys.stdout.buffer.write(json_line(line))
    return Exit.DONE


def _add_send_options(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the command's name, in upper or lower case")
    # Without a default, an error would name the arguments among those that are required.
    parser.add_argument(
        "arguments",
        metavar="ARGUMENT",
        nargs="*",
        default=[],
        help="its arguments, if it takes any",
    )


def _web(options: Namespace) -> Exit:
    from palingenesis.cli.web import web

    return web(_client(options), options)


def _add_web_options(parser: ArgumentParser) -> None:
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--open", action="store_true", help="also open it in a browser")
    actions.add_argument("--close", action="store_true", help="close the page again")
    actions.add_argument("--revoke", action="store_true", help="end every browser's session")
    parser.add_argument("--json", action="store_true", help="print the daemon's reply as JSON")


def _metrics(options: Namespace) -> Exit:
    from palingenesis.cli.web import print_metrics

    return print_metrics(_client(options))


def _path(options: Namespace) -> Exit:
    # In the file system's own bytes, so that a script can use any path.
    sys.stdout.buffer.write(os.fsencode(find_socket(options.socket).path) + b"\n")
    return Exit.DONE


def _completion(options: Namespace) -> Exit:
    from palingenesis.cli.completion import completion

    print(completion(options.shell), end="")
    return Exit.DONE


def _add_completion_options(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the name of the shell")


def _doctor(options: Namespace) -> Exit:
    if options.report:
        from palingenesis.cli.facts import report

        return report()
    from palingenesis.cli.doctor import examine

    return examine(options.socket, _timeout(options), _colour(), options.json, options.tries)


def _add_doctor_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--try",
        dest="tries",
        action="store_true",
        help="run each program with --version where it would run, and send one notification",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="print versions and facts about this system, without anything private",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object, with each row")


def _start(options: Namespace) -> Exit:
    from palingenesis.cli.start import start

    chosen = (options.socket, options.config, options.state, options.timeout, options.foreground)
    return start(*chosen, _outcome(options))


def _outcome(options: Namespace) -> Report:
    from palingenesis.cli import outcome

    return outcome.as_json if options.json else outcome.in_words


def _add_start_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--foreground", action="store_true", help="stay in the foreground, and log to the terminal"
    )
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--state", metavar="DIR", help="the state directory")
    _add_outcome_option(parser)


def _add_outcome_option(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object: pid and socket")


def _stop(options: Namespace) -> Exit:
    from palingenesis.cli.stop import stop

    if options.json:
        return stop(options.socket, options.timeout, _outcome(options))
    return stop(options.socket, options.timeout)


def _restart(options: Namespace) -> Exit:
    from palingenesis.cli.restart import restart

    return restart(options.socket, options.timeout, _outcome(options))


def _notify(options: Namespace) -> Exit:
    from palingenesis.cli.notify import run

    return run(options)


def _add_notify_options(parser: ArgumentParser) -> None:
    from palingenesis.cli.notify import add_options

    add_options(parser)


def _config(options: Namespace) -> Exit:
    from palingenesis.cli.config import run

    return run(options)


def _add_config_options(parser: ArgumentParser) -> None:
    from palingenesis.cli.parser import add_command

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_command(actions, "init", "write a configuration file with what is found on this system")
    show = add_command(actions, "show", "show each value, and where it comes from")
    show.add_argument(
        "--json", action="store_true", help="print a JSON object: key to value and source"
    )
    check = add_command(actions, "check", "check the file, and report every mistake in it")
    check.add_argument(
        "file", metavar="FILE", nargs="?", help="the file (default: the daemon's own)"
    )
    check.add_argument(
        "--json", action="store_true", help="print a JSON object: mistakes and warnings"
    )
    add_command(actions, "edit", "edit the file with $EDITOR, and check it")
    add_command(actions, "path", "print the path of the file")


def _report(options: Namespace) -> Exit:
    from palingenesis.cli.report import report

    return report(options)


def _add_report_options(parser: ArgumentParser) -> None:
    from palingenesis.cli.parser import time_of_day

    parser.add_argument(
        "--since",
        metavar="HH:MM",
        type=time_of_day,
        help="start at the last such time of day (default: 12 hours ago)",
    )
    parser.add_argument("--html", metavar="FILE", help="write a page with a picture of the night")
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--state", metavar="DIR", help="the state directory")


def _demo(_options: Namespace) -> Exit:
    from palingenesis.cli.demo import demo

    return demo(_colour())


#: Each command, in the order of the help.
COMMANDS = {
    "demo": CliCommand(_demo, "show a session that stops and comes back, in half a minute"),
    "start": CliCommand(_start, "start the daemon, and wait until it answers", _add_start_options),
    "stop": CliCommand(_stop, "stop the daemon, and wait until it has exited", _add_outcome_option),
    "restart": CliCommand(
        _restart, "stop the daemon, and start it with its options", _add_outcome_option
    ),
    "status": CliCommand(_status, "show the daemon's status", _add_status_options),
    "sessions": CliCommand(_sessions, "show the agents' sessions", _add_sessions_options),
    "log": CliCommand(_log, "show what happened to the sessions", _add_log_options),
    "output": CliCommand(_output, "print what a session's last revival printed", _add_id),
    "report": CliCommand(_report, "show what happened overnight", _add_report_options),
    "hold": CliCommand(_steer, "leave a session alone", _add_id),
    "release": CliCommand(_steer, "end a session's hold", _add_id),
    "revive": CliCommand(_steer, "revive a session now", _add_id),
    "end": CliCommand(_steer, "end a session's revival, and leave it alone", _add_id),
    "pause": CliCommand(_pause, "pause the daemon", _add_pause_options),
    "resume": CliCommand(_resume, "end the daemon's pause"),
    "reload": CliCommand(_reload, "make the daemon read its configuration again"),
    "config": CliCommand(
        _config, "write, show, check and edit the configuration", _add_config_options
    ),
    "notify": CliCommand(_notify, "post an event, or test notifications", _add_notify_options),
    "commands": CliCommand(_commands, "list the daemon's commands", _add_commands_options),
    "send": CliCommand(_send, "send any command, and print the reply", _add_send_options),
    "web": CliCommand(_web, "open the daemon's page, and print its address", _add_web_options),
    "metrics": CliCommand(_metrics, "print the daemon's metrics, for Prometheus"),
    "path": CliCommand(_path, "print the socket's path"),
    "completion": CliCommand(
        _completion, "print the completion script of a shell", _add_completion_options
    ),
    "doctor": CliCommand(
        _doctor, "find out what keeps sessions from coming back", _add_doctor_options
    ),
}


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _colour() -> bool:
    return _on_terminal() and not os.environ.get("NO_COLOR")


def _discard(stream: TextIO) -> None:
    # What is still buffered would fail again at exit, where Python complains about it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

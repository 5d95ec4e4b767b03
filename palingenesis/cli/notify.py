"""``palingenesis notify``: deliver an event to a service, and try the configured command."""

from __future__ import annotations

import json
import os
import stat
import sys
import time

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.words import Event, Key, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from palingenesis.cli.trial import Outcome

URL_VARIABLE = "PALINGENESIS_NOTIFY_URL"
TOKEN_VARIABLE = "PALINGENESIS_NOTIFY_TOKEN"  # noqa: S105 - a variable's name
#: Bytes of an event, and of a file with headers.
INPUT_LIMIT = 65_536
#: What a header's name is made of, RFC 9110, section 5.6.2.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
#: The kinds of services: the keys of `palingenesis.cli.notify_post.SHAPES`.
KINDS = ("ntfy", "slack", "discord", "json")


def add_options(parser: ArgumentParser) -> None:
    """Add the options of ``notify`` to its parser."""
    from palingenesis.cli.parser import add_command

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    posting = add_command(actions, "post", "post the event on standard input to a service")
    posting.add_argument(
        "--as", dest="kind", choices=KINDS, required=True, help="the kind of service"
    )
    posting.add_argument(
        "--header-file",
        metavar="FILE",
        help="a file of mode 0600 with headers to send, one `Name: value` a line",
    )
    posting.add_argument(
        "url", metavar="URL", nargs="?", help=f"the address to post to (default: ${URL_VARIABLE})"
    )
    trying = add_command(actions, "test", "run the command of [notify] once, with a sample event")
    trying.add_argument("--config", metavar="FILE", help="the configuration file")


def run(options: Namespace) -> Exit:
    """Carry out ``notify``."""
    if options.action == "test":
        return try_command(options.config)
    return post_event(options.kind, options.url, options.header_file)


def post_event(kind: str, url: str | None, header_file: str | None) -> Exit:
    """Post the event on standard input."""
    from palingenesis.cli.notify_post import PostError, check_url, post

    try:
        url = url or os.environ.get(URL_VARIABLE)
        if not url:
            raise ValueError(f"no URL is given; name it, or set ${URL_VARIABLE}")
        address = check_url(url)
        headers = _headers(header_file)
        event = _event(sys.stdin.buffer.read(INPUT_LIMIT + 1))
    except ValueError as error:
        complain(f"cannot post the event: {error}")
        return Exit.USAGE
    try:
        post(kind, address, _summary(event), event, headers)
    except PostError as error:
        complain(f"cannot post the event to {error}")
        return Exit.NO_ANSWER
    return Exit.DONE


def try_command(config: str | None) -> Exit:
    """Run the command of ``[notify]`` as the daemon does, and show what it prints."""
    from palingenesis.cli.config import read
    from palingenesis.monitor.settings import settings_of
    from palingenesis.paths import config_file

    path = config or config_file()
    if path is None or (config is None and not os.path.exists(path)):
        complain(f"there is no configuration file ({path}); name a command in its [notify]")
        return Exit.USAGE
    command = settings_of(read(path).tables).notify
    if not command:
        complain(f"{printable(path)}: no command is named in [notify]")
        return Exit.USAGE
    summary, outcome = send_once(command, os.environ)
    for line in outcome.output.splitlines():
        print(printable(line, MESSAGE_LIMIT))
    if outcome.trouble is not None:
        complain(f"[notify] command: {outcome.trouble}")
        return Exit.NO_ANSWER if outcome.was_run else Exit.USAGE
    print(f"sent: {summary}")
    return Exit.DONE


def send_once(command: Sequence[str], inherited: Mapping[str, str]) -> tuple[str, Outcome]:
    """
    Run the command of ``[notify]`` with a sample event.

    :param inherited: the daemon's environment.
    :returns: the text for people, and how the command ended.
    """
    from palingenesis.cli.trial import attempt
    from palingenesis.monitor import child
    from palingenesis.monitor.notify import LIMIT, SUMMARY_VARIABLE, summary_of

    event = _sample()
    summary = summary_of(event, event[Key.DIRECTORY])
    environment = child.child_environment(inherited, {SUMMARY_VARIABLE: summary})
    line = json.dumps(event).encode() + b"\n"
    return summary, attempt(command, environment, LIMIT, event=line)


def _sample() -> dict[str, Any]:
    return {
        Key.AT: time.time(),
        Key.EVENT: Event.NEEDS_YOU,
        Key.SESSION: "00000000-0000-4000-8000-000000000000",
        Key.AGENT: "claude",
        Key.KIND: Kind.ASKING,
        Key.REASON: "nothing, this is a test",
        Key.DIRECTORY: "/palingenesis",
    }


def _summary(event: dict[str, Any]) -> str:
    """Return the text for people: the digest's own, or what an entry of the ledger says."""
    from palingenesis.monitor.notify import summary_of

    text = event.get("summary")
    if isinstance(text, str):
        return "\n".join(printable(line, MESSAGE_LIMIT) for line in text.split("\n"))
    directory = event.get(Key.DIRECTORY)
    return summary_of(event, directory if isinstance(directory, str) else None)


def _event(text: bytes) -> dict[str, Any]:
    if len(text) > INPUT_LIMIT:
        raise ValueError(f"standard input has more than {INPUT_LIMIT} bytes")
    try:
        event = json.loads(text)
        if not isinstance(event, dict):
            raise TypeError
        _summary(event)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("standard input is not an event, one JSON object of [notify]") from None
    return event


def _headers(path: str | None) -> dict[str, str]:
    """Return the headers that are sent besides; no text of an error shows a part of them."""
    headers = {}
    if path is not None:
        for number, line in enumerate(_read(path).splitlines(), 1):
            if not line.strip():
                continue
            name, colon, value = line.partition(":")
            value = value.strip()
            if not colon or not name or not set(name.lower()) <= _TOKEN:
                raise ValueError(f"{path}, line {number}: expected `Name: value`")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"{path}, line {number}: expected a printable ASCII value")
            headers[name] = value
    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        if not token.isascii() or not token.isprintable():
            raise ValueError(f"${TOKEN_VARIABLE}: expected printable ASCII")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _read(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path}: not a regular file")
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise ValueError(f"{path}: others can read it; make it yours, and run chmod 600")
            return file.read(INPUT_LIMIT).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path}: {in_short(error)}") from None

"""``palingenesis web`` and ``palingenesis metrics``."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain, counted
from palingenesis.client.errors import InvalidReply
from palingenesis.text import in_short, printable
from palingenesis.trust import write_new
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping
    from typing import Any

    from palingenesis.client.blocking import ControlClient

#: The name of the file that leads the browser to the page, beside the socket.
LINK_NAME = "palingenesis-web.html"
#: Seconds in which the program that starts the browser may fail.
BROWSER_SECONDS = 2.0

#: An address, a port and a code, and nothing that a terminal or a browser takes for more.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/#=\[\]-]{1,200}")
_LINK_BEGIN = '<!DOCTYPE html><meta charset="utf-8"><title>palingenesis</title>'


def web(client: ControlClient, options: Namespace) -> Exit:
    """Have the daemon open its page, and print the address; or close it, or end the sessions."""
    if options.close:
        reply = _send(client, "close", lambda each: isinstance(each.get(Key.LISTENING), list))
        places = printable(", ".join(map(str, reply[Key.LISTENING])))
        words = f"closed; HTTP is served at {places}" if places else "closed"
    elif options.revoke:
        reply = _send(client, "revoke", lambda each: isinstance(each.get(Key.SESSIONS), int))
        words = f"ended {counted(reply[Key.SESSIONS], Key.SESSION)}"
    else:
        reply = _send(client, "open", _has_address)
        words = "\n".join(address_lines(reply, os.environ))
    print(json.dumps(reply) if options.json else words)
    if options.open:
        _start_browser(reply["url"], os.path.dirname(client.path))
    return Exit.DONE


def print_metrics(client: ControlClient) -> Exit:
    """
    Print the daemon's metrics.

    :raises palingenesis.client.errors.ClientError: if it does not reply with a text.
    """
    line = client.send_line("METRICS")
    if not line.startswith(b'"'):
        raise InvalidReply(client.path, line)
    sys.stdout.write(json.loads(line))
    return Exit.DONE


def address_lines(reply: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return what is printed about an open page; over ssh, how to reach it from home."""
    lines = [reply["url"], "The address is good once, and for 60 seconds."]
    # The client's address and port, and the server's: sshd(8).
    connection = environment.get("SSH_CONNECTION", "").split()
    if len(connection) == 4:
        address = reply["address"]
        port = address.rpartition(":")[2]
        lines.append(f"At home, type first: ssh -L {port}:{address} {connection[2]}")
    return lines


def why_no_browser(environment: Mapping[str, str]) -> str | None:
    """Return why no browser can be started here; None if one can."""
    if "WSL_DISTRO_NAME" in environment:
        return "under WSL the browser is on the other side"
    if sys.platform == "darwin":
        return None
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None if shutil.which("xdg-open") else "there is no xdg-open"


def write_link(url: str, directory: str) -> str:
    """
    Write a file that leads a browser to an address, and return its path.

    The address has a code in it, which everybody could see on a command line.

    :raises OSError: if it cannot be written, or something else is at its path.
    """
    path = os.path.join(directory, LINK_NAME)
    _check_own(path)
    beside = f"{path}.{os.getpid()}"
    write_new(beside, f'{_LINK_BEGIN}<meta http-equiv="refresh" content="0; url={url}">')
    try:
        os.rename(beside, path)
    except OSError:
        os.unlink(beside)
        raise
    return path


def _check_own(path: str) -> None:
    """Raise FileExistsError if what is at a path is no link that was written before."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        if file.read(len(_LINK_BEGIN)) != _LINK_BEGIN:
            raise FileExistsError(errno.EEXIST, "something else is there", path)


def _start_browser(url: str, directory: str) -> None:
    why = why_no_browser(os.environ)
    if why is not None:
        complain(f"no browser is started: {why}; open the address yourself")
        return
    import subprocess

    program = "open" if sys.platform == "darwin" else "xdg-open"
    nowhere = subprocess.DEVNULL
    failed = None
    try:
        path = write_link(url, directory)
        started = subprocess.Popen(  # noqa: S603
            [program, path], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        # If it is the browser itself, it runs as long as the browser.
        if status := started.wait(BROWSER_SECONDS):
            failed = f"{program} has failed with exit status {status}"
    except OSError as error:
        failed = f"{error.filename or program}: {in_short(error)}"
    except subprocess.TimeoutExpired:
        pass
    if failed is not None:
        complain(f"the browser cannot be started: {failed}; open the address yourself")


def _send(
    client: ControlClient, action: str, is_right: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """
    Send ``WEB ACTION``, and return the object in the reply.

    :param is_right: returns whether it is what the daemon replies with.
    :raises palingenesis.client.errors.ClientError: if it is not.
    """
    line = client.send_line("WEB", action)
    reply: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
    if not is_right(reply):
        raise InvalidReply(client.path, line)
    return reply


def _has_address(reply: Mapping[str, Any]) -> bool:
    """Return whether address and URL can be printed, and be in a page, as they are."""
    return all(_PLAIN.fullmatch(str(reply.get(key, ""))) for key in ("address", "url"))

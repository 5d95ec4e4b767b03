"""Posting a notification to a service: what each one wants, deadlines, tries and errors."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.client import HTTPException
from urllib.parse import urlsplit

from palingenesis import __version__
from palingenesis.text import in_short
from palingenesis.words import Event, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType
    from typing import Any, NoReturn

    Shape = Callable[[str, Mapping[str, Any]], tuple[bytes, dict[str, str]]]

#: Seconds that one try may take, from the name's look-up to the reply's head.
TRY_LIMIT = 10.0
TRIES = 3
#: Seconds to wait after a try that failed, unless the service says how long.
WAITS = (1.0, 3.0)
#: Seconds that all tries and waits may take: less than the daemon's limit for the command.
LIMIT = 50.0
#: Bytes of a message; ntfy makes a file of a longer one.
NTFY_LIMIT = 4096
#: Characters of a message; Discord refuses a longer one.
DISCORD_LIMIT = 2000

#: The events that a phone shows even if its notifications are silent.
_URGENT = (Event.NEEDS_YOU, Event.GAVE_UP)
_MARKDOWN = r"\`*_~|<>[]()#+-.!@:"


class PostError(Exception):
    """A notification cannot be delivered; the text says why, without secrets."""


class _TryFailed(Exception):
    """One try failed, and another one may not; ``wait`` is what the service asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def check_url(url: str) -> str:
    """
    Return a URL that can be posted to.

    :raises ValueError: if it is none; the text shows no part of it, since it may be a secret.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("the URL cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL does not begin with https:// or http:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL has credentials in it; give them as a header in --header-file")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the URL has a character that has to be percent-encoded")
    return url


def post(
    kind: str,
    url: str,
    summary: str,
    event: Mapping[str, Any],
    headers: Mapping[str, str],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """
    Deliver a notification, in at most `LIMIT` seconds.

    :param kind: one of :data:`SHAPES`.
    :param url: as :func:`check_url` returns it.
    :param summary: the text for people.
    :param headers: headers that are sent besides.
    :raises PostError: if it cannot be delivered.
    """
    body, shaped = SHAPES[kind](summary, event)
    agent = {"User-Agent": f"palingenesis/{__version__}"}
    # Capitalised as the library does it, so that a header that is given replaces one of ours.
    named = {name.capitalize(): value for name, value in {**agent, **shaped, **headers}.items()}
    request = urllib.request.Request(url, body, named, method="POST")  # noqa: S310 - checked
    end = time.monotonic() + LIMIT
    for number in range(TRIES):
        try:
            _try_once(request, min(TRY_LIMIT, end - time.monotonic()))
            return
        except _TryFailed as failure:
            wait = WAITS[number] if number < len(WAITS) else 0.0
            if failure.wait is not None:
                wait = failure.wait
            if number + 1 == TRIES:
                raise PostError(f"{_place(url)}: {failure} (tried {TRIES} times)") from None
            if time.monotonic() + wait + 1.0 > end:
                raise PostError(f"{_place(url)}: {failure}; it asks for {wait:.0f} s") from None
        except PostError as error:
            raise PostError(f"{_place(url)}: {error}") from None
        sleep(wait)


def _try_once(request: urllib.request.Request, limit: float) -> None:
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with _deadline(limit), opener.open(request, timeout=limit):
            return
    except urllib.error.HTTPError as error:
        error.close()
        said = f"HTTP status {error.code}"
        if error.code == 429 or error.code >= 500:
            raise _TryFailed(said, _wait(error.headers.get("Retry-After"))) from None
        if 300 <= error.code < 400:
            said += ", a redirect, which is not followed: post to the new address"
        raise PostError(said) from None
    except urllib.error.URLError as error:
        import ssl

        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise PostError(f"its certificate: {error.reason.verify_message}") from None
        reason = error.reason
        raise _TryFailed(in_short(reason) if isinstance(reason, OSError) else str(reason)) from None
    except TimeoutError:
        raise _TryFailed(f"no reply within {limit:g} s") from None
    except (OSError, HTTPException, ValueError) as error:
        # The text of a ValueError may hold the header that it complains about.
        said = in_short(error) if isinstance(error, OSError) else type(error).__name__
        raise _TryFailed(said or type(error).__name__) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what is posted, and its secrets, are for one address only."""

    def redirect_request(self, *_: object) -> None:
        """Return nothing, so that a redirect is an error."""


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """
    Raise TimeoutError in the main thread after some seconds, however the bytes come.

    The time limit of a socket is only for each of its operations.
    """

    def ring(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _wait(stated: str | None) -> float | None:
    """Return a ``Retry-After`` in seconds, RFC 9110, section 10.2.3; None if there is none."""
    if stated is None:
        return None
    try:
        # Discord states fractions too.
        return max(0.0, float(stated)) if stated.strip()[:1].isdigit() else _until(stated)
    except ValueError:
        return None


def _until(date: str) -> float:
    from email.utils import parsedate_to_datetime

    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())


def _place(url: str) -> str:
    """Return the part of a URL that is no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _ntfy(summary: str, event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return a plain body, which is text, https://docs.ntfy.sh/publish/."""
    urgent = event.get(Key.EVENT) in _URGENT
    body = summary.encode()[:NTFY_LIMIT].decode(errors="ignore").encode()
    return body, {
        "Content-Type": "text/plain; charset=utf-8",
        "Title": "palingenesis",
        "Priority": "high" if urgent else "default",
        "Tags": "warning" if urgent else "robot",
    }


def _slack(summary: str, _event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """
    Return an incoming webhook's message.

    ``&``, ``<`` and ``>`` are escaped, so that no mention or link is made;
    https://docs.slack.dev/messaging/formatting-message-text.
    """
    text = summary.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _json({"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False})


def _discord(summary: str, _event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """
    Return a webhook's message, https://discord.com/developers/docs/resources/webhook.

    Markdown is escaped, nobody is mentioned, and links are not unfolded (flag 4).
    """
    content = "".join(_escaped(summary, DISCORD_LIMIT))
    return _json({"content": content, "allowed_mentions": {"parse": []}, "flags": 4})


def _escaped(text: str, limit: int) -> Iterator[str]:
    for character in text:
        shown = f"\\{character}" if character in _MARKDOWN else character
        limit -= len(shown)
        if limit < 0:
            return
        yield shown


def _plain_json(summary: str, event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the event itself, with its summary."""
    return _json({**event, "summary": summary})


def _json(value: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode("ascii"), {"Content-Type": "application/json"}


#: What each service wants: a body and headers.
SHAPES: Mapping[str, Shape] = {
    "ntfy": _ntfy,
    "slack": _slack,
    "discord": _discord,
    "json": _plain_json,
}

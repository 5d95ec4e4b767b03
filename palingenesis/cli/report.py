"""``palingenesis report``: what happened overnight, as a text, a page, or JSON."""

from __future__ import annotations

import json
import os
import time
from html import escape

from palingenesis.cli.columns import at_home
from palingenesis.cli.config import read
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain, in_words
from palingenesis.config import ConfigError
from palingenesis.monitor.forecast import Forecast
from palingenesis.monitor.ledger.file import LEDGER_NAME, LedgerFile
from palingenesis.monitor.ledger.history import fold
from palingenesis.monitor.report import SPAN, facts, last_time, sentence
from palingenesis.monitor.settings import Settings, settings_of
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import World
from palingenesis.paths import config_file, state_directory
from palingenesis.text import MESSAGE_LIMIT, clock, in_short, printable
from palingenesis.web.night import description, rows, svg
from palingenesis.words import Event, Key, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping
    from typing import Any

#: The lists of the report, in their order: a key of the facts, its title, and what the lines to
#: type are for, if it has any.
PARTS = (
    (
        Key.NEEDS_YOU,
        "needs you",
        "If a session's window is still open, continue there. If not, type its line.",
    ),
    (Event.FAILED, "failed", "Type a session's line to see what its revival printed."),
    ("went_on", "went on", ""),
    (State.WAITING, "waits", ""),
    ("forecast", "tonight", ""),
)


def report(options: Namespace) -> Exit:
    """Show the report; no daemon has to run."""
    now = time.time()
    since = now - SPAN if options.since is None else last_time(options.since, now)
    try:
        settings = _settings(options.config)
        night = read_night(state_directory(options.state), settings, since, now)
    except OSError as error:
        path = os.path.join(state_directory(options.state), LEDGER_NAME)
        complain(f"cannot read the ledger: {printable(path)}: {in_short(error)}")
        return Exit.USAGE
    if options.html is not None:
        try:
            _write(options.html, page(night))
        except OSError as error:
            complain(f"cannot write {printable(options.html)}: {in_short(error)}")
            return Exit.USAGE
    if options.json:
        print(json.dumps(night))
    elif options.html is None:
        print("\n".join(lines(night)))
    return Exit.DONE


def read_night(directory: str, settings: Settings, since: float, now: float) -> dict[str, Any]:
    """
    Return the facts of a night from the ledger of a state directory; nothing is changed there.

    :raises OSError: if the ledger cannot be read.
    :raises PathError: if it is not this user's ledger.
    """
    try:
        contents = LedgerFile(directory).read()
    except FileNotFoundError:
        # No daemon has run yet.
        contents = []
    sums, entries = fold(contents)
    times = Times()
    forecast = Forecast(settings, sums, entries, World(directory, lambda _: None, times), times)
    return facts(
        entries,
        paused=sums.paused,
        since=since,
        now=now,
        forecasts=forecast.outlook,
        homes=settings.homes.values(),
    )


def lines(night: Mapping[str, Any]) -> list[str]:
    """Return the report as a text."""
    now = night["now"]
    shown = [f"since {clock(night[Key.SINCE], now)}: {sentence(night)}"]
    for key, title, note in PARTS:
        entries = night[key]
        if not entries:
            continue
        shown += ["", title]
        if any(each.get("line") for each in entries):
            shown.append(f"  {note}")
        for each in entries:
            shown.append(f"  {_who(each)}  {_what(key, each, now)}")
            if each.get("line"):
                shown.append(f"    {printable(each['line'], MESSAGE_LIMIT)}")
    return shown


def page(night: Mapping[str, Any]) -> str:
    """Return the report as one page of HTML, which needs no script and no other file."""
    body = "\n".join(_sections(night))
    title = f"The night until {clock(night['now'], night['now'])}"
    return _PAGE.format(title=escape(title), body=body)


def _settings(path: str | None) -> Settings:
    """Return the settings of the configuration; a default one that is missing sets nothing."""
    found = path or config_file()
    if found is None or (path is None and not os.path.exists(found)):
        return Settings()
    try:
        return settings_of(read(found).tables)
    except ConfigError as error:
        if path is not None:
            raise
        complain(f"{error}; the report goes by the defaults")
        return Settings()


def _who(fact: Mapping[str, Any]) -> str:
    directory = fact[Key.DIRECTORY]
    where = at_home(directory) if directory else fact[Key.SESSION][:8]
    return printable(f"{fact[Key.AGENT]} {where}", MESSAGE_LIMIT)


def _what(key: str, fact: Mapping[str, Any], now: float) -> str:
    """Return what a list of the report says of one session at a time."""
    match key:
        case Key.NEEDS_YOU:
            who = printable(fact[Key.WHO] or "", MESSAGE_LIMIT)
            there = f"; continue it there: {who}" if who else ""
            return f"{fact[Key.REASON]} (since {clock(fact[Key.AT], now)}){there}"
        case Event.FAILED:
            return f"revival {fact[Key.ATTEMPT]} at {clock(fact[Key.AT], now)}: {fact['cause']}"
        case "went_on":
            until = "and may still work" if fact["running"] else "in all"
            return f"from {clock(fact[Key.AT], now)}, {in_words(int(fact[Key.SECONDS]))} {until}"
        case State.WAITING:
            until = f", until {clock(fact[Key.DUE], now)}" if fact[Key.DUE] is not None else ""
            return f"{fact[Key.KIND]}{until}"
    if fact["comes_back"]:
        when = f" at {clock(fact[Key.DUE], now)}" if fact[Key.DUE] is not None else ""
        return f"is brought back{when}, unless something else holds it"
    return f"is not brought back: {fact[Key.REASON]}"


def _sections(night: Mapping[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(sentence(night))}</p>"
    for key, title, note in PARTS:
        if not night[key]:
            continue
        yield f"<h2>{escape(title.capitalize())}</h2>"
        if any(each.get("line") for each in night[key]):
            yield f"<p>{escape(note)}</p>"
        yield "<ul>"
        for each in night[key]:
            line = each.get("line")
            code = f"<br><code>{_words(line)}</code>" if line else ""
            what = escape(printable(_what(key, each, night["now"]), MESSAGE_LIMIT))
            yield f"<li><b>{escape(_who(each))}</b> {what}{code}</li>"
        yield "</ul>"
    if night["lanes"]:
        yield f"<h2>The night</h2>\n{svg(night)}"
        yield f"<p><small>{escape(description(night))}</small></p>"
        yield "<details><summary>The same as a table</summary>\n<table>"
        yield "<thead><tr><th>Session</th><th>Time</th><th>What</th></tr></thead>\n<tbody>"
        for row in rows(night):
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        yield "</tbody></table></details>"


def _words(line: str) -> str:
    """Return a line's words as HTML, each of which breaks only if it is too long."""
    words = escape(printable(line, MESSAGE_LIMIT)).split(" ")
    return " ".join(f"<span>{word}</span>" for word in words)


def _write(path: str, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }}
li, td {{ overflow-wrap: anywhere; }}
code {{ font-size: 0.9em; white-space: pre-wrap; }}
code span {{ display: inline-block; max-width: 100%; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.2rem 0.6rem 0.2rem 0; }}
svg {{ display: block; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""

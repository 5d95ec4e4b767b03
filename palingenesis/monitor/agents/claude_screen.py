"""
How the screen of Claude Code looks while its input line takes a prompt.

Seen with 2.1.332: the line begins with a sign and a no-break space, between two rules as wide as
the terminal; the program hides the terminal's cursor, leaves it in the line, and draws one of its
own. Menus, questions and the view of agents look otherwise, and so does a line with text in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from palingenesis.monitor.screen import Screen

#: In a smaller terminal the words that distinguish the states are cut off.
LEAST_WIDTH, LEAST_HEIGHT = 60, 15

_SIGN = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}\N{NO-BREAK SPACE}"
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
#: Rows above the line in which the program says what it is doing.
_NEAR = 4
#: Columns before the text of each row of the line.
_MARGIN = len(_SIGN)
#: Words around the line, and what they say.
_WORDS = (
    (r"esc to interrupt", "the program is working"),
    (r"ctrl-c again|ctrl-d again|again to exit", "a key to leave was pressed once"),
    (r"again to background|background this session", "a key to go to the background was pressed"),
    (r"esc again", "Esc was pressed once"),
    (r"stashed", "a half-written prompt was put aside"),
    (r"for (?:shell|bash) mode", "the panel of shortcuts or the shell mode is open"),
    (r"enter to return|space to reply|new session", "it is the view of agents"),
    (r"^\s*-- (?!INSERT)[A-Z ]+ --", "vim's keys are not in the mode that takes text"),
)
_AROUND = tuple((re.compile(words, re.IGNORECASE), doubt) for words, doubt in _WORDS)
_VIM = re.compile(rb'"editorMode"\s*:\s*"vim"')
#: What parts the beginning of a row from the hints behind it.
_HINTS = re.compile(" \N{MIDDLE DOT} | {3,}")
_INSERTS = re.compile(r"^\s*-- INSERT --")


#: Bytes of a file of settings.
_SIZE = 4 * 1024 * 1024


def uses_vim(home: str, directories: Iterable[str], arguments: Iterable[str]) -> bool:
    """
    Return whether a program may use vim's keys, by all files that may say so.

    :param home: the home of Claude Code.
    :param directories: where the program may be, with settings of the project's.
    :param arguments: the program's command line, which may name further settings.
    """
    if any(argument.partition("=")[0] == "--settings" for argument in arguments):
        return True
    paths = [
        *(f"{home}.json", os.path.join(home, ".claude.json"), os.path.join(home, "settings.json")),
        *(
            os.path.join(directory, ".claude", name)
            for directory in directories
            for name in ("settings.json", "settings.local.json")
        ),
        "/etc/claude-code/managed-settings.json",
    ]
    return any(map(_names_vim, paths))


def _names_vim(path: str) -> bool:
    """Return whether a file may say that vim's keys are used."""
    try:
        # Many people's settings are links; a pipe is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            content = file.read(_SIZE + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return len(content) > _SIZE or _VIM.search(content) is not None


def doubt_of_empty(screen: Screen, *, vim: bool) -> str | None:
    """
    Return why the screen may not show the empty input line; None if it surely does.

    :param vim: whether the program may use vim's keys: then its mode that takes text must be shown.
    """
    return _first(screen, _EMPTY) or _doubt_of_mode(screen, screen.cursor[1] + 1, vim=vim)


def doubt_of_typed(before: Screen, screen: Screen, text: str, *, vim: bool) -> str | None:
    """
    Return why the input line may not hold a text and nothing else; None if it surely does.

    A long text goes on in the rows below, at the same column.

    :param before: the screen with the empty line.
    """
    top, bottom = _box(screen)
    if (doubt := _first(screen, _BOTH)) is not None:
        return doubt
    if not _is_rule(screen, top) or not _is_rule(screen, bottom):
        return "the input line is not where it was"
    if not screen.text(top + 1).startswith(_SIGN):
        return "the input line does not begin with its sign"
    rows = range(top + 1, bottom)
    if any(screen.text(row)[:_MARGIN].strip() for row in rows[1:]):
        return "there is something else beside the text"
    if any(cell.dim for row in rows for cell in screen.rows[row][_MARGIN:]):
        return "a suggestion stands in the line"
    found = "".join(screen.text(row)[_MARGIN:] for row in rows)
    # The program breaks a row at a blank, which is not shown then.
    if _letters(found) != _letters(text):
        return "the line does not show the prompt"
    if not _is_all_else_the_same(before, screen):
        return "something else has appeared beside the prompt"
    return _doubt_of_mode(screen, bottom, vim=vim)


def _first(
    screen: Screen, conditions: tuple[tuple[Callable[[Screen], bool], str], ...]
) -> str | None:
    return next((doubt for holds, doubt in conditions if not holds(screen)), None)


def _is_large(screen: Screen) -> bool:
    return screen.width >= LEAST_WIDTH and screen.height >= LEAST_HEIGHT


def _hides_cursor(screen: Screen) -> bool:
    return not screen.cursor_shown


def _has_cursor_in_line(screen: Screen) -> bool:
    return screen.text(screen.cursor[1]).startswith(_SIGN)


def _has_rules(screen: Screen) -> bool:
    _, row = screen.cursor
    return _is_rule(screen, row - 1) and _is_rule(screen, row + 1)


def _is_rule(screen: Screen, row: int) -> bool:
    return screen.text(row) == _RULE * screen.width


def _is_blank_or_suggests(screen: Screen) -> bool:
    """
    Return whether nothing is typed in the line.

    A suggestion is dim but for its first letter, on which the program draws its cursor. A single
    letter may be typed as well.
    """
    rest = screen.rows[screen.cursor[1]][_MARGIN:]
    if all(cell.character.isspace() for cell in rest):
        return True
    under, *others = rest
    letters = [cell for cell in others if not cell.character.isspace()]
    return under.reverse and bool(letters) and all(cell.dim for cell in letters)


def _box(screen: Screen) -> tuple[int, int]:
    """Return the rows next to the cursor's, above and below, that are no part of the line."""
    top = bottom = screen.cursor[1]
    while top >= 0 and not _is_rule(screen, top):
        top -= 1
    while bottom < screen.height and not _is_rule(screen, bottom):
        bottom += 1
    return top, bottom


def _is_all_else_the_same(before: Screen, screen: Screen) -> bool:
    """
    Return whether nothing, such as a menu, has appeared above the line or taken a place below it.

    The conversation may have moved up a little. The row just above the line has hints that come
    and go, and so have those below, at their ends.
    """
    said, says = _conversation(before), _conversation(screen)
    footers = _footers(before)
    return said[len(said) - len(says) :] == says and (
        not footers or not footers.isdisjoint(_footers(screen))
    )


def _conversation(screen: Screen) -> list[str]:
    top, _ = _box(screen)
    rows = (screen.text(row).rstrip() for row in range(top - 1))
    return [row for row in rows if row]


def _footers(screen: Screen) -> set[str]:
    _, bottom = _box(screen)
    rows = (screen.text(row) for row in range(bottom + 1, screen.height))
    return {_HINTS.split(row.strip())[0] for row in rows if row.strip()}


def _around(screen: Screen) -> list[str]:
    """Return the rows just above the line, and all below it."""
    top, bottom = _box(screen)
    above = [screen.text(row) for row in range(max(0, top - _NEAR), top)]
    return [*above, *(screen.text(row) for row in range(bottom + 1, screen.height))]


def _doubt_of_words(screen: Screen) -> str | None:
    rows = _around(screen)
    return next((doubt for words, doubt in _AROUND if any(map(words.search, rows))), None)


def _doubt_of_mode(screen: Screen, rule: int, *, vim: bool) -> str | None:
    """Return why the line may not take letters as they are; None if it surely does."""
    if (doubt := _doubt_of_words(screen)) is not None:
        return doubt
    if vim and _INSERTS.match(screen.text(rule + 1)) is None:
        return "vim's keys are in use, and it is not the mode that takes text"
    return None


def _letters(text: str) -> str:
    return "".join(text.split())


#: What must hold whether the line is empty or not, each with what it is if it does not.
_BOTH = (
    (_is_large, f"the terminal is smaller than {LEAST_WIDTH} columns and {LEAST_HEIGHT} rows"),
    (_hides_cursor, "another program draws the screen"),
)
#: What must hold for an empty line.
_EMPTY = (
    *_BOTH,
    (_has_cursor_in_line, "the cursor is not in an input line"),
    (_has_rules, "the input line is not the only one, or something covers it"),
    (_is_blank_or_suggests, "something is typed in the input line"),
    # Blanks are not seen.
    (lambda screen: screen.cursor[0] == _MARGIN, "something may be typed in the input line"),
)

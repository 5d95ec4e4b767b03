"""Screens like those of Claude Code, composed, and what is right about each of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

SIGN = "\u276f\u00a0"
DIM, REVERSE, PLAIN, GREY = "\x1b[2m", "\x1b[7m", "\x1b[0m", "\x1b[38;5;246m"
#: The program's own cursor on an empty line.
EMPTY = f"{REVERSE} {PLAIN}"
FOOTER = "  \u23f5\u23f5 auto mode on (shift+tab to cycle)"
SIZES = ((80, 24), (100, 30), (120, 40), (200, 60))


@dataclass(frozen=True, slots=True)
class Composed:
    """
    A screen as a program paints it.

    :ivar what: what it is.
    :ivar takes: whether a prompt may be typed; set by what it was composed of, and by nothing else.
    :ivar rows: its rows from the top, with the sequences that draw them.
    :ivar cursor: the column and the row of the terminal's cursor.
    :ivar shown: whether that cursor is visible.
    """

    what: str
    takes: bool
    width: int
    height: int
    rows: tuple[str, ...]
    cursor: tuple[int, int]
    shown: bool = False


def rule(width: int) -> str:
    return "\u2500" * width


def boxed(
    width: int,
    height: int,
    line: str = EMPTY,
    *,
    what: str = "idle",
    takes: bool = True,
    column: int = 2,
    talk: Sequence[str] = ("\u25cf Hello. I looked at the notes.",),
    hint: str = "",
    sign: str = SIGN,
    footers: Sequence[str] = (FOOTER,),
    more: Sequence[str] = (),
    below: int = 0,
) -> Composed:
    """
    Compose a screen with an input line.

    :param line: what stands in the line, behind its sign.
    :param more: further rows between the rules.
    :param below: empty rows that are left at the bottom.
    """
    box = [hint, rule(width), sign + line, *more, rule(width), *footers]
    space = height - below - len(box)
    said = list(talk)[-space:]
    rows = [*said, *[""] * (space - len(said)), *box, *[""] * below]
    row = space + 2
    return Composed(what, takes, width, height, tuple(rows), (column, row))


Maker = Callable[[random.Random, int, int], Composed]


def _talk(chance: random.Random) -> list[str]:
    said = (
        "\u276f please do the work",
        "\u25cf Hello. I looked at the notes.",
        "  There are 200 lines in them.",
        "\u273b Brewed for 1s \u00b7 done 10:08 AM",
        "  \u23bf  You've hit your 5-hour limit \u00b7 resets 11:06am (UTC)",
        "\u25cf Usage limit reached \u00b7 set to continue automatically at 11:06am",
        "",
        "  \u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500\u2500",
        "  \u276f",
        "    ? for shortcuts",
    )
    # The rows next to the line are the program's own.
    return [*chance.choices(said, k=chance.randrange(3, 60)), "", "", "", ""]


def _words(chance: random.Random) -> str:
    words = ("please", "look", "at", "the", "notes", "again", "and", "run", "tests", "x", "1")
    return " ".join(chance.choices(words, k=chance.randrange(1, 6)))


def _idle(chance: random.Random, width: int, height: int) -> Composed:
    return boxed(width, height, talk=_talk(chance), below=chance.choice((0, 0, 3)))


def _suggestion(chance: random.Random, width: int, height: int) -> Composed:
    words = f"{_words(chance)} ok"
    line = f"{REVERSE}{words[0]}\x1b[0;2m{words[1:]}{PLAIN}"
    return boxed(width, height, line, what="suggestion", talk=_talk(chance))


def _limit(chance: random.Random, width: int, height: int) -> Composed:
    footers = (
        "  \u26a0 Usage limit reached \u00b7 limit resets 11:06am",
        "    Continuing automatically at 11:06am \u00b7 Esc to cancel",
        FOOTER,
    )
    return boxed(width, height, what="limit, armed", talk=_talk(chance), footers=footers)


def _status_line(chance: random.Random, width: int, height: int) -> Composed:
    footers = (f"  main \u00b7 {chance.randrange(99)}% \u00b7 $1.20", FOOTER)
    return boxed(width, height, what="status line", talk=_talk(chance), footers=footers)


def _half_line(chance: random.Random, width: int, height: int) -> Composed:
    words = _words(chance)
    line, column = f"{words}{EMPTY}", 2 + len(words)
    if chance.random() < 0.5:
        line, column = f"{REVERSE}{words[0]}{PLAIN}{words[1:]}", 2
    return boxed(width, height, line, what="half a line", takes=False, column=column)


def _several_lines(chance: random.Random, width: int, height: int) -> Composed:
    more = [f"  {_words(chance)}" for _ in range(chance.randrange(1, 4))]
    return boxed(width, height, what="several lines", takes=False, more=more)


def _spaces(chance: random.Random, width: int, height: int) -> Composed:
    count = chance.randrange(1, 9)
    line = " " * count + EMPTY
    return boxed(width, height, line, what="blanks", takes=False, column=2 + count)


def _working(chance: random.Random, width: int, height: int) -> Composed:
    footer = f"{FOOTER} \u00b7 esc to interrupt"
    talk = [*_talk(chance), "\u2722 Determining\u2026 (5s \u00b7 6 tokens)"]
    return boxed(width, height, what="working", takes=False, talk=talk, footers=(footer,))


def _key_before(chance: random.Random, width: int, height: int) -> Composed:
    hint = chance.choice(
        (
            f"{' ' * (width - 30)}Press \u2190 again to background",
            "  tmux focus-events off \u00b7 draft stashed",
        )
    )
    footers = (FOOTER,)
    if chance.random() < 0.5:
        hint, footers = "", (chance.choice(("  Press Ctrl-C again to exit", "  ! for shell mode")),)
    return boxed(width, height, what="a key before", takes=False, hint=hint, footers=footers)


def _agents_view(chance: random.Random, width: int, height: int) -> Composed:
    sign = f"{GREY}\u276f\x1b[39m "
    line = f"{REVERSE}d{PLAIN}{GREY}escribe a task for a new session"
    if chance.random() < 0.5:
        line = EMPTY
    footers = ("  \u23f5\u23f5 auto mode \u00b7 enter to return \u00b7 space to reply",)
    what = "view of agents"
    return boxed(width, height, line, what=what, takes=False, sign=sign, footers=footers)


def _shell_mode(_: random.Random, width: int, height: int) -> Composed:
    return boxed(width, height, what="shell mode", takes=False, sign="!\u00a0")


def _vim_mode(chance: random.Random, width: int, height: int) -> Composed:
    mode = chance.choice(("NORMAL", "VISUAL", "REPLACE"))
    footers = (f"  -- {mode} -- \u23f5\u23f5 auto mode on",)
    return boxed(width, height, what="vim mode", takes=False, footers=footers)


def _menu(chance: random.Random, width: int, height: int) -> Composed:
    options = ("1. Yes", "2. Yes, and don't ask again", "3. No, and tell Claude what to do")
    chosen = chance.randrange(3)
    marks = ["\u276f" if number == chosen else " " for number in range(3)]
    rows = [f" {mark} {each}" for mark, each in zip(marks, options, strict=True)]
    top = chance.choice((rule(width), "\u2594" * width, ""))
    lines = [*_talk(chance), top, " Do you want to proceed?", *rows, "", " Esc to cancel"]
    lines = lines[-height:]
    row = len(lines) - 5 + chosen
    return Composed("menu", False, width, height, tuple(lines), (1, row))


def _menu_over_line(chance: random.Random, width: int, height: int) -> Composed:
    """A question whose cursor stands where the line's would."""
    lines = [*_talk(chance), "Which database?", f"{SIGN}1. SQLite", f"{SIGN}2. PostgreSQL", ""]
    lines = lines[-height:]
    return Composed("question", False, width, height, tuple(lines), (2, len(lines) - 3))


def _other_program(chance: random.Random, width: int, height: int) -> Composed:
    """A picture of the empty line, in a pager or in a conversation that was printed."""
    picture = boxed(width, height, talk=_talk(chance))
    return replace(picture, what="other program", takes=False, shown=True)


def _look_alike(chance: random.Random, width: int, height: int) -> Composed:
    """A picture of the empty line above the true one, which has text."""
    words = _words(chance)
    picture = [rule(width), f"{SIGN}{EMPTY}", rule(width), FOOTER, "", "", "", "", ""]
    talk = [*_talk(chance)[:3], *picture]
    line, column = f"{words}{EMPTY}", 2 + len(words)
    return boxed(width, height, line, what="look-alike", takes=False, column=column, talk=talk)


def _shell(_: random.Random, width: int, height: int) -> Composed:
    """A shell's prompt, below what the program has left behind."""
    left = boxed(width, height - 2)
    rows = (*left.rows, "Killed", "you@box:~/app$ ")
    return Composed("shell", False, width, height, rows, (15, height - 1), shown=True)


def _cursor_elsewhere(chance: random.Random, width: int, height: int) -> Composed:
    made = _idle(chance, width, height)
    column, row = made.cursor
    off = chance.choice(((0, -1), (0, 1), (1, 0), (-1, 0), (-2, 0), (0, -2)))
    cursor = (column + off[0], min(height - 1, max(0, row + off[1])))
    return replace(made, what="cursor elsewhere", takes=False, cursor=cursor)


def _small(chance: random.Random, width: int, height: int) -> Composed:
    width, height = chance.choice(((40, 24), (80, 12), (30, 6)))
    return replace(boxed(width, height), what="small", takes=False)


MAKERS: tuple[Maker, ...] = (
    *(_idle, _suggestion, _limit, _status_line, _half_line, _several_lines, _spaces, _working),
    *(_key_before, _agents_view, _shell_mode, _vim_mode, _menu, _menu_over_line),
    *(_other_program, _look_alike, _shell, _cursor_elsewhere, _small),
)


def compose(chance: random.Random) -> Composed:
    """Compose any screen; each of those that take a prompt is as likely as all others."""
    width, height = chance.choice(SIZES)
    maker = chance.choice(MAKERS[:4] if chance.random() < 0.3 else MAKERS)
    return maker(chance, width, height)

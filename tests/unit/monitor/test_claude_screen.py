"""When the screen of Claude Code surely shows its empty input line, or a prompt in it."""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents import claude_screen
from palingenesis.monitor.agents.claude_screen import (
    LEAST_HEIGHT,
    LEAST_WIDTH,
    doubt_of_empty,
    doubt_of_typed,
    uses_vim,
)
from palingenesis.monitor.screen import Screen, cells_of
from tests.unit.monitor.claude_screens import (
    EMPTY,
    FOOTER,
    PLAIN,
    REVERSE,
    Composed,
    boxed,
    compose,
    rule,
)
from tests.unit.monitor.screens import seen

#: Seeds of the composed screens; each makes another one.
SEEDS = range(2000)
#: Screens that are right, and too small for the words that tell states apart.
SMALL = "narrow-"
#: Of these the pane itself is another one's; its screen looks as it should.
NOT_ITS_OWN = frozenset({"nested-tmux-outer-120x40"})


def screen_of(made: Composed) -> Screen:
    rows = cells_of("\n".join(made.rows), made.height)
    return Screen(rows, made.width, made.cursor, cursor_shown=made.shown)


def idle(**changed: object) -> Screen:
    return screen_of(boxed(80, 24, **changed))  # type: ignore[arg-type]


class SeenTests(SynchronousTestCase):
    """Every screen that the real program showed."""

    def test_only_the_truly_empty_line_is_beyond_doubt(self) -> None:
        wrong = []
        for each in seen("claude"):
            doubt = doubt_of_empty(each.screen, vim=each.name.startswith("vim"))
            if each.in_mode or each.name in NOT_ITS_OWN:
                continue
            if "suggestion" in each.what and not each.drawn:
                continue  # without how it is drawn, it may be typed
            if (doubt is None) != (each.safe and not each.name.startswith(SMALL)):
                wrong.append((each.name, each.what, doubt))
        self.assertEqual(wrong, [])

    def test_a_prompt_that_was_typed_stands_there(self) -> None:
        screens = {each.name: each.screen for each in seen("claude")}
        pairs = (
            ("limit-past-reset-cancelled-120x40", "limit-past-reset-cancelled-typed-120x40"),
            ("limit-reset-press-enter-80x24", "limit-reset-press-enter-typed-80x24"),
            ("limit-reset-press-enter-200x60", "limit-reset-press-enter-typed-200x60"),
        )
        for before, after in pairs:
            doubt = doubt_of_typed(screens[before], screens[after], "continue", vim=False)
            self.assertIsNone(doubt, after)


class ComposedTests(SynchronousTestCase):
    def test_only_screens_that_take_a_prompt_are_beyond_doubt(self) -> None:
        wrong = []
        for seed in SEEDS:
            made = compose(random.Random(seed))
            doubt = doubt_of_empty(screen_of(made), vim=False)
            if (doubt is None) != made.takes:
                wrong.append((seed, made.what, doubt))
        self.assertEqual(wrong, [])

    def test_some_of_each_are_among_them(self) -> None:
        made = [compose(random.Random(seed)) for seed in SEEDS]
        for takes in (True, False):
            self.assertGreater(sum(each.takes is takes for each in made), 400)
        self.assertGreater(len({each.what for each in made}), 15)


class EmptyTests(SynchronousTestCase):
    """Each condition, broken on its own."""

    def assert_doubt(self, words: str, screen: Screen, *, vim: bool = False) -> None:
        self.assertIn(words, doubt_of_empty(screen, vim=vim) or "no doubt")

    def test_an_empty_line_is_no_doubt(self) -> None:
        self.assertIsNone(doubt_of_empty(idle(), vim=False))

    def test_a_terminal_that_is_too_narrow(self) -> None:
        self.assertIsNone(doubt_of_empty(screen_of(boxed(LEAST_WIDTH, 24)), vim=False))
        self.assert_doubt("smaller than", screen_of(boxed(LEAST_WIDTH - 1, 24)))

    def test_a_terminal_that_is_too_low(self) -> None:
        self.assertIsNone(doubt_of_empty(screen_of(boxed(80, LEAST_HEIGHT)), vim=False))
        self.assert_doubt("smaller than", screen_of(boxed(80, LEAST_HEIGHT - 1)))

    def test_a_visible_cursor_is_a_doubt(self) -> None:
        made = boxed(80, 24)
        rows = cells_of("\n".join(made.rows), 24)
        self.assert_doubt("another program", Screen(rows, 80, made.cursor, cursor_shown=True))

    def test_a_cursor_in_another_column(self) -> None:
        self.assert_doubt("may be typed", idle(column=3))

    def test_a_cursor_in_another_row(self) -> None:
        made = boxed(80, 24)
        rows = cells_of("\n".join(made.rows), 24)
        self.assert_doubt("the cursor", Screen(rows, 80, (2, made.cursor[1] - 1)))

    def test_another_sign_than_the_prompt_s_is_a_doubt(self) -> None:
        for sign in ("\u276f ", "! ", ">\u00a0", " \u276f\u00a0"):
            self.assert_doubt("the cursor", idle(sign=sign))

    def test_an_empty_line_without_a_rule_above_is_a_doubt(self) -> None:
        made = boxed(80, 24)
        rows = list(made.rows)
        rows[made.cursor[1] - 1] = rule(79)
        self.assert_doubt(
            "not the only one", Screen(cells_of("\n".join(rows), 24), 80, made.cursor)
        )

    def test_an_empty_line_without_a_rule_below_is_a_doubt(self) -> None:
        self.assert_doubt("not the only one", idle(more=["  two"]))

    def test_words_in_the_line(self) -> None:
        self.assert_doubt("something is typed", idle(line=f"{REVERSE}p{PLAIN}lease"))

    def test_a_single_letter_under_the_cursor(self) -> None:
        self.assert_doubt("something is typed", idle(line=f"{REVERSE}p{PLAIN}"))

    def test_words_that_are_dim_without_a_cursor_on_them(self) -> None:
        self.assert_doubt("something is typed", idle(line="\x1b[2mplease look\x1b[0m"))

    def test_words_of_which_one_letter_is_not_dim(self) -> None:
        line = f"{REVERSE}p\x1b[0;2mlea\x1b[0ms\x1b[2me\x1b[0m"
        self.assert_doubt("something is typed", idle(line=line))

    def test_words_around_the_line(self) -> None:
        for words, doubt in (
            ("manual mode on \u00b7 esc to interrupt", "working"),
            ("Press Ctrl-C again to exit", "to leave"),
            ("Press Ctrl-D again to exit", "to leave"),
            ("Press \u2190 again to background", "background"),
            ("Press Esc again to clear", "Esc"),
            ("focus-events off \u00b7 draft stashed", "put aside"),
            ("! for shell mode      esc esc to clear input", "shell mode"),
            ("! for bash mode", "shell mode"),
            ("enter to return \u00b7 space to reply", "view of agents"),
            ("-- NORMAL --", "vim"),
        ):
            self.assert_doubt(doubt, idle(footers=[f"  {words}"]))
            self.assert_doubt(doubt, idle(hint=f"  {words}"))

    def test_the_same_words_in_the_conversation(self) -> None:
        talk = ["\u25cf Press Ctrl-C again to exit, esc to interrupt", "", "", "", ""]
        self.assertIsNone(doubt_of_empty(idle(talk=talk), vim=False))

    def test_vims_keys_without_the_mode_that_takes_text(self) -> None:
        self.assert_doubt("vim", idle(), vim=True)

    def test_vims_keys_in_the_mode_that_takes_text(self) -> None:
        screen = idle(footers=["  -- INSERT -- \u23f5\u23f5 auto mode on"])
        self.assertIsNone(doubt_of_empty(screen, vim=True))

    def test_the_modes_name_elsewhere(self) -> None:
        screen = idle(talk=["  -- INSERT --"], footers=[FOOTER, "  -- INSERT --"])
        self.assert_doubt("vim", screen, vim=True)


class TypedTests(SynchronousTestCase):
    """Each condition for Enter, broken on its own."""

    def doubt(
        self,
        line: str = f"continue{EMPTY}",
        *,
        text: str = "continue",
        vim: bool = False,
        **k: object,
    ) -> str | None:
        return doubt_of_typed(idle(), idle(**{"line": line, "column": 10, **k}), text, vim=vim)

    def assert_doubt(self, words: str, *arguments: str, **changed: object) -> None:
        self.assertIn(words, self.doubt(*arguments, **changed) or "no doubt")  # type: ignore[arg-type]

    def test_a_typed_prompt_is_no_doubt(self) -> None:
        self.assertIsNone(self.doubt())

    def test_a_prompt_of_several_rows(self) -> None:
        text = "go on with the notes and the tests"
        more = ["  the notes and", f"  the tests{EMPTY}"]
        self.assertIsNone(self.doubt("go on with", text=text, more=more))

    def test_a_conversation_that_moved_up(self) -> None:
        talk = [f"\u25cf {number}" for number in range(40)]
        before = idle(talk=talk)
        after = idle(talk=talk, line="go", more=[f"  on{EMPTY}"])
        self.assertIsNone(doubt_of_typed(before, after, "go on", vim=False))

    def test_another_text_than_the_prompt_is_a_doubt(self) -> None:
        for line in ("", "continu", "continue x", "a continue"):
            self.assert_doubt("does not show", f"{line}{EMPTY}")

    def test_a_suggestion_that_goes_on(self) -> None:
        self.assert_doubt("suggestion", "cont\x1b[2minue\x1b[0m")

    def test_a_typed_line_with_another_sign_is_a_doubt(self) -> None:
        self.assert_doubt("sign", sign="!\u00a0")

    def test_something_at_the_edge(self) -> None:
        self.assert_doubt("beside", "go", text="go on", more=["x on"])

    def test_a_typed_line_without_a_rule_is_a_doubt(self) -> None:
        made = boxed(80, 24, f"continue{EMPTY}")
        for removed in (-1, 1):
            rows = list(made.rows)
            rows[made.cursor[1] + removed] = ""
            screen = Screen(cells_of("\n".join(rows), 24), 80, made.cursor)
            self.assertIsNotNone(doubt_of_typed(idle(), screen, "continue", vim=False))

    def test_a_line_at_the_edge_of_the_terminal(self) -> None:
        """Its other end is not seen."""
        made = boxed(80, 24, f"continue{EMPTY}")
        row = made.cursor[1]
        for rows in (made.rows[: row + 1], ("", "") * 8 + made.rows[row:]):
            cut = rows[-24:]
            number = next(n for n, each in enumerate(cut) if "continue" in each)
            screen = Screen(cells_of("\n".join(cut), len(cut)), 80, (10, number))
            doubt = doubt_of_typed(idle(footers=[]), screen, "continue", vim=False)
            self.assertIn("not where it was", doubt or "")

    def test_a_menu_above_a_typed_line_is_a_doubt(self) -> None:
        talk = ["\u25cf Hello. I looked at the notes.", "  + main.py", "  + notes.txt"]
        self.assert_doubt("has appeared", talk=talk)

    def test_a_menu_below_a_typed_line_is_a_doubt(self) -> None:
        footers = ["    * claude (agent)    Catch-all", "    * Explore (agent)"]
        self.assert_doubt("has appeared", footers=footers)

    def test_other_words_in_the_place_of_the_hints_are_a_doubt(self) -> None:
        before = idle(footers=["  something else", ""])
        after = idle(line=f"continue{EMPTY}", column=10, footers=[FOOTER, ""])
        doubt = doubt_of_typed(before, after, "continue", vim=False)
        self.assertIn("has appeared", doubt or "no doubt")

    def test_other_hints_near_a_typed_line_are_no_doubt(self) -> None:
        footers = [f"{FOOTER}          ctrl+y to paste deleted text"]
        self.assertIsNone(self.doubt(footers=footers, hint="      ctrl+g to edit in Vim"))

    def test_work_that_has_begun(self) -> None:
        self.assert_doubt("working", footers=[f"{FOOTER} \u00b7 esc to interrupt"])

    def test_keys_of_vim_at_a_typed_line_are_a_doubt(self) -> None:
        self.assert_doubt("vim", vim=True)

    def test_a_terminal_that_has_become_small(self) -> None:
        made = screen_of(boxed(40, 24, f"continue{EMPTY}"))
        self.assertIn("smaller", doubt_of_typed(idle(), made, "continue", vim=False) or "")


class VimTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = os.path.join(self.mktemp(), ".claude")
        self.project = os.path.abspath(self.mktemp())
        os.makedirs(self.home)
        os.makedirs(os.path.join(self.project, ".claude"))

    def uses(self, *arguments: str) -> bool:
        return uses_vim(self.home, [self.project], ["claude", *arguments])

    def test_settings_that_do_not_name_vim_are_no_doubt(self) -> None:
        self.assertFalse(self.uses())

    def test_each_file_that_may_say_so(self) -> None:
        for path in (
            f"{self.home}.json",
            os.path.join(self.home, ".claude.json"),
            os.path.join(self.home, "settings.json"),
            os.path.join(self.project, ".claude", "settings.json"),
            os.path.join(self.project, ".claude", "settings.local.json"),
        ):
            with open(path, "w", encoding="ascii") as file:
                file.write('{"theme": "dark", "editorMode" : "vim"}')
            self.assertTrue(self.uses(), path)
            with open(path, "w", encoding="ascii") as file:
                file.write('{"editorMode": "normal"}')
            self.assertFalse(self.uses(), path)

    def test_settings_of_the_machine(self) -> None:
        path = "/etc/claude-code/managed-settings.json"
        self.patch(claude_screen, "_names_vim", path.__eq__)
        self.assertTrue(self.uses())

    def test_settings_that_are_a_link(self) -> None:
        with open(f"{self.project}/real", "w", encoding="ascii") as file:
            file.write('{"editorMode": "vim"}')
        os.symlink(f"{self.project}/real", os.path.join(self.home, "settings.json"))
        self.assertTrue(self.uses())

    def test_a_file_that_cannot_be_read(self) -> None:
        os.mkdir(os.path.join(self.home, "settings.json"))
        self.assertTrue(self.uses())

    def test_a_pipe_is_not_waited_for(self) -> None:
        os.mkfifo(os.path.join(self.home, "settings.json"))
        self.assertFalse(self.uses())

    def test_settings_on_the_command_line(self) -> None:
        self.assertTrue(self.uses("--settings", "other.json"))
        self.assertTrue(self.uses("--settings={}"))

"""Arguments of a command without what looks like a secret in them."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: What is shown instead of a secret.
HIDDEN = "***"

_NAME = r"[\w.-]*(?:key|token|secret|passw|pwd|credential|auth|cookie|bearer)[\w.-]*"
#: An option whose value is the argument after it.
_OPTION = re.compile(rf"--?{_NAME}", re.IGNORECASE)
_SECRETS = (
    # A header, whose value may have blanks in it: it ends with the quotes around it.
    (re.compile(rf"""\b({_NAME}:\s*)[^"'\n]+""", re.IGNORECASE), rf"\1{HIDDEN}"),
    # An assignment, an option with a value, or a parameter of an address.
    (
        re.compile(rf"""(?<!\w)({_NAME}=)("[^"]*"|'[^']*'|[^\s&;]+)""", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # The user's part of an address.
    (re.compile(r"(\w+://)[^\s/@]+@"), rf"\1{HIDDEN}@"),
    # Tokens that show by their beginning what they are.
    (
        re.compile(
            r"\b(?:[spr]k[-_]|(?:gh[a-z]|github_pat|hf|npm)_|(?:glpat|xox[a-z])-|AKIA|AIza|eyJ)"
            r"[A-Za-z0-9][A-Za-z0-9._-]{9,}"
        ),
        HIDDEN,
    ),
    # The path of a hook is its password.
    (
        re.compile(r"(hooks\.slack\.com/services/|/api/webhooks/|ntfy\.sh/)[^\s\"']+"),
        rf"\1{HIDDEN}",
    ),
)


def redacted(arguments: Iterable[str]) -> list[str]:
    """Return arguments with everything that looks like a secret replaced by `HIDDEN`."""
    shown = []
    is_value = False
    for argument in arguments:
        if is_value and not argument.startswith("-"):
            shown.append(HIDDEN)
            is_value = False
            continue
        is_value = _OPTION.fullmatch(argument) is not None
        for pattern, replacement in _SECRETS:
            argument = pattern.sub(replacement, argument)
        shown.append(argument)
    return shown

"""The agents by name, and what a person types to continue a session of each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The arguments after the program's name, which is the agent's.
CONTINUE = {
    "claude": ("--resume", "{id}"),
    "codex": ("resume", "{id}"),
    "opencode": ("--session", "{id}"),
    "copilot": ("--resume={id}",),
    "qwen": ("--resume", "{id}"),
}
#: What a default home needs.
NO_VARIABLES: Mapping[str, str] = {}


def continuation(
    agent: str, session: str, directory: str | None, variables: Mapping[str, str] = NO_VARIABLES
) -> str | None:
    """
    Return the line with which a person continues a session; None if none is safe to type.

    :param variables: what the agent needs in its environment to find the session's home.
    """
    arguments = CONTINUE.get(agent)
    if arguments is None or not "".join([directory or "", *variables.values()]).isprintable():
        return None
    from shlex import join, quote  # only if a line is shown

    line = join([agent, *(word.replace("{id}", session) for word in arguments)])
    line = " ".join([*(f"{name}={quote(value)}" for name, value in variables.items()), line])
    return line if directory is None else f"{join(['cd', directory])} && {line}"

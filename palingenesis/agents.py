"""The agents by name, and what a person types to continue a session of each."""

from __future__ import annotations

#: The arguments after the program's name, which is the agent's.
CONTINUE = {
    "claude": ("--resume", "{id}"),
    "codex": ("resume", "{id}"),
    "opencode": ("--session", "{id}"),
    "copilot": ("--resume={id}",),
    "qwen": ("--resume", "{id}"),
}


def continuation(agent: str, session: str, directory: str | None) -> str | None:
    """Return the line with which a person continues a session; None if none is safe to type."""
    arguments = CONTINUE.get(agent)
    if arguments is None or not (directory or "").isprintable():
        return None
    from shlex import join  # only if a line is shown

    line = join([agent, *(word.replace("{id}", session) for word in arguments)])
    return line if directory is None else f"{join(['cd', directory])} && {line}"

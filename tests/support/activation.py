"""A socket handed to twistd as an init system hands one, see sd_listen_fds(3)."""

from __future__ import annotations

from tests.support.processes import program, twistd_command

#: The option that has ``twistd palingenesis`` serve it.
INHERITED = "--endpoint=systemd:domain=UNIX:index=0"


def activated_twistd(descriptor: int, receiver: str = "child") -> list[str]:
    """
    Make the command of a twistd that inherits a socket.

    :param descriptor: the socket's number, which the process is to be given.
    :param receiver: whether the socket is said to be meant for the ``child`` or the ``parent``.
    """
    return program("launcher", receiver, str(descriptor), *twistd_command())

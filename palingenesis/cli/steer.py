"""``palingenesis hold``, ``release``, ``revive``, ``end``: what a person wants of one session."""

from __future__ import annotations

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain, counted
from palingenesis.cli.monitor import every_session, is_unknown
from palingenesis.cli.reasons import REASONS
from palingenesis.client.errors import ErrorReply
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import DaemonWord, Key, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.client.blocking import ControlClient

#: What is printed once a command is done.
_DONE = {
    "hold": "on hold",
    "release": "released",
    "revive": "revival started",
    "end": "revival ended, session on hold",
}


def steer(client: ControlClient, command: str, session: str) -> Exit:
    """
    Have the daemon do something with one session.

    :param command: one of the commands of this module.
    :param session: its id, or a beginning of it that no other session has.
    :raises palingenesis.client.errors.ClientError: if the daemon does not do it.
    """
    try:
        client.send(command.upper(), session)
    except ErrorReply as error:
        if is_unknown(error):
            error.advice = "only `twistd palingenesis` has sessions; name its socket with --socket"
        elif meaning := REASONS.get(error.message.rpartition(": ")[2]):
            error.advice = meaning
        raise
    except ValueError as error:
        complain(str(error))
        return Exit.USAGE
    print(f"{_DONE[command]}: {printable(session, NAME_LIMIT)}")
    return Exit.DONE


def pause_and_end(client: ControlClient) -> Exit:
    """
    Pause the daemon, then end each revival that runs.

    One that cannot be ended is reported, and the others are ended all the same.
    """
    status = Exit.DONE
    try:
        client.pause()
    except ErrorReply as error:
        # The pause holds, but not for after a restart.
        complain(str(error))
        status = Exit.ERROR_REPLY
    else:
        print(DaemonWord.PAUSED)
    ended = 0
    for session in every_session(client):
        # It has output for as long as its command runs, also after it has worked.
        if session.get(Key.STATE) != State.REVIVING and session.get(Key.OUTPUT) is None:
            continue
        try:
            client.send("END", str(session.get(Key.ID)))
            ended += 1
        except ErrorReply as error:
            complain(str(error))
            status = Exit.ERROR_REPLY
    print(f"ended {counted(ended, 'revival')}")
    return status

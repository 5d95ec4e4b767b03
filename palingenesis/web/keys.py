"""What gives access over TCP: the token, codes that are good once, and sessions."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256

from palingenesis.paths import PathError
from palingenesis.text import in_short

#: The name of the token's file in the state directory.
TOKEN_NAME = "http-token"  # noqa: S105 - a file's name
#: Random bytes of a token, a code and a session's key.
SECRET_BYTES = 32
#: Seconds for which a code is good.
CODE_SECONDS = 60.0
#: Seconds after which a session ends.
SESSION_SECONDS = 12 * 3600.0
#: Codes and sessions at once; one more ends the oldest.
CODES_LIMIT = 16
SESSIONS_LIMIT = 64
#: Wrong keys in `WRONG_SECONDS` that get 401; further ones get 429.
WRONG_LIMIT = 10
WRONG_SECONDS = 60.0

#: The longest file that can hold a token, in bytes.
_FILE_LIMIT = 256
_ADVICE = "remove it, and reload: a new one is made"


class Keys:
    """
    The token, the codes and the sessions, and a count of wrong keys.

    Codes and sessions are kept as digests, and looked up by them, so that the time of a
    comparison says nothing about a secret.

    :param token: what programs send; it reads.
    :param seconds: returns seconds, from any beginning, that never run backwards.
    :raises ValueError: if the token is empty.
    """

    def __init__(self, token: str, seconds: Callable[[], float] = time.monotonic) -> None:
        if not isinstance(token, str) or not token:
            raise ValueError("token: expected a string that is not empty")
        self._token = token.encode()
        self._seconds = seconds
        self._codes: dict[bytes, float] = {}
        self._sessions: dict[bytes, float] = {}
        self._wrong: deque[float] = deque(maxlen=WRONG_LIMIT + 1)

    def replace_token(self, token: str) -> None:
        """Take another token from now on."""
        self._token = token.encode()

    def is_token(self, key: bytes) -> bool:
        """Return whether a key is the token, in a time that does not depend on it."""
        return hmac.compare_digest(key, self._token)

    def is_session(self, key: bytes) -> bool:
        """Return whether a key is that of a session that has not ended."""
        ends = self._sessions.get(_digest(key))
        return ends is not None and self._seconds() < ends

    def issue_code(self) -> str:
        """Return a code that opens one session within `CODE_SECONDS`."""
        return self._issue(self._codes, CODE_SECONDS, CODES_LIMIT)

    def redeem(self, code: str) -> str | None:
        """
        Open a session with a code.

        :returns: the session's key; None if the code is used, old or wrong.
        """
        ends = self._codes.pop(_digest(code.encode("utf-8", "surrogatepass")), None)
        if ends is None or self._seconds() >= ends:
            return None
        return self._issue(self._sessions, SESSION_SECONDS, SESSIONS_LIMIT)

    def revoke(self) -> int:
        """End every session and every code, and return how many sessions that were."""
        now = self._seconds()
        count = sum(now < ends for ends in self._sessions.values())
        self._sessions.clear()
        self._codes.clear()
        return count

    def count_wrong(self) -> bool:
        """Count a wrong key, and return whether there were too many lately."""
        now = self._seconds()
        self._wrong.append(now)
        return len(self._wrong) > WRONG_LIMIT and now - self._wrong[0] < WRONG_SECONDS

    def _issue(self, issued: dict[bytes, float], good_for: float, limit: int) -> str:
        now = self._seconds()
        for digest in [digest for digest, ends in issued.items() if now >= ends]:
            del issued[digest]
        while len(issued) >= limit:
            del issued[next(iter(issued))]
        secret = secrets.token_urlsafe(SECRET_BYTES)
        issued[_digest(secret.encode())] = now + good_for
        return secret


def read_token(directory: str) -> str:
    """
    Read the token from its file in a directory; make both file and token if there is none.

    :raises PathError: if the file cannot be read or made, is not a regular file of our own
        that only we can read, or holds no token.
    """
    path = os.path.join(directory, TOKEN_NAME)
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return _make_token(path)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PathError(path, f"is not a regular file; {_ADVICE}")
            if found.st_uid != os.geteuid():
                raise PathError(path, f"belongs to uid {found.st_uid}; {_ADVICE}")
            if found.st_mode & 0o077:
                raise PathError(path, f"can be read or written by other users; {_ADVICE}")
            content = file.read(_FILE_LIMIT)
    except OSError as error:
        raise PathError(path, f"cannot be used: {in_short(error)}; {_ADVICE}") from error
    token = content.strip()
    if len(token) < SECRET_BYTES or not token.isascii() or len(token.split()) != 1:
        raise PathError(path, f"holds no token; {_ADVICE}")
    return token.decode()


def _make_token(path: str) -> str:
    token = secrets.token_urlsafe(SECRET_BYTES)
    beside = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(beside, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(f"{token}\n".encode())
            file.flush()
            os.fsync(descriptor)
        # Never over a file that came there meanwhile, and never half of one.
        os.link(beside, path)
    except FileExistsError:
        raise PathError(path, "was made by another process just now; reload") from None
    finally:
        os.unlink(beside)
    return token


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()

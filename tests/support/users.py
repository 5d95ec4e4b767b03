"""What another user may and may not do."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from typing import Any

#: The user and group of nobody.
NOBODY = 65534


def as_user(uid: int, do: Callable[[], object], umask: int | None = None) -> Any:
    """
    Do something in a forked child that is another user, and return what it returns.

    If it raises, the exception's class and text are returned as one string.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if umask is not None:
                os.umask(umask)
            if uid != os.geteuid():
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            try:
                result = do()
            except BaseException as error:
                result = f"{type(error).__name__}: {error}"
            os.write(writable, json.dumps(result).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told)


def obey_modes() -> None:
    """Have the modes of files hold for this process after its next exec, root's too."""
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, capabilities(7).
    for capability in (1, 2) if os.geteuid() == 0 else ():
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0:
            raise OSError("prctl(PR_CAPBSET_DROP) failed")

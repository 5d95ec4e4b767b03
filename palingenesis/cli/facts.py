"""
What the daemon counts on of a system, asked of this one: ``palingenesis doctor --report``.

Each fact is a small trial in a temporary directory. What it saw is printed, so that a report
from a system that we do not have says more than that something fails. Nothing in it is private:
no path, no name and no process of the user's.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import chdir, contextmanager
from operator import eq

from palingenesis.cli.exit_status import Exit
from palingenesis.procfs import has_ended, macos_kernel, peer_credentials
from palingenesis.text import NAME_LIMIT, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Trial = Callable[[str], tuple[bool, str]]

_DARWIN = sys.platform == "darwin"
#: What connect(2) fails with if a backlog is full, unix(7) and xnu's ``unp_connect``.
_FULL_BACKLOG = errno.ECONNREFUSED if _DARWIN else errno.EAGAIN
#: A process that does nothing.
_SLEEP = ["/bin/sleep", "60"]
#: Seconds that a process of a trial has to end.
_PATIENCE = 10.0


def facts() -> Iterator[tuple[str, bool, str]]:
    """Try each fact, and yield its name, whether it holds, and what was seen."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pal-") as directory:
        for name, trial in TRIALS.items():
            place = os.path.join(directory, str(len(os.listdir(directory))))
            os.mkdir(place)
            try:
                holds, seen = trial(place)
            except Exception as error:
                # Not its text, which may have a path.
                what = f" {_code(error)}" if isinstance(error, OSError) else ""
                holds, seen = False, f"{type(error).__name__}{what}"
            yield name, holds, printable(seen, NAME_LIMIT)


def report() -> Exit:
    """Print versions, the platform and each fact; return an error if one does not hold."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    for name in ("palingenesis", "twisted"):
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    print(f"{platform.python_implementation()} {platform.python_version()}")
    release = platform.mac_ver()[0] if _DARWIN else platform.release()
    print(f"{platform.system()} {release} {platform.machine()}")
    missing = 0
    for name, holds, seen in facts():
        missing += not holds
        print(f"{'yes' if holds else 'NO ':3} {name}: {seen}", flush=True)
    return Exit.ERROR_REPLY if missing else Exit.DONE


def _peer(_directory: str) -> tuple[bool, str]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = peer_credentials(ours)
    if found is None:
        return False, "unknown"
    expected = (os.getpid(), os.geteuid(), os.getegid())
    return found == expected, _digits(map(eq, found, expected))


def _backlog(directory: str) -> tuple[bool, str]:
    path = os.path.join(directory, "s")
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        try:
            while len(waiting) < 64:
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(path)
        except OSError as error:
            return error.errno == _FULL_BACKLOG, f"{_code(error)} after {len(waiting) - 1}"
        finally:
            for client in waiting:
                client.close()
    return False, "never full"


def _mode(directory: str) -> tuple[bool, str]:
    path = os.path.join(directory, "s")
    umask = os.umask(0o177)
    try:
        with socket.socket(socket.AF_UNIX) as unbound:
            unbound.bind(path)
    finally:
        os.umask(umask)
    mode = os.lstat(path).st_mode & 0o7777
    return mode == 0o600, f"{mode:04o}"


def _fchmod(_directory: str) -> tuple[bool, str]:
    with socket.socket(socket.AF_UNIX) as unbound:
        try:
            os.fchmod(unbound.fileno(), 0o600)
        except OSError as error:
            return _DARWIN, _code(error)
    return True, "done"


def _listening(directory: str) -> tuple[bool, str]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join(directory, "s"))
        listening.listen(1)
        try:
            found = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            return error.errno == errno.ENOPROTOOPT, _code(error)
    return bool(found), str(found)


def _zombie(_directory: str) -> tuple[bool, str]:
    import time

    pid = os.posix_spawn("/usr/bin/true", ["true"], {})
    try:
        end = time.monotonic() + _PATIENCE
        while not has_ended(pid):
            if time.monotonic() > end:
                return False, "counts as alive"
            time.sleep(0.01)
        os.kill(pid, 0)  # What is asked is a zombie, and not a pid that is gone.
    finally:
        os.waitpid(pid, 0)
    return True, "has ended"


def _link(_directory: str) -> tuple[bool, str]:
    return True, "a link" if os.path.islink("/tmp") else "a directory"  # noqa: S108


def _names(directory: str) -> tuple[bool, str]:
    with open(os.path.join(directory, "\u00e9"), "wb"):
        pass
    decomposed = os.path.exists(os.path.join(directory, "e\u0301"))
    capital = os.path.exists(os.path.join(directory, "\u00c9"))
    form = "as asked" if os.listdir(directory) == ["\u00e9"] else "changed"
    same = [
        name for name, found in (("decomposed", decomposed), ("capital", capital)) if found
    ] or ["none"]
    return True, f"other names: {', '.join(same)}; kept {form}"


def _limit(_directory: str) -> tuple[bool, str]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= 1024
    return enough, f"{soft} of {'any' if hard == resource.RLIM_INFINITY else hard}"


def _own_process(_directory: str) -> tuple[bool, str]:
    kernel = macos_kernel()
    pid = os.getpid()
    started = kernel.started(pid)
    inside = kernel.directory(pid).is_file(os.stat("."))
    _, arguments = kernel.arguments(pid)
    whole = arguments == sys.orig_argv
    listed = pid in kernel.pids()
    return inside and whole and listed, (
        f"start {'whole seconds' if started % 1_000_000 == 0 else 'microseconds'}, "
        f"directory {'right' if inside else 'WRONG'}, arguments {'right' if whole else 'WRONG'}, "
        f"{'listed' if listed else 'NOT listed'}"
    )


def _blanks(directory: str) -> tuple[bool, str]:
    program = os.path.join(directory, "Application Support", "\u00e9 claude")
    os.mkdir(os.path.dirname(program))
    os.symlink(os.path.realpath("/bin/sleep"), program)
    kernel = macos_kernel()
    words = [program, "60"]
    with chdir(os.path.dirname(program)), _child(words) as pid:
        right = kernel.arguments(pid)[1] == words
        inside = kernel.directory(pid).is_file(os.stat("."))
    return right and inside, (
        f"arguments {'apart' if right else 'WRONG'}, directory {'right' if inside else 'WRONG'}"
    )


def _environment(_directory: str) -> tuple[bool, str]:
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    with _child(words, PALINGENESIS_FACT="1") as pid:
        found = macos_kernel().environment(pid)
    return not found or "PALINGENESIS_FACT=1" in found, "shown" if found else "hidden"


def _first_process(_directory: str) -> tuple[bool, str]:
    kernel = macos_kernel()
    found = kernel.process(1)
    try:
        kernel.arguments(1)
        hidden = "its arguments are read"
    except OSError as error:
        hidden = f"its arguments: {errno.errorcode.get(error.errno or 0, '?')}"
    return found.uid == 0 and not found.zombie, f"{found.name}, uid {found.uid}; {hidden}"


def _open_file(directory: str) -> tuple[bool, str]:
    with open(os.path.join(directory, "f"), "wb") as file:
        place = os.fstat(file.fileno())
        found = [one for one in macos_kernel().files(os.getpid()) if one.is_file(place)]
    written = [one for one in found if one.written]
    return bool(written), f"found {len(found)}, for writing {len(written)}"


def _listener(directory: str) -> tuple[bool, str]:
    path = os.path.join(directory, "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(1)
        os.unlink(path)
        # This process is left out, so one that has the socket from it is looked for.
        listening.set_inheritable(True)
        with _child(_SLEEP) as pid:
            found = macos_kernel().listener(path)
    return found is not None and found.pid == pid, "found" if found else "NOT found"


def _lock(directory: str) -> tuple[bool, str]:
    import fcntl

    from palingenesis.darwin import is_locked

    path = os.path.join(directory, "l")
    with open(path, "wb") as file:
        before = is_locked(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        during = is_locked(path)
        # What is asked must not take or drop the lock.
        again = is_locked(path)
    after = is_locked(path)
    seen = [before, during, again, after]
    return seen == [False, True, True, False], _digits(seen)


def _full_sync(directory: str) -> tuple[bool, str]:
    import fcntl

    from palingenesis.darwin import sync

    with open(os.path.join(directory, "f"), "wb") as file:
        file.write(b"x")
        file.flush()
        fcntl.fcntl(file.fileno(), 51)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        # The ledger needs this of a directory too, if not in this very way.
        sync(descriptor)
        fcntl.fcntl(descriptor, 51)
    except OSError as error:
        return False, f"done; of a directory: {errno.errorcode.get(error.errno or 0, '?')}"
    finally:
        os.close(descriptor)
    return True, "done, of a directory too"


def _held(_directory: str) -> tuple[bool, str]:
    from palingenesis.darwin import KqueueProcess

    with _child(_SLEEP) as pid, KqueueProcess(pid) as held:
        seen = [
            *(held.ends_within(0), held.terminate()),
            *(held.ends_within(_PATIENCE), held.terminate()),
        ]
    return seen == [False, True, True, False], _digits(seen)


@contextmanager
def _child(words: list[str], **environment: str) -> Iterator[int]:
    """Start a program, which is ended afterwards."""
    pid = os.posix_spawn(words[0], words, environment)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def _digits(seen: Iterable[bool]) -> str:
    return "".join("01"[one] for one in seen)


def _file_system(directory: str) -> tuple[bool, str]:
    from palingenesis.darwin import file_system

    kind, local = file_system(directory)
    return local, f"{kind}, {'local' if local else 'NOT local'}"


#: The trials, by what they are about. A fact that is another on each system holds on both.
TRIALS: dict[str, Trial] = {
    "a socket's peer is known": _peer,
    "a full backlog": _backlog,
    "the umask decides a socket's mode": _mode,
    "fchmod of a socket": _fchmod,
    "a listening socket": _listening,
    "a zombie": _zombie,
    "the directory for temporary files": _link,
    "names of files": _names,
    "open files at once": _limit,
}
if _DARWIN:
    TRIALS |= {
        "this process": _own_process,
        "a program with blanks in its path": _blanks,
        "the environment of a Python": _environment,
        "another user's process": _first_process,
        "an open file": _open_file,
        "a listener without its file": _listener,
        "a lock of flock(2), asked by F_GETLK": _lock,
        "F_FULLFSYNC": _full_sync,
        "the end of a process, by kqueue(2)": _held,
        "the temporary directory's file system": _file_system,
    }

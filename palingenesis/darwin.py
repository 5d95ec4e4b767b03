"""
What macOS's kernel knows: processes, sockets' peers, locks, and when a file is on the disk.

No other system runs this. The layouts and numbers are those of xnu's ``bsd/sys/proc_info.h``,
``sys/un.h``, ``sys/ucred.h``, ``sys/fcntl.h`` and ``sys/mount.h`` for 64-bit programs, which
macOS 10.15 to 15 share; xnu's source is at ``apple-oss-distributions/xnu``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import time
import unicodedata
from itertools import takewhile
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# Of bsd/sys/proc_info.h: the lists and flavours of proc_info(2).
_PROC_ALL_PIDS = 1
_PROC_PIDLISTFDS = 1
_PROC_PIDTBSDINFO = 3
_PROC_PIDVNODEPATHINFO = 9
_PROC_PIDT_SHORTBSDINFO = 13
_PROC_PIDFDVNODEPATHINFO = 2
_PROC_PIDFDSOCKETINFO = 3
_PROX_FDTYPE_VNODE = 1
_PROX_FDTYPE_SOCKET = 2
_PROC_PIDPATHINFO_MAXSIZE = 4096
_SOCKINFO_UN = 3
#: ``struct proc_bsdinfo``: flags, status, …, pid, parent, uid, …, comm, name, …, start.
_BSDINFO = struct.Struct("<5I I 6I 16s 32s 2I 3I i 2Q")
#: ``struct proc_bsdshortinfo``: pid, parent, group, status, comm, flags, uid, gid, …
_SHORTINFO = struct.Struct("<4I 16s 3I 20x")
#: ``struct vnode_info_path``: device, inode, …, path.
_VNODE_PATH = struct.Struct("<I 4x Q 136x 1024s")
#: ``struct proc_fileinfo``: open flags, …
_FILEINFO = struct.Struct("<I 20x")
#: ``struct proc_fdinfo``: descriptor, type.
_FDINFO = struct.Struct("<i I")
#: ``struct socket_fdinfo`` of a Unix socket, from ``soi_options`` and ``soi_kind`` to
#: ``unsi_addr``'s ``sun_len`` and ``sun_path``.
_SOCKET = struct.Struct("<188x H 66x i 4x 16x B x 104s 406x")
#: The beginning of ``struct kinfo_proc`` of sys/sysctl.h, and the size of all of it.
_STARTTIME = struct.Struct("<q i")
_KINFO_SIZE = 648
#: ``struct xucred`` of sys/ucred.h: version, uid, number of groups, groups.
_XUCRED = struct.Struct("<2I h 2x 16I")
#: ``struct flock`` of sys/fcntl.h: start, length, pid, type, whence.
_FLOCK = struct.Struct("<2q i 2h")
#: ``struct statfs`` of sys/mount.h: flags and the name of the type.
_STATFS = struct.Struct("<64x I 4x 16s 2080x")

_SSTOP, _SZOMB = 4, 5  # sys/proc.h
_FWRITE = 2  # sys/fcntl.h
_SO_ACCEPTCONN = 2  # sys/socket.h
# sys/sysctl.h
_CTL_KERN, _KERN_PROC, _KERN_PROC_PID, _KERN_PROCARGS2 = 1, 14, 1, 49
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # sys/un.h
_F_GETLK, _F_FULLFSYNC = 7, 51  # sys/fcntl.h
_F_UNLCK, _F_WRLCK = 2, 3
_MNT_LOCAL = 0x1000  # sys/mount.h
#: The most that sysctl(3) returns of a command line, ``ARG_MAX`` and the count before it.
_ARGUMENTS_LIMIT = 1024 * 1024 + 4
#: Bytes of a pointer: execve(2) ends the path with so many bytes, ``exec_extract_strings``.
_WORD = 8
#: The first strings of the kernel's own behind the environment, ``exec_add_apple_strings``.
_KERNELS = (b"pfz=", b"stack_guard=", b"malloc_entropy=", b"ptr_munge=", b"main_stack=")
_FUNCTIONS = ("proc_listpids", "proc_pidinfo", "proc_pidfdinfo", "proc_pidpath", "sysctl")
#: Bytes for what one message passes besides its data; ``sockargs`` of xnu takes 2048.
_ANCILLARY_LIMIT = 4096
#: What F_FULLFSYNC fails with on a file system that has none.
_NO_FULL_SYNC = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


class Process(NamedTuple):
    """
    What the kernel reports about a process of any user.

    :ivar name: the first 15 bytes of its program's name: ``MAXCOMLEN`` less a NUL.
    :ivar zombie: whether it has ended, and its parent has not asked for its status.
    :ivar stopped: whether it waits for SIGCONT.
    """

    pid: int
    parent: int
    group: int
    uid: int
    gid: int
    name: str
    zombie: bool
    stopped: bool


class OpenFile(NamedTuple):
    """
    A file that a process has open, or the directory that it is in.

    :ivar path: one of its names; empty if the kernel finds none.
    :ivar written: whether it is open for writing.
    """

    path: str
    device: int
    inode: int
    written: bool

    def is_file(self, found: os.stat_result) -> bool:
        """Return whether it is the file that stat(2) found, whatever its name."""
        return (self.device, self.inode) == (found.st_dev & 0xFFFFFFFF, found.st_ino)


class Kernel:
    """
    The kernel's table of processes, read through libproc and sysctl(3).

    Of another user's processes, only `process`, `started` and `program` answer, except to root.
    Each method raises ``ProcessLookupError`` for a process that has ended, and another
    ``OSError`` for one that cannot be read.

    :param library: the functions of libSystem.
    """

    def __init__(self, library: Any = None) -> None:
        self._library = _load() if library is None else library
        self._answer = ctypes.create_string_buffer(0)

    def pids(self) -> list[int]:
        """List the processes of all users; 0, the kernel itself, is left out."""
        size = 4 * 1024
        while True:
            buffer = ctypes.create_string_buffer(size)
            filled = self._call("proc_listpids", _PROC_ALL_PIDS, 0, buffer, size)
            # A full buffer may have left some out.
            if filled < size:
                pids = struct.unpack(f"<{filled // 4}i", buffer.raw[: filled // 4 * 4])
                return [pid for pid in pids if pid]
            size *= 2

    def process(self, pid: int) -> Process:
        """Return a process of any user. A zombie may be reported as ended, as xnu does."""
        # The argument 1 asks for zombies too.
        data = self._pidinfo(pid, _PROC_PIDT_SHORTBSDINFO, 1, _SHORTINFO.size)
        own, parent, group, status, name, _flags, uid, gid = _SHORTINFO.unpack(data)
        return Process(
            *(own, parent, group, uid, gid, _text(name)), status == _SZOMB, status == _SSTOP
        )

    def has_ended(self, pid: int) -> bool:
        """Return whether a process is gone, or a zombie."""
        try:
            return self.process(pid).zombie
        except ProcessLookupError:
            return True
        except OSError:
            return False

    def started(self, pid: int) -> int:
        """Return when a process of any user started, in microseconds since the epoch."""
        try:
            fields = _BSDINFO.unpack(self._pidinfo(pid, _PROC_PIDTBSDINFO, 0, _BSDINFO.size))
        except PermissionError:
            # Another user's: sysctl(3) returns it, as it does for ps(1).
            found = self._sysctl((_CTL_KERN, _KERN_PROC, _KERN_PROC_PID, pid), _KINFO_SIZE)
            if len(found) < _STARTTIME.size:
                raise _gone(pid) from None
            fields = _STARTTIME.unpack_from(found)
        return int(fields[-2]) * 1_000_000 + int(fields[-1])

    def directory(self, pid: int) -> OpenFile:
        """Return the current directory of a process."""
        data = self._pidinfo(pid, _PROC_PIDVNODEPATHINFO, 0, 2 * _VNODE_PATH.size)
        device, inode, path = _VNODE_PATH.unpack_from(data)
        if not inode:
            raise OSError(errno.ENOENT, "no current directory is known")
        return OpenFile(_text(path), device, inode, False)

    def program(self, pid: int) -> str:
        """Return the path of a process's program, as proc_pidpath(3) finds it now."""
        buffer = ctypes.create_string_buffer(_PROC_PIDPATHINFO_MAXSIZE)
        size = self._call("proc_pidpath", pid, buffer, _PROC_PIDPATHINFO_MAXSIZE)
        return os.fsdecode(buffer.raw[:size])

    def arguments(self, pid: int) -> tuple[str, list[str]]:
        """
        Return the path that execve(2) was called with, and the arguments, each by itself.

        :raises OSError: EINVAL for a process that has ended, and for another user's.
        """
        return parse_arguments(self._command_line(pid))

    def environment(self, pid: int) -> list[str]:
        """
        Return the variables that a process was started with, each as ``NAME=value``.

        There are none of a program that System Integrity Protection restricts
        (``sysctl_procargsx`` of xnu's ``bsd/kern/kern_sysctl.c``).

        :raises OSError: as `arguments` does.
        """
        return parse_environment(self._command_line(pid))

    def files(self, pid: int) -> list[OpenFile]:
        """List the files that a process has open."""
        found = []
        for descriptor in self._descriptors(pid, _PROX_FDTYPE_VNODE):
            size = _FILEINFO.size + _VNODE_PATH.size
            data = self._fdinfo(pid, descriptor, _PROC_PIDFDVNODEPATHINFO, size)
            if data is not None:
                (flags,) = _FILEINFO.unpack_from(data)
                device, inode, path = _VNODE_PATH.unpack_from(data, _FILEINFO.size)
                found.append(OpenFile(_text(path), device, inode, bool(flags & _FWRITE)))
        return found

    def listener(self, path: str) -> Process | None:
        """
        Find another process of our user that listens at a Unix socket of a path.

        It counts whether or not the socket's file is still there. This process may have a
        socket whose file was replaced.

        :raises OSError: if no process but this one can be read. One that cannot be read, while
            others can, is protected by the system, and is no daemon that our user has started.
        """
        own = os.getpid()
        return next(self._find(lambda pid: self._listens(pid, path) and pid != own), None)

    def holder(self, path: str) -> Process | None:
        """
        Find the process of our user that has a file open that is locked.

        None if several have it open: which of them holds the lock, the kernel does not say.

        :raises OSError: as `listener` does, or if the file cannot be asked.
        """
        if not is_locked(path):
            return None
        wanted = os.stat(path)
        found = list(self._find(lambda pid: any(f.is_file(wanted) for f in self.files(pid))))
        return found[0] if len(found) == 1 else None

    def _find(self, is_wanted: Callable[[int], bool]) -> Iterator[Process]:
        uid, own = os.geteuid(), os.getpid()
        failed: OSError | None = None
        others = 0
        for pid in self.pids():
            try:
                process = self.process(pid)
                found = process.uid == uid and is_wanted(pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                failed = error
                continue
            others += process.uid == uid and (found or pid != own)
            if found:
                yield process
        if failed is not None and not others:
            raise failed

    def _listens(self, pid: int, path: str) -> bool:
        for descriptor in self._descriptors(pid, _PROX_FDTYPE_SOCKET):
            data = self._fdinfo(pid, descriptor, _PROC_PIDFDSOCKETINFO, _SOCKET.size)
            if data is None:
                continue
            options, kind, length, name = _SOCKET.unpack(data)
            # The kernel need not end sun_path by a NUL, but says its length.
            name = name[: max(0, length - 2)].partition(b"\0")[0]
            if kind == _SOCKINFO_UN and options & _SO_ACCEPTCONN and _same_place(name, path):
                return True
        return False

    def _descriptors(self, pid: int, kind: int) -> Iterator[int]:
        size = 8 * 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            ctypes.set_errno(0)
            filled = self._library.proc_pidinfo(pid, _PROC_PIDLISTFDS, 0, buffer, size)
            if filled <= 0 and ctypes.get_errno():
                raise _error("proc_pidinfo(PROC_PIDLISTFDS)")
            if filled < size:
                break
            size *= 2
        usable = max(0, filled) // _FDINFO.size * _FDINFO.size
        for descriptor, found in _FDINFO.iter_unpack(buffer.raw[:usable]):
            if found == kind:
                yield descriptor

    def _fdinfo(self, pid: int, descriptor: int, flavour: int, size: int) -> bytes | None:
        """Look at an open descriptor; None if it was closed meanwhile."""
        buffer = ctypes.create_string_buffer(size)
        try:
            filled = self._call("proc_pidfdinfo", pid, descriptor, flavour, buffer, size)
        except OSError as error:
            # A file that was revoked or unmounted has no name, and is nobody's transcript.
            if error.errno in (errno.EBADF, errno.ENOTSOCK, errno.ENOENT):
                return None
            raise
        return _whole(buffer, filled, size)

    def _command_line(self, pid: int) -> bytes:
        return self._sysctl((_CTL_KERN, _KERN_PROCARGS2, pid), _ARGUMENTS_LIMIT)

    def _sysctl(self, name: tuple[int, ...], limit: int) -> bytes:
        if len(self._answer) < limit:
            # One for all processes: it is a megabyte, and clearing it takes time.
            self._answer = ctypes.create_string_buffer(limit)
        mib = (ctypes.c_int * len(name))(*name)
        size = ctypes.c_size_t(limit)
        ctypes.set_errno(0)
        if self._library.sysctl(mib, len(name), self._answer, ctypes.byref(size), None, 0) != 0:
            raise _error("sysctl")
        return ctypes.string_at(self._answer, size.value)

    def _pidinfo(self, pid: int, flavour: int, argument: int, size: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        filled = self._call("proc_pidinfo", pid, flavour, argument, buffer, size)
        return _whole(buffer, filled, size)

    def _call(self, name: str, *arguments: Any) -> int:
        # libproc returns 0 or less for an error, and leaves it in errno.
        ctypes.set_errno(0)
        filled = int(getattr(self._library, name)(*arguments))
        if filled <= 0:
            raise _error(name)
        return filled


def _load() -> Any:
    """
    Return libSystem, which every program has; its functions with their types.

    :raises OSError: if it lacks one.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not all(hasattr(library, name) for name in _FUNCTIONS):
        raise OSError(errno.ENOSYS, "the system has no libproc")
    number, size, pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    library.proc_listpids.argtypes = (ctypes.c_uint32, ctypes.c_uint32, pointer, number)
    library.proc_pidinfo.argtypes = (number, number, ctypes.c_uint64, pointer, number)
    library.proc_pidfdinfo.argtypes = (number, number, number, pointer, number)
    library.proc_pidpath.argtypes = (number, pointer, ctypes.c_uint32)
    library.sysctl.argtypes = (
        *(ctypes.POINTER(number), ctypes.c_uint, pointer, ctypes.POINTER(size), pointer, size),
    )
    return library


def _error(call: str) -> OSError:
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, f"{call}: {os.strerror(number)}")


def _gone(pid: int) -> ProcessLookupError:
    return ProcessLookupError(errno.ESRCH, f"no process {pid}")


def _whole(buffer: ctypes.Array[ctypes.c_char], filled: int, size: int) -> bytes:
    if filled != size:
        raise OSError(errno.EIO, f"the kernel's answer has {filled} bytes and not {size}")
    return buffer.raw


def _text(name: bytes) -> str:
    return os.fsdecode(name.partition(b"\0")[0])


def _same_place(name: bytes, path: str) -> bool:
    """Return whether two absolute paths name one place, however each is spelled."""
    other = os.fsdecode(name)
    if not same_name(os.path.basename(other), os.path.basename(path)):
        return False
    try:
        return os.path.samefile(os.path.dirname(other), os.path.dirname(path))
    except OSError:
        return same_name(other, path)


def same_name(one: str, other: str) -> bool:
    """
    Return whether macOS may take two names for the same.

    Its file systems mostly ignore case, and composed and decomposed letters are equal.
    """
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def parse_arguments(data: bytes) -> tuple[str, list[str]]:
    """
    Take the program's path and the arguments from what ``KERN_PROCARGS2`` returns.

    It is the number of arguments, the path that execve(2) was called with, NULs up to a
    word's end, the arguments, then the environment, each ended by a NUL. A program may have
    written over its arguments to change its title, so the first of them may be empty.

    :raises OSError: if it does not have that form.
    """
    path, arguments, _ = _split(data)
    return os.fsdecode(path), [os.fsdecode(word) for word in arguments]


def parse_environment(data: bytes) -> list[str]:
    """
    Take the environment from what ``KERN_PROCARGS2`` returns.

    Strings of the kernel's own follow it. The NULs up to a word's end are mostly an empty string
    between them (``exec_extract_strings`` of xnu's ``bsd/kern/kern_exec.c``).

    :raises OSError: if it does not have the form that `parse_arguments` describes.
    """
    words = takewhile(lambda word: word and not word.startswith(_KERNELS), _split(data)[2])
    return [os.fsdecode(word) for word in words]


def _split(data: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    """Return the program's path, the arguments, and the words behind them."""
    if len(data) < 5:
        raise OSError(errno.EIO, "the kernel's answer is too short for a command line")
    (count,) = struct.unpack_from("<i", data)
    path, _, rest = data[4:].partition(b"\0")
    padding = -(len(path) + 1) % _WORD
    # Some of Apple's own programs have no more than a NUL there.
    rest = rest.lstrip(b"\0") if rest[:padding].strip(b"\0") else rest[padding:]
    words = rest.split(b"\0")
    # Each word is ended by a NUL, so what comes after the last one is no word.
    if not 0 <= count < len(words):
        raise OSError(errno.EIO, f"the kernel's answer has fewer than {count} arguments")
    return path, words[:count], words[count:]


def same_start(written: str, started: int) -> bool:
    """
    Return whether a date, as ``ps -o lstart`` prints it, may be that of a process's start.

    Programs write it in UTC, or in the zone of that day, which is a whole number of quarters
    of an hour away. What is no date may be anything's.

    :param written: such as ``Thu Sep 10 08:31:58 2026``.
    :param started: in microseconds since the epoch.
    """
    try:
        then = time.strptime(" ".join(written.split()), "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return True
    import calendar

    away = calendar.timegm(then) - started // 1_000_000
    return abs(away) <= 15 * 3600 and away % 900 in (0, 1, 899)


def peer(connection: socket.socket) -> tuple[int, int, int] | None:
    """
    Return pid, uid and gid of the process at the other end of a Unix socket.

    The pid is of the process that has used the other end last, or of the listener before it
    has accepted (``LOCAL_PEERPID``); the user is the one that connected, or called listen(2)
    (``LOCAL_PEERCRED``). None if the other end is closed, or it is no Unix socket.
    """
    try:
        data = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
        version, uid, groups, first, *_ = _XUCRED.unpack(data)
        pid = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    except (OSError, struct.error):
        return None
    if version != 0 or groups < 1:
        return None
    return pid, uid, first


class ClientSocket(socket.socket):
    """
    A connection whose client leaves no descriptors in this process.

    A plain recv(2) has the kernel install those that a client passes, and reports none of them
    (``soreceive_ctl`` of xnu's ``bsd/kern/uipc_socket.c``): soon there would be no free ones.

    :param accepted: the connection, which this object takes over.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive data, and close the descriptors that came with it."""
        data, ancillary, _flags, _address = self.recvmsg(size, _ANCILLARY_LIMIT, flags)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for descriptor in struct.unpack(f"<{len(value) // 4}i", value[: len(value) & ~3]):
                    os.close(descriptor)
        return data


def is_locked(path: str) -> bool:
    """
    Return whether a lock of flock(2) or fcntl(2) is held on a file.

    One that this process has taken by flock(2) counts too, one by fcntl(2) does not. Nothing is
    locked by asking: the kernel keeps both kinds in one list, and ``F_GETLK`` reports the first
    that is in the way (``lf_getlock`` of xnu's ``bsd/kern/kern_lockf.c``).

    :raises OSError: if the file cannot be opened or asked; FileNotFoundError if it is missing.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    try:
        asked = _FLOCK.pack(0, 0, 0, _F_WRLCK, os.SEEK_SET)
        answer = fcntl.fcntl(descriptor, _F_GETLK, asked)
    finally:
        os.close(descriptor)
    return bool(_FLOCK.unpack(answer)[3] != _F_UNLCK)


def sync(descriptor: int) -> None:
    """
    Have a file's content on the disk; fsync(2) only hands it to the drive.

    A file system without ``F_FULLFSYNC``, such as a network's, gets fsync(2).
    """
    try:
        fcntl.fcntl(descriptor, _F_FULLFSYNC)
    except OSError as error:
        if error.errno not in _NO_FULL_SYNC:
            raise
        os.fsync(descriptor)


class KqueueProcess:
    """
    A process that is watched by kqueue(2), so that its pid cannot come to mean another.

    It is registered at once. If it ends and its pid is used again, this object knows that it
    has ended, and signals nothing.

    :param pid: a process of any user.
    :raises ProcessLookupError: if there is none, or it is a zombie.
    """

    def __init__(self, pid: int) -> None:
        bsd: Any = select
        self._pid = pid
        self._ended = False
        self._queue = bsd.kqueue()
        try:
            event = bsd.kevent(
                pid, bsd.KQ_FILTER_PROC, bsd.KQ_EV_ADD | bsd.KQ_EV_ONESHOT, bsd.KQ_NOTE_EXIT
            )
            self._queue.control([event], 0)
        except BaseException:
            self._queue.close()
            raise

    def __enter__(self) -> KqueueProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.close()

    def terminate(self) -> bool:
        """Send SIGTERM, and return whether there was still a process to get it."""
        if self.ends_within(0):
            return False
        try:
            os.kill(self._pid, signal.SIGTERM)
        except ProcessLookupError:
            return False
        return True

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, so many seconds at most, and return whether it has come."""
        if not self._ended:
            self._ended = bool(self._queue.control(None, 1, max(0.0, seconds)))
        return self._ended


def file_system(path: str, library: Any = None) -> tuple[str, bool]:
    """
    Return the type of the file system that a path is on, and whether it is this machine's.

    :raises OSError: if it cannot be asked.
    """
    library = ctypes.CDLL(None, use_errno=True) if library is None else library
    # On Intel, the name without a suffix is an older structure's.
    call = getattr(library, "statfs$INODE64", None) or library.statfs
    buffer = ctypes.create_string_buffer(_STATFS.size)
    ctypes.set_errno(0)
    if call(ctypes.c_char_p(os.fsencode(path)), buffer) != 0:
        raise _error("statfs")
    flags, kind = _STATFS.unpack(buffer.raw)
    return _text(kind), bool(flags & _MNT_LOCAL)

"""
A simulated macOS, for tests on other systems: libSystem's answers for processes of a table.

The structures are written down from xnu's headers (``bsd/sys/proc_info.h``, ``sys/mount.h`` and
those that each one names) as C declares them, and not from the formats that they test. What a
real kernel does, none of this shows.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import darwin

_U16, _U32, _U64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
_I16, _I32, _I64 = ctypes.c_int16, ctypes.c_int32, ctypes.c_int64
_CHAR = ctypes.c_char


class BsdInfo(ctypes.Structure):
    """``struct proc_bsdinfo``."""

    _fields_ = [
        *((f"pbi_{name}", _U32) for name in ("flags", "status", "xstatus", "pid", "ppid")),
        *((f"pbi_{name}", _U32) for name in ("uid", "gid", "ruid", "rgid", "svuid", "svgid")),
        ("rfu_1", _U32),
        ("pbi_comm", _CHAR * 16),
        ("pbi_name", _CHAR * 32),
        *((f"pbi_{name}", _U32) for name in ("nfiles", "pgid", "pjobc")),
        ("e_tdev", _U32),
        ("e_tpgid", _U32),
        ("pbi_nice", _I32),
        ("pbi_start_tvsec", _U64),
        ("pbi_start_tvusec", _U64),
    ]


class ShortInfo(ctypes.Structure):
    """``struct proc_bsdshortinfo``."""

    _fields_ = [
        *((f"pbsi_{name}", _U32) for name in ("pid", "ppid", "pgid", "status")),
        ("pbsi_comm", _CHAR * 16),
        *((f"pbsi_{name}", _U32) for name in ("flags", "uid", "gid", "ruid", "rgid", "svuid")),
        ("pbsi_svgid", _U32),
        ("pbsi_rfu", _U32),
    ]


class VinfoStat(ctypes.Structure):
    """``struct vinfo_stat``."""

    _fields_ = [
        ("vst_dev", _U32),
        ("vst_mode", _U16),
        ("vst_nlink", _U16),
        ("vst_ino", _U64),
        ("vst_uid", _U32),
        ("vst_gid", _U32),
        *(
            (f"vst_{time}time{part}", _I64)
            for time in ("a", "m", "c", "birth")
            for part in ("", "nsec")
        ),
        ("vst_size", _I64),
        ("vst_blocks", _I64),
        ("vst_blksize", _I32),
        *((f"vst_{name}", _U32) for name in ("flags", "gen", "rdev")),
        ("vst_qspare", _I64 * 2),
    ]


class VnodeInfoPath(ctypes.Structure):
    """``struct vnode_info_path``, with the ``struct vnode_info`` in it."""

    _fields_ = [
        ("vi_stat", VinfoStat),
        ("vi_type", _I32),
        ("vi_pad", _I32),
        ("vi_fsid", _I32 * 2),
        ("vip_path", _CHAR * 1024),
    ]


class VnodePathInfo(ctypes.Structure):
    """``struct proc_vnodepathinfo``."""

    _fields_ = [("pvi_cdir", VnodeInfoPath), ("pvi_rdir", VnodeInfoPath)]


class FileInfo(ctypes.Structure):
    """``struct proc_fileinfo``."""

    _fields_ = [
        ("fi_openflags", _U32),
        ("fi_status", _U32),
        ("fi_offset", _I64),
        ("fi_type", _I32),
        ("fi_guardflags", _U32),
    ]


class VnodeFdInfo(ctypes.Structure):
    """``struct vnode_fdinfowithpath``."""

    _fields_ = [("pfi", FileInfo), ("pvip", VnodeInfoPath)]


class SockBufInfo(ctypes.Structure):
    """``struct sockbuf_info``."""

    _fields_ = [
        *((f"sbi_{name}", _U32) for name in ("cc", "hiwat", "mbcnt", "mbmax", "lowat")),
        ("sbi_flags", _I16),
        ("sbi_timeo", _I16),
    ]


class SockAddrUn(ctypes.Structure):
    """``struct sockaddr_un``, in its union with 255 bytes."""

    _fields_ = [
        ("sun_len", ctypes.c_uint8),
        ("sun_family", ctypes.c_uint8),
        ("sun_path", _CHAR * 104),
        ("rest", _CHAR * (255 - 106)),
    ]


class UnSockInfo(ctypes.Structure):
    """``struct un_sockinfo``."""

    _fields_ = [
        ("unsi_conn_so", _U64),
        ("unsi_conn_pcb", _U64),
        ("unsi_addr", SockAddrUn),
        ("unsi_caddr", SockAddrUn),
    ]


class SocketFdInfo(ctypes.Structure):
    """``struct socket_fdinfo``, with the ``struct socket_info`` of a Unix socket in it."""

    _fields_ = [
        ("pfi", FileInfo),
        ("soi_stat", VinfoStat),
        ("soi_so", _U64),
        ("soi_pcb", _U64),
        *((f"soi_{name}", _I32) for name in ("type", "protocol", "family")),
        *((f"soi_{name}", _I16) for name in ("options", "linger", "state")),
        *((f"soi_{name}", _I16) for name in ("qlen", "incqlen", "qlimit", "timeo")),
        ("soi_error", _U16),
        ("soi_oobmark", _U32),
        ("soi_rcv", SockBufInfo),
        ("soi_snd", SockBufInfo),
        ("soi_kind", _I32),
        ("rfu_1", _U32),
        ("pri_un", UnSockInfo),
    ]


class FdInfo(ctypes.Structure):
    """``struct proc_fdinfo``."""

    _fields_ = [("proc_fd", _I32), ("proc_fdtype", _U32)]


class StatFs(ctypes.Structure):
    """``struct statfs`` with 64-bit inodes."""

    _fields_ = [
        ("f_bsize", _U32),
        ("f_iosize", _I32),
        *((f"f_{name}", _U64) for name in ("blocks", "bfree", "bavail", "files", "ffree")),
        ("f_fsid", _I32 * 2),
        *((f"f_{name}", _U32) for name in ("owner", "type", "flags", "fssubtype")),
        ("f_fstypename", _CHAR * 16),
        ("f_mntonname", _CHAR * 1024),
        ("f_mntfromname", _CHAR * 1024),
        ("f_flags_ext", _U32),
        ("f_reserved", _U32 * 7),
    ]


class XUCred(ctypes.Structure):
    """``struct xucred`` of sys/ucred.h."""

    _fields_ = [
        ("cr_version", ctypes.c_uint),
        ("cr_uid", _U32),
        ("cr_ngroups", ctypes.c_short),
        ("cr_groups", _U32 * 16),
    ]


class FLock(ctypes.Structure):
    """``struct flock`` of sys/fcntl.h."""

    _fields_ = [
        *((f"l_{name}", _I64) for name in ("start", "len")),
        ("l_pid", _I32),
        *((f"l_{name}", _I16) for name in ("type", "whence")),
    ]


class TimeVal(ctypes.Structure):
    """``struct timeval``, whose ``suseconds_t`` has 32 bits."""

    _fields_ = [("tv_sec", ctypes.c_long), ("tv_usec", _I32)]


class ITimerVal(ctypes.Structure):
    """``struct itimerval``."""

    _fields_ = [("it_interval", TimeVal), ("it_value", TimeVal)]


class ExternProc(ctypes.Structure):
    """``struct extern_proc`` of sys/proc.h; its union begins with the start time."""

    _fields_ = [
        ("p_starttime", TimeVal),
        *((f"p_{name}", ctypes.c_void_p) for name in ("vmspace", "sigacts")),
        ("p_flag", ctypes.c_int),
        ("p_stat", _CHAR),
        *((f"p_{name}", _I32) for name in ("pid", "oppid", "dupfd")),
        *((name, ctypes.c_void_p) for name in ("user_stack", "exit_thread")),
        *((name, ctypes.c_int) for name in ("p_debugger", "sigwait", "p_estcpu", "p_cpticks")),
        ("p_pctcpu", _U32),
        *((f"p_{name}", ctypes.c_void_p) for name in ("wchan", "wmesg")),
        *((f"p_{name}", ctypes.c_uint) for name in ("swtime", "slptime")),
        ("p_realtimer", ITimerVal),
        ("p_rtime", TimeVal),
        *((f"p_{name}", _U64) for name in ("uticks", "sticks", "iticks")),
        ("p_traceflag", ctypes.c_int),
        ("p_tracep", ctypes.c_void_p),
        ("p_siglist", ctypes.c_int),
        ("p_textvp", ctypes.c_void_p),
        ("p_holdcnt", ctypes.c_int),
        *((f"p_{name}", _U32) for name in ("sigmask", "sigignore", "sigcatch")),
        *((f"p_{name}", ctypes.c_uint8) for name in ("priority", "usrpri", "nice")),
        ("p_comm", _CHAR * 17),
        *((f"p_{name}", ctypes.c_void_p) for name in ("pgrp", "addr")),
        *((f"p_{name}", _U16) for name in ("xstat", "acflag")),
        ("p_ru", ctypes.c_void_p),
    ]


class EProc(ctypes.Structure):
    """``struct eproc`` of sys/sysctl.h, with ``struct _pcred`` and ``struct _ucred`` in it."""

    class PCred(ctypes.Structure):
        _fields_ = [
            ("pc_lock", _CHAR * 72),
            ("pc_ucred", ctypes.c_void_p),
            *((f"p_{name}", _U32) for name in ("ruid", "svuid", "rgid", "svgid")),
            ("p_refcnt", ctypes.c_int),
        ]

    class UCred(ctypes.Structure):
        _fields_ = [
            ("cr_ref", _I32),
            ("cr_uid", _U32),
            ("cr_ngroups", ctypes.c_short),
            ("cr_groups", _U32 * 16),
        ]

    class VMSpace(ctypes.Structure):
        _fields_ = [
            ("dummy", _I32),
            ("dummy2", ctypes.c_void_p),
            ("dummy3", _I32 * 5),
            ("dummy4", ctypes.c_void_p * 3),
        ]

    _fields_ = [
        *((f"e_{name}", ctypes.c_void_p) for name in ("paddr", "sess")),
        ("e_pcred", PCred),
        ("e_ucred", UCred),
        ("e_vm", VMSpace),
        *((f"e_{name}", _I32) for name in ("ppid", "pgid")),
        ("e_jobc", ctypes.c_short),
        *((f"e_{name}", _I32) for name in ("tdev", "tpgid")),
        ("e_tsess", ctypes.c_void_p),
        ("e_wmesg", _CHAR * 8),
        ("e_xsize", _I32),
        *((f"e_{name}", ctypes.c_short) for name in ("xrssize", "xccount", "xswrss")),
        ("e_flag", _I32),
        ("e_login", _CHAR * 12),
        ("e_spare", _I32 * 4),
    ]


class KInfoProc(ctypes.Structure):
    """``struct kinfo_proc`` of sys/sysctl.h."""

    _fields_ = [("kp_proc", ExternProc), ("kp_eproc", EProc)]


@dataclass
class FakeProcess:
    """
    A process of the simulated table.

    :ivar program: empty if its volume was forced off.
    :ivar leader: the pid of its session's leader; its own if it ``leads``.
    :ivar is_nameless: whether the kernel finds no name of its directory.
    :ivar files: paths, with whether each is written.
    """

    uid: int = field(default_factory=os.geteuid)
    comm: bytes = b"claude"
    program: bytes = b"/usr/local/bin/claude"
    arguments: Sequence[bytes] = (b"claude",)
    directory: str | None = None
    is_nameless: bool = False
    started: tuple[int, int] = (1789029118, 250000)
    leads: bool = False
    leader: int = 1
    status: int = 2
    files: Sequence[tuple[str, bool]] = ()
    listens: Sequence[tuple[bytes, int]] = ()
    environment: Sequence[bytes] = (b"HOME=/Users/me",)


class FakeLibrary:
    """libSystem, as xnu answers a user that is not root."""

    def __init__(self, processes: dict[int, FakeProcess], mounts: dict[str, Any] | None = None):
        self.processes = processes
        self.mounts = mounts or {}

    def proc_listpids(self, kind: int, _info: int, buffer: Any, size: int) -> int:
        assert kind == 1
        pids = struct.pack(f"<{len(self.processes)}i", *self.processes)
        return self._fill(buffer, pids[:size])

    def proc_pidinfo(self, pid: int, flavour: int, argument: int, buffer: Any, size: int) -> int:
        process = self.processes.get(pid)
        if process is None or (process.status == 5 and not argument):
            return self._fail(errno.ESRCH)
        if flavour == 13:
            short = ShortInfo(pbsi_pid=pid, pbsi_ppid=1, pbsi_pgid=pid, pbsi_status=process.status)
            short.pbsi_comm, short.pbsi_uid, short.pbsi_gid = process.comm, process.uid, 20
            return self._fill(buffer, bytes(short))
        if process.uid != os.geteuid():
            return self._fail(errno.EPERM)
        if flavour == 3:
            info = BsdInfo(pbi_pid=pid, pbi_uid=process.uid, pbi_status=process.status)
            info.pbi_pgid = pid
            info.pbi_flags = 0x10
            info.pbi_start_tvsec, info.pbi_start_tvusec = process.started
            return self._fill(buffer, bytes(info))
        if flavour == 9:
            if process.directory is None:
                return self._fail(errno.EPERM)
            directory = _vnode(process.directory)
            if process.is_nameless:
                directory.vip_path = b""
            return self._fill(buffer, bytes(VnodePathInfo(pvi_cdir=directory)))
        assert flavour == 1, flavour
        numbers = [
            *(FdInfo(index, 1) for index, _ in enumerate(process.files)),
            *(FdInfo(100 + index, 2) for index, _ in enumerate(process.listens)),
        ]
        return self._fill(buffer, b"".join(map(bytes, numbers))[:size])

    def proc_pidfdinfo(self, pid: int, number: int, flavour: int, buffer: Any, _size: int) -> int:
        process = self.processes[pid]
        if flavour == 2:
            path, written = process.files[number]
            found = VnodeFdInfo(FileInfo(fi_openflags=3 if written else 1), _vnode(path))
            return self._fill(buffer, bytes(found))
        assert flavour == 3, flavour
        path_bytes, options = process.listens[number - 100]
        address = SockAddrUn(2 + len(path_bytes), 1, path_bytes)
        sock = SocketFdInfo(soi_kind=3, soi_options=options, pri_un=UnSockInfo(unsi_addr=address))
        return self._fill(buffer, bytes(sock))

    def proc_pidpath(self, pid: int, buffer: Any, _size: int) -> int:
        if pid not in self.processes or not self.processes[pid].program:
            return self._fail(errno.ESRCH)
        return self._fill(buffer, self.processes[pid].program)

    def sysctl(self, name: Any, _count: int, buffer: Any, size: Any, *_new: Any) -> int:
        if name[1] == 14:
            found = self.processes.get(name[3])
            data = b""
            if found is not None:
                proc = ExternProc(p_starttime=TimeVal(*found.started), p_pid=name[3])
                data = bytes(KInfoProc(kp_proc=proc))
            size._obj.value = self._fill(buffer, data)
            return 0
        process = self.processes.get(name[2])
        if process is None or process.status == 5 or process.uid != os.geteuid():
            ctypes.set_errno(errno.EINVAL)
            return -1
        data = command_line(process.program, process.arguments, process.environment)
        size._obj.value = self._fill(buffer, data)
        return 0

    def statfs(self, path: Any, buffer: Any) -> int:
        kind, flags = self.mounts[os.fsdecode(path.value)]
        self._fill(buffer, bytes(StatFs(f_flags=flags, f_fstypename=kind)))
        return 0

    def _fill(self, buffer: Any, data: bytes) -> int:
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def _fail(self, number: int) -> int:
        ctypes.set_errno(number)
        return 0


class FakeConnection:
    """A socket with answers at ``SOL_LOCAL``."""

    def __init__(self, credentials: bytes | None, pid: int | None) -> None:
        self.credentials, self.pid = credentials, pid

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        answer = {1: self.credentials, 2: self.pid}[option]
        if level != 0 or answer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return answer[:size] if isinstance(answer, bytes) else answer


class SimulatedMacTestCase(SynchronousTestCase):
    """
    A test on a simulated macOS.

    :ivar processes: its processes, by pid.
    """

    def setUp(self) -> None:
        self.processes: dict[int, FakeProcess] = {}
        self.patch(sys, "platform", "darwin")
        self.patch(darwin, "_load", lambda: FakeLibrary(self.processes))
        self.patch(os, "getsid", self._leader_of)

    def _leader_of(self, pid: int) -> int:
        """Do getsid(2), which xnu answers about the processes of every user but for zombies."""
        process = self.processes.get(pid)
        if process is None or process.status == 5:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return pid if process.leads else process.leader


def command_line(
    program: bytes, arguments: Sequence[bytes], environment: Sequence[bytes] = ()
) -> bytes:
    """Return what ``KERN_PROCARGS2`` has for a command line, the padding to words included."""
    path = program + b"\0"
    path += b"\0" * (-len(path) % 8)
    words = b"".join(word + b"\0" for word in (*arguments, *environment))
    if environment:
        words += b"\0" * (-len(words) % 8) + b"ptr_munge=\0main_stack=\0"
    return struct.pack("<i", len(arguments)) + path + words


def _vnode(path: str) -> VnodeInfoPath:
    """Describe a real file of this machine, as a vnode of macOS."""
    found = os.stat(path)
    info = VinfoStat(vst_dev=found.st_dev & 0xFFFFFFFF, vst_ino=found.st_ino)
    return VnodeInfoPath(vi_stat=info, vip_path=os.fsencode(path))

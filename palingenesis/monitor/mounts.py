"""Mounted file systems, and which of them other machines may write to."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from palingenesis.monitor import machine

#: File systems that other machines may write to, or the host of this one.
_SHARED = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "afs", "coda"),
        *("ceph", "lustre", "gpfs", "beegfs", "glusterfs", "ocfs2", "gfs", "gfs2", "orangefs"),
        *("pvfs2", "ncpfs", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "macfuse", "osxfuse"),
        *("acfs", "AppleVirtIOFS"),
    }
)
#: File systems in user space that are on this machine alone.
_LOCAL_FUSE = frozenset(
    {
        *("fuse.gocryptfs", "fuse.encfs", "fuse.cryfs"),
        *("fuse.bindfs", "fuse.fuse-overlayfs", "fuse.mergerfs"),
    }
)


@dataclass(frozen=True, slots=True)
class Mount:
    """
    A mounted file system.

    :ivar kind: its type, such as ``ext4``.
    :ivar device: its device; None if the table of mounts does not name it.
    """

    point: str
    kind: str
    device: int | None = None


def read_mounts(proc: str = "/proc") -> tuple[Mount, ...] | None:
    """
    Return the mounted file systems; None if this machine does not list them.

    None are listed on macOS: there the path itself is asked; see `is_shared_at`.

    :param proc: where proc(5) is mounted.
    """
    if sys.platform == "darwin":
        return ()
    listed = machine.table(f"{proc}/self/mountinfo")
    return None if listed is None else parse_mountinfo(listed)


def is_shared(kind: str | None) -> bool:
    """Return whether others than this machine may write to a file system of this type."""
    if kind is None or kind in _SHARED:
        return True
    return (kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE


def is_shared_at(path: str, device: int, mounts: Iterable[Mount]) -> bool:
    """
    Return whether others than this machine may write to the file system of a path.

    :param device: the device of the path's directory.
    :param mounts: what `read_mounts` has returned.
    """
    if sys.platform == "darwin":
        from palingenesis.darwin import file_system

        try:
            kind, local = file_system(path)
        except OSError:
            return True
        return not local or is_shared(kind)
    return is_shared(kind_at(path, device, mounts))


def is_shared_by_name(path: str, mounts: Iterable[Mount]) -> bool:
    """Return whether a path is on a shared file system, by its name alone: nothing is asked."""
    mount = _above(path, mounts)
    return mount is not None and is_shared(mount.kind)


def kind_at(path: str, device: int, mounts: Iterable[Mount]) -> str | None:
    """
    Return the type of the file system that a path is on; None if no mount fits.

    :param device: the device of the path's directory, which names the mount if one has it.
    """
    mounts = tuple(mounts)
    same = next((mount for mount in mounts if mount.device == device), None)
    mount = same or _above(os.path.realpath(path), mounts)
    return None if mount is None else mount.kind


def _above(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount with the longest point that leads to a path; the last one of several."""
    place, best = os.path.join(path, ""), None
    for mount in mounts:
        within = place.startswith(os.path.join(mount.point, ""))
        if within and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Return the file systems that proc_pid_mountinfo(5) lists."""
    mounts = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ", 1)[0]
        if not separator or len(fields) < 5:
            continue
        major, _, minor = fields[2].partition(":")
        if major.isdigit() and minor.isdigit():
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            mounts.append(Mount(point, kind, os.makedev(int(major), int(minor))))
    return tuple(mounts)

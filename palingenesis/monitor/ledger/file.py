"""The ledger's two files: reading, appending with a sync, rotation, and room on the disk."""

from __future__ import annotations

import errno
import os
import stat
import sys

from palingenesis.monitor.statedir import StateError

LEDGER_NAME = "ledger.jsonl"
OLD_NAME = "ledger.jsonl.1"
#: Bytes of lines after which the file is replaced by one that begins with their sums.
ROTATION_SIZE = 1024 * 1024
#: Bytes of a first line at most, so that a whole file stays below `SIZE_LIMIT`.
HEADER_LIMIT = 4 * 1024 * 1024
#: Bytes beyond which a file was not written by a daemon, and is not read.
SIZE_LIMIT = 8 * 1024 * 1024
#: More than any block of a file system: a probe of this size needs room that is really free.
_PROBE = b" " * 65535 + b"\n"


class LedgerError(StateError):
    """The ledger cannot be read or written, so nothing can be promised and nothing is started."""


class LedgerFile:
    """
    The file that is appended to, and a copy of the one before it.

    Each method raises OSError if the system refuses, and :class:`LedgerError` if a file is not
    one that this user's daemon wrote. After an error of a write it is unknown how much is on the
    disk: close the file, and read it again.

    :param directory: the state directory.
    :ivar path: the path of the file that is appended to.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.path = os.path.join(directory, LEDGER_NAME)
        self._descriptor: int | None = None
        self._size = 0
        self._header_size = 0
        self._torn = False

    @property
    def is_open(self) -> bool:
        """Whether the file is open for writing."""
        return self._descriptor is not None

    def read(self) -> list[bytes]:
        """
        Return what is in the files, the older one first.

        :raises FileNotFoundError: if the newer one is missing.
        """
        content = _read(self.path)
        try:
            old = _read(os.path.join(self._directory, OLD_NAME))
        except (OSError, StateError):
            old = b""
        self._size, self._header_size = len(content), content.find(b"\n") + 1
        self._torn = content[-1:] not in (b"", b"\n")
        # If a rotation was cut short between its two files, they are the same.
        return [content] if content.startswith(old) else [old, content]

    def create(self, header: bytes) -> None:
        """Make the file, with its first line."""
        _replace(self._directory, LEDGER_NAME, header)

    def open(self) -> None:
        """Open the file for writing, after it was read."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags)

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_full(self, line: bytes) -> bool:
        """Return whether the file is to be rotated before a line is appended."""
        lines = self._size - self._header_size
        return lines > 0 and lines + len(line) > ROTATION_SIZE

    def append(self, line: bytes) -> None:
        """Append a line; it is on the disk when this returns."""
        self._check_same()
        self._write(line)

    def probe(self) -> None:
        """Prove that the disk has room for more than a few entries."""
        size, torn = self._size, self._torn
        try:
            self._write(_PROBE)
        finally:
            os.ftruncate(self._opened(), size)
            self._size, self._torn = size, torn

    def rotate(self, header: bytes) -> None:
        """Go on with a file that begins with a header; the one before it is kept as a copy."""
        self._check_same()
        # A copy and not a rename: at no moment is there no ledger.
        _replace(self._directory, OLD_NAME, _read(self.path))
        _replace(self._directory, LEDGER_NAME, header)
        self.close()
        self.open()
        self._size = self._header_size = len(header)
        self._torn = False

    def _opened(self) -> int:
        if self._descriptor is None:
            raise OSError(errno.EBADF, "the file is not open for writing")
        return self._descriptor

    def _check_same(self) -> None:
        # A file that was deleted or replaced takes lines too, and they are lost with the process.
        if not os.path.samestat(os.stat(self.path), os.fstat(self._opened())):
            raise OSError(errno.ESTALE, "the file was replaced")

    def _write(self, data: bytes) -> None:
        whole = b"\n" + data if self._torn else data
        left = memoryview(whole)
        while left:
            left = left[os.write(self._opened(), left) :]
        sync(self._opened())
        self._size += len(whole)
        self._torn = False


def sync(descriptor: int) -> None:
    """Have what was written to a file or a directory on the disk."""
    if sys.platform == "darwin":
        from palingenesis import darwin

        darwin.sync(descriptor)
    else:
        os.fsync(descriptor)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise LedgerError(path, "the ledger is not a regular file; move it aside")
        if found.st_uid != os.geteuid():
            raise LedgerError(path, f"the ledger belongs to uid {found.st_uid}; move it aside")
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise LedgerError(path, f"the ledger is larger than {SIZE_LIMIT} bytes; move it aside")
    return content


def _replace(directory: str, name: str, content: bytes) -> None:
    """Replace a whole file, so that at each moment there is the old one or the new one."""
    path = os.path.join(directory, name)
    new = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())
    os.replace(new, path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)

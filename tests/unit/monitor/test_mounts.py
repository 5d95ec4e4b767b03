from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import machine
from palingenesis.monitor.mounts import (
    Mount,
    is_shared,
    is_shared_at,
    is_shared_by_name,
    kind_at,
    parse_mountinfo,
    read_mounts,
)
from tests.support.needs import needs_linux
from tests.support.texts import ENCODABLE


class ParsingTests(SynchronousTestCase):
    def test_mounts_are_parsed(self) -> None:
        text = (
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
            "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\n"
            "nonsense\n"
        )
        expected = (
            Mount("/proc", "proc", os.makedev(0, 21)),
            Mount("/mnt/a b", "ext3", os.makedev(98, 0)),
        )
        self.assertEqual(parse_mountinfo(text), expected)

    @given(st.text(ENCODABLE))
    def test_any_text_is_parsed(self, text: str) -> None:
        for listed in (text, text * 30):
            self.assertIsInstance(parse_mountinfo(listed), tuple)

    def test_a_line_that_is_not_whole_is_left_out(self) -> None:
        for text in (
            "36 35 98:0 / /mnt rw ext3 /dev/root rw",
            "36 35 98:0 / - ext3 x rw",
            "36 35 98 / /mnt rw - ext3 x rw",
            "36 35 x:0 / /mnt rw - ext3 x rw",
            "36 35 98:x / /mnt rw - ext3 x rw",
        ):
            self.assertEqual(parse_mountinfo(text), (), text)

    @needs_linux("/proc is Linux's")
    def test_a_table_that_cannot_be_read_is_not_known(self) -> None:
        tables = {"/other/self/mountinfo": "36 35 98:0 / /mnt rw - ext3 x rw"}
        self.patch(machine, "table", tables.get)
        self.assertEqual(read_mounts("/other"), (Mount("/mnt", "ext3", os.makedev(98, 0)),))
        self.assertIsNone(read_mounts())


class SharedTests(SynchronousTestCase):
    def test_file_systems_that_others_may_write_to(self) -> None:
        network = "nfs nfs3 nfs4 cifs smb2 smb3 smbfs afpfs webdav afs coda ncpfs fuse.sshfs"
        cluster = "ceph lustre gpfs beegfs glusterfs ocfs2 gfs gfs2 orangefs pvfs2 acfs"
        host = "9p virtiofs vboxsf prl_fs vmhgfs AppleVirtIOFS fuse.vmhgfs-fuse"
        unknown = "fuse macfuse osxfuse fuse.unlikely"
        for kind in f"{network} {cluster} {host} {unknown}".split():
            self.assertTrue(is_shared(kind), kind)
        self.assertTrue(is_shared(None))

    def test_file_systems_of_this_machine_alone(self) -> None:
        disk = "ext4 xfs btrfs zfs tmpfs overlay apfs fuseblk"
        user_space = (
            "fuse.gocryptfs fuse.encfs fuse.cryfs fuse.bindfs fuse.fuse-overlayfs fuse.mergerfs"
        )
        for kind in f"{disk} {user_space}".split():
            self.assertFalse(is_shared(kind), kind)

    @needs_linux("macOS asks the path itself for its file system")
    def test_the_mount_of_a_path_s_device_counts_and_else_the_deepest(self) -> None:
        mounts = (
            Mount("/", "ext4", 1),
            Mount("/unlikely/a", "nfs4", 2),
            Mount("/unlikely", "xfs", 3),
            Mount("/unlikely/a", "tmpfs"),
        )
        for path, device, kind in (
            ("/unlikely/b", 1, "ext4"),
            ("/unlikely/a/b", 2, "nfs4"),
            ("/unlikely/a/b", 9, "tmpfs"),  # the last one lies above the others
            ("/unlikely/a", 9, "tmpfs"),
            ("/unlikely/ab", 9, "xfs"),
            ("/other", 9, "ext4"),
        ):
            self.assertEqual(kind_at(path, device, mounts), kind, (path, device))
        self.assertIsNone(kind_at("/other", 9, mounts[1:]))
        found = [is_shared_at("/unlikely/b", device, mounts) for device in (1, 2)]
        self.assertEqual(found, [False, True])

    def test_a_path_is_on_the_deepest_mount_by_its_name(self) -> None:
        mounts = (
            Mount("/", "nfs4"),
            Mount("/unlikely/a", "ext4"),
            Mount("/unlikely", "nfs4"),
            Mount("/unlikely/b", "ext4"),
            Mount("/unlikely/b", "nfs4"),
        )
        for path, shared in (
            ("/unlikely/a", False),
            ("/unlikely/a/x", False),
            ("/unlikely/ab", True),
            ("/unlikely/b/x", True),
            ("/", True),
        ):
            self.assertEqual(is_shared_by_name(path, mounts), shared, path)
        self.assertFalse(is_shared_by_name("/other", mounts[1:]))

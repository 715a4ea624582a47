"""The filesystem that holds a path, and whether other machines can write to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mount", "mount_of", "network_mount_of"]

#: Every mount that this process sees; later ones cover earlier ones (man 5 proc_pid_mountinfo).
MOUNTS = Path("/proc/self/mountinfo")

#: Types of filesystems that other machines can write to, by the names of the kernel and, after "fuse.", of FUSE.
#: 9p and virtiofs are left out: virtual machines and sandboxes use them for a disk of their host.
_NETWORK = re.compile(
    r"k?afs|beegfs|ceph|cifs|coda|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb[23]?|smbfs|vboxsf"
    r"|wekafs|fuse\.(?:blobfuse2?|ceph(?:-fuse)?|curlftpfs|davfs2?|gcsfuse|glusterfs|goofys|juicefs|lizardfs|moosefs"
    r"|mount-s3|nfs|rclone|s3fs|seaweedfs|smbnetfs|sshfs)"
)


class Mount(NamedTuple):
    """A mounted filesystem: its type and its mount point."""

    type: str
    place: Path


def mount_of(path: Path) -> Mount | None:
    """The mount that holds a path, which need not exist yet; None if the system does not list its mounts."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real, found = path.resolve(), None
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = Mount(after.split(" ")[0], Path(_unescaped(before.split(" ")[4])))
        # If several have the same mount point, the last one covers the others.
        if real.is_relative_to(mount.place) and (found is None or len(mount.place.parts) >= len(found.place.parts)):
            found = mount
    return found


def network_mount_of(path: Path) -> Mount | None:
    """The mount that holds a path if other machines can write to it, else None."""
    mount = mount_of(path)
    return mount if mount is not None and _NETWORK.fullmatch(mount.type) else None


def _unescaped(text: str) -> str:
    """Replace three octal digits after a backslash, which encode spaces, line ends and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

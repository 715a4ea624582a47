"""Which filesystem a path lies on, and whether other machines may write there too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mount", "mount_of", "network_mount_of"]

#: Every mount that this process sees, the later ones above the earlier (man 5 proc_pid_mountinfo).
MOUNTS = Path("/proc/self/mountinfo")

#: Types of filesystems whose files other machines may write too, as the kernel has them and, after "fuse.", FUSE.
#: Not 9p and virtiofs: through these, virtual machines and sandboxes see a disk of their own host.
_NETWORK = re.compile(
    r"k?afs|beegfs|ceph|cifs|coda|gfs2|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb[23]?|smbfs|vboxsf"
    r"|wekafs|fuse\.(?:blobfuse2?|ceph(?:-fuse)?|curlftpfs|davfs2?|gcsfuse|glusterfs|goofys|juicefs|lizardfs|moosefs"
    r"|mount-s3|nfs|rclone|s3fs|seaweedfs|smbnetfs|sshfs)"
)


class Mount(NamedTuple):
    """A mounted filesystem: its type and the directory that it is seen at."""

    type: str
    place: Path


def mount_of(path: Path) -> Mount | None:
    """The mount that a path, which need not be there yet, lies on; None where the system does not tell."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real, found = path.resolve(), None
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = Mount(after.split(" ")[0], Path(_unescaped(before.split(" ")[4])))
        # Of several at the same place, the last one covers the others.
        if real.is_relative_to(mount.place) and (found is None or len(mount.place.parts) >= len(found.place.parts)):
            found = mount
    return found


def network_mount_of(path: Path) -> Mount | None:
    """The mount that a path lies on where other machines may write there too; else None."""
    mount = mount_of(path)
    return mount if mount is not None and _NETWORK.fullmatch(mount.type) else None


def _unescaped(text: str) -> str:
    """Blanks, line ends and backslashes stand as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

"""Tells whether a folder lies on a network file system, where files are slow and locks may not hold.

Not for: deciding what to do about it.
"""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "9p", "ocfs2"}
    | {"gfs2", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.juicefs", "fuse.glusterfs", "fuse.ceph"}
)  # fmt: skip
MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")  # how the kernel writes spaces, tabs, line ends and backslashes


def network_kind(path: Path, mountinfo: Path = MOUNTINFO) -> str | None:
    """Names the kind of network file system that holds a path; None for a local one, and where nobody knows."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        target = path.resolve()
    except OSError:
        return None
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split()
        if len(fields) < 5 or not kinds:
            continue
        mount = Path(_OCTAL.sub(lambda number: chr(int(number[1], 8)), fields[4]))
        # later lines lie over earlier ones, so equal length wins
        if len(mount.parts) >= best and (target == mount or mount in target.parents):
            best, kind = len(mount.parts), kinds[0]
    return kind if kind in NETWORK_KINDS else None

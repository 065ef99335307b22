"""Whether a folder is on a network file system, read from texts as the kernel writes them (proc(5), mountinfo)."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_hook import mounts

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro"
PROC = "23 22 0:21 / /proc rw,nosuid shared:13 - proc proc rw"
HOME = "96 22 0:45 / /home rw,relatime shared:50 - nfs4 filer:/export/home rw,vers=4.2,addr=10.0.0.2"
LOCAL_SCRATCH = "97 96 8:17 / /home/ada/scratch rw,noatime shared:51 - ext4 /dev/sdb1 rw"
NETWORK_IN_LOCAL = "98 97 0:46 / /home/ada/scratch/team rw - cifs //files/team rw,vers=3.1.1"
SPACES = r"99 22 0:47 / /mnt/my\040runs\011tab\134slash rw master:5 - nfs filer:/runs rw"
OVERLAY = "30 1 0:30 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w"
FUSE = "100 22 0:48 / /data rw - fuse.sshfs ada@login:/data rw,user_id=1000"
# no optional field, and several of them, stand before the dash
MANY_FIELDS = "101 22 0:49 /sub /lustre rw shared:7 master:3 propagate_from:2 unbindable - lustre mgs@tcp:/fs rw"
# a device whose name has the separator in it
ODD_SOURCE = "102 22 0:50 / /odd rw - ext4 /dev/a - nfs4 rw"


def kind(tmp_path: Path, path: str, *lines: str) -> str | None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("\n".join(lines) + "\n")
    return mounts.network_kind(Path(path), mountinfo)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/gradwatch", None),
        ("/home/ada/.gradwatch/spool", "nfs4"),
        ("/home", "nfs4"),
        ("/homestead/spool", None),  # the name of a mount is no prefix of letters
        ("/home/ada/scratch/spool", None),  # a local disk in a network one
        ("/home/ada/scratch/team/spool", "cifs"),  # and a network one in that
        ("/home/ada/scratch/teamwork", None),
        ("/data/x", "fuse.sshfs"),
        ("/lustre/project", "lustre"),
        ("/odd/x", None),
    ],
)
def test_the_innermost_mount_says_it(path: str, expected: str | None, tmp_path: Path) -> None:
    table = [NETWORK_IN_LOCAL, ROOT, PROC, FUSE, HOME, LOCAL_SCRATCH, MANY_FIELDS, ODD_SOURCE]
    assert kind(tmp_path, path, *table) == expected


@pytest.mark.parametrize("name", ["my runs\ttab\\slash", "my runs\ttab\\slash/deeper"])
def test_names_are_written_with_octal_numbers(name: str, tmp_path: Path) -> None:
    assert kind(tmp_path, f"/mnt/{name}", ROOT, SPACES) == "nfs"
    assert kind(tmp_path, "/mnt/my", ROOT, SPACES) is None


def test_a_newline_in_a_name_is_an_octal_number_too(tmp_path: Path) -> None:
    assert kind(tmp_path, "/mnt/two\nlines/x", ROOT, r"99 22 0:47 / /mnt/two\012lines rw - nfs4 f:/r rw") == "nfs4"


def test_a_space_of_another_alphabet_parts_no_fields(tmp_path: Path) -> None:
    line = "99 22 0:47 / /mnt/no\u00a0break\u2028here rw - nfs4 f:/r rw"
    assert kind(tmp_path, "/mnt/no\u00a0break\u2028here/x", ROOT, line) == "nfs4"


def test_a_backslash_before_digits_is_read_once(tmp_path: Path) -> None:
    """The folder is called `a\\040b`: its backslash is written \\134, and what follows is no number."""
    line = r"99 22 0:47 / /mnt/a\134040b rw - nfs4 f:/r rw"
    assert kind(tmp_path, "/mnt/a\\040b/x", ROOT, line) == "nfs4"
    assert kind(tmp_path, "/mnt/a b/x", ROOT, line) is None


def test_the_overlay_of_a_container_is_local(tmp_path: Path) -> None:
    assert kind(tmp_path, "/root/.gradwatch", OVERLAY, PROC) is None
    assert kind(tmp_path, "/root/.gradwatch", OVERLAY, "31 30 0:31 / /root rw - nfs4 f:/r rw") == "nfs4"


def test_what_was_mounted_last_over_a_place_counts(tmp_path: Path) -> None:
    over = "103 96 8:33 / /home rw - ext4 /dev/sdc1 rw"
    assert kind(tmp_path, "/home/ada", ROOT, HOME, over) is None
    assert kind(tmp_path, "/home/ada", ROOT, over, HOME) == "nfs4"


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/home/ada", target_is_directory=True)
    assert kind(tmp_path, f"{tmp_path}/link/spool", ROOT, HOME) == "nfs4"


def test_where_nobody_knows_nothing_is_said(tmp_path: Path) -> None:
    assert mounts.network_kind(tmp_path, tmp_path / "no such file") is None
    assert kind(tmp_path, "/home", "nonsense", "", "1 2 3 - nfs4", "22 1 0:1 / /home rw -") is None


def test_the_kernel_of_this_machine_writes_it_so(tmp_path: Path) -> None:
    assert mounts.network_kind(Path("/proc/self")) is None, "read from the real file: proc is no network"

"""A throw-away PostgreSQL for the tests: a cluster of its own from the system's binaries, one new database a store."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
_numbers = itertools.count(1)


class Missing(Exception):
    """Says that PostgreSQL is not installed, and the line that mends it."""


def binaries() -> Path:
    """Finds the folder of initdb and pg_ctl; raises Missing."""
    found = [*sorted(_DEBIAN.glob("*/bin"), reverse=True)]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    raise Missing(
        "PostgreSQL's binaries (initdb, pg_ctl) are needed for the tests. Mend it:  sudo apt-get install postgresql"
    )


class Cluster:
    """A running cluster, reached by a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, name: str = "postgres") -> str:
        """Gives the URL of a database of the cluster."""
        return f"postgresql+psycopg://tester@/{name}?host={self.folder}"

    def new_database(self, like: str = "template1") -> str:
        """Makes a database, an empty one unless it is to be `like` another, and gives its URL."""
        name = f"t{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(f"host={self.folder} user=tester dbname=postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self.url(name)


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Makes a cluster, starts it, and removes it in the end; `durable` as the benchmarks need it, slower."""
    folder = Path(tempfile.mkdtemp(prefix="gw-pg-", dir="/tmp"))  # a socket's path may be 107 characters long
    user = _other_user()
    bin_folder = binaries()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
        folder.chmod(0o711)
    data = folder / "data"

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, preexec_fn=_becoming(user)
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    # a locale that sorts otherwise than by bytes, and no promise beyond the crash of a test
    run(str(bin_folder / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-sync")  # fmt: skip
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=200"
    options += "" if durable else " -c fsync=off"
    run(str(bin_folder / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield Cluster(folder)
    finally:
        run(str(bin_folder / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> pwd.struct_passwd | None:
    """Chooses whom the server runs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user was found to run PostgreSQL as")


def _becoming(user: pwd.struct_passwd | None) -> Callable[[], None] | None:
    if user is None:
        return None

    def become() -> None:
        os.setgid(user.pw_gid)
        os.setgroups([])
        os.setuid(user.pw_uid)

    return become

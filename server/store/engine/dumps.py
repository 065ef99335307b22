"""Backups of a PostgreSQL database by its own tools, pg_dump and pg_restore: one snapshot, in its custom format.

Not for: SQLite (files.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, make_url

from server.errors import StoreError
from server.store.engine.private import make_private

MARKED_TABLE = "alembic_version"


def back_up(url: str, target: Path) -> int:
    """Dumps the database to a new file and gives its size in bytes; raises StoreError with a sentence."""
    if target.exists():
        raise StoreError(f"{target} is there already; name another file, or move it away.")
    part = target.with_name(target.name + ".part")
    try:
        make_private(part)
        _run("pg_dump", make_url(url), "--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
        part.rename(target)
    except OSError as error:
        raise StoreError(f"The backup to {target} failed: {error}.") from None
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def tables(source: Path) -> frozenset[str]:
    """Names the tables that a dump holds; raises StoreError where it is no dump of ours."""
    if not source.is_file():
        raise StoreError(f"There is no backup {source}.")
    entries = (line.split() for line in _ask("pg_restore", "--list", str(source)).splitlines())
    found = frozenset(words[5] for words in entries if words[3:4] == ["TABLE"] and len(words) > 5)
    if MARKED_TABLE not in found:
        raise StoreError(f"{source} is no backup of Gradwatch: it has no table {MARKED_TABLE!r}.")
    return found


def restore(source: Path, url: str) -> None:
    """Puts the tables of a dump in the place of those in the database, in one transaction."""
    parsed = make_url(url)
    _run("pg_restore", parsed, "--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction",
         "--exit-on-error", f"--dbname={_address(parsed)}", str(source), address=False)  # fmt: skip


def _run(tool: str, url: URL, *arguments: str, address: bool = True) -> None:
    # the password travels in the environment: other users can read the process list
    _ask(tool, *arguments, *([_address(url)] if address else []), password=str(url.password) if url.password else "")


def _ask(tool: str, *arguments: str, password: str = "") -> str:
    path = shutil.which(tool)
    if path is None:
        raise StoreError(f"{tool} is needed for this. Mend it:  sudo apt-get install postgresql-client")
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run([path, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise StoreError(f"{tool} failed: {said[-1] if said else f'exit code {done.returncode}'}.")
    return done.stdout


def _address(url: URL) -> str:
    plain = url.set(drivername="postgresql")
    return URL.create(
        plain.drivername, plain.username, None, plain.host, plain.port, plain.database, plain.query
    ).render_as_string(hide_password=False)

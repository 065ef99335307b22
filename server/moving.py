"""The commands `gradwatch export` and `gradwatch import`: runs leave a server as a file, and come to another.

The file is a SQLite database of Gradwatch itself, with these runs alone: `gradwatch serve --database` opens it too.
Not for: backups of a whole server (operations.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from server import readable, tensorboard
from server.errors import StoreError
from server.ingest.values import clean
from server.store import Store, moving
from server.store.copies import copied, roomy
from server.store.engine import Database, files, open_database

SHOWN = 3
MAX_PROJECT = 200


def export_runs(target: Path, url: str, wanted: Sequence[str], project: str | None = None) -> str:
    """Writes runs of a database, which a server may use meanwhile, to a new file, and says so in a sentence.

    `wanted` are ids, beginnings of ids, or names (then the newest run of that name); none means all that are not
    deleted. `project` keeps those of one project. Raises StoreError.
    """
    if target.exists():
        raise StoreError(f"{target} is there already; name another file, or move it away.")
    with (
        copied(url) as copy,
        _opened(copy) as source,
        tempfile.TemporaryDirectory(prefix="gradwatch-", dir=roomy(target)) as folder,
    ):
        chosen = _chosen(source, wanted, project)
        made = Path(folder) / "runs.db"
        with _writing(f"sqlite:///{made}") as into:
            moving.copy(source, into, chosen)
        files.back_up(made, target)
    return f"{target} holds {_runs(len(chosen))} ({target.stat().st_size / 1e6:,.1f} MB)"


def import_runs(source: Path, url: str, wanted: Sequence[str], project: str | None = None) -> str:
    """Takes runs of a file into a database, and says so in a sentence; runs that are there already stay as they are.

    `source` is what `export` wrote, a backup, the database of another server, or a folder (or file) of TensorBoard's
    events; `project` is where the runs come to. No server may use a SQLite database meanwhile. Raises StoreError, also
    where a run is not what a server writes.
    """
    if not source.exists():
        raise StoreError(f"There is no file {source}.")
    if project is not None and (clean(project) != project or not 0 < len(project) <= MAX_PROJECT):
        raise StoreError(
            f"--project is {project[:60]!a}, expected a name of 1 to {MAX_PROJECT} characters in one line."
        )
    if tensorboard.has_events(source):
        return tensorboard.take(source, url, wanted, project)
    files.check(source)
    with copied(f"sqlite:///{source.absolute()}") as copy:
        with _opened(copy) as database:
            chosen = _chosen(database, wanted, None)
        with closing(Store.open(copy)) as store:
            for run_id in chosen:
                readable.check(store, run_id)
        with _opened(copy) as database, _writing(url) as into:
            came = moving.copy(database, into, chosen, project)
    there = len(chosen) - len(came)
    left = f"; {_runs(there)} {'was' if there == 1 else 'were'} there already and stayed as before" if there else ""
    return f"{_runs(len(came))} came from {source}{left}"


def _chosen(database: Database, wanted: Sequence[str], project: str | None) -> list[str]:
    known = [run for run in moving.known(database) if project in (None, run.project)]
    if not wanted:
        chosen = [run.id for run in known if not run.deleted]
        if not chosen:
            raise StoreError("There is no run" + (f" in the project {project!r}." if project else "."))
        return chosen
    chosen = []
    for name in wanted:
        # one in the trash has to be named in full
        living = [run for run in known if not run.deleted]
        exact = [run for run in known if run.id == name] or [run for run in living if run.name == name][:1]
        found = exact or [run for run in living if run.id.startswith(name)]
        if not found:
            newest = ", ".join(f"{run.id} ({run.name})" for run in living[:SHOWN]) or "none"
            raise StoreError(f"No run has the id or the name {name!r}; the newest are {newest}.")
        if len(found) > 1:
            raise StoreError(f"{len(found)} runs have an id that begins with {name!r}; name more of it.")
        chosen.append(found[0].id)
    return list(dict.fromkeys(chosen))


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _writing(url: str) -> Iterator[Database]:
    Store.open(url).close()
    with _opened(url) as database:
        yield database


def _runs(amount: int) -> str:
    return f"{amount:,} run{'' if amount == 1 else 's'}"

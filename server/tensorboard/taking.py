"""Makes runs of a folder of event files and puts them into a database.

A folder with event files is a run, as in TensorBoard. Beside a folder `train`, one called `validation` (or val, eval)
belongs to the same run (Keras writes so); a folder inside a run that holds hyper-parameters gives it its config
(`SummaryWriter.add_hparams` writes so). A file that begins before the end of another was written by a training that
was resumed: it is an attempt of its own.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client_hook import wire
from server.errors import StoreError
from server.ingest import Ingest
from server.live import Live
from server.store import Store
from server.tensorboard.events import EventFile, Scalar, read
from server.tensorboard.tags import names_of

MARK = "tfevents"
TRAIN = frozenset({"train", "training"})
HELD_OUT = frozenset({"validation", "val", "valid", "eval"})
TAG = "tensorboard"
SHOWN = 5
ROWS_A_FRAME = 50_000  # of 24 bytes each


@dataclass
class Found:
    """A run: its name, the scalars of each attempt, its config, and what could not be read."""

    name: str
    attempts: list[list[Scalar]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    torn: int = 0
    unread: int = 0

    @property
    def began_s(self) -> float:
        """When its first value was written, in seconds since 1970."""
        return min((scalar.wall_s for attempt in self.attempts for scalar in attempt), default=0.0)


@dataclass
class _Outcome:
    """Counts what came, for the sentence at the end."""

    came: int = 0
    there: int = 0
    values: int = 0
    torn: int = 0
    unread: int = 0

    def add(self, run: Found, *, came: bool) -> None:
        """Counts one run."""
        if not came:
            self.there += 1
            return
        self.came += 1
        self.values += sum(map(len, run.attempts))
        self.torn += run.torn
        self.unread += run.unread

    def said(self, source: Path) -> str:
        """Makes the sentence."""
        said = f"{_plural(self.came, 'run')} with {_plural(self.values, 'value')} came from {source}"
        if self.there:
            were = "was" if self.there == 1 else "were"
            said += f"; {_plural(self.there, 'run')} {were} there already and stayed as before"
        if self.torn:
            said += f"; {_plural(self.torn, 'file')} had no end, and what stood before it was taken"
        if self.unread:
            said += f"; {_plural(self.unread, 'record')} could not be read"
        return said


def has_events(source: Path) -> bool:
    """Says whether something is for this package: a folder, or a file that is called as event files are."""
    return source.is_dir() or MARK in source.name


def take(source: Path, url: str, wanted: Sequence[str], project: str | None = None) -> str:
    """Takes the runs of a folder, or of one event file, into a database, and says so in a sentence.

    `wanted` are names of runs, which are their folders; none means all. Runs that are there already stay as they are.
    Raises StoreError.
    """
    nothing = StoreError(f"There are no scalars of TensorBoard (events.out.{MARK}…) under {source}.")
    folders = _folders(source)
    if not folders:
        raise nothing
    names = {folder: _name(folder, folders, source) for folder in folders}
    missing = [name for name in wanted if name not in names.values()]
    if missing:
        raise StoreError(
            f"No run is called {missing[0]!r}; there are {', '.join(sorted(set(names.values()))[:SHOWN])}."
        )
    outcome = _Outcome()
    store = Store.open(url)
    try:
        ingest = Ingest(store, Live(), store.now_ms)
        for run in _runs(folders, names):
            if run.attempts and (not wanted or run.name in wanted):
                outcome.add(run, came=_put(run, store, ingest, project or _project(source)))
    except OSError as error:
        raise StoreError(f"{error.filename or source} cannot be read: {error.strerror or error}.") from None
    finally:
        store.close()
    if not outcome.came and not outcome.there:
        raise nothing
    return outcome.said(source)


def _folders(source: Path) -> dict[Path, list[Path]]:
    """Lists the event files of each folder, those that lie deepest first."""
    found = [source] if source.is_file() else sorted(path for path in source.rglob(f"*{MARK}*") if path.is_file())
    folders: dict[Path, list[Path]] = {}
    for path in sorted(found, key=lambda path: -len(path.parts)):
        folders.setdefault(path.parent, []).append(path)
    return folders


def _name(folder: Path, folders: Container[Path], source: Path) -> str:
    """Calls a run as its folder, seen from where all of them lie."""
    if folder.name in TRAIN and any(folder.with_name(name) in folders for name in HELD_OUT):
        folder = folder.parent
    inside = source.is_dir() and folder != source
    return folder.relative_to(source).as_posix() if inside else folder.resolve().name or TAG


def _runs(folders: Mapping[Path, Sequence[Path]], names: Mapping[Path, str]) -> Iterator[Found]:
    """Reads one run after the other, so that only one is in memory."""
    configs: dict[Path, dict[str, Any]] = {}
    for folder, paths in folders.items():
        if folder.name in HELD_OUT and any(folder.with_name(name) in folders for name in TRAIN):
            continue
        files = [read(path) for path in paths]
        config = {name: value for file in files for name, value in file.config.items()}
        above = next((one for one in folder.parents if one in folders), None)
        if config and above is not None and not any(scalar.step > 0 for file in files for scalar in file.scalars):
            configs.setdefault(above, {}).update(config)
            continue
        others = [folder.with_name(name) for name in HELD_OUT] if folder.name in TRAIN else []
        beside = [read(path) for other in others for path in folders.get(other, ())]
        yield _made(names[folder], files, beside, configs.get(folder))


def _made(
    name: str, files: Iterable[EventFile], beside: Iterable[EventFile] = (), config: dict[str, Any] | None = None
) -> Found:
    run = Found(name, config=dict(config or {}))
    newest: dict[str, int] = {}
    for file in files:
        run.config.update(file.config)
        run.torn += file.torn
        run.unread += file.unread
        if not file.scalars:
            continue
        again = any(scalar.step <= newest.get(scalar.tag, scalar.step - 1) for scalar in _firsts(file.scalars))
        if again or not run.attempts:
            run.attempts.append([])
            newest = {}
        run.attempts[-1] += file.scalars
        for scalar in file.scalars:
            newest[scalar.tag] = max(newest.get(scalar.tag, scalar.step), scalar.step)
    for file in beside:
        run.torn += file.torn
        run.unread += file.unread
        if file.scalars and run.attempts:
            run.attempts[-1] += [Scalar(one.wall_s, one.step, f"val/{one.tag}", one.value) for one in file.scalars]
    return run


def _firsts(scalars: Sequence[Scalar]) -> Iterator[Scalar]:
    seen: set[str] = set()
    for scalar in scalars:
        if scalar.tag not in seen:
            seen.add(scalar.tag)
            yield scalar


def _project(source: Path) -> str:
    return source.resolve().name if source.is_dir() else source.resolve().parent.name or TAG


def _put(run: Found, store: Store, ingest: Ingest, project: str) -> bool:
    """Stores one run; False where it is there already."""
    run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TAG}:{run.name}:{run.began_s!r}"))
    if store.runs.get(run_id) is not None:
        return False
    names = names_of(scalar.tag for attempt in run.attempts for scalar in attempt)
    for number, scalars in enumerate(run.attempts):
        attempt = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run_id}:{number}"))
        ingest.open_run(
            {
                "id": run_id,
                "attempt": attempt,
                "project": project,
                "name": run.name,
                "tags": [TAG],
                "config": run.config,
                "started_ms": _ms(min(scalar.wall_s for scalar in scalars)),
                "first_step": max(min(scalar.step for scalar in scalars), 0),
            }
        )
        for body in _frames(run_id, attempt, scalars, names):
            ingest.accept(run_id, body)
    return True


def _frames(run_id: str, attempt: str, scalars: Sequence[Scalar], names: Mapping[str, str]) -> Iterator[bytes]:
    """Yields frames in the order in which the values were written; the last one says that the training is over."""
    last = max(scalar.step for scalar in scalars)
    ended_ms = _ms(max(scalar.wall_s for scalar in scalars))
    for seq, first in enumerate(range(0, len(scalars), ROWS_A_FRAME)):
        part = scalars[first : first + ROWS_A_FRAME]
        series: dict[str, list[Scalar]] = {}
        for scalar in part:
            series.setdefault(names[scalar.tag], []).append(scalar)
        over = first + len(part) == len(scalars)
        known = {"kind": "fact", "name": "imported", "step": -1, "time_ms": ended_ms, "value": {"from": TAG}}
        end = {"kind": "status", "name": "finished", "step": max(last, -1), "time_ms": ended_ms, "value": {}}
        yield wire.encode(
            wire.Frame(
                run=run_id,
                attempt=attempt,
                rank=0,
                seq=seq,
                created_ms=ended_ms,
                complete=last if over else max(min(scalar.step for scalar in part) - 1, -1),
                groups=tuple(_group(name, own) for name, own in series.items()),
                records=(*(() if first else (known,)), *((end,) if over else ())),
            )
        )


def _group(name: str, scalars: Sequence[Scalar]) -> wire.Group:
    count = len(scalars)
    return wire.Group(
        (name,),
        "f8",
        count,
        struct.pack(f"<{count}q", *(scalar.step for scalar in scalars)),
        struct.pack(f"<{count}q", *(_ms(scalar.wall_s) for scalar in scalars)),
        struct.pack(f"<{count}d", *(scalar.value for scalar in scalars)),
    )


def _ms(seconds: float) -> int:
    return int(min(max(1_000 * seconds, 0.0), 2.0**52))


def _plural(amount: int, word: str) -> str:
    return f"{amount:,} {word}{'' if amount == 1 else 's'}"

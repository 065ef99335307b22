"""Puts the runs of a folder of event files into a database. Not for: which runs those are (folders.py)."""

from __future__ import annotations

import struct
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client_hook import wire
from server.domain.runs import ENDED
from server.errors import StoreError
from server.ingest import Ingest
from server.ingest.values import too_deep
from server.live import Live
from server.store import Store
from server.tensorboard.events import Scalar
from server.tensorboard.folders import MARK, TAG, Found, listed, name_of, runs, text_of
from server.tensorboard.tags import names_of

SHOWN = 5
ROWS_A_FRAME = 50_000  # of 24 bytes each
MOST_GROUPS = 500  # of a frame


@dataclass
class _Outcome:
    """Counts what came, for the sentence at the end."""

    came: int = 0
    there: int = 0
    grown: int = 0
    values: int = 0
    more: int = 0  # values, of those that had grown
    torn: int = 0
    unread: int = 0
    left: int = 0
    reason: str = ""
    lost: list[str] = field(default_factory=list)

    def add(self, run: Found) -> None:
        """Counts one run."""
        if run.is_known and not run.taken:
            self.there += 1
            return
        if run.is_known:
            self.grown += 1
            self.more += run.taken
        else:
            self.came += 1
            self.values += run.taken
        self.note(run)

    def note(self, run: Found) -> None:
        """Counts what is missing of a run."""
        self.torn += run.torn
        self.unread += run.unread
        self.left += run.left
        self.reason = self.reason or run.reason
        self.lost += [run.lost] if run.lost else []

    def said(self, source: Path) -> str:
        """Makes the sentence."""
        return f"{_plural(self.came, 'run')} with {_plural(self.values, 'value')} came from {source}{self.missing()}"

    def missing(self) -> str:
        """Says what did not come, and why."""
        said = ""
        if self.grown:
            said += f"; {_plural(self.grown, 'run')} had grown by {_plural(self.more, 'value')}"
        if self.there:
            said += f"; {_plural(self.there, 'run')} {_were(self.there)} there already and stayed as before"
        if self.torn:
            said += f"; {_plural(self.torn, 'file')} had no end, and what stood before it was taken"
        if self.unread:
            said += f"; {_plural(self.unread, 'record')} could not be read"
        if self.left:
            said += f"; {_plural(self.left, 'value')} {_were(self.left)} left out (first: {self.reason})"
        if self.lost:
            said += f"; {_plural(len(self.lost), 'run')} {_were(len(self.lost))} left out, because {self.lost[0]}"
        return said


def has_events(source: Path) -> bool:
    """Says whether something is for this package: a folder, or a file that is called as event files are."""
    return source.is_dir() or MARK in source.name


def take(source: Path, url: str, wanted: Sequence[str], project: str | None = None) -> str:
    """Takes the runs of a folder, or of one event file, into a database, and says so in a sentence.

    `wanted` are names of runs, which are their folders; none means all. Runs that are there already get what their
    files have grown by. Raises StoreError.
    """
    nothing = f"There are no scalars of TensorBoard (events.out.{MARK}…) under {source}"
    outcome = _Outcome()
    folders = listed(source, outcome.lost)
    if not folders:
        raise StoreError(f"{nothing}{outcome.missing()}.")
    names = {folder: name_of(folder, folders, source) for folder in folders}
    missing = [name for name in wanted if name not in names.values()]
    if missing:
        raise StoreError(
            f"No run is called {missing[0]!r}; there are {', '.join(sorted(set(names.values()))[:SHOWN])}."
        )
    store = Store.open(url)
    try:
        with store.importing():  # of two who put the same run there each would bring what the other is about to
            ingest = Ingest(store, Live(), store.now_ms)
            for run in runs(folders, names):
                if wanted and run.name not in wanted:
                    continue
                if run.attempts and not run.lost:
                    _put(run, store, ingest, project or _project(source))
                if run.lost or not run.attempts:
                    outcome.note(run)
                else:
                    outcome.add(run)
    finally:
        store.close()
    if not (outcome.came or outcome.grown or outcome.there):
        raise StoreError(f"{f'Nothing came from {source}' if outcome.lost else nothing}{outcome.missing()}.")
    return outcome.said(source)


def _project(source: Path) -> str:
    folder = source.resolve() if source.is_dir() else source.resolve().parent
    return text_of(folder.name) or TAG


def _put(run: Found, store: Store, ingest: Ingest, project: str) -> None:
    """Stores what is not there yet of one run: all of it, or what its files have grown by; `lost` says why nothing."""
    run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TAG}:{run.name}:{run.began_s!r}"))
    known = store.runs.get(run_id)
    if known is not None and known.deleted_ms is not None:
        run.lost = f"{run.name!r} was deleted here; take it back, or import it after a day"
        return
    run.is_known = known is not None and known.state in ENDED  # else an import of it was broken off
    config = {name: value for name, value in run.config.items() if not too_deep({name: value})}
    names = names_of(scalar.tag for attempt in run.attempts for scalar in attempt)
    coming = _not_stored(run, names, store, run_id) if known is not None else run.attempts
    if coming is None:  # the files were written anew since
        if run.is_known:
            return
        store.runs.delete(run_id)
        coming = run.attempts
    left: list[tuple[int, str]] = []
    for number, (scalars, new) in enumerate(zip(run.attempts, coming, strict=True), start=1):
        run.taken += len(new if run.is_known else scalars)
        if not new:
            continue
        attempt = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run_id}:{number - 1}"))
        ingest.open_run(
            {
                "id": run_id,
                "attempt": attempt,
                "project": known.project if known is not None else project,
                "name": run.name,
                "tags": [TAG],
                "config": config,
                "started_ms": _ms(min(scalar.wall_s for scalar in scalars)),
                "first_step": max(min(scalar.step for scalar in scalars), 0),
            }
        )
        for body in _frames(run_id, attempt, new, names, store.frames.newest(run_id, number, 0) + 1):
            answer = ingest.accept(run_id, body)
            left += [(dropped["count"], dropped["reason"]) for dropped in answer["dropped"]]
    for amount, reason in left:
        run.taken -= amount
        run.leave_out(amount, reason)


def _not_stored(run: Found, names: Mapping[str, str], store: Store, run_id: str) -> list[list[Scalar]] | None:
    """Leaves out of each attempt what an earlier import brought: of each series as many values as are stored. None
    where more are stored than the files hold.
    """
    coming = []
    for number, scalars in enumerate(run.attempts, start=1):
        stored = Counter({info.name: info.count for info in store.series.names(run_id, number)})
        new = []
        for scalar in scalars:
            name = names[scalar.tag]
            if stored[name] > 0:
                stored[name] -= 1
            else:
                new.append(scalar)
        if stored.total():
            return None
        coming.append(new)
    return coming


def _frames(
    run_id: str, attempt: str, scalars: Sequence[Scalar], names: Mapping[str, str], first_seq: int
) -> Iterator[bytes]:
    """Yields frames in the order in which the values were written; the last one says that the training is over."""
    last = max(scalar.step for scalar in scalars)
    ended_ms = _ms(max(scalar.wall_s for scalar in scalars))
    parts = list(_parts(scalars, names))
    for seq, series in enumerate(parts, first_seq):
        over = seq == first_seq + len(parts) - 1
        known = {"kind": "fact", "name": "imported", "step": -1, "time_ms": ended_ms, "value": {"from": TAG}}
        end = {"kind": "status", "name": "finished", "step": last, "time_ms": ended_ms, "value": {}}
        yield wire.encode(
            wire.Frame(
                run=run_id,
                attempt=attempt,
                rank=0,
                seq=seq,
                created_ms=ended_ms,
                complete=last if over else max(min(one.step for own in series.values() for one in own) - 1, -1),
                groups=tuple(_group(name, own) for name, own in series.items()),
                records=(*(() if seq else (known,)), *((end,) if over else ())),
            )
        )


def _parts(scalars: Iterable[Scalar], names: Mapping[str, str]) -> Iterator[dict[str, list[Scalar]]]:
    """Cuts the values into what a frame holds, by their series."""
    part: dict[str, list[Scalar]] = {}
    rows = 0
    for scalar in scalars:
        name = names[scalar.tag]
        if rows >= ROWS_A_FRAME or (name not in part and len(part) >= MOST_GROUPS):
            yield part
            part, rows = {}, 0
        part.setdefault(name, []).append(scalar)
        rows += 1
    yield part


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


def _were(amount: int) -> str:
    return "was" if amount == 1 else "were"

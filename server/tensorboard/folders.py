"""Says which runs lie in a folder of event files.

A folder with event files is a run, as in TensorBoard. Beside a folder `train`, one called `validation` (or val, eval)
belongs to the same run (Keras writes so); the one folder inside a run that holds hyper-parameters gives it its config
(`SummaryWriter.add_hparams` writes so), several are trials, each a run. A file that begins before the end of another
was written by a training that was resumed: it is an attempt of its own. One at the very step goes on: so does an
evaluation after the training.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.ingest.values import MAX_STEP
from server.tensorboard.events import EventFile, Scalar, read

MARK = "tfevents"
TRAIN = frozenset({"train", "training"})
HELD_OUT = frozenset({"validation", "val", "valid", "eval"})
TAG = "tensorboard"


@dataclass
class Found:
    """A run: its name, the scalars of each attempt, its config, and what could not be read.

    `left` counts values that no series can hold, with the `reason` of the first; `lost` says why it cannot come;
    `taken` counts what came, `is_known` says that it was there before.
    """

    name: str
    attempts: list[list[Scalar]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    torn: int = 0
    unread: int = 0
    left: int = 0
    reason: str = ""
    taken: int = 0
    is_known: bool = False
    lost: str = ""

    def leave_out(self, amount: int, reason: str) -> None:
        """Counts values that do not come."""
        self.left += amount
        self.reason = self.reason or reason

    @property
    def began_s(self) -> float:
        """When its first value was written, in seconds since 1970."""
        return min((scalar.wall_s for attempt in self.attempts for scalar in attempt), default=0.0)


def listed(source: Path, lost: list[str]) -> dict[Path, list[Path]]:
    """Lists the event files of each folder, those that lie deepest first; `lost` gets the folders that are closed."""
    found = [source] if source.is_file() else sorted(path for path in _walked(source, lost) if path.is_file())
    folders: dict[Path, list[Path]] = {}
    for path in sorted(found, key=lambda path: -len(path.parts)):
        folders.setdefault(path.parent, []).append(path)
    return folders


def _walked(source: Path, lost: list[str]) -> Iterator[Path]:
    """Finds event files in all folders below, each once; links come last, so that a folder keeps its own name."""
    seen: set[str] = set()
    waiting = [source]
    for top in waiting:
        for folder, inner, files in os.walk(top, onerror=lambda error: lost.append(_unread(error, source))):
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            waiting += [path for name in sorted(inner) if (path := Path(folder, name)).is_symlink()]
            yield from (Path(folder, name) for name in files if MARK in name)


def _unread(error: OSError, place: Path) -> str:
    return f"{error.filename or place} cannot be read ({error.strerror or error})"


def name_of(folder: Path, folders: Container[Path], source: Path) -> str:
    """Calls a run as its folder, seen from where all of them lie."""
    if folder.name in TRAIN and any(folder.with_name(name) in folders for name in HELD_OUT):
        folder = folder.parent
    inside = source.is_dir() and folder != source
    return text_of(folder.relative_to(source)) if inside else text_of(folder.resolve().name) or TAG


def text_of(path: Path | str) -> str:
    """Gives a path as a text, also one whose bytes are none."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def runs(folders: Mapping[Path, Sequence[Path]], names: Mapping[Path, str]) -> Iterator[Found]:
    """Reads one run after the other, so that only one is in memory, and the trials in its folder."""
    trials: dict[Path, list[Found]] = {}
    for folder, paths in folders.items():
        inside = trials.pop(folder, [])
        if folder.name in HELD_OUT and any(folder.with_name(name) in folders for name in TRAIN):
            yield from inside
            continue
        others = [folder.with_name(name) for name in HELD_OUT] if folder.name in TRAIN else []
        try:
            files = [read(path) for path in paths]
            beside = [read(path) for other in others for path in folders.get(other, ())]
        except OSError as error:
            yield Found(names[folder], lost=_unread(error, folder))
            yield from inside
            continue
        config = {name: value for file in files for name, value in file.config.items()}
        above = next((one for one in folder.parents if one in folders), None)
        if config and above is not None and not any(scalar.step > 0 for file in files for scalar in file.scalars):
            trials.setdefault(above, []).append(_made(names[folder], files))
            yield from inside
            continue
        run = _made(names[folder], files, beside)
        if run.attempts and len(inside) == 1:
            run.config = {**inside[0].config, **run.config}
        else:
            yield from inside
        yield run


def _made(name: str, files: Iterable[EventFile], beside: Iterable[EventFile] = ()) -> Found:
    run = Found(name)
    held_out: list[Scalar] = []
    newest: dict[str, int] = {}
    for file in files:
        run.config.update(file.config)
        run.torn += file.torn
        run.unread += file.unread
        scalars = _sound(file.scalars, run)
        if not scalars:
            continue
        again = any(scalar.step < newest.get(scalar.tag, scalar.step) for scalar in _firsts(scalars))
        if again or not run.attempts:
            run.attempts.append([])
            newest = {}
        run.attempts[-1] += scalars
        for scalar in scalars:
            newest[scalar.tag] = max(newest.get(scalar.tag, scalar.step), scalar.step)
    for file in beside:
        run.torn += file.torn
        run.unread += file.unread
        sound = _sound(file.scalars, run) if run.attempts else ()
        held_out += [Scalar(one.wall_s, one.step, f"val/{one.tag}", one.value) for one in sound]
    began = [min(scalar.wall_s for scalar in attempt) for attempt in run.attempts]
    for one in held_out:  # to the attempt that ran then
        run.attempts[max((at for at, start in enumerate(began) if start <= one.wall_s), default=0)].append(one)
    return run


def _sound(scalars: list[Scalar], run: Found) -> list[Scalar]:
    """Gives those at steps that a series can have."""
    good = [scalar for scalar in scalars if -1 <= scalar.step < MAX_STEP]
    if len(good) < len(scalars):
        wrong = next(scalar.step for scalar in scalars if not -1 <= scalar.step < MAX_STEP)
        run.leave_out(len(scalars) - len(good), f"a step of {wrong}, expected one from -1 to 2^53")
    return good


def _firsts(scalars: Sequence[Scalar]) -> Iterator[Scalar]:
    seen: set[str] = set()
    for scalar in scalars:
        if scalar.tag not in seen:
            seen.add(scalar.tag)
            yield scalar

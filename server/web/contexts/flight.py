"""The last steps before a run broke: what broke first, the scalars of each step, the layers at the last samples.

Also how the process ended: the exception, the signal, the last lines of the console.

Facts come from trainings and may hold anything, so every reader here accepts anything. Not for: findings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from server.domain.runs import Run, RunState
from server.domain.series import SeriesData
from server.web import formats
from server.web.contexts.findings import Pair

LAST_STEPS = 12
LAST_SAMPLES = 8
AFTER = 2  # samples after the break that are shown too
LOOK_BACK = 400  # steps in which the last samples are looked for
MOST_LAYERS = 60
SCALARS = ("loss", "grad_norm", "clip/before", "clip/coefficient", "scaler/scale")
_BROKEN = (RunState.FAILED, RunState.CRASHED)
_REASONS = {
    "nonfinite-loss": "the loss was not a number",
    "nonfinite-gradient": "a gradient was not a number",
    "loss-spike": "the loss jumped",
    "exception": "an exception ended the loop",
}
_DIRECTIONS = {
    "input": "it was in the batch already, where it went into {place}",
    "forward": "the forward pass made it in {place}",
    "loss": "an operation behind the last weights made it, after {place}",
    "backward": "the backward pass made it in {place}",
    "update": "the update before this step had put it into the weights of {place}",
    "unseen": "not seen, for it was known only {later} later, when weights were not numbers any more; "
    "`watch(..., budget=1.0)` measures as many steps as it can",
}
_STATISTICS = (("act/absmax/", "Largest |output|"), ("grad_norm/", "Gradient norm"), ("update_ratio/", "Update ratio"))


@dataclass(frozen=True)
class Cell:
    """One number of a table; `bad` where it is none."""

    text: str
    bad: bool


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Numbers with steps across; `broken` is the step that broke."""

    title: str
    steps: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: str = ""


@dataclass(frozen=True)
class FlightView:
    """The panel."""

    title: str
    sentences: tuple[str, ...]
    scalars: Table | None
    tables: tuple[Table, ...]
    circumstances: tuple[Pair, ...]
    console: str
    traceback: str
    fragment_url: str


def wanted(run: Run, facts: Mapping[str, Any]) -> int | None:
    """Gives the step that the panel is about; None where nothing broke."""
    broken = _first_break(facts)
    if broken is not None:
        return int(broken["step"])
    return run.last_step if run.state in _BROKEN or _text(_mapping(facts.get("console")).get("lines")) else None


def names_of(names: Iterable[str]) -> list[str]:
    """Chooses the series that the panel shows."""
    prefixes = tuple(prefix for prefix, _ in _STATISTICS)
    return [name for name in names if name in SCALARS or name.startswith(prefixes)]


def flight_view(
    run: Run, facts: Mapping[str, Any], step: int, read: Sequence[SeriesData], layers: Sequence[str]
) -> FlightView:
    """Makes the panel from the series of the steps around `step`."""
    broken = _first_break(facts) or {}
    ending, console = _mapping(facts.get("ending")), _mapping(facts.get("console"))
    by_name = {data.name: {int(s): float(v) for s, v in zip(data.steps, data.values, strict=True)} for data in read}
    lines = console.get("lines")
    return FlightView(
        title=f"The last steps before step {formats.count(step)}" if broken else "The last steps",
        sentences=(*_what(broken, step), *_how_it_ended(run, {**ending, **console})),
        scalars=_scalars(by_name, step),
        tables=tuple(_samples(by_name, step, layers)),
        circumstances=tuple(_circumstances(broken, run)),
        console="\n".join(str(line) for line in lines[-200:]) if isinstance(lines, list) else "",
        traceback=_text(ending.get("traceback") or ending.get("exception")),
        fragment_url=f"/runs/{quote(run.id, safe='')}/fragments/flight",
    )


def _first_break(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    breaks = _mapping(facts.get("flight")).get("breaks")
    known = [item for item in breaks if isinstance(item, dict)] if isinstance(breaks, list) else []
    known = [item for item in known if isinstance(item.get("step"), int)]
    numbers = [item for item in known if str(item.get("reason", "")).startswith("nonfinite")]
    return next(iter([*numbers, *known]), None)


def _what(broken: Mapping[str, Any], step: int) -> list[str]:
    if not broken:
        return []
    reason = _REASONS.get(str(broken.get("reason")), formats.text(broken.get("reason")))
    first = _mapping(broken.get("first_bad"))
    said = [f"At step {formats.count(step)} {reason}."]
    if first:
        module, operation = _text(first.get("module")), _text(first.get("operation"))
        named = _operation(operation) if first.get("direction") != "input" else ""
        place = f"`{module}`" if module else "the model"
        later = _steps(first.get("later"))
        sentence = _DIRECTIONS.get(str(first.get("direction")), "it was found in {place}")
        sentence = sentence.format(place=place, later=later)
        said.append(f"First bad value: {sentence}{named}.")
    return said


def _operation(name: str) -> str:
    """Names an operation of the forward pass by what autograd calls its backward."""
    plain = re.sub(r"Backward\d*$", "", name)
    return f" (operation {plain})" if plain else ""


def _steps(value: Any) -> str:
    return formats.plural(value, "step") if isinstance(value, int) else "some steps"


def _how_it_ended(run: Run, known: Mapping[str, Any]) -> list[str]:
    said = []
    if known.get("exception"):
        said.append(f"It ended with {formats.shortened(_text(known['exception']), 300)}.")
    if known.get("signal"):
        said.append(f"The process was ended by {_text(known['signal'])}.")
    if isinstance(known.get("oom_kills"), int):
        said.append("The kernel killed a process because memory had run out.")
    if known.get("exit_code") not in (None, 0):
        said.append(f"Its exit code was {formats.text(known['exit_code'])}.")
    if not said and run.state is RunState.CRASHED:
        said.append("The process ended without a word; `gradwatch run -- python train.py` would have seen how.")
    return said


def _scalars(by_name: Mapping[str, Mapping[int, float]], step: int) -> Table | None:
    steps = sorted({item for name in SCALARS for item in by_name.get(name, ()) if item <= step + AFTER})
    steps = steps[-LAST_STEPS:]
    rows = [_row(name, by_name[name], steps) for name in SCALARS if name in by_name]
    return Table("Each step", _headings(steps), tuple(rows)) if rows and steps else None


def _samples(by_name: Mapping[str, Mapping[int, float]], step: int, layers: Sequence[str]) -> list[Table]:
    order = {layer: index for index, layer in enumerate(layers)}
    made = []
    for prefix, title in _STATISTICS:
        found = {name.removeprefix(prefix): values for name, values in by_name.items() if name.startswith(prefix)}
        every = sorted({item for values in found.values() for item in values})
        before, after = [s for s in every if s <= step][-LAST_SAMPLES:], [s for s in every if s > step][:AFTER]
        steps = before + after
        if not steps:
            continue
        names = sorted(found, key=lambda name: (order.get(name, order.get(name.rpartition(".")[0], len(order))), name))
        # of a large model the layers that broke, then the first ones
        shown = set(sorted(names, key=lambda name: not _breaks(found[name], steps))[:MOST_LAYERS])
        rows = tuple(_row(name, found[name], steps) for name in names if name in shown)
        rest = len(names) - len(rows)
        notes = [f"and {rest} more"] if rest else []
        gap = next(((one, two) for one, two in pairwise(steps) if two - one > 1), None)
        if gap:
            notes.append(f"layers are measured now and then: not between steps {gap[0]:,} and {gap[1]:,}")
        made.append(Table(title, _headings(steps), rows, "; ".join(notes)))
    return made


def _breaks(values: Mapping[int, float], steps: Sequence[int]) -> bool:
    return any(not math.isfinite(values[step]) for step in steps if step in values)


def _row(name: str, values: Mapping[int, float], steps: Sequence[int]) -> Row:
    return Row(name, tuple(_cell(values.get(step)) for step in steps))


def _cell(value: float | None) -> Cell:
    if value is None:
        return Cell(formats.NOTHING, bad=False)
    if math.isfinite(value):
        return Cell(formats.number(value, 3), bad=False)
    return Cell("NaN" if math.isnan(value) else "∞" if value > 0 else "−∞", bad=True)


def _headings(steps: Sequence[int]) -> tuple[str, ...]:
    return tuple(formats.count(step) for step in steps)


def _circumstances(broken: Mapping[str, Any], run: Run) -> list[Pair]:
    pairs = []
    batch = _mapping(broken.get("batch"))
    tensors = batch.get("tensors")
    for index, item in enumerate(tensors if isinstance(tensors, list) else []):
        about = _mapping(item)
        said = f"{_text(about.get('dtype'))} {formats.text(about.get('shape'))}, fingerprint {_text(about.get('hash'))}"
        bad = about.get("nonfinite")
        pairs.append(Pair(f"batch, tensor {index}", said + (f", {formats.text(bad)} not finite" if bad else "")))
    state = _mapping(broken.get("rng"))
    if state:
        at = f"torch's generator before step {formats.text(state.get('step'))}"
        pairs.append(Pair(at, f"{_text(state.get('torch'))} (in full at /api/v1/runs/{run.id}, in facts.flight)"))
    return pairs


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else formats.text(value)


def layer_order(facts: Mapping[str, Any]) -> list[str]:
    """Lists the layers in the order of their calls."""
    layers = _mapping(facts.get("model")).get("layers")
    return [str(item.get("name")) for item in layers if isinstance(item, dict)] if isinstance(layers, list) else []

"""How the charts of a page are looked at: x axis, smoothing, y axis, process; and what there is to choose from.

Not for: which charts a page has (charts).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.domain.kinds import Kind, parse
from server.web import formats

AXES = {"step": "step", "time": "time since the start"}
MOST_AXES = 60
MOST_RANKS = 256
SMOOTHING = ("", "0", "5", "20", "50", "100", "500", "2000")
SCALES = {"": "automatic", "linear": "linear", "log": "logarithmic"}


@dataclass(frozen=True)
class Choice:
    """One entry of a selector."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True)
class Look:
    """How the address asks the charts to be shown; the script of the page reads the same names."""

    x: str = "step"
    smooth: str = ""
    scale: str = ""
    order: str = ""
    find: str = ""
    pins: tuple[str, ...] = ()
    rank: str = ""  # of a distributed training; the first one needs no number
    group: str = ""  # of compared runs: all, or a column of the config


def axes_of(look: Look, names: Iterable[str]) -> tuple[Choice, ...]:
    """Lists the x axes: steps, time, and the series that may be one, epochs first."""
    series = sorted(
        (name for name in names if parse(name)[0] in (Kind.EPOCH, Kind.USER)),
        key=lambda name: (parse(name)[0] is not Kind.EPOCH, name),
    )
    labels = {**AXES, **{name: name for name in series[:MOST_AXES]}}
    labels.setdefault(look.x, look.x)
    return tuple(Choice(value, label, value == look.x) for value, label in labels.items())


def smoothings_of(look: Look) -> tuple[Choice, ...]:
    """Lists the choices of smoothing."""
    return tuple(Choice(value, smoothing_words(value), value == look.smooth) for value in SMOOTHING)


def scales_of(look: Look) -> tuple[Choice, ...]:
    """Lists the choices of the y axis."""
    return tuple(Choice(value, label, value == look.scale) for value, label in SCALES.items())


def ranks_of(look: Look, ranks: Sequence[int]) -> tuple[Choice, ...]:
    """Lists the processes to choose from; none where the training is one."""
    if len(ranks) < 2:
        return ()
    values = [str(rank or "") for rank in ranks[:MOST_RANKS]]
    values += [look.rank] if look.rank not in values else []
    return tuple(Choice(value, f"rank {value or 0}", value == look.rank) for value in values)


def smoothing_words(value: str) -> str:
    """Says how a choice of smoothing works."""
    return {"": "automatic", "0": "none"}.get(value) or f"half-life {formats.count(int(value))} steps"

"""What a rule is made of: the class `Rule`, its thresholds, and its place in the order from cause to symptom.

A rule judges one window and remembers nothing; when a verdict becomes a finding, and when it ends, is decided by
the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, ClassVar, Literal, cast

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind

CLEAR_SHARE = 0.7  # an open finding is tested against this share of its limits, so that it does not flicker

Relax = Literal["up", "down"]


class Stage(IntEnum):
    """Where a rule stands between cause and symptom: a finding may be absorbed by one of a smaller stage."""

    DATA = 10
    STRUCTURE = 20
    OUTPUT = 30
    INITIALISATION = 40
    FIRST_SIGNAL = 45  # what the first forward made of the weights
    OPTIMISER = 50
    DECAY = 60
    EARLY_RATE = 70
    FEW_VALUES = 75  # a normalisation that divides by next to nothing makes gradients explode
    GRADIENT = 80
    NONFINITE_ACTIVATION = 84
    NONFINITE_GRADIENT = 86
    REGULARISATION = 90
    STATISTICS = 100
    GENERALISATION = 110
    STARVED = 120
    LOW_RATE = 130
    STOPPED = 140
    FIRST_LOSS = 150
    NONFINITE_LOSS = 190  # from here on: symptoms
    UNITS = 194  # units and answers explain a loss that stands still, and nothing else
    ANSWERS = 197
    DIVERGENCE = 198  # explains the jumps and swings that it is made of
    SYMPTOM = 200
    SWINGS = 205
    BASELINE = 208  # explains why a loss stands still, and what the answers look like then
    STUCK = 210
    GUESSING = 220  # what answers look like where nothing was learned


@dataclass(frozen=True)
class ParamInfo:
    """Describes one threshold of a rule, as pages and settings show it."""

    name: str
    default: float
    unit: str
    low: float
    high: float
    source: str
    relax: Relax | None


def threshold(default: float, *, unit: str, low: float, high: float, source: str, relax: Relax | None = None) -> Any:
    """Declares a threshold in a rule's `Params`.

    `source` says where the number comes from. `relax` says which way the limit moves while a finding is open: "down"
    where the rule fires above it (0.7 of it), "up" where it fires below (1 / 0.7 of it).
    """
    return field(default=default, metadata={"unit": unit, "low": low, "high": high, "source": source, "relax": relax})


def describe_params(params: type[Any]) -> tuple[ParamInfo, ...]:
    """Lists the thresholds of a `Params` class; raises ValueError where one has no unit or no source."""
    return tuple(_describe(item) for item in fields(params))


def relaxed(params: Any) -> Any:
    """Gives the parameters with which an open finding is tested."""
    moved: dict[str, float] = {}
    for item in fields(params):
        direction = item.metadata.get("relax")
        if direction is not None:
            value = getattr(params, item.name)
            moved[item.name] = value * CLEAR_SHARE if direction == "down" else value / CLEAR_SHARE
    return replace(params, **moved) if moved else params


class Rule(ABC):
    """One diagnosis. Subclasses live alone in a file named like `name`, and have a docstring in the fixed sections.

    `clock` "step" evaluates at the first 20 steps and then at each `every`-th; "sample" at each step whose layers were
    measured. `persistence` (n, m) opens a finding when n of the last m evaluations hold; `clears_after` quiet ones
    resolve it (None: never). `gates` names the fields of `Gates` that make it not evaluated. `exact` marks facts that
    need no statistics: they absorb everything of a later stage. `aside` marks facts about how a run is set up, kept,
    timed or reported: they follow from no fault, and explain but what their verdict names. `levels` names the
    evidence's numbers that are values of its first series ("the limit" is its limit), with the words to draw them by. A
    rule without `needs` is always asked and says itself what it misses. `across_ranks` marks rules that compare the
    processes of one training: their windows hold the ranks' series (server.domain.ranks). `whole_run` marks rules that
    look at the run from its start: they are asked ever more rarely, so that a step costs the same at any length. In a
    long run a rule that is quiet is asked every few seconds of the training; what it says then stands for the points
    between, so a window has to be longer than 50 steps, unless `every` is below 10: such a rule is asked at each of its
    points.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]  # the worst that it says
    since: ClassVar[str]
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[Kind, ...]] = ()
    chart: ClassVar[str] = "loss"
    tier: ClassVar[Literal["scalars", "layers", "facts"]] = "scalars"
    clock: ClassVar[Literal["step", "sample"]] = "step"
    every: ClassVar[int] = 10
    whole_run: ClassVar[bool] = False
    across_ranks: ClassVar[bool] = False
    persistence: ClassVar[tuple[int, int]] = (1, 1)
    clears_after: ClassVar[int | None] = 10
    gates: ClassVar[tuple[str, ...]] = ()
    stage: ClassVar[Stage] = Stage.SYMPTOM
    exact: ClassVar[bool] = False
    aside: ClassVar[bool] = False
    levels: ClassVar[Mapping[str, str]] = {}

    @dataclass(frozen=True)
    class Params:
        """The thresholds; a rule without any keeps this."""

    @abstractmethod
    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        """Judges the run at the end of the window: yields at most one verdict, or why it cannot judge; nothing
        means fine."""


def _describe(item: Field[Any]) -> ParamInfo:
    meta = item.metadata
    for part in ("unit", "source"):
        if not meta.get(part):
            raise ValueError(f"the threshold `{item.name}` has no {part}; declare it with threshold(…, {part}=…)")
    if not meta["low"] <= item.default <= meta["high"]:
        raise ValueError(f"the threshold `{item.name}` is {item.default}, outside {meta['low']} to {meta['high']}")
    return ParamInfo(
        name=item.name,
        default=float(cast("float", item.default)),
        unit=meta["unit"],
        low=meta["low"],
        high=meta["high"],
        source=meta["source"],
        relax=cast("Relax | None", meta["relax"]),
    )

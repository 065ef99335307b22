"""Reads what a chart draws: its series and grid, the x axis that was asked for, and how far its average remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from server import axes
from server.charts.base import Chart
from server.charts.held import is_held
from server.charts.layers import holding
from server.charts.lines import LOG_RATIO
from server.domain.findings import Finding
from server.domain.metrics import measured_as
from server.domain.preflight import baselines
from server.domain.runs import Run, in_order
from server.domain.series import SeriesInfo
from server.downsample import Cut
from server.grid import NOTHING, Grid
from server.web import preflighted
from server.web.contexts.runs import lasted_ms
from server.web.services import Services

MOST_WITH_HISTORY = 8
CLOCK_POINTS = 8_000


@dataclass(frozen=True)
class Span:
    """The steps that are shown, how many points a line may have, and whose they are."""

    start: int | None
    stop: int | None
    points: int
    rank: int = 0


def read(
    run: Run,
    parts: Services,
    kind: Chart,
    asked: Sequence[str],
    findings: Sequence[Finding],
    span: Span,
    half_life: float | None,
    scale: str,
    find: str = "",
) -> tuple[Grid, list[Cut], bool]:
    """Reads the grid and the cut series that a chart wants; says whether their averages are those of logarithms.

    A grid keeps to the layers that have the words of `find`.
    """
    infos = parts.store.series.names(run.id)
    names = kind.wants([info.name for info in infos], asked)
    if find and kind.columns is not None:
        names = holding(names, find)
    grid = NOTHING
    if kind.columns is not None and kind.lines is not None:
        columns = kind.columns(len(names))
        grid = parts.store.heatmaps.grid(
            run.id, names, columns=columns, rank=span.rank, start=span.start, stop=span.stop
        )
        names = kind.lines(grid, findings)
    # what earlier attempts left is drawn under the newest one, where there are only a few lines
    attempt = "all" if run.attempts > 1 and kind.columns is None and len(names) <= MOST_WITH_HISTORY else "latest"
    factors = half_life is not None and by_factors([info for info in infos if info.name in names], scale)
    shown: dict[str, Any] = {
        "attempt": attempt, "stop": span.stop, "points": span.points, "half_life": half_life, "factors": factors,
        "rank": span.rank,
    }  # fmt: skip
    held = [name for name in names if is_held(name)] if span.start is not None else []
    measured = [name for name in names if name not in held]
    series = parts.store.overview.buckets(run.id, measured, start=span.start, **shown)
    for name in held:
        series += parts.store.overview.buckets(run.id, [name], start=_stood_since(run, parts, name, span), **shown)
    return grid, sorted(series, key=lambda cut: names.index(cut.name)), factors


def by_factors(infos: Sequence[SeriesInfo], scale: str) -> bool:
    """Says whether the reader asked for a logarithmic axis, or the whole series will have one by themselves."""
    if scale:
        return scale == "log"
    low = [info.min for info in infos if info.min is not None]
    high = [info.max for info in infos if info.max is not None]
    return bool(low) and min(low) > 0 and max(high) / min(low) > LOG_RATIO


def _stood_since(run: Run, parts: Services, name: str, span: Span) -> int | None:
    """Gives the step of the last sample before what is shown: there begins a value that still holds."""
    assert span.start is not None  # noqa: S101 - asked only where a stretch is shown
    earlier = parts.store.overview.buckets(run.id, [name], rank=span.rank, stop=span.start - 1, points=2)
    return int(earlier[0].buckets.last_steps[-1]) if earlier else span.start


def half_life(run: Run, kind: Chart, asked: float | None, span: Span) -> float | None:
    """Gives the half-life in steps: the reader's (0 = none), else the chart's own for what is shown, if it has one."""
    if asked is not None:
        return asked or None
    if kind.half_life is None:
        return None
    shown = (run.last_step if span.stop is None else min(span.stop, run.last_step)) - (span.start or 0)
    return kind.half_life(max(1, shown))


def axis_for(run: Run, parts: Services, x: str, rank: int = 0) -> axes.Axis:
    """Makes the x axis; answers 422 where the rank has no such series."""
    if x == axes.STEP:
        return axes.STEPS
    if x == axes.TIME:
        return axes.since(run.started_ms, lasted_ms(run))
    found = parts.store.series.read(run.id, [x], rank=rank)
    if not found:
        raise HTTPException(422, f"parameter x: got {x[:80]!r}; step, time or a series that the run has is needed")
    return axes.of_series(x, found[0].steps, found[0].values)


def starts(run: Run, parts: Services) -> dict[int, int]:
    """Says at which step each training of the run began."""
    return {one.number: one.first_step for one in parts.store.runs.attempts(run.id) if one.is_training}


def clock(run: Run, parts: Services, rank: int = 0) -> list[Cut]:
    """Reads the series that says when each step was, the same for every chart of the run: that of most samples."""
    infos = parts.store.series.names(run.id)
    names = [info.name for info in sorted(infos, key=lambda info: (-info.count, info.name))[:1]]
    return parts.store.overview.buckets(run.id, names, points=CLOCK_POINTS, attempt="all", rank=rank)


def ranks(run: Run, parts: Services) -> list[int]:
    """Lists the processes that sent something in the newest attempt."""
    attempts = [attempt.number for attempt in parts.store.runs.attempts(run.id)]
    return parts.store.frames.ranks(run.id, max(attempts, key=in_order)) if attempts else []


def layers(run: Run, parts: Services) -> list[str]:
    """Gives the model's layers in the order of their calls; the ones that were never called come last."""
    model: Any = parts.store.records.facts(run.id).get("model")
    told = model.get("layers") if isinstance(model, dict) else None
    found = [layer for layer in told if isinstance(layer, dict)] if isinstance(told, list) else []
    ordered = sorted(found, key=lambda layer: (layer.get("order") is None, layer.get("order") or 0))
    return [str(layer.get("name", "")) for layer in ordered]


def levels(run: Run, parts: Services, series: Sequence[Cut]) -> list[tuple[str, float]]:
    """Gives what simple models reach of the first series, as preflight measured it before the training."""
    what = measured_as(series[0].name) if series else None
    return baselines(parts.store.records.newest_fact(run.id, preflighted.FACT), what) if what else []

"""The runs table as CSV: every run that fits the filters, with its whole config and the figures that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from server import export
from server.domain.runs import Run
from server.store.columns import Value, flat
from server.web.caller import Asking
from server.web.contexts.runs import lasted_ms
from server.web.filtering import TheFilters, page_of_runs
from server.web.formats import iso
from server.web.problems import Problem
from server.web.services import Parts

MOST_RUNS = 10_000
FILE = 'attachment; filename="gradwatch-runs.csv"'
ABOUT = ("id", "name", "project", "tags", "state", "severity", "verdict", "started", "seconds", "steps",
         "steps_per_s", "last_loss", "best_validation")  # fmt: skip

router = APIRouter(prefix="/api/v1", tags=["runs"], responses={422: {"model": Problem}})


@router.get("/runs.csv", response_class=StreamingResponse, responses={200: {"content": {"text/csv": {}}}})
def export_runs(parts: Parts, filters: TheFilters, caller: Asking) -> StreamingResponse:
    """Streams the runs that fit, at most 10,000, in their order; `col` adds figures of series."""
    runs = page_of_runs(parts, replace(filters, cursor=""), MOST_RUNS, caller.sight()).items
    figures = [name for name in filters.columns if not name.startswith("config.")]
    values = parts.store.columns.values([run.id for run in runs], figures)
    return StreamingResponse(
        export.table(_rows(runs, figures, values)), media_type="text/csv", headers={"Content-Disposition": FILE}
    )


def _rows(
    runs: Sequence[Run], figures: Sequence[str], values: Mapping[str, Mapping[str, Value]]
) -> Iterator[Sequence[object]]:
    configs = [flat(run.config) for run in runs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    yield [*ABOUT, *(f"config.{key}" for key in keys), *figures]
    for run, config in zip(runs, configs, strict=True):
        own = values[run.id]
        yield [*_about(run), *(config.get(key) for key in keys), *(own.get(name) for name in figures)]


def _about(run: Run) -> tuple[object, ...]:
    return (
        run.id,
        run.name,
        run.project,
        ", ".join(run.tags),
        run.state.value,
        run.worst_severity or "",
        run.verdict,
        iso(run.started_ms),
        lasted_ms(run) / 1_000,
        run.last_step + 1,
        run.steps_per_s,
        run.last_loss,
        run.best_validation,
    )

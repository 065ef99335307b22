"""The report of a run: one HTML file that opens anywhere, and a Markdown summary to paste."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from markupsafe import Markup

from server import paths
from server.charts import still
from server.charts.attempts import is_drawn, newest_start
from server.charts.base import Chart
from server.charts.catalogue import CHARTS
from server.charts.marks import is_marked
from server.domain.findings import Finding
from server.domain.kinds import Kind, parse
from server.domain.metrics import partners, subject
from server.domain.runs import Run
from server.domain.series import SeriesInfo
from server.domain.told import as_told
from server.web import chart_data, preflighted
from server.web.chart_data import Span
from server.web.contexts import checklist, findings, report
from server.web.endings import ending_of
from server.web.evidence import pictures
from server.web.lookup import existing_run
from server.web.services import Parts, Services
from server.web.templating import render

MOST_METRICS = 24
_FIXED = (
    ("Learning rate", (Kind.LEARNING_RATE,)),
    ("Gradient norm", (Kind.GRAD_NORM, Kind.CLIP_BEFORE)),
)
MOST_LINES = 8
_WHOLE = Span(None, None, still.POINTS)

router = APIRouter(include_in_schema=False)
TheRun = Annotated[Run, Depends(existing_run)]


@router.get("/runs/{run_id}/report")
def report_file(request: Request, run: TheRun, parts: Parts) -> Response:
    """Gives the report as one file without links to anything outside of it."""
    view = _report(run, parts)
    answer = render(request, "pages/report.html", view)
    answer.headers["Content-Disposition"] = f'attachment; filename="{view.filename}.html"'
    return answer


@router.get("/runs/{run_id}/summary.md")
def summary(run: TheRun, parts: Parts) -> Response:
    """Gives the summary in Markdown."""
    return PlainTextResponse(report.markdown(_report(run, parts)), media_type="text/markdown; charset=utf-8")


def _report(run: Run, parts: Services) -> report.ReportView:
    found = as_told(parts.store.findings.list(run.id))
    shown = findings.findings_view(run, found, parts.registry, pictures(parts, run.id, found))
    checks = parts.store.findings.checks(run.id)
    now = parts.clock()
    return report.report_view(
        run,
        shown,
        checklist.checklist_view(
            run, checks, found, parts.registry, now, before=preflighted.without_curves(run.id, parts)
        ),
        _stills(run, parts, _marks(run, parts, found)),
        parts.store.records.facts(run.id),
        parts.store.runs.attempts(run.id),
        now,
        _version(),
        _style(),
        ending_of(run, parts),
        parts.store.notes.get(run.id).text,
    )


def _marks(run: Run, parts: Services, found: Sequence[Finding]) -> list[tuple[int, str]]:
    """Chooses the findings of the attempt that is drawn."""
    starts = newest_start(chart_data.starts(run, parts))
    shown = [one for one in found if is_marked(one) and is_drawn(one.attempt, one.first_step, starts)]
    return [(one.first_step, one.code) for one in shown]


def _stills(run: Run, parts: Services, marks: list[tuple[int, str]]) -> list[still.Still]:
    infos = parts.store.series.names(run.id)
    names = [info.name for info in infos]
    charts: list[tuple[str, list[str], Chart | None]] = [("Loss", CHARTS["loss"].wants(names, ()), CHARTS["loss"])]
    charts += [(title, [name for name in names if parse(name)[0] in kinds], None) for title, kinds in _FIXED]
    own = [name for name in names if parse(name)[0] in (Kind.USER, Kind.VALIDATION) and name != "val/loss"]
    topics = list(dict.fromkeys(subject(name) for name in own))[:MOST_METRICS]
    charts += [
        (topic, [name for name in partners(topic, names) if name in own], CHARTS["series"]) for topic in sorted(topics)
    ]
    stills = [_still(run, parts, title, infos, wanted[:MOST_LINES], kind, marks) for title, wanted, kind in charts]
    return [one for one in stills if one is not None]


def _still(
    run: Run,
    parts: Services,
    title: str,
    infos: list[SeriesInfo],
    names: list[str],
    kind: Chart | None,
    marks: list[tuple[int, str]],
) -> still.Still | None:
    """Draws one chart; one of a `kind` that is drawn on the run's page too is compared with simple models as there."""
    half_life = chart_data.half_life(run, kind, None, _WHOLE) if kind else None
    factors = half_life is not None and chart_data.by_factors([info for info in infos if info.name in names], "")
    cuts = parts.store.overview.buckets(run.id, names, points=still.POINTS, half_life=half_life, factors=factors)
    return still.draw(title, cuts, marks, chart_data.levels(run, parts, cuts) if kind else (), run.last_step)


@lru_cache(maxsize=1)
def _style() -> Markup:
    sheets = ("reset", "tokens", "report")
    # The sheets are ours and hold nothing from a run, which is what makes this Markup.
    return Markup("\n").join(Markup((paths.STATIC / "css" / f"{sheet}.css").read_text("utf-8")) for sheet in sheets)  # noqa: S704


def _version() -> str:
    try:
        return version("gradwatch")
    except PackageNotFoundError:
        return "from a checkout"

"""The preflight of a run: its page, its fragment, and the same as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from server.accounts.powers import Caller
from server.domain.preflight import LeftOut, Preflight, Result
from server.domain.runs import Run
from server.web import preflighted
from server.web.caller import Asking
from server.web.contexts import preflight
from server.web.lookup import existing_run, seen_run
from server.web.models.values import Number, Plain, SeverityName
from server.web.problems import Problem
from server.web.services import Parts
from server.web.templating import render

router = APIRouter()
TheRun = Annotated[Run, Depends(existing_run)]
Outcome = Annotated[str, Query(pattern="^(" + "|".join(preflight.WORDS) + ")?$")]


class ThresholdOf(BaseModel):
    """A limit that a check used, and where the number comes from."""

    name: str
    value: Number
    unit: str
    source: str


class PreflightResult(BaseModel):
    """What one check said; `curves` are {name: {x, y, x_label, y_label, log, log_x, marks}}."""

    code: str
    name: str
    verdict: str
    severity: SeverityName | None
    message: str
    advice: str
    reason: str
    numbers: dict[str, float]
    strings: dict[str, str]
    layers: list[str]
    thresholds: list[ThresholdOf]
    curves: dict[str, Plain]
    seconds: Number

    @classmethod
    def of(cls, result: Result) -> PreflightResult:
        """Makes it of the domain's."""
        values: dict[str, Any] = {name: getattr(result, name) for name in cls.model_fields}
        values["severity"] = result.severity if result.verdict == "found" else None
        values["thresholds"] = [vars(item) for item in result.thresholds]
        values["curves"] = {name: dict(curve) for name, curve in result.curves.items()}
        return cls.model_validate(values)


class PreflightLeftOut(BaseModel):
    """A check that did not run, and why."""

    code: str
    name: str
    reason: str

    @classmethod
    def of(cls, item: LeftOut) -> PreflightLeftOut:
        """Makes it of the domain's."""
        return cls(**vars(item))


class PreflightReport(BaseModel):
    """The newest preflight of a run; without one, `results` is empty and `complete` false."""

    results: list[PreflightResult]
    left_out: list[PreflightLeftOut]
    seconds: Number
    run: str
    complete: bool

    @classmethod
    def of(cls, found: Preflight | None) -> PreflightReport:
        """Makes it of the domain's."""
        if found is None:
            return cls(results=[], left_out=[], seconds=None, run="", complete=False)
        return cls(
            results=[PreflightResult.of(item) for item in found.results],
            left_out=[PreflightLeftOut.of(item) for item in found.left_out],
            seconds=found.seconds,
            run=found.run,
            complete=found.complete,
        )


@router.get(
    "/api/v1/runs/{run_id}/preflight",
    tags=["findings"],
    responses={
        404: {"model": Problem, "description": "no such run"},
        422: {"model": Problem, "description": "a parameter is wrong"},
    },
)
def get_preflight(run: TheRun, parts: Parts, caller: Asking) -> PreflightReport:
    """Gives what preflight found before the training, with curves, thresholds and what was left out; `run` is its own
    run, where that may be seen.
    """
    found = preflighted.of_run(run.id, parts)
    if found and found.run not in ("", run.id) and seen_run(found.run, parts, caller) is None:
        found = replace(found, run="")
    return PreflightReport.of(found)


@router.get("/runs/{run_id}/preflight", include_in_schema=False)
def preflight_page(request: Request, run: TheRun, parts: Parts, caller: Asking, outcome: Outcome = "") -> Response:
    """Shows what preflight found."""
    return render(request, "pages/preflight.html", _view(run, parts, caller, outcome), section="runs")


@router.get("/runs/{run_id}/fragments/preflight", include_in_schema=False)
def preflight_fragment(request: Request, run: TheRun, parts: Parts, caller: Asking, outcome: Outcome = "") -> Response:
    """Gives the checks of the page."""
    return render(request, "partials/_preflight.html", _view(run, parts, caller, outcome))


def _view(run: Run, parts: Parts, caller: Caller, outcome: str) -> preflight.PreflightView:
    found = preflighted.of_run(run.id, parts)
    own = seen_run(found.run, parts, caller) if found and found.run not in ("", run.id) else None
    own_run = own.id if own is not None and own.deleted_ms is None else ""
    findings = parts.store.findings.list(run.id)
    return preflight.preflight_view(run, found, parts.registry, parts.clock(), outcome, own_run, findings)

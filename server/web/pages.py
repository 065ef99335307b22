"""The pages of one run and of the rules. Each route asks the store, makes a context and renders it.

A fragment is the part of a page that changes: the page includes the same template, so a thing becomes HTML once.
Not for: the table of runs (runs_pages).
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response

from server import paths
from server.domain import inspection
from server.domain.runs import Run
from server.web import chart_data, preflighted
from server.web.contexts import charts, checklist, findings, rules
from server.web.contexts import run as run_contexts
from server.web.contexts.errors import error_view
from server.web.contexts.facts import has_frozen
from server.web.contexts.gradients import gradient_words
from server.web.contexts.look import Look
from server.web.contexts.notes import notes_view
from server.web.contexts.sign_in import SignInView
from server.web.endings import ending_of
from server.web.evidence import pictures
from server.web.looking import look_of
from server.web.lookup import existing_run
from server.web.services import Parts, Services, services_of
from server.web.templating import render

EVENTS = 500

router = APIRouter(include_in_schema=False)
TheRun = Annotated[Run, Depends(existing_run)]


TheLook = Annotated[Look, Depends(look_of)]
Outcome = Annotated[str, Query(pattern="^(passed|found|not-evaluated)?$")]
Stat = Annotated[str, Query(pattern="^(" + "|".join(charts.STATS) + ")?$")]


@router.get("/runs/{run_id}")
def run_page(request: Request, run: TheRun, parts: Parts, look: TheLook, stat: Stat = "") -> Response:
    """Shows one run."""
    view = run_contexts.run_view(
        run,
        _findings(run, parts),
        _checklist(run, parts),
        _charts(run, parts, look, stat),
        _details(run, parts),
        notes_view(run, parts.store.notes.get(run.id), parts.clock()),
        parts.clock(),
        ending_of(run, parts),
    )
    return render(request, "pages/run.html", view, section="runs")


@router.get("/runs/{run_id}/checklist")
def checklist_page(request: Request, run: TheRun, parts: Parts, outcome: Outcome = "") -> Response:
    """Shows every check of one run."""
    return render(request, "pages/checklist.html", _checklist(run, parts, outcome), section="runs")


@router.get("/runs/{run_id}/fragments/head")
def head_fragment(request: Request, run: TheRun, parts: Parts) -> Response:
    """Gives the head of the run page."""
    shown = findings.findings_view(run, parts.store.findings.list(run.id), parts.registry)
    view = run_contexts.head_view(run, shown, _checklist(run, parts), parts.clock(), ending_of(run, parts))
    return render(request, "partials/_run_head.html", view)


@router.get("/runs/{run_id}/fragments/findings")
def findings_fragment(request: Request, run: TheRun, parts: Parts) -> Response:
    """Gives the findings of the run page."""
    return render(request, "partials/_findings.html", _findings(run, parts))


@router.get("/runs/{run_id}/fragments/charts")
def charts_fragment(request: Request, run: TheRun, parts: Parts, look: TheLook, stat: Stat = "") -> Response:
    """Gives the places of the charts; what is drawn in them stays."""
    return render(request, "partials/_charts.html", _charts(run, parts, look, stat))


@router.get("/runs/{run_id}/fragments/details")
def details_fragment(request: Request, run: TheRun, parts: Parts) -> Response:
    """Gives model, facts, log and delivery of the run page."""
    return render(request, "partials/_details.html", _details(run, parts))


@router.get("/runs/{run_id}/fragments/checklist")
def checklist_fragment(request: Request, run: TheRun, parts: Parts, outcome: Outcome = "") -> Response:
    """Gives the checklist's chapters."""
    return render(request, "partials/_checklist.html", _checklist(run, parts, outcome))


@router.get("/rules")
def rules_page(request: Request, parts: Parts, find: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Shows the catalogue of rules."""
    return render(
        request, "pages/rules.html", rules.rules_view(parts.registry, find, dict(parts.rooms.off)), section="rules"
    )


@router.get("/rules/{code}")
def rule_page(request: Request, code: str, parts: Parts) -> Response:
    """Shows one rule, by its code or its name."""
    rule = parts.registry.get(code)
    if rule is None:
        raise HTTPException(404, f"No rule is called {code[:100]!r} here")
    return render(request, "pages/rule.html", rules.rule_view(rule, parts.registry), section="rules")


@router.get("/favicon.ico")
def favicon() -> Response:
    """Gives the icon to those who ask for it under its oldest address."""
    return FileResponse(paths.STATIC / "favicon.svg", media_type="image/svg+xml")


def sign_in_page(request: Request, target: str, message: str, status: int, name: str) -> Response:
    """Draws the sign-in form."""
    parts = services_of(request)
    settings, provider = parts.settings, parts.settings.provider
    view = SignInView(
        target,
        message,
        name,
        people=settings.passwords and parts.accounts.anybody(),
        token=settings.token is not None,
        provider=provider.host if provider else "",
        provider_url=f"/sign-in/oidc?next={quote(target, safe='')}" if provider else "",
        signed_out=provider is not None and not message and "out" in request.query_params,
    )
    return render(request, "pages/sign_in.html", view, section="sign-in", status=status)


def error_page(request: Request, status: int, message: str) -> Response:
    """Draws an error for a person: as a page, or as a fragment where a part of a page was asked for."""
    template = "partials/_error.html" if request.headers.get("hx-request") else "pages/error.html"
    return render(request, template, error_view(status, message), status=status)


def _charts(run: Run, parts: Services, look: Look, stat: str) -> charts.ChartsView:
    infos = parts.store.series.names(run.id, rank=int(look.rank or 0))
    chosen = stat or charts.best_stat([info.name for info in infos])
    gradients = gradient_words(parts.store.records.facts(run.id).get("gradient_meaning"))
    ranks = chart_data.ranks(run, parts)
    return charts.charts_view(
        run.id, infos, chosen, look, ranks=ranks, gradients=gradients, only_preflight=run.only_preflight
    )


def _findings(run: Run, parts: Services) -> findings.FindingsView:
    found = parts.store.findings.list(run.id)
    return findings.findings_view(run, found, parts.registry, pictures(parts, run.id, found))


def _details(run: Run, parts: Services) -> run_contexts.DetailsView:
    told = parts.store.records.facts(run.id)
    return run_contexts.details_view(
        run,
        told,
        parts.store.runs.attempts(run.id),
        parts.store.records.events(run.id, but=inspection.EVENT, limit=EVENTS),
        [info.name for info in parts.store.series.names(run.id)] if has_frozen(told) else (),
    )


def _checklist(run: Run, parts: Services, outcome: str = "") -> checklist.ChecklistView:
    checks, found = parts.store.findings.checks(run.id), parts.store.findings.list(run.id)
    before = preflighted.without_curves(run.id, parts)
    return checklist.checklist_view(run, checks, found, parts.registry, parts.clock(), outcome, before)

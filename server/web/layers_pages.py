"""The layers of a run: the page with the module tree and the heatmap, and the drawer of one layer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from server.domain.runs import Run
from server.web import chart_data
from server.web.contexts import charts, layers
from server.web.contexts.look import Look
from server.web.looking import look_of
from server.web.lookup import existing_run
from server.web.services import Parts
from server.web.templating import render

router = APIRouter(include_in_schema=False)
TheRun = Annotated[Run, Depends(existing_run)]
Stat = Annotated[str, Query(pattern="^(" + "|".join(charts.STATS) + ")?$")]
Path = Annotated[str, Query(max_length=500)]


@router.get("/runs/{run_id}/layers")
def layers_page(
    request: Request,
    run: TheRun,
    parts: Parts,
    look: Annotated[Look, Depends(look_of)],
    stat: Stat = "",
    layer: Path = "",
    unfolded: Annotated[list[Path] | None, Query(alias="open", max_length=2_000)] = None,
) -> Response:
    """Shows the layers of a run."""
    names = [info.name for info in parts.store.series.names(run.id)]
    plain = look.x == "step" and not (
        look.smooth or look.scale or look.rank or {"from", "to"} & request.query_params.keys()
    )
    asked = layers.Asked(stat or charts.best_stat(names), layer, tuple(unfolded or ()), look, plain)
    view = layers.layers_view(
        run,
        names,
        chart_data.layers(run, parts),
        parts.store.findings.list(run.id),
        parts.store.records.facts(run.id),
        parts.registry,
        asked,
        parts.clock(),
        chart_data.ranks(run, parts),
    )
    return render(request, "pages/layers.html", view, section="runs")


@router.get("/runs/{run_id}/fragments/layer")
def layer_fragment(request: Request, run: TheRun, parts: Parts, layer: Path = "") -> Response:
    """Gives the drawer of one layer."""
    names = [info.name for info in parts.store.series.names(run.id)]
    found = parts.store.findings.list(run.id)
    view = layers.drawer_view(run, names, found, parts.store.records.facts(run.id), parts.registry, layer)
    return render(request, "partials/_drawer.html", view)

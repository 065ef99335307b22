"""The panel "the last steps before it broke" of the run page, as a fragment of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from server.domain.runs import Run
from server.web.contexts import flight
from server.web.lookup import existing_run
from server.web.services import Parts, Services
from server.web.templating import render

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run_id}/fragments/flight")
def flight_fragment(request: Request, run: Annotated[Run, Depends(existing_run)], parts: Parts) -> Response:
    """Gives the panel; nothing where nothing broke."""
    return render(request, "partials/_flight.html", view_of(run, parts))


def view_of(run: Run, parts: Services) -> flight.FlightView | None:
    """Reads what the panel shows: a few hundred steps before the break."""
    facts = parts.store.records.facts(run.id)
    step = flight.wanted(run, facts)
    if step is None:
        return None
    names = flight.names_of(info.name for info in parts.store.series.names(run.id))
    read = parts.store.series.read(run.id, names, start=step - flight.LOOK_BACK, stop=step + flight.LOOK_BACK // 4)
    return flight.flight_view(run, facts, step, read, flight.layer_order(facts))

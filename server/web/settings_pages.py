"""The settings of a project: the page, and the forms that change thresholds and mutes and try a replay.

Plain forms, so that the page works without scripts; every change goes through the same checks as the API's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from server.accounts.powers import Caller
from server.diagnosis.mutes import Silence, WrongMute, checked_mute
from server.diagnosis.replays import DEFAULT_RUNS, MOST_RUNS, CannotReplay
from server.diagnosis.thresholds import WrongThreshold, checked
from server.domain.accounts import Sight
from server.ingest.values import clean
from server.rules.registry import RuleInfo
from server.web.caller import Asking, signed
from server.web.contexts import replays, settings
from server.web.lookup import MuteId, seen_run
from server.web.services import Parts, Services
from server.web.templating import render

MAX_FORM_BYTES = 16 * 1024
MOST_FIELDS = 100
LONGEST_WORDS = 500
LONGEST_NAME = 200
RUNS_OFFERED = 50
DEFAULT_PROJECT = "default"
DAY_MS = 86_400_000
MOST_DAYS = 3650.0

router = APIRouter(include_in_schema=False)


async def form_of(request: Request) -> dict[str, str]:
    """Reads the fields of a form, each as one line without the spaces around it."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(422, f"The form has more than {MOST_FIELDS} fields") from None
    return {name: clean(value) for name, value in pairs}


Form = Annotated[dict[str, str], Depends(form_of)]
Name = Annotated[str, Query(max_length=LONGEST_NAME)]


@router.get("/settings")
def settings_page(
    request: Request, parts: Parts, caller: Asking, project: Name = "", rule: Name = "", run: Name = ""
) -> Response:
    """Shows the settings of a project."""
    return _page(request, parts, caller, _project(parts, caller.sight(), project), rule, run=run)


@router.post("/settings/thresholds", max_body_size=MAX_FORM_BYTES)
def change_thresholds(request: Request, parts: Parts, form: Form, caller: Asking) -> Response:
    """Sets the thresholds of one rule that were changed, gives its own back, or replays runs with them."""
    project, rule = form.get("project", ""), parts.registry.get(form.get("rule", ""))
    try:
        if rule is None:
            raise WrongThreshold(f"No rule is called {form.get('rule', '')[:100]!r}")
        _check_words(form, project)
        wanted = _wanted(parts, project, rule, form)
        if form.get("do") == "replay":
            return _replayed(request, parts, caller, project, rule, form, wanted)
        if form.get("do") == "replay-project":
            changed = _changed(parts, caller.sight(), project, rule, wanted)
            begun = parts.replays.start(project, {rule.code: changed}, _runs(form), sight=caller.sight())
            return RedirectResponse(replays.address(begun.id), 303)
        _save(parts, caller.sight(), project, rule, {**form, "who": signed(caller, form.get("who", ""))}, wanted)
    except (WrongThreshold, CannotReplay) as error:
        return _page(request, parts, caller, project, form.get("rule", ""), problem=str(error), draft=form, status=422)
    return RedirectResponse(settings.address(project, rule.code), 303)


@router.post("/settings/mutes", max_body_size=MAX_FORM_BYTES)
def add_mute(request: Request, parts: Parts, form: Form, caller: Asking) -> Response:
    """Silences findings from now on."""
    project = form.get("project", "")
    try:
        _check_words(form, project)
        days = _days(form)
        asked = {name: form.get(name, "") for name in ("project", "run", "code", "layers", "reason")}
        silence = checked_mute(parts.store, parts.registry, Silence(**asked))
    except (WrongThreshold, WrongMute) as error:
        return _page(request, parts, caller, project, "", problem=str(error), draft=form, status=422)
    now = parts.clock()
    expires = None if days is None else now + int(days * DAY_MS)
    who = signed(caller, form.get("who", ""))
    parts.store.wishes.add_mute(**vars(silence), who=who, now_ms=now, expires_ms=expires)
    _tell(parts, silence.run)
    return RedirectResponse(f"{settings.address(project)}#mutes", 303)


@router.post("/settings/mutes/{mute_id}/end", max_body_size=MAX_FORM_BYTES)
def end_mute(parts: Parts, mute_id: MuteId, form: Form) -> Response:
    """Ends a mute now; it stays in the list of those that are over."""
    ended = parts.store.wishes.end_mute(mute_id, parts.clock())
    _tell(parts, ended.run if ended else "")
    project = ended.project if ended else form.get("project", "")
    return RedirectResponse(f"{settings.address(project)}#mutes", 303)


def _page(
    request: Request,
    parts: Services,
    caller: Caller,
    project: str,
    rule: str,
    *,
    run: str = "",
    replayed: replays.ReplayView | None = None,
    problem: str = "",
    draft: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    wishes, sight = parts.store.wishes, caller.sight()
    known = parts.store.runs.projects(sight=sight)
    material = settings.Material(
        project=project,
        projects=list(dict.fromkeys([*known, project])),
        thresholds=wishes.thresholds(project, sight=sight),
        history=wishes.threshold_history(project, sight=sight),
        mutes=wishes.mutes(project, sight=sight),
        runs=parts.store.runs.page(project=project, limit=RUNS_OFFERED, sight=sight).items,
        muted=wishes.muted_by_hand(project, settings.MOST_MUTED + 1, sight=sight),
        replays=parts.replays.known(project, sight=sight),
    )
    view = settings.settings_view(
        material, parts.registry, parts.registry.get(rule), parts.clock(), run=run, replayed=replayed, problem=problem,
        draft=draft,
    )  # fmt: skip
    return render(request, "pages/settings.html", view, section="settings", status=status)


def _replayed(
    request: Request,
    parts: Services,
    caller: Caller,
    project: str,
    rule: RuleInfo,
    form: Mapping[str, str],
    wanted: dict[str, float],
) -> Response:
    run = seen_run(form.get("run", ""), parts, caller)
    if run is None:
        raise WrongThreshold("Choose a run to replay: its id is not known here")
    shown = replays.replay_view(
        run, rule, _changed(parts, caller.sight(), project, rule, wanted), parts.replays.one(run, {rule.code: wanted})
    )
    return _page(request, parts, caller, project, rule.code, run=run.id, replayed=shown, draft=form)


def _save(
    parts: Services,
    sight: Sight,
    project: str,
    rule: RuleInfo,
    form: Mapping[str, str],
    wanted: Mapping[str, float],
) -> None:
    changes: dict[str, float | None] = {**_changed(parts, sight, project, rule, wanted)}
    if form.get("do") == "reset":
        changes = dict.fromkeys(parts.store.wishes.thresholds(project, sight=sight).get(rule.code, {}))
    for name, value in changes.items():
        parts.store.wishes.set_threshold(
            project,
            rule.code,
            name,
            value,
            who=form.get("who", ""),
            reason=form.get("reason", ""),
            now_ms=parts.clock(),
        )


def _changed(
    parts: Services, sight: Sight, project: str, rule: RuleInfo, wanted: Mapping[str, float]
) -> dict[str, float]:
    """Gives the thresholds that are others than those which hold in the project."""
    own = parts.store.wishes.thresholds(project, sight=sight).get(rule.code, {})
    now = {item.name: own.get(item.name, item.default) for item in rule.params}
    return {name: value for name, value in wanted.items() if value != now[name]}


def _wanted(parts: Services, project: str, rule: RuleInfo, form: Mapping[str, str]) -> dict[str, float]:
    """Reads the thresholds of a form; raises WrongThreshold for what is no number or out of range."""
    if not project:
        raise WrongThreshold("Choose a project: its name is empty")
    found: dict[str, float] = {}
    for field, text in form.items():
        if not field.startswith(settings.THRESHOLD):
            continue
        name = field.removeprefix(settings.THRESHOLD)
        value = _number(text, f"{rule.code} {name}")
        checked(parts.registry, rule.code, name, value)
        found[name] = value
    return found


def _number(text: str, what: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise WrongThreshold(f"{what}: got {text[:50]!r}, expected a number") from None
    if not math.isfinite(value):
        raise WrongThreshold(f"{what}: got {text[:50]!r}, expected a finite number")
    return value


def _runs(form: Mapping[str, str]) -> int:
    text = form.get("runs", str(DEFAULT_RUNS))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise CannotReplay(f"Runs: got {text[:50]!r}, expected a whole number, 1 to {MOST_RUNS}")
    return int(text)


def _days(form: Mapping[str, str]) -> float | None:
    if not form.get("days"):
        return None
    days = _number(form["days"], "Days")
    if not 0 < days <= MOST_DAYS:
        raise WrongThreshold(f"Days: got {days:g}, expected more than 0 and at most {MOST_DAYS:g}")
    return days


def _check_words(form: Mapping[str, str], project: str) -> None:
    if not project or len(project) > LONGEST_NAME:
        raise WrongThreshold(f"Choose a project: got a name of {len(project)} characters, 1 to {LONGEST_NAME} fit")
    for name in ("who", "reason", "layers", "run"):
        if len(form.get(name, "")) > LONGEST_WORDS:
            raise WrongThreshold(f"The field {name} has {len(form[name])} characters; at most {LONGEST_WORDS} fit")


def _project(parts: Services, sight: Sight, asked: str) -> str:
    known = parts.store.runs.projects(sight=sight)
    return asked or (known[0] if known else DEFAULT_PROJECT)


def _tell(parts: Services, run: str) -> None:
    if run:
        parts.live.publish(run, "findings", -1)

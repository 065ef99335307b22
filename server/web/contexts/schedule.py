"""The planner of learning-rate schedules: a form, the curve that comes of it, and the lines to paste."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from server.charts.checked import Checked, draw
from server.domain.runs import Run
from server.domain.schedules import ABOUT, KINDS, USES_DECAY, USES_EVERY, USES_FLOOR, Plan, code, spread
from server.downsample import Cut
from server.web import formats
from server.web.contexts.findings import Pair
from server.web.contexts.look import Choice

POINTS = 400


@dataclass(frozen=True)
class Field:
    """A number of the form."""

    name: str
    label: str
    value: str
    hint: str
    used: bool


@dataclass(frozen=True)
class ScheduleView:
    """The page."""

    kinds: tuple[Choice, ...]
    fields: tuple[Field, ...]
    about: str
    picture: Checked | None
    numbers: tuple[Pair, ...]
    remarks: tuple[str, ...]
    code: str
    run_id: str
    run_name: str
    its: str
    run_url: str


def schedule_view(plan: Plan, run: Run | None = None, past: Cut | None = None, its: str = "") -> ScheduleView:
    """Makes the page; `its` names what of the plan is that of `run`, `past` are the rates it had."""
    return ScheduleView(
        kinds=tuple(Choice(kind, word, kind == plan.kind) for kind, word in KINDS.items()),
        fields=_fields(plan),
        about=ABOUT[plan.kind],
        picture=draw("Learning rate", _curve(plan, past)),
        numbers=_numbers(plan),
        remarks=tuple(_remarks(plan)),
        code=code(plan),
        run_id=run.id if run else "",
        run_name=(run.name or run.id) if run else "",
        its=its,
        run_url=f"/runs/{quote(run.id, safe='')}" if run else "",
    )


def _fields(plan: Plan) -> tuple[Field, ...]:
    return (
        Field("peak", "Peak", f"{plan.peak:g}", "the highest learning rate", True),
        Field("steps", "Steps", str(plan.steps), "optimizer steps of the whole training", True),
        Field("warmup", "Warm-up", str(plan.warmup), "steps until the peak", True),
        Field("floor", "Floor", f"{plan.floor:g}", "rate at the end, as a share of the peak", plan.kind in USES_FLOOR),
        Field("decay", "Decay", f"{plan.decay:g}", "share of the steps in which it falls", plan.kind in USES_DECAY),
        Field("every", "Every", str(plan.every), "steps between two falls", plan.kind in USES_EVERY),
        Field("factor", "Factor", f"{plan.factor:g}", "of each fall", plan.kind in USES_EVERY),
    )


def _curve(plan: Plan, past: Cut | None) -> dict[str, object]:
    places = sorted({*spread(plan.steps, POINTS), min(plan.warmup, plan.steps - 1)})
    marks = (
        [{"x": plan.warmup, "label": f"peak at step {formats.count(plan.warmup)}"}]
        if 0 < plan.warmup < plan.steps
        else []
    )
    rates = [plan.rate(step) for step in places]
    curve: dict[str, object] = {"x": places, "y": rates, "x_label": "step", "marks": marks}
    if past is not None:
        last = formats.count(int(past.buckets.last_steps[-1]))
        curve["past"] = {**_lived(past), "label": f"the run's own rate, {past.name}, until step {last}"}
    return curve


def _lived(past: Cut) -> dict[str, list[float]]:
    """Gives the rates of a run as a curve: the first and the last of each bucket, so that what fell at once does."""
    held = past.buckets
    steps = [float(step) for pair in zip(held.steps, held.last_steps, strict=True) for step in pair]
    rates = [float(rate) for pair in zip(held.first, held.last, strict=True) for rate in pair]
    return {"x": steps, "y": rates}


def _numbers(plan: Plan) -> tuple[Pair, ...]:
    return (
        Pair("first step", formats.number(plan.rate(0))),
        Pair("halfway", formats.number(plan.rate(plan.steps // 2))),
        Pair("last step", formats.number(plan.rate(plan.steps - 1))),
        Pair("mean", f"{formats.number(plan.mean())} ({formats.percent(plan.mean() / plan.peak)} of the peak)"),
    )


def _remarks(plan: Plan) -> list[str]:
    """Says what of a plan is rarely meant."""
    found = []
    if plan.warmup >= plan.steps:
        found.append("The warm-up is as long as the training: the rate never reaches its peak.")
    elif plan.warmup > 0.3 * plan.steps and plan.kind != "one-cycle":
        share = formats.percent(plan.warmup / plan.steps)
        found.append(f"The warm-up takes {share} of the steps; usual are 1 to 10 %, of short trainings up to 20 %.")
    if plan.kind == "step" and plan.warmup + plan.every >= plan.steps:
        found.append("The rate never falls: the first fall would come behind the last step.")
    if plan.kind == "step" and plan.factor ** (plan.rest // plan.every) < 1e-6:
        found.append("The rate falls to less than a millionth of its peak: the last steps change nothing.")
    return found

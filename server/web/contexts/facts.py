"""What is known of a run beside its numbers: model table, settings, events, delivery and overhead.

Facts come from trainings and may hold anything, so every reader here accepts anything.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.domain.kinds import Kind, parse
from server.domain.runs import Attempt, Event, Run
from server.web import formats
from server.web.contexts.findings import Pair
from server.web.contexts.gradients import gradient_pairs

MAX_LAYERS = 5_000
MAX_CONFIG = 500
LONGEST_TRACEBACK = 20_000
ELSEWHERE = "preflight"
UNFROZEN = "not at first"
LOSS_CALL = "Loss call"
LOSS_FIRST = ("function", "arguments")
_SIDES = {"input": "outputs", "target": "targets"}  # what a loss calls its input is what the model gave
_SIZES = {"parameters": "tensors", "numel": "values"}


@dataclass(frozen=True)
class Layer:
    """One row of the model table."""

    name: str
    type: str
    shape: str
    parameters: str
    trainable: str


@dataclass(frozen=True)
class ModelView:
    """The model table, and what is special about the model."""

    layers: tuple[Layer, ...]
    summary: str
    notes: tuple[str, ...]
    left_out: str


@dataclass(frozen=True)
class Group:
    """A titled list of facts, with a remark under it."""

    title: str
    pairs: tuple[Pair, ...]
    note: str = ""


@dataclass(frozen=True)
class Happening:
    """One line of the log: an event, a note or an anomaly; where an exception came from in lines of its own."""

    kind: str
    step: str
    text: str
    traceback: str
    time: str
    iso: str


@dataclass(frozen=True)
class HookView:
    """What the hook says about itself: what it delivered and what it cost."""

    ledger: tuple[Pair, ...]
    overhead: tuple[Pair, ...]
    notes: tuple[str, ...]
    share: str


def has_frozen(facts: Mapping[str, Any]) -> bool:
    """Says whether a layer was not trained when the run began."""
    layers = _list(_mapping(facts.get("model")).get("layers"))
    return any(_is_frozen(_mapping(layer)) for layer in layers)


def model_view(facts: Mapping[str, Any], names: Iterable[str] = ()) -> ModelView | None:
    """Makes the model table; None while the model is not known.

    The hook tells what was trained when the run began; a gradient among the series of these names came later.
    """
    model = _mapping(facts.get("model"))
    layers = _list(model.get("layers"))
    if not layers:
        return None
    total, trainable = model.get("total"), model.get("trainable")
    summary = formats.plural(len(layers), "layer")
    if isinstance(total, int):
        summary += f", {formats.plural(total, 'parameter')}"
        if isinstance(trainable, int) and trainable != total:
            summary += f", {formats.count(trainable)} of them trainable"
    notes = ["compiled: activations of compiled layers are not visible"] if model.get("compiled") else []
    left_out = len(layers) - MAX_LAYERS
    moved = {group.rpartition(".")[0] for kind, group in map(parse, names) if kind is Kind.PARAM_GRAD_NORM}
    return ModelView(
        layers=tuple(_layer(_mapping(layer), moved) for layer in layers[:MAX_LAYERS]),
        summary=summary,
        notes=tuple(notes),
        left_out=f"{formats.plural(left_out, 'more layer')} not shown" if left_out > 0 else "",
    )


def groups(run: Run, facts: Mapping[str, Any], attempts: Sequence[Attempt]) -> tuple[Group, ...]:
    """Lists what the run was started with; groups without a fact are left out."""
    config = _mapping(facts.get("config")) or run.config
    environment = _mapping(facts.get("environment"))
    made = (
        Group("Config", _flat(config)),
        Group("Optimizer", _optimizers(facts.get("optimizers"))),
        Group("Scheduler", _schedulers(facts.get("schedulers"))),
        Group("Gradients", gradient_pairs(facts.get("gradient_meaning"))),
        Group(LOSS_CALL, _loss_call(_mapping(facts.get("loss_call")))),
        Group("Data", _flat(_known(_mapping(facts.get("data"))))),
        Group("Attempts", _attempts(attempts), _began_again(run, attempts, config)),
        Group("Git", _flat(_mapping(environment.get("git")))),
        Group(
            "Environment", _flat({key: value for key, value in environment.items() if key not in ("git", "packages")})
        ),
        Group("Packages", _flat(dict(sorted(_mapping(environment.get("packages")).items())))),
    )
    return tuple(group for group in made if group.pairs)


def happenings(events: Sequence[Event]) -> tuple[Happening, ...]:
    """Lists what happened, the newest first; the results of preflight have a page of their own."""
    return tuple(
        Happening(
            kind=event.kind,
            step="start" if event.step < 0 else formats.count(event.step),
            text=_event_text(event),
            traceback=formats.shortened(str(event.value.get("traceback") or ""), LONGEST_TRACEBACK),
            time=formats.utc(event.time_ms),
            iso=formats.iso(event.time_ms),
        )
        for event in reversed(events)
        if event.kind != ELSEWHERE
    )


def hook_view(facts: Mapping[str, Any]) -> HookView | None:
    """Shows ledger and overhead; None before the hook has said anything of itself."""
    ledger, overhead = _mapping(facts.get("ledger")), _mapping(facts.get("overhead"))
    if not ledger and not overhead:
        return None
    pairs = [
        Pair(key, formats.text(ledger[key])) for key in ("produced", "delivered", "spooled", "queued") if key in ledger
    ]
    dropped = _mapping(ledger.get("dropped"))
    pairs += [Pair(f"dropped: {reason}", formats.text(amount)) for reason, amount in dropped.items()]
    if ledger and not dropped:
        pairs.append(Pair("dropped", "0"))
    share = overhead.get("share")
    return HookView(
        ledger=tuple(pairs),
        overhead=_overhead(overhead),
        notes=tuple(formats.text(note) for note in _list(ledger.get("notes"))),
        share=formats.percent(float(share)) if isinstance(share, int | float) else "",
    )


def _overhead(overhead: Mapping[str, Any]) -> tuple[Pair, ...]:
    known = (
        ("share", "share of the step time", formats.percent),
        ("first_20_s", "first 20 steps, in all", lambda seconds: f"{formats.number(seconds, 3)} s"),
        ("steps_20_100_share", "share in steps 20 to 100", formats.percent),
        ("after_100_s", "after step 100, in all", lambda seconds: f"{formats.number(seconds, 3)} s"),
        ("unsampled_us", "a step without layer samples", lambda micros: f"{formats.number(micros, 3)} µs"),
        ("memory_bytes", "most that waited in memory", lambda size: f"{formats.number(size / 1e6, 3)} MB"),
        ("sampled_steps", "steps with layer samples", lambda steps: formats.count(int(steps))),
    )
    return tuple(
        Pair(label, write(overhead[key]))
        for key, label, write in known
        if isinstance(overhead.get(key), int | float) and not isinstance(overhead[key], bool)
    )


def _is_frozen(layer: Mapping[str, Any]) -> bool:
    return bool(layer.get("parameters")) and layer.get("trainable") in (0, False)


def _layer(layer: Mapping[str, Any], moved: Container[str]) -> Layer:
    parameters, trainable = layer.get("parameters"), layer.get("trainable")
    return Layer(
        name=str(layer.get("name") or "(the model itself)"),
        type=formats.text(layer.get("type")),
        shape=_shape(layer.get("output_shape")),
        parameters=formats.count(parameters) if isinstance(parameters, int) else formats.NOTHING,
        trainable=UNFROZEN
        if _is_frozen(layer) and str(layer.get("name")) in moved
        else _trainable(parameters, trainable),
    )


def _trainable(parameters: Any, trainable: Any) -> str:
    """Says whether a layer is trained: a truth, or how many of its parameters are."""
    if not parameters:
        return formats.NOTHING
    if isinstance(trainable, int) and not isinstance(trainable, bool) and isinstance(parameters, int):
        if 0 < trainable < parameters:
            return f"{formats.count(trainable)} of them"
        return "yes" if trainable else "no"
    return formats.text(trainable)


def _shape(shape: Any) -> str:
    if isinstance(shape, list) and all(isinstance(size, int) for size in shape):
        return " × ".join(str(size) for size in shape) or "scalar"
    return formats.text(shape)


def _optimizers(value: Any) -> tuple[Pair, ...]:
    pairs = []
    for optimizer in map(_mapping, _list(value)):
        kind = formats.text(optimizer.get("type"))
        for group in map(_mapping, _list(optimizer.get("groups"))):
            which = f"{kind}, group {formats.text(group.get('name'))}"
            pairs += [
                Pair(f"{which}: {_SIZES.get(key, key)}", _amount(entry) if key in _SIZES else formats.text(entry))
                for key, entry in group.items()
                if key != "name" and entry is not None
            ]
    return tuple(pairs)


def _amount(value: Any) -> str:
    return formats.count(value) if isinstance(value, int) else formats.text(value)


def _schedulers(value: Any) -> tuple[Pair, ...]:
    return tuple(
        Pair(formats.text(one.get("type")), formats.text(one.get("arguments"))) for one in map(_mapping, _list(value))
    )


def _loss_call(call: Mapping[str, Any]) -> tuple[Pair, ...]:
    return _flat(_known({key: call[key] for key in LOSS_FIRST if key in call} | _by_side(call)))


def _by_side(call: Mapping[str, Any]) -> dict[str, Any]:
    """Names what the loss was given as people do."""
    return {
        _SIDES.get(key, key): _by_side(_mapping(entry)) if key == "validation" and entry else entry
        for key, entry in call.items()
    }


def _attempts(attempts: Sequence[Attempt]) -> tuple[Pair, ...]:
    trainings = [attempt for attempt in attempts if attempt.is_training]
    if len(trainings) < 2:
        return ()
    return tuple(
        Pair(
            f"attempt {attempt.number}",
            f"steps {formats.count(attempt.first_step)} to {formats.count(attempt.last_step)}, "
            f"started {formats.utc(attempt.started_ms)}",
        )
        for attempt in trainings
    )


def _began_again(run: Run, attempts: Sequence[Attempt], config: Mapping[str, Any]) -> str:
    """Says how to go on at a step, where the newest attempt began at 0 and an earlier one had come further."""
    trainings = [attempt for attempt in attempts if attempt.is_training]
    if len(trainings) < 2 or trainings[-1].first_step > 0 or "first_step" in config:
        return ""
    newest, far = trainings[-1], max(trainings[:-1], key=lambda attempt: attempt.last_step)
    if far.last_step <= 0:
        return ""
    call = f'watch(model, optimizer, run_id="{run.id}", config={{"first_step": {far.last_step + 1}}})'
    return (
        f"Attempt {newest.number} began again at step 0, although attempt {far.number} had reached step "
        f"{formats.count(far.last_step)}: its optimizer had counted no steps (plain SGD counts none; Adam does, once "
        f"its state is loaded before `watch`), and nothing else said where it goes on. A training that continues says "
        f"so itself: `{call}`, or the step of its checkpoint."
    )


def _event_text(event: Event) -> str:
    if set(event.value) == {"text"}:
        return formats.text(event.value["text"])
    return formats.text({key: value for key, value in event.value.items() if key != "traceback"})


def _flat(value: Mapping[str, Any], prefix: str = "") -> tuple[Pair, ...]:
    pairs: list[Pair] = []
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry and len(entry) <= MAX_CONFIG:
            pairs += _flat(entry, f"{prefix}{key}.")
        else:
            pairs.append(Pair(formats.shortened(f"{prefix}{key}", 200), formats.text(entry)))
        if len(pairs) > MAX_CONFIG:
            break
    return tuple(pairs[:MAX_CONFIG])


def _known(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leaves out what nobody could tell."""
    return {key: entry for key, entry in value.items() if entry is not None and entry != []}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

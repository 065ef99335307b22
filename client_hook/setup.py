"""Reads what `watch` was called with, and puts the parts of a monitor together.

Not for: what a monitor does afterwards (client_hook.recorder).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook import preflighted
from client_hook.capture import secrets
from client_hook.capture.base import Context, Options
from client_hook.guard import Guard, quietly
from client_hook.identity import Identity
from client_hook.outbox import Outbox
from client_hook.patches import patches
from client_hook.readback import Readback
from client_hook.recorder import Recorder
from client_hook.records import plain, sanitise
from client_hook.settings import Settings
from client_hook.waiting import Waiting

# a config key with one of these names declares it, unless the argument of `watch` does
USUAL_BUDGET = 0.01
_NO = ("", "0", "false", "no", "off", "none")
_DECLARABLE = ("total_steps", "moving_target", "finetune", "first_step")


@dataclass(eq=False, repr=False)
class Request:
    """Holds the arguments of `watch` as they came."""

    model: Any
    optimizer: Any
    settings: Settings
    identity: Identity
    name: Any = None
    config: Any = None
    tags: Any = ()
    options: Mapping[str, Any] | None = None
    on_finding: Callable[[dict[str, Any]], Any] | None = None
    allow_requests: bool = True  # whether the run page may ask for an inspection
    transport: Any = None  # another one than HTTP, for tests
    resumes: bool = False  # the run was named, so its optimizers may have steps behind them


@dataclass(eq=False, repr=False)
class Parts:
    """Holds what a living monitor is made of."""

    context: Context
    recorder: Recorder
    outbox: Outbox


def prepare(request: Request, guard: Guard) -> Parts:
    """Makes the parts, nothing installed or started yet; raises TypeError or ValueError over an argument."""
    models = read_models(request.model)
    optimizers = read_optimizers(request.optimizer)
    options = _options(request, guard)
    if options.first_step is None:
        options.first_step = steps_done(optimizers) if request.resumes else 0
    opening = _opening(request, options, guard)
    outbox = Outbox(request.identity, request.settings, opening, transport=request.transport)
    outbox.guard.first.update(guard.first)
    outbox.guard.counts.update(guard.counts)
    guard.first, guard.counts = outbox.guard.first, outbox.guard.counts  # one list of notes for the ledger
    context = Context(models, optimizers, outbox, request.settings, options, patches, Readback(outbox))
    context.guard = guard
    outbox.look = Waiting(context).look
    if opening["tags"]:
        outbox.record("fact", "tags", -1, opening["tags"])
    for kind, name, value in preflighted.take(models, request.identity.run_id):
        outbox.record(kind, name, -1, value)
    return Parts(context, Recorder(context, guard), outbox)


def read_models(model: Any) -> dict[str, nn.Module]:
    """Names the watched modules; one alone has the name ""."""
    if isinstance(model, nn.Module):
        return {"": model}
    if isinstance(model, Mapping) and model and all(isinstance(item, nn.Module) for item in model.values()):
        return {str(key): item for key, item in model.items()}
    raise TypeError(f"model: got {_describe(model)}, expected an nn.Module or a dict of named modules")


def read_optimizers(optimizer: Any) -> dict[str, Optimizer]:
    """Names the watched optimizers; without names they are counted from 0."""
    if isinstance(optimizer, Mapping):
        named = {str(key): item for key, item in optimizer.items()}
    elif isinstance(optimizer, (list, tuple)):
        named = {str(index): item for index, item in enumerate(optimizer)}
    else:
        named = {"0": optimizer}
    plain = {key: _unwrapped(item) for key, item in named.items()}
    if not plain or not all(isinstance(item, Optimizer) for item in plain.values()):
        raise TypeError(
            f"optimizer: got {_describe(optimizer)}, expected a torch.optim.Optimizer, or a list or dict of them"
        )
    if deaf := next((item for item in plain.values() if not _tells_steps(item)), None):
        raise TypeError(
            f"optimizer: {_describe(deaf)} never called Optimizer.__init__, so nobody can hear its steps; "
            "expected the optimizer inside it"
        )
    return plain


def _unwrapped(optimizer: Any) -> Any:
    """Finds the optimizer inside a wrapper (accelerate's, Lightning's, SAM, Lookahead), whose step() is not the one
    that moves the weights, or tells nobody."""
    for name in ("optimizer", "base_optimizer"):
        inner = getattr(optimizer, name, None)
        if isinstance(inner, Optimizer):
            return inner
    if not (isinstance(optimizer, Optimizer) and _tells_steps(optimizer)):
        inside = getattr(optimizer, "__dict__", {}).values()
        held = [item for item in inside if isinstance(item, Optimizer) and _tells_steps(item)]
        return held[0] if len(held) == 1 else optimizer
    return optimizer


def _tells_steps(optimizer: Optimizer) -> bool:
    return hasattr(optimizer, "_optimizer_step_pre_hooks")


def steps_done(optimizers: Mapping[str, Optimizer]) -> int:
    """Reads how many steps are behind an optimizer that came from a checkpoint, where it counts them (Adam does)."""
    counts = [
        int(count)
        for optimizer in optimizers.values()
        for state in optimizer.state.values()
        if isinstance(state, Mapping) and isinstance(count := state.get("step"), (int, float, Tensor))
    ]
    return max(counts, default=0)


def _describe(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        inside = value.values() if isinstance(value, Mapping) else value
        return f"a {type(value).__name__} of {', '.join(sorted({type(item).__name__ for item in inside})) or 'nothing'}"
    return type(value).__name__


def _options(request: Request, guard: Guard) -> Options:
    """Reads what is to be measured; a wrong number is said, and the usual one taken in its place."""
    given = dict(request.options or {})
    config = _config(request.config, guard)
    for name in _DECLARABLE:
        if given.get(name) is None and config.get(name) is not None:
            given[name] = config[name]
    # a copy in plain types, and without the loss function: either may hold the model
    options = Options(config=plain(secrets.mask(config)), **given)
    if not isinstance(options.budget, (int, float)) or not 0 < options.budget <= 1:
        sentence = f"budget: got {options.budget!r:.50}, expected a share of the training time such as 0.01"
        options.budget = USUAL_BUDGET
        guard.absorb(ValueError(sentence), "watch(budget)")
    total = options.total_steps
    options.total_steps = _whole(total, 1)
    if options.total_steps is None and request.options and request.options.get("total_steps") is not None:
        sentence = f"total_steps: got {total!r:.50}, expected a whole number above 0"
        guard.absorb(ValueError(sentence), "watch(total_steps)")
    options.first_step = _whole(options.first_step, 0)
    for name in ("moving_target", "finetune"):
        if (value := getattr(options, name)) is not None:
            # a config read from a file or a command line may hold texts
            setattr(options, name, value.strip().lower() not in _NO if isinstance(value, str) else bool(value))
    return options


def _whole(value: Any, least: int) -> int | None:
    """Reads a whole number of any type (int, NumPy's, a float without a fraction); None where it is none."""
    if isinstance(value, (bool, str)):
        return None
    whole = quietly(int, value)
    return whole if whole is not None and whole == value and whole >= least else None


def _config(config: Any, guard: Guard) -> dict[str, Any]:
    """Accepts a dict, and what has its values in one (argparse's Namespace, a dataclass)."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return {str(key): value for key, value in config.items()}
    values = getattr(config, "__dict__", None)
    if not isinstance(values, dict):
        guard.absorb(TypeError(f"config: got {type(config).__name__}, expected a dict"), "watch(config)")
        return {}
    return dict(values)


def _tags(tags: Any, guard: Guard) -> tuple[Any, ...]:
    if isinstance(tags, str):
        return (tags,)
    if tags is None or isinstance(tags, (list, tuple, set, frozenset)):
        return tuple(tags or ())
    guard.absorb(TypeError(f"tags: got {type(tags).__name__}, expected a list of words"), "watch(tags)")
    return ()


def _opening(request: Request, options: Options, guard: Guard) -> dict[str, Any]:
    tags = _tags(request.tags, guard)
    return {
        "name": None if request.name is None else str(request.name),
        "tags": [str(tag) for tag in tags[:100]],  # as many as a run may have
        "first_step": options.first_step or 0,
        "config": sanitise("fact", "config", -1, 0, options.config)["value"],
    }

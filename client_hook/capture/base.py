"""Defines what a signal is and what it may touch: every other file in this folder is one subclass of `Signal`.

Not for: deciding when to measure (governor), counting steps (steps) or sending (outbox).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.clock import now_ms
from client_hook.guard import Guard, quietly
from client_hook.plain_rows import Parts, rows_of
from client_hook.steps import StepCounter

if TYPE_CHECKING:
    from client_hook.outbox import Outbox
    from client_hook.readback import Readback
    from client_hook.settings import Settings

MAX_NOTES = 100


@dataclass(eq=False, repr=False)
class Options:
    """Holds what the user declared at `watch`; None means "infer"."""

    config: dict[str, Any] = field(default_factory=dict)
    total_steps: int | None = None
    first_step: int | None = None  # where a resumed training goes on
    moving_target: bool | None = None
    finetune: bool | None = None
    budget: float = 0.01
    scheduler: Any = None
    scaler: Any = None


class Context:
    """Shares one monitor's objects with its signals; models and optimizers are held weakly.

    A signal keeps names, numbers and small tensors of its own between calls, never a module, a parameter or an
    optimizer.
    """

    def __init__(
        self,
        models: dict[str, nn.Module],
        optimizers: dict[str, Optimizer],
        outbox: Outbox,
        settings: Settings,
        options: Options,
        patches: Any,
        readback: Readback,
    ) -> None:
        self._models = {key: weakref.ref(model) for key, model in models.items()}
        self._inside = {key: _inside(key, model) for key, model in models.items() if type(model) in _LISTS}
        modules = (module for model in models.values() for module in model.modules())
        self._sharded = [weakref.ref(module) for module in modules if hasattr(module, "_get_fsdp_state")]
        self._optimizers = {key: weakref.ref(optimizer) for key, optimizer in optimizers.items()}
        self._parameter_names: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._asked: tuple[weakref.ref[Tensor], bool] | None = None  # the newest loss, and whether it reaches a weight
        self._notes: dict[str, None] = {}
        self.on_scaled: Callable[[str, Optimizer], None] | None = None  # a scaler let an optimizer step, or not
        # a step broke: what, at which step, and either the root of a backward or names of gradients, if known
        self.on_break: Callable[..., None] | None = None
        self.on_alarm: Callable[..., object] | None = None  # asks for full detail for a while; may be told the step
        # a norm that clipping computed is not finite; of which step, where a device told it late
        self.on_bad_norm: Callable[..., None] | None = None
        self.on_bad_loss: Callable[[], None] | None = None  # a loss that is no number is learned from
        self.on_wake: Callable[[], bool] | None = None  # ends the plain steps: the open one is heard from here on
        self.loss_alone = False  # every backward seen so far began at results of known loss functions alone
        self.ending: str | None = None  # the state in which the run ends, before `on_finish`
        self.guard = Guard(strict=settings.strict, quiet=settings.quiet)  # the monitor puts its own here
        self.several = len(optimizers) > 1  # then the names of groups start with the optimizer's key
        self.outbox = outbox
        self.settings = settings
        self.options = options
        self.patches = patches  # client_hook.patches.Patches
        self.readback = readback
        self.shared: dict[type, Any] = {}  # what several signals use together
        self.counter = StepCounter((options.first_step or 0) - 1)
        self.sampled = True  # whether the open step is measured in full
        self.batches = 0  # that any loader gave so far
        self.micro_batches = 0  # calls of monitor.step() that belong to the open step so far
        self.epoch: float | None = None  # set by the data signal where it knows it
        self.closed_at = 0.0  # perf_counter() at the call that closed the step; set before `on_close`
        self.spent_s = 0.0  # the hook's own time since the last call of monitor.step(); wrappers and hooks add theirs

    def wake(self) -> bool:
        """Asks that the rest of the open step and some after it are heard; False where that would be too dear, or the
        step is no plain one."""
        return self.on_wake is not None and self.on_wake()

    @property
    def step(self) -> int:
        """Returns the number of the last closed step."""
        return self.counter.closed

    @property
    def open_step(self) -> int:
        """Returns the number of the step that is being computed now."""
        return self.counter.closed + 1

    @property
    def optimizer_steps(self) -> int:
        """Counts the calls of any watched optimizer's step()."""
        return self.counter.optimizer_steps

    @property
    def models(self) -> dict[str, nn.Module]:
        """Returns the watched modules that are still alive; the key is "" when one module was given. In the place of a
        list of modules that is gone stands what was in it."""
        found: dict[str, nn.Module] = {}
        for key, reference in self._models.items():
            if (model := reference()) is not None:
                found[key] = model
            elif key in self._inside:
                found |= {name: item for name, ref in self._inside[key].items() if (item := ref()) is not None}
        return found

    @property
    def listed(self) -> list[nn.Module]:
        """Returns what is in lists of modules, which may have been made for `watch` alone."""
        return [item for inside in self._inside.values() for ref in inside.values() if (item := ref()) is not None]

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """Returns the watched optimizers that are still alive."""
        return {key: optimizer for key, ref in self._optimizers.items() if (optimizer := ref()) is not None}

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Walks all modules once each, under the name that series use."""
        seen: set[int] = set()
        for key, model in self.models.items():
            for name, module in model.named_modules():
                if id(module) not in seen:
                    seen.add(id(module))
                    yield _join(key, plain_name(name)) or "model", module

    def leaves(self) -> Iterator[tuple[str, nn.Module]]:
        """Walks the modules without children; a mere container of parameters is none, and no child either."""
        for name, module in self.modules():
            if not isinstance(module, _HOLDERS) and all(isinstance(item, _HOLDERS) for item in module.children()):
                yield name, module

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Walks all parameters once each (a shared one under its first name)."""
        seen: set[int] = set()
        for key, model in self.models.items():
            for name, parameter in model.named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield _join(key, plain_name(name)), parameter

    def parameter_name(self, parameter: Tensor) -> str | None:
        """Returns the name of a watched model's parameter, None for any other tensor; keeps no reference to it."""
        known = self._parameter_names.get(id(parameter))
        if known is not None and known[0]() is parameter:
            return known[1]
        if known is None and len(self._parameter_names) and not self._grew():
            return None
        self._parameter_names = {id(item): (weakref.ref(item), name) for name, item in self._forms()}
        known = self._parameter_names.get(id(parameter))
        return known[1] if known is not None else None

    def reached_from(self, root: Tensor, leaves: Callable[[Tensor], Iterator[Tensor]]) -> bool:
        """Says whether one of a loss's leaves is a watched model's parameter; each loss is searched once."""
        if self._asked is None or self._asked[0]() is not root:
            found, looked = False, False
            for leaf in leaves(root):
                known = self._parameter_names.get(id(leaf))
                found = known is not None and known[0]() is leaf
                if found or (not looked and self.parameter_name(leaf) is not None):
                    found = True
                    break
                looked = True  # the names are those of this moment now
            self._asked = (weakref.ref(root), found)
        return self._asked[1]

    def _grew(self) -> bool:
        """Says whether the models hold another number of parameters than when their names were taken."""
        return sum(1 for _ in self._forms()) != len(self._parameter_names)

    def _forms(self) -> Iterator[tuple[str, Tensor]]:
        """Walks all parameters; of those that FSDP2 (`fully_shard`) gathers for a while, both forms."""
        names = dict[int, str]()
        for name, item in self.parameters():
            names[id(item)] = name
            yield name, item
        for pair in quietly(_gathered, self._sharded, default=()):
            label = next((names[id(item)] for item in pair if id(item) in names), None)
            if label is not None:
                yield from ((label, item) for item in pair if id(item) not in names)

    def group_prefix(self, key: str) -> str:
        """Returns what stands before a group's name in series: "" with one optimizer, else "<key>."."""
        return f"{key}." if self.several else ""

    def note(self, sentence: str) -> None:
        """Keeps a sentence for the ledger, once: what could not be seen, and why."""
        if len(self._notes) < MAX_NOTES:
            self._notes[sentence] = None

    @property
    def notes(self) -> list[str]:
        """Returns the sentences that were kept."""
        return list(self._notes)

    now_ms = staticmethod(now_ms)


class Signal:
    """Measures one thing. Every method may be left out.

    With `every_step = False` the step methods (`on_backward`, `on_pre_step`, …) are called on sampled steps
    only, and `arm` only when a sampled step begins and when the first unsampled one after it begins. With
    `every_step = True` they are called on each of the first hundred steps, on sampled ones, and now and then.

    All other steps are *plain*. Nothing of a signal is called then but `plain_close` and what the patches call
    `plain_<event>`: together a plain step may take some microseconds, and after a training step every line of Python
    takes ten times as long as in a row, because code and data have left the caches.
    """

    every_step = False
    # nothing of importance is lost where plain steps are not heard, or `plain_…` methods see to it. One signal without
    # this, and no step is plain
    may_rest = False
    # `on_pre_step` wants the gradients that the step uses: where `step` is given a closure, it is called after the
    # first evaluation of that, and not before
    at_gradients = False
    # what hears of a step inside a CUDA graph, of which one sees what was before the replay and what is after it:
    # `on_pre_step` before ("weights") or after it ("gradients"), `on_post_step` after it
    in_replay = ""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.guard = context.guard

    def attach(self) -> None:
        """Begins: called once, inside `watch`."""

    def detach(self) -> None:
        """Leaves nothing behind: no hook, no reference. Called once, also after a failed attach, and unsubscribed."""

    def arm(self, sampled: bool) -> None:
        """Hears that the next step begins, and whether it is measured in full."""

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Runs just before a watched optimizer steps."""

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Runs just after a watched optimizer stepped."""

    def on_backward(self, root: Tensor) -> None:
        """Runs before `torch.autograd.backward`, also while the signal rests; `root` is the tensor it was called on."""

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Hands over what belongs to the step that just closed."""

    def plain_close(self, step: int, parts: Parts) -> None:
        """Adds what belongs to a plain step: (names, exact), values. Not called where `plain_silent` was True."""

    @property
    def plain_silent(self) -> bool:
        """Says, when plain steps begin, that there is nothing to add to them."""
        return False

    def close_plainly(self, step: int, time_ms: int) -> None:
        """Hands over what it adds to a plain step."""
        parts: Parts = []
        self.plain_close(step, parts)
        for row in rows_of(step, time_ms, parts):
            self.context.outbox.row(*row)

    def resume(self, midway: bool) -> None:
        """Hears that plain steps are over; `midway` = a part of the open step was not heard."""

    def on_finish(self) -> None:
        """Hands over what is left, before the outbox closes."""


def held_by(*optimizers: Optimizer) -> list[Any]:
    """Lists the parameters that optimizers hold."""
    return [item for one in optimizers for group in one.param_groups for item in group["params"]]


def overrides(signal: Signal, method: str) -> bool:
    """Says whether a signal has its own version of a method; the others are not called at all."""
    return getattr(type(signal), method, None) is not getattr(Signal, method, None)


def plain_name(name: str) -> str:
    """Removes what wrappers add to a module's or parameter's name (torch.compile, DataParallel, checkpointing)."""
    if "_" not in name and "module" not in name:
        return name
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


_HOLDERS = (nn.ParameterDict, nn.ParameterList)
_LISTS = (nn.ModuleDict, nn.ModuleList)
_WRAPPERS = frozenset(
    {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_functional", "_torch_params"}  # Keras's last
)


def _gathered(sharded: list[weakref.ref[nn.Module]]) -> list[tuple[Tensor, Tensor]]:
    """Lists what FSDP2 shards, and what it puts in its place, which is there from the first forward on."""
    states = [module._get_fsdp_state() for ref in sharded if (module := ref()) is not None]  # type: ignore[operator]
    groups = [item for one in states for item in getattr(one, "_fsdp_param_groups", None) or [one._fsdp_param_group]]
    held = [item for group in groups if group for item in group.fsdp_params if hasattr(item, "_unsharded_param")]
    return [(item.sharded_param, item._unsharded_param) for item in held]


def _inside(key: str, modules: nn.Module) -> dict[str, weakref.ref[nn.Module]]:
    """Names what is in a list of modules as it is named there."""
    return {_join(key, name): weakref.ref(item) for name, item in modules.named_children()}


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name else key or name

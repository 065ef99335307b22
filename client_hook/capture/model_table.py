"""Describes what is trained: the facts `model` and `optimizers`.

Not for: how the parameters change (updates) or what reaches the loss (graph).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.forward_hooks import is_compiled
from client_hook.capture.forward_trace import trace_of
from client_hook.capture.initial_values import InitialValues
from client_hook.capture.later import Later
from client_hook.capture.learning_rate import group_names
from client_hook.capture.movement import some_of
from client_hook.guard import quietly

CHECK_AGAIN_AFTER = 10  # optimizer steps
STILL_FOR = 10  # steps that a parameter stays the same
LOOK_AFTER = 100  # steps without a measured one
MAX_TABLES = 20  # sent because other parameters learn than before
_ARGUMENTS = (
    "p", "momentum", "eps", "affine", "track_running_stats", "in_features", "out_features", "in_channels",
    "out_channels",
    "kernel_size", "stride", "padding", "groups", "num_embeddings", "embedding_dim", "padding_idx", "num_features",
    "normalized_shape", "num_groups", "negative_slope", "dim", "hidden_size", "num_layers", "inplace", "bidirectional",
    "batch_first", "dropout",
)  # fmt: skip
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class ModelTableSignal(Signal):
    """Sends the table at `watch`, again when the first forward has shown the order of the layers, after ten optimizer
    steps, and when parameters began to require gradients that nobody updates."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._trace = trace_of(context)
        self._initial = InitialValues()
        self._calls: dict[str, dict[str, Any]] = {}
        self._steps = 0
        self._rechecked = False
        self._sent_optimizers: Any = None
        self._sent_order = False
        self._versions: dict[str, tuple[int, int]] = {}  # of what learns in no optimizer: version, step at first sight
        self._loose: set[str] = set()  # such parameters when the table was sent last
        self._late: set[str] = set()  # those of them that were none at the start, and were told
        self._late_since: int | None = None
        self._looked_at = -1
        self._tables = 0  # that were sent for their sake
        # what no optimizer holds, before the first backward: who wrote to it, and some values
        self._before: dict[str, tuple[int, Tensor | None]] | None = None
        self._moved: set[str] | None = None  # those of them that moved all the same
        self._later = Later()

    def attach(self) -> None:
        """Reads the parameters once; on a device all of them in one reading."""
        self._initial.read(self.context.parameters())
        self._trace.enter(self)
        self._send_model(-1)
        if not self._loose:
            self._moved = set()
        self._send_optimizers(-1)

    def on_backward(self, root: Tensor) -> None:
        """Looks at the weights that no watched optimizer holds, which one that nobody watches may move, or the loop."""
        if self._before is None:
            self._before = {
                name: (item._version, some_of(item))
                for name, item in (self.context.parameters() if self._loose else ())
                if name in self._loose and not item.is_inference()
            }

    def detach(self) -> None:
        """Forgets everything."""
        self._later.clear()
        self._trace.leave(self)

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends again what became known."""
        self._steps += 1
        if self._trace.active:
            self._take_order()
            self._trace.close(step)
        if not self._rechecked and self.context.optimizer_steps >= CHECK_AGAIN_AFTER:
            self._rechecked = True
            if self._initial.check_again(dict(self.context.parameters()), self.context.optimizer_steps):
                self._send_model(step)
        if self._steps in (1, 10) or (sampled and self._steps > 10):
            self._look_for_moved()
            self._send_optimizers(step)
            self._look_for_late(step)
        elif self._suspects() or step >= self._looked_at + LOOK_AFTER:  # a second look, or few steps are measured
            self._look_for_late(step)

    def on_finish(self) -> None:
        """Looks once more where a look found something."""
        self._later.poll(wait=True)
        if self._loose:
            self._send_optimizers(self.context.step)
        if self._suspects() or self._late:
            self._look_for_late(self.context.step)

    def _look_for_moved(self) -> None:
        """Finds what moves although no watched optimizer holds it; what lies on a device is told later."""
        self._later.poll()
        if self._steps not in (1, 10):
            return
        now = dict(self.context.parameters())
        still = {
            name: was for name, was in (self._before or {}).items() if name in now and name not in (self._moved or ())
        }
        moved = {name for name, (version, _) in still.items() if now[name]._version != version}
        different = {
            name: fresh.ne(values).any()
            for name, (_, values) in still.items()
            if values is not None and name not in moved and (fresh := some_of(now[name])) is not None
        }

        def tell(came: list[Tensor]) -> None:
            values = {name for name, one in zip(different, came, strict=True) if one}
            self._moved = moved.union(self._moved or (), values)

        self._later.put(list(different.values()), tell)
        self._later.poll()

    def _suspects(self) -> set[str]:
        """Names parameters that one look found: they learn since the table was sent, in no optimizer."""
        return self._versions.keys() - self._loose - self._late

    def _look_for_late(self, step: int) -> None:
        """Finds parameters that get gradients since the table was sent, in no optimizer, and that nobody changed for a
        while: one that a stranger updates, or that is switched on for a moment, is left in peace."""
        held = self._groups_of_parameters()
        before, self._versions, self._looked_at = self._versions, {}, step
        for name, item in self.context.parameters():
            if item.requires_grad and id(item) not in held and not item.is_inference():
                if name not in self._loose and item.grad is None:
                    continue  # the loss does not reach it: a copy of the model, say
                version, since = before.get(name, (-1, step))
                self._versions[name] = (item._version, since if version == item._version else step)
        new = {name for name in self._suspects() if step - self._versions[name][1] >= STILL_FOR}
        gone = not (self._late | self._loose) <= self._versions.keys()
        if self._steps > 1 and self._tables < MAX_TABLES and (new or gone):
            self._tables += 1
            self._late = (self._late & self._versions.keys()) | new
            self._late_since = min((self._versions[name][1] for name in self._late), default=None)
            self._send_model(step)

    def _take_order(self) -> None:
        calls = self._trace.calls
        if self._sent_order or not calls:
            return
        self._sent_order = True
        for call in calls:
            known = self._calls.get(call.layer)
            if known is None:
                self._calls[call.layer] = {"order": len(self._calls), "output_shape": call.shape, "calls": 1}
            else:
                known["calls"] += 1
        self._initial.read(self.context.parameters())  # lazy ones have values now
        self._send_model(self.context.step)

    # -- the facts ---------------------------------------------------------------------------------------------------

    def _send_model(self, step: int) -> None:
        groups = self._groups_of_parameters()
        parameters = []
        self._loose = {
            name for name, item in self.context.parameters() if item.requires_grad and id(item) not in groups
        } - self._late
        owners = self._owners()
        for name, parameter in self.context.parameters():
            layer, kind = owners.get(id(parameter), (name.rpartition(".")[0] or "model", None))
            parameters.append(
                {
                    "name": name,
                    "layer": layer,
                    "layer_type": kind,
                    "shape": quietly(_shape, parameter),
                    "numel": quietly(parameter.numel, default=0),
                    "dtype": str(parameter.dtype).removeprefix("torch."),
                    "device": str(parameter.device),
                    "trainable": parameter.requires_grad,
                    "fan_in": quietly(_fan_in, parameter),
                    "groups": groups.get(id(parameter), []),
                    **self._initial.of(name),
                }
            )
        fact = {
            "layers": self._layers(),
            "parameters": parameters,
            "total": sum(item["numel"] for item in parameters),
            "trainable": sum(item["numel"] for item in parameters if item["trainable"]),
            "normalised": any(isinstance(module, _NORMS) for _, module in self.context.modules()),
            "compiled": is_compiled(self.context.models.values()),
            "tied": self._tied(),
            "time_first": [name for name, item in self.context.modules() if getattr(item, "batch_first", 0) is False],
            "checked_after": self._initial.checked_after,
            "late_since": self._late_since,
        }
        self.context.outbox.record("fact", "model", step, fact)

    def _layers(self) -> list[dict[str, Any]]:
        layers = []
        for name, module in self.context.leaves():
            called = self._calls.get(name, {})
            own = list(module.parameters(recurse=False))
            arguments = {key: value for key in _ARGUMENTS if _is_plain(value := getattr(module, key, None))}
            bias = getattr(module, "bias", None)
            if isinstance(bias, (Tensor, bool)) or "bias" in module._parameters:
                arguments["bias"] = bias is not None and bias is not False
            if type(module).__name__ == "BatchNormalization" and isinstance(kept := arguments.get("momentum"), float):
                arguments["momentum"] = 1.0 - kept  # Keras's is the share of what was known
            layers.append(
                {
                    "name": name,
                    "type": type(module).__name__,
                    "order": called.get("order"),
                    "calls": called.get("calls"),
                    "output_shape": called.get("output_shape"),
                    "parameters": sum(quietly(item.numel, default=0) for item in own),
                    "trainable": sum(quietly(item.numel, default=0) for item in own if item.requires_grad),
                    "training": module.training,
                    "arguments": arguments,
                }
            )
        layers.sort(key=lambda layer: (layer["order"] is None, layer["order"] or 0))
        return layers

    def _owners(self) -> dict[int, tuple[str, str]]:
        owners: dict[int, tuple[str, str]] = {}
        for name, module in self.context.modules():
            for parameter in module.parameters(recurse=False):
                owners.setdefault(id(parameter), (name, type(module).__name__))
        return owners

    def _tied(self) -> list[list[str]]:
        """Lists the names of each parameter that has several."""
        names: dict[int, list[str]] = {}
        for key, model in self.context.models.items():
            for name, parameter in model.named_parameters(remove_duplicate=False):
                names.setdefault(id(parameter), []).append(f"{key}.{name}" if key else name)
        return [sorted(set(items)) for items in names.values() if len(set(items)) > 1]

    def _groups_of_parameters(self) -> dict[int, list[str]]:
        groups: dict[int, list[str]] = {}
        for key, optimizer in self.context.optimizers.items():
            prefix = self.context.group_prefix(key)
            for label, group in zip(group_names(optimizer.param_groups), optimizer.param_groups, strict=True):
                for parameter in group["params"]:
                    groups.setdefault(id(parameter), []).append(f"{prefix}{label}")
        return groups

    def _send_optimizers(self, step: int) -> None:
        """Sends the optimizers when something changed besides the learning rate, which is a series."""
        facts = [self._optimizer(key, optimizer) for key, optimizer in self.context.optimizers.items()]
        compared = [{**fact, "groups": [{**group, "lr": None} for group in fact["groups"]]} for fact in facts]
        if compared != self._sent_optimizers:
            self._sent_optimizers = compared
            self.context.outbox.record("fact", "optimizers", step, facts)

    def _optimizer(self, key: str, optimizer: Optimizer) -> dict[str, Any]:
        held = held_by(optimizer)
        names = [self.context.parameter_name(parameter) for parameter in held]
        known = [name for name in names if name is not None]
        everywhere = self._groups_of_parameters()
        return {
            "name": key,
            "type": type(optimizer).__name__,
            "stale": len(names) - len(known),
            "moved": None if self._moved is None else sorted(self._moved),
            "frozen": sum(not parameter.requires_grad for parameter in held),
            "duplicates": sorted(
                {
                    name
                    for parameter, name in zip(held, names, strict=True)
                    if name is not None and len(everywhere.get(id(parameter), ())) > 1
                }
            ),
            "arguments": {
                name: _number(value) for name, value in optimizer.defaults.items() if _is_plain(_number(value))
            },
            "groups": [
                {
                    "name": label,
                    **{
                        name: _number(group.get(name))
                        for name in ("lr", "initial_lr", "momentum", "betas", "weight_decay", "eps")
                    },
                    "parameters": len(group["params"]),
                    "numel": sum(quietly(item.numel, default=0) for item in group["params"]),
                }
                for label, group in zip(group_names(optimizer.param_groups), optimizer.param_groups, strict=True)
            ],
        }


def _shape(parameter: Tensor) -> list[int]:
    return list(parameter.shape)


def _fan_in(parameter: Tensor) -> int | None:
    return math.prod(parameter.shape[1:]) if parameter.ndim >= 2 and parameter.shape[0] else None


def _number(value: Any) -> Any:
    """Reads a learning rate that is a tensor on the host; one on a device is in the series anyway."""
    if isinstance(value, Tensor):
        return value.item() if value.is_cpu and value.numel() == 1 else None
    return list(value) if isinstance(value, tuple) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list, torch.Size)):
        return all(isinstance(item, (bool, int, float, str)) for item in value)
    return isinstance(value, (bool, int, float, str))

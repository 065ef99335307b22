"""Says what the gradient values are that `grad_norm` sends: the fact `gradient_meaning`, sent when it changes.

How many backwards are summed in them, whether a loss scale is still in them, what clipped them, and whether this
process holds all of them. Not for: the values (gradients).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from client_hook.capture.base import Context, Signal
from client_hook.capture.contributions import Contributions
from client_hook.capture.owned import Owned

MAX_FACTS = 100  # of a loop that is different in each step
WHOLE = "whole: one process"
REDUCED = "reduced: the mean over all ranks (DistributedDataParallel)"
LOCAL = "local: this rank's own, not reduced yet (no_sync)"
SHARD = "local shard: the root of the summed squares over all ranks is the norm (DTensor)"
PARTIAL = "partial: this rank's summand of a gradient that is not reduced yet (DTensor)"
UNKNOWN = "unknown: several processes, and the model given to watch says nothing of them"


class GradientMeaningSignal(Signal):
    """Looks on sampled steps, and holds numbers alone."""

    at_gradients = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._counts: dict[str, Contributions] = {}
        self._clipped: dict[str, str] = {}
        self._found: dict[str, dict[str, Any]] = {}
        self._sent: dict[str, dict[str, Any]] = {}
        self._facts = 0
        self._scaled = False  # the next backward is of a scaled loss
        self._synchronised: bool | None = None
        self._looks_for_unused = False

    def attach(self) -> None:
        """Listens for clipping and scaling."""
        self.context.patches.subscribe(self)

    def arm(self, sampled: bool) -> None:
        """Chooses one parameter of each optimizer to follow through the step."""
        self._clipped.clear()
        self._counts = {key: Contributions(item) for key, item in self.context.optimizers.items()} if sampled else {}

    def scale(self, scaler: Any) -> None:
        """Hears that a gradient scaler scales a loss."""
        self._owned.scale(scaler)
        self._scaled = scaler.is_enabled()

    def clip(self, kind: str, parameters: Any, limit: Any, norm: Any, norm_type: Any) -> None:
        """Hears that gradients are about to be clipped."""
        if not self.context.sampled:
            return
        alone = not self.context.several and self.context.patches.owners <= 1
        key = next(iter(self._counts), None) if alone else self._owned.key_of_tensors(parameters)
        if key is not None:
            self._clipped[key] = kind

    def on_backward(self, root: Tensor) -> None:
        """Hears that a backward begins."""
        scaled, self._scaled = self._scaled, False
        for count in self._counts.values():
            count.backward(scaled)
        if self._counts:
            for model in self.context.models.values():
                if isinstance(model, DistributedDataParallel):
                    self._synchronised = bool(model.require_backward_grad_sync)
                    self._looks_for_unused = bool(model.find_unused_parameters)

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Looks at the gradients that are about to be used."""
        count = self._counts.get(key)
        if count is None:
            return
        backwards = count.close()
        self._found[key] = {
            "backwards": backwards,
            "accumulated": None if backwards is None else backwards > 1,
            "scale": self._scale_in(optimizer, count.scaled),
            "clipped": self._clipped.pop(key, None),
            "reduction": self._reduction(optimizer),
        }
        if self._synchronised is not None:
            self._found[key]["finds_unused"] = self._looks_for_unused

    def _scale_in(self, optimizer: Optimizer, scaled: bool) -> str:
        if not scaled:
            return "none"
        if isinstance(getattr(optimizer, "grad_scale", None), Tensor):
            return "divided out: by the factor that the fused optimizer applies"
        scaler = self._owned.scaler() if self._owned.scaler is not None else None
        states = getattr(scaler, "_per_optimizer_states", {})
        stage = states[id(optimizer)]["stage"] if id(optimizer) in states else None
        return "divided out: by the scaler" if getattr(stage, "name", "") == "UNSCALED" else "still in it"

    def _reduction(self, optimizer: Optimizer) -> str:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                placements = getattr(parameter.grad, "placements", None)
                if placements is not None:
                    return PARTIAL if any(item.is_partial() for item in placements) else SHARD
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return WHOLE
        if torch.distributed.get_world_size() == 1:
            return WHOLE
        if self._synchronised is None:
            return UNKNOWN
        return REDUCED if self._synchronised else LOCAL

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Sends what changed."""
        found, self._found = self._found, {}
        new = {**self._sent, **found}
        if new != self._sent and self._facts < MAX_FACTS:
            self._facts += 1
            self._sent = new
            self.context.outbox.record("fact", "gradient_meaning", step, new)
            if self._facts == MAX_FACTS:
                self.context.note(f"What the gradients are changed {MAX_FACTS} times; further changes are not told.")

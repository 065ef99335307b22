"""Is the flight recorder: when a step broke, the fact `flight` says what broke first, with which batch and state.

The numbers themselves are series: the scalars of every step, the samples of the first steps, of the last ones and of
those after the break. Not for: noticing a spike of the loss (client_hook.anomaly).
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
import sys
import weakref
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import batch_print, first_bad
from client_hook.capture.base import Context, Signal
from client_hook.guard import quietly

LAST_SAMPLES = 8
FIRST_BREAKS = 3  # these are kept, and the newest
PAUSE_STEPS = 200  # between two that are looked into


class FlightSignal(Signal):
    """Keeps the last samples' random states and batches in a ring; looks for the culprit only when a step broke."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ring: deque[dict[str, Any]] = deque(maxlen=LAST_SAMPLES)
        self._batch: list[weakref.ref[Tensor]] = []
        self._breaks: list[dict[str, Any]] = []
        self._allowed_at = {"loss-spike": 0, "nonfinite": 0}
        self._scaled_at = -1
        self._bad_norms: deque[int] = deque(maxlen=PAUSE_STEPS)  # steps of which a device told so, late

    def attach(self) -> None:
        """Listens, and lets others tell of a break."""
        self.context.on_break = self.broke
        self.context.on_bad_norm = self._bad_norm
        self.context.patches.subscribe(self)

    def detach(self) -> None:
        """Listens no more."""
        self.context.on_break = self.context.on_bad_norm = None
        self._ring.clear()
        self._batch = []

    def arm(self, sampled: bool) -> None:
        """Keeps the random state in which a sampled step begins."""
        if sampled:
            self._ring.append({"step": self.context.open_step, "state": torch.get_rng_state(), "batch": None})

    # -- what goes by, on every step ---------------------------------------------------------------------------------

    def drawn(self, loader: Any, batch: Any) -> None:
        """Hears of the batch that comes next; nothing of it is kept alive."""
        self.context.batches += 1
        self._batch = [weakref.ref(item) for item in batch_print.tensors_of(batch)]

    def plain_drawn(self, loader: Any, batch: Any) -> None:
        """Does the same for the usual batch with less."""
        if type(batch) is list or type(batch) is tuple:
            self.context.batches += 1
            self._batch = [weakref.ref(item) for item in batch if type(item) is Tensor]
        else:
            self.drawn(loader, batch)

    def scale(self, scaler: Any) -> None:
        """Hears that a scaler is at work: it finds its scale by overflows, which break nothing."""
        self._scaled_at = self.context.open_step

    plain_scale = scale

    def plain_bad_loss(self, root: Tensor) -> None:
        """Hears that the loss of a plain step is not finite."""
        self.on_backward(root)

    def plain_bad_result(self, result: Tensor) -> None:
        """Hears that a loss function gave no number; whether it is learned from is seen when the backward begins."""
        if not self.context.wake():
            self.on_backward(result)

    def on_backward(self, root: Tensor) -> None:
        """Reads the loss, where that makes nobody wait, while its graph is still there."""
        if root.is_cpu and root.numel() == 1 and not math.isfinite(value := root.item()):
            # a scaled loss may be infinite where the loss is not
            if self.context.on_bad_loss is not None:
                self.context.on_bad_loss()
            if math.isnan(value) or self._scaled_at != self.context.open_step:
                self.broke("nonfinite-loss", self.context.open_step, root=root)
        elif self.context.sampled and self._ring and self._ring[-1]["batch"] is None:
            self._ring[-1]["batch"] = self._print()

    def clip(self, kind: str, parameters: Sequence[Tensor], limit: Any, norm: Any, norm_type: Any) -> None:
        """Reads the norm that clipping has computed anyway."""
        plain = isinstance(norm, Tensor) and norm.is_cpu and not hasattr(norm, "to_local")
        if plain and not math.isfinite(norm.item()):
            self._bad_norm()

    def _bad_norm(self, step: int | None = None) -> None:
        if step is not None:
            self._bad_norms.append(step)
            if self.context.on_alarm is not None:
                self.context.on_alarm(step)
        elif self._scaled_at != self.context.open_step:
            self.broke("nonfinite-gradient", self.context.open_step)

    # -- the break ---------------------------------------------------------------------------------------------------

    def broke(self, reason: str, step: int, *, root: Tensor | None = None, names: Sequence[str] = ()) -> None:
        """Looks for what broke first, and sends it at once; the next steps are measured in full."""
        if not self._is_ours(root):
            return
        kind = "loss-spike" if reason == "loss-spike" else "nonfinite"
        allowed_at, self._allowed_at[kind] = (
            self._allowed_at[kind],
            step + PAUSE_STEPS,
        )  # what stays broken is told once
        if step < allowed_at:
            return
        found = quietly(self._first_bad, reason, step, root, names)
        self._add({"reason": reason, "step": step, "first_bad": found or None, **self._circumstances()})
        if self.context.on_alarm is not None:
            self.context.on_alarm()

    def _is_ours(self, root: Tensor | None) -> bool:
        if root is None or self.context.patches.owners <= 1:
            return True
        from client_hook.capture.owned import Owned  # inside: only where several monitors live

        return Owned(self.context).graph(root)

    def _first_bad(self, reason: str, step: int, root: Tensor | None, names: Sequence[str]) -> dict[str, Any] | None:
        later = self.context.open_step - step  # 0 inside the step, 1 when it closes, more where a device told it
        if reason == "loss-spike":
            return None
        if names and later <= 1:
            return first_bad.of_gradients(self.context, names)
        if not names and reason == "nonfinite-gradient":
            return first_bad.in_gradients(self.context)
        bad = first_bad.in_weights(self.context)
        if bad is not None and root is None and later > 0:  # updates have spread it by now
            direction = "backward" if step - 1 in self._bad_norms else "unseen"
            return {**bad, "direction": direction, "module": None, "tensor": None, "later": later}
        if names:
            return first_bad.of_gradients(self.context, names)
        return first_bad.in_graph(self.context, root) if bad is None and root is not None else bad

    def _circumstances(self) -> dict[str, Any]:
        last = self._ring[-1] if self._ring else None
        batch = self._print()
        if last is not None and last["batch"] is None:
            last["batch"] = batch
        return {
            "batch": batch,
            "rng": None if last is None else {"step": last["step"], **describe(last["state"], full=True)},
            "samples": [
                {"step": item["step"], "batch": item["batch"], "rng": describe(item["state"])["torch"]}
                for item in self._ring
            ],
        }

    def _print(self) -> dict[str, Any] | None:
        known = [item for reference in self._batch if (item := reference()) is not None]
        if known:
            return {"from": "loader", "tensors": batch_print.fingerprint(known)}
        targets = self.context.patches.targets  # where no loader gives a batch, what the loss was told stands for it
        return None if targets is None else {"from": "targets", "tensors": batch_print.fingerprint([targets])}

    def _add(self, broken: dict[str, Any]) -> None:
        self._breaks = [*self._breaks[:FIRST_BREAKS], broken]
        in_order = sorted(self._breaks, key=lambda item: item["step"])  # steps that close together are told late
        # of the step at which it is known: what was judged before must not have to be judged again
        self.context.outbox.record("fact", "flight", max(broken["step"], self.context.step), {"breaks": in_order})

    def on_finish(self) -> None:
        """Tells where a training stood when an exception ended it."""
        if self.context.ending == "failed":
            self._add(
                {"reason": "exception", "step": self.context.open_step, "first_bad": None, **self._circumstances()}
            )


def describe(state: Tensor, *, full: bool = False) -> dict[str, Any]:
    """Names a state of torch's generator by its hash; in full it can be set again with `torch.set_rng_state`."""
    raw = bytes(state.tolist())
    about: dict[str, Any] = {"torch": hashlib.blake2b(raw, digest_size=8).hexdigest()}
    if full:
        about["torch_state"] = base64.b85encode(zlib.compress(raw, 1)).decode("ascii")
        about["python"] = _hash(random.getstate())
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            about["numpy"] = quietly(lambda: _hash(numpy.random.get_state()))
    return about


def _hash(state: Any) -> str:
    return hashlib.blake2b(repr(state).encode(), digest_size=8).hexdigest()

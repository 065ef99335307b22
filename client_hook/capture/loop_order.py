"""Follows the order of the calls in a training loop and counts what is out of order: the fact `loop`.

Not for: whether the order does harm, which the server's rules judge.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.capture import loss_arguments
from client_hook.capture.base import Context, Signal, held_by
from client_hook.capture.gradient_probe import GradientProbe
from client_hook.capture.graph_nodes import constant_factor
from client_hook.capture.movement import Movement
from client_hook.capture.offences import Offences
from client_hook.capture.owned import Owned
from client_hook.capture.validation_mode import ByMode, ValidationMode
from client_hook.capture.watched_calls import is_validation

SEND_AT = frozenset({3, 5, 10, 20, 256})  # closed steps
CALLS_WITHOUT_STEP = 256
WALKS = 6
_UNHEARD = (
    "The weights change, but by no step that could be heard: their gradients, rates and updates are not known; call "
    "the step() of an optimizer that is watched."
)
_CASES = {"scheduler": "scheduler_step", "clip": "clip", "never": "calls"}  # by the first word of an offence's kind


class _Turn:
    """Holds what happened around one optimizer since it stepped last."""

    def __init__(self) -> None:
        self.steps = 0
        self.backwards = 0
        self.before = 0  # backwards that came before a step that is under way
        self.own_backwards = 0  # those that changed this optimizer's gradients, as far as the probe tells
        self.probe = GradientProbe()
        self.schedulers = 0  # scheduler calls between a backward and the step that it waits for
        self.early_schedulers = 0  # scheduler calls before the first step
        self.discarded = False
        self.emptied = False  # zero_grad() came after the newest backward, and left
        self.left: tuple[int, int] | None = None  # this of the probe's gradient
        self.targets: weakref.ref[Tensor] | None = None  # of the loss whose backward was the newest
        self.foreign_step = False  # another optimizer stepped since this one's first backward
        self.by_mode = ByMode()

    def restart(self) -> None:
        """Begins to count anew, after a step or where a scaler left one out."""
        self.backwards = self.own_backwards = self.schedulers = self.early_schedulers = 0
        self.discarded = self.emptied = False
        self.probe.arrived = False


class LoopOrderSignal(Signal):
    """Hears every call, on every step, and keeps counters alone: nothing is read from a device."""

    every_step = True
    may_rest = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._owned = Owned(context)
        self._turns: dict[str, _Turn] = {}
        self._counts = dict.fromkeys(
            ("calls", "steps", "backward", "optimizer_step", "zero_grad", "clip", "scheduler_step"), 0
        )
        self._offences = Offences(context, self._cases)
        self._mode = ValidationMode()
        self._checked = self._missing = 0
        self._accumulated = self._discarded = 0
        self._for_inputs = False  # some backwards are for the gradient of an input: what they leave is to be cleared
        self._walks = WALKS  # graphs that may still be searched for one
        self._per_step: int | None = None
        self._factor: list[Any] | None = None  # backwards a step, and the constant that such a loss is multiplied by
        self._in_step: str | None = None
        self._closures = False
        self._inside = [0, 0]  # backwards in closures, and those that found the gradients cleared
        self._stepped_in = -1  # the open step in which an optimizer stepped last; closing it may be put off
        self._stepped = False
        self._root: weakref.ref[Tensor] | None = None
        self._targets: weakref.ref[Tensor] | None = None  # of the newest loss in training
        self._first_scheduler_early = False
        self._midway = False  # the open step was heard in part
        self._in_backward = False
        self._movement: Movement | None = Movement()  # until an optimizer stepped
        self._moved: bool | None = None  # though none did; asked after many calls, and at the end

    def attach(self) -> None:
        """Listens to the calls."""
        for key in self.context.optimizers:
            self._turns[key] = _Turn()
        self._find_modules_by_mode()
        self._look_at_weights()
        self.context.patches.subscribe(self)

    def _look_at_weights(self) -> None:
        if self._movement is not None:
            self._movement.begin(item for _, item in self.context.parameters())

    def _find_modules_by_mode(self) -> None:
        """Finds, for each optimizer, the modules of its models that behave differently in training."""
        for key, optimizer in self.context.optimizers.items():
            held = set(map(id, held_by(optimizer)))
            for model in self.context.models.values():
                if any(id(item) in held for item in model.parameters()):
                    self._turns[key].by_mode.add(model)
        self._mode.choose([reference for turn in self._turns.values() for reference in turn.by_mode.modules])

    # -- the calls ---------------------------------------------------------------------------------------------------

    def backward(self, root: Tensor) -> None:
        """Hears that a backward begins."""
        if self._midway or not self._owned.graph(root):
            return
        if not self._counts["backward"]:
            self._look_at_weights()  # a checkpoint may have been loaded since
        self._counts["backward"] += 1
        self._in_backward = True
        self._judge_held()
        self._mode.backward()
        if self._in_step is not None:
            self._closures = True
        if self._per_step is not None and (self._factor is None or self._factor[0] != self._per_step):
            self._offences.news = self._offences.news or self._factor is not None
            factor = constant_factor(root.grad_fn) if root.grad_fn is not None else None
            self._factor = [self._per_step, factor]
        self._look_for_inputs(root)
        for key, turn in self._turns.items():
            cleared = turn.probe.look()
            if key == self._in_step and not (turn.probe.lost or turn.before):
                self._inside = [self._inside[0] + 1, self._inside[1] + cleared]
            if turn.backwards and cleared and turn.probe.arrived and not self._in_step:
                if turn.probe.unmoved() and not (turn.foreign_step or self._for_inputs or self._same_batch(turn)):
                    turn.discarded = True
                elif turn.steps:  # a look around (SAM), or another's backward (GAN): what follows is for the step
                    turn.backwards = turn.own_backwards = 0
        if self._root is not None and self._root() is root:
            self._offences.add("backward-twice", self.context.open_step)
        self._root = weakref.ref(root)

    def _look_for_inputs(self, root: Tensor) -> None:
        """Searches the first graphs, and some after gradients seemed lost, for an input that wants a gradient."""
        if self._walks and not self._for_inputs:
            self._walks -= 1
            if self._owned.input_too(root):
                self._for_inputs = True
                self._discarded = 0
                self._offences.forget("gradients-discarded")

    def _same_batch(self, turn: _Turn) -> bool:
        """Says whether the loss is of the same targets as that of the backward before: a second look at one batch.
        Whether the weights moved in between cannot always be seen (through `.data` no version counts it)."""
        before, now = turn.targets, self._targets
        return before is not None and now is not None and (found := now()) is not None and before() is found

    def after_backward(self, root: Tensor) -> None:
        """Hears that a backward ended."""
        self._mode.after_backward()
        self._in_backward = False
        if self._root is None or self._root() is not root:
            return
        for key, turn in self._turns.items():
            turn.backwards += 1
            turn.schedulers = 0
            turn.emptied = False
            turn.targets = self._targets
            if turn.backwards == 1:
                turn.foreign_step = False
            if turn.probe.lost:
                optimizer = self.context.optimizers.get(key)
                if optimizer is not None:
                    turn.probe.choose(optimizer)
            turn.own_backwards += turn.probe.arrive()

    def zero_grad(self, optimizer: Optimizer) -> None:
        """Hears that an optimizer's gradients were cleared."""
        key = self._owned.key(optimizer)
        if key is not None:
            self._counts["zero_grad"] += 1
            if key in self._turns:
                turn = self._turns[key]
                turn.emptied, turn.left = turn.backwards > 0, turn.probe.mark()

    def scale(self, scaler: Any) -> None:
        """Hears that a gradient scaler scales a loss."""
        self._owned.scale(scaler)

    def clip(self, kind: str, parameters: Any, limit: Any, norm: Any, norm_type: Any) -> None:
        """Hears that gradients are clipped, and looks whether there are new ones."""
        if self._midway:
            return
        alone = len(self._turns) == 1 and self.context.patches.owners <= 1
        key = next(iter(self._turns)) if alone else self._owned.key_of_tensors(parameters)
        turn = self._turns.get(key) if key is not None else None
        if turn is None or key is None:
            return
        self._counts["clip"] += 1
        step = self.context.open_step
        if turn.backwards == 0 and not turn.probe.touched():
            after = turn.steps > 0 and not self._closed_since_step
            self._offences.add("clip-after-step" if after else "clip-before-backward", step, key)
        elif self._owned.still_scaled(key):
            self._offences.add("clip-before-unscale", step, key)

    def scheduler_step(self, scheduler: Any) -> None:
        """Hears that a scheduler moved on."""
        if self._midway:
            return
        key = self._owned.key(getattr(scheduler, "optimizer", None))
        if key is None or key not in self._turns:
            return
        self._counts["scheduler_step"] += 1
        turn = self._turns[key]
        if turn.steps == 0 and self._counts["calls"] == 0 and turn.backwards == 0:
            turn.early_schedulers += 1
            self._first_scheduler_early = turn.early_schedulers == 1  # more of them fast-forward a resumed run
        elif turn.backwards:
            turn.schedulers += 1
        elif self._first_scheduler_early and self._closed_since_step:
            turn.early_schedulers += 1

    def loss_call(self, function: str, args: Any, kwargs: Any, result: Any) -> None:
        """Sees a validation whose model is still in training mode."""
        first = args[0] if args else None
        graph = torch.is_grad_enabled()
        if graph and isinstance(result, Tensor) and result.requires_grad:
            self._judge_held()
            self._mode.training_call(first)
            tensors = loss_arguments.tensors_of(args, kwargs, function)
            self._targets = weakref.ref(tensors[1]) if tensors is not None and type(tensors[1]) is Tensor else None
            return
        turn = next((turn for turn in self._turns.values() if turn.by_mode.modules), None)
        if turn is None or not is_validation(self.context, args, result):
            return
        training = turn.by_mode.all_training()
        if training and graph:
            self._mode.hold(self.context.open_step)
            return
        if training and not self._mode.is_validation(function, first):
            return
        self._offences.possible("train-during-validation")
        if training:
            self._offences.add("train-during-validation", self.context.open_step)

    def _judge_held(self) -> None:
        """Counts a loss of outputs without gradients, once it is clear that no training forward made them."""
        step = self._mode.release()
        if step is not None:
            self._offences.possible("train-during-validation")
            self._offences.add("train-during-validation", step)

    def batch(self, loader: Any, wait: float, epoch_start: bool) -> None:
        """Hears which loader gave the batch that comes next."""
        self._mode.batch(loader)

    plain_batch = batch

    def resume(self, midway: bool) -> None:
        """Forgets what plain steps made of its counts; a step that is heard in part is not judged."""
        self._midway = midway
        self._root = self._in_step = None
        self._mode.resume(self.context.step)
        for turn in self._turns.values():
            turn.restart()
            turn.probe.forget()

    @property
    def _closed_since_step(self) -> bool:
        return self.context.open_step > self._stepped_in

    # -- the optimizer -----------------------------------------------------------------------------------------------

    def on_pre_step(self, key: str, optimizer: Optimizer) -> None:
        """Hears that an optimizer is about to step."""
        if self._midway:
            return
        self._in_step = key
        turn = self._turns.get(key)
        if turn is None:
            return
        self._counts["optimizer_step"] += 1
        turn.before = turn.backwards
        emptied = turn.probe.empty() or (turn.emptied and not turn.probe.lost and turn.probe.mark() == turn.left)
        if turn.steps and turn.backwards and not turn.probe.lost and not emptied:
            self._checked += 1
            if not (turn.probe.cleared or turn.emptied):  # emptied: then somebody wrote gradients of his own
                self._missing += 1
                self._offences.add("zero-grad-missing", self.context.open_step, key)
        if emptied:
            self._offences.add("zero-grad-before-step", self.context.open_step, key)
        if turn.schedulers or (turn.early_schedulers and self._first_scheduler_early):
            self._offences.add("scheduler-before-optimizer", self.context.open_step, key)
        if turn.by_mode.forgotten():
            self._offences.add("eval-during-training", self.context.open_step, key)

    def on_post_step(self, key: str, optimizer: Optimizer) -> None:
        """Hears that an optimizer stepped, and begins its next turn."""
        self._in_step = self._movement = None
        turn = self._turns.get(key)
        if turn is None or self._midway:
            return
        if turn.backwards == 0 and not (self._in_backward or self._has_gradients(turn, optimizer)):
            self._offences.add("step-without-backward", self.context.open_step, key)
        backwards = turn.own_backwards if len(self._turns) > 1 else turn.backwards
        if turn.emptied:
            backwards = 0  # what they left is gone
        if backwards:
            self._per_step = backwards
        if backwards >= 2 and not self._closures:
            self._accumulated += 1
            if turn.discarded and not turn.probe.replaced():
                self._walks = self._walks if self._discarded else WALKS
                self._discarded += 1
                self._offences.add("gradients-discarded", self.context.open_step, key)
        turn.steps += 1
        turn.restart()
        turn.probe.stepped(optimizer)
        self._stepped_in = self.context.open_step
        self._stepped = True
        self._root = None
        for other_key, other in self._turns.items():
            other.foreign_step = other.foreign_step or other_key != key

    @staticmethod
    def _has_gradients(turn: _Turn, optimizer: Optimizer) -> bool:
        """Says whether somebody wrote gradients since the last step; before the first, whether there are any."""
        if turn.steps == 0:
            turn.probe.choose(optimizer)
            return not turn.probe.lost
        return turn.probe.touched()

    # -- the step ----------------------------------------------------------------------------------------------------

    def on_close(self, step: int, time_ms: int, sampled: bool) -> None:
        """Counts the step, and sends the fact at the first steps and when something new is out of order."""
        if self._midway:
            self.resume(midway=False)
            self._stepped = False
            return
        self._in_backward = False
        self._mode.close(step)
        counts = self._counts
        counts["calls"] += max(self.context.micro_batches, 1)
        counts["steps"] += 1
        if not self._stepped:
            for turn in self._turns.values():
                turn.restart()
        self._stepped = False
        if not counts["optimizer_step"] and counts["calls"] >= CALLS_WITHOUT_STEP:
            self._never_stepped()
        if counts["steps"] in SEND_AT or self._offences.news:
            self._send(step)

    def on_finish(self) -> None:
        """Sends the counts of the whole run."""
        counts = self._counts
        counts["calls"] += self.context.micro_batches
        self._moved = self._moved or None
        if not counts["optimizer_step"] and counts["calls"] >= 5:
            self._never_stepped()
        self._send(self.context.step)

    def _never_stepped(self) -> None:
        """Says that no optimizer stepped, where that left the weights as they were."""
        if self._moved is None:
            self._moved = self._movement is not None and self._movement.happened()
        if self._moved:
            self.context.note(_UNHEARD)
        else:
            self._offences.add("never-stepped", 0, count=self._counts["calls"])

    def _cases(self, kind: str) -> int:
        """Says in how many cases a kind of offence could have happened."""
        if kind == "zero-grad-missing":
            return self._checked
        if kind == "gradients-discarded":
            return self._accumulated
        return self._counts[_CASES.get(kind.partition("-")[0], "optimizer_step")]

    def _send(self, step: int) -> None:
        fact = {
            **self._counts,
            "zero_grad_checked": self._checked,
            "zero_grad_missing": self._missing,
            "backwards_per_step": self._per_step,
            "accumulation": {"steps": self._accumulated, "discarded": self._discarded, "factor": self._factor},
            "closures": self._closures,
            "in_closures": self._inside,
            "weights_moved": self._moved,
            "offences": self._offences.listed(),
        }
        self.context.outbox.record("fact", "loop", step, fact)

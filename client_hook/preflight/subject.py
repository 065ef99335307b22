"""What preflight tests: a model with its loss, a batch, an optimizer and a loader, however they are called.

Knows which tensors of a batch are inputs and which targets, and says in a sentence what does not fit. Not for: putting
back what a check changes (restore).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.guard import attempted
from client_hook.preflight import chance, trees
from client_hook.preflight.answers import Answer, Answers
from client_hook.preflight.arguments import check_kinds, check_loader, check_model
from client_hook.preflight.errors import PreflightError, kind, shape
from client_hook.preflighted import inner

TARGET_NAMES = ("labels", "label", "targets", "target", "y", "start_positions", "end_positions")
LOADED = 20  # batches of the loader that checks look at
SEED = 1234
_EMPTY = "train_loader: it gave no batch; is the data set empty, or drop_last with few samples?"


class Subject:
    """Runs the model on a batch as the training would."""

    def __init__(
        self,
        model: Any,
        loss_fn: Any,
        batch: Any = None,
        optimizer: Any = None,
        loader: Any = None,
        *,
        forward: Callable[[nn.Module, Any], Any] | None = None,
        causal: bool | None = None,
        finetune: bool | None = None,
    ) -> None:
        check_kinds(model, loss_fn, optimizer)
        model = inner(model)
        check_model(model)
        check_loader(loader)
        self.model, self.loss_fn, self.optimizer, self.loader = model, loss_fn, optimizer, loader
        self.forward, self.causal, self.finetune = forward, causal, finetune
        self.observed: Any = None  # what `observed` saw, and `first_loss` measured, once for all checks
        self.first_loss: Any = None
        self._answers = Answers()
        self.bad_labels = ""  # a sentence on labels that are no class; their batches are not used
        self.parameters = {name: item for name, item in model.named_parameters() if item.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        if batch is None:
            if loader is None:
                raise PreflightError("batch: got None; pass one batch as your loop uses it, or train_loader=")
            batch = self._first()
        elif isinstance(batch, torch.utils.data.DataLoader):
            raise PreflightError("batch: got a DataLoader; pass it as train_loader= (then batch may be None)")
        self.batch = self.placed(batch)
        self._loaded: list[Any] = []
        if not any(True for _ in trees.leaves(self.batch)) and forward is None:
            raise PreflightError(
                f"batch: found no tensor in {kind(batch)}; pass (inputs, targets), a dict of tensors, or "
                "forward=function(model, batch)"
            )
        self.batch_dim, self.batch_size = _samples(self)
        if self.batch_size == 0 and any(item.ndim for _, item in trees.leaves(self.inputs())):
            raise PreflightError("batch: its first input holds no samples (its first dimension is 0)")

    @property
    def pretrained(self) -> bool:
        """Says whether the weights are trained: declared, layers are frozen, or the config names their origin."""
        if self.finetune is not None:
            return self.finetune
        frozen = any(not item.requires_grad and item.ndim > 1 for item in self.model.parameters())
        return frozen or bool(getattr(getattr(self.model, "config", None), "_name_or_path", ""))

    # -- batches -----------------------------------------------------------------------------------------------------

    def placed(self, batch: Any) -> Any:
        """Puts a batch on the model's device."""
        return trees.convert(batch, lambda item: item.to(self.device))

    def inputs(self, batch: Any = None) -> Any:
        """Gives the part of a batch that the model sees."""
        batch = self.batch if batch is None else batch
        if isinstance(batch, Mapping):
            return {key: item for key, item in batch.items() if key not in TARGET_NAMES}
        if isinstance(batch, (tuple, list)):
            given = batch[:-1] if len(batch) > 1 else batch
            return given[0] if len(given) == 1 else tuple(given)
        return batch

    def targets(self, batch: Any = None) -> Any:
        """Gives the part of a batch that the loss compares with; None where there is none."""
        batch = self.batch if batch is None else batch
        if isinstance(batch, Mapping):
            named = {key: item for key, item in batch.items() if key in TARGET_NAMES}
            return next(iter(named.values())) if len(named) == 1 else named or None
        return batch[-1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None

    def with_inputs(self, inputs: Any, batch: Any = None) -> Any:
        """Copies a batch with other inputs."""
        batch = self.batch if batch is None else batch
        if isinstance(batch, Mapping):
            return trees.convert({**batch, **inputs}, lambda item: item)
        if isinstance(batch, (tuple, list)) and len(batch) > 1:
            given = [inputs] if len(batch) == 2 else list(inputs)
            return trees.like(batch, [*given, batch[-1]])
        return trees.like(batch, [inputs]) if isinstance(batch, (tuple, list)) else inputs

    def rows(self, index: Tensor, batch: Any = None) -> Any:
        """Picks samples of a batch by their places; what has no row for each sample stays whole."""
        batch = self.batch if batch is None else batch
        size, at = self.size_of(batch), self.batch_dim or 0

        def pick(item: Tensor) -> Tensor:
            for dim in (at, 0):
                if item.ndim > dim and item.shape[dim] == size:
                    return item.index_select(dim, index)
            return item

        return trees.convert(batch, pick)

    def size_of(self, batch: Any) -> int:
        """Counts the samples of a batch."""
        at = self.batch_dim or 0
        return next((item.shape[at] for _, item in trees.leaves(self.inputs(batch)) if item.ndim > at), 0)

    def batches(self, count: int = LOADED) -> list[Any]:
        """Gives the first batches of the loader, or the one batch that there is."""
        if self.loader is not None and not self._loaded and not self.bad_labels:
            self.load()
        return (self._loaded or [self.batch])[:count]

    def load(self, until: float = float("inf")) -> None:
        """Reads the first batches of the loader, as many as come until then."""
        self._loaded = []
        for batch in self.loader if self.loader is not None else ():
            self._loaded.append(self.placed(batch))
            if len(self._loaded) == LOADED or monotonic() > until:
                break
        if self.loader is not None and not self._loaded:
            raise PreflightError(_EMPTY)

    def drop_bad_labels(self, classes: int | None, ignored: int) -> None:
        """Sets batches aside whose labels are no class of the model: they would only raise (on CUDA, for good)."""
        good = []
        for batch in self._loaded:
            labels = self.targets(batch)
            if classes and isinstance(labels, Tensor) and not labels.is_floating_point():
                bad = labels[(labels != ignored) & ((labels < 0) | (labels >= classes))]
                if len(bad):
                    self.bad_labels = (
                        f"a label is {int(bad[0])}, the model has {classes} outputs: classes are 0 to {classes - 1}"
                    )
                    continue
            good.append(batch)
        self._loaded = good

    def _first(self) -> Any:
        if not hasattr(self.loader, "__iter__"):
            raise PreflightError(f"train_loader: got {kind(self.loader)}, expected a DataLoader or a list of batches")
        undo = chance.generators(self.loader)
        for batch in self.loader:
            for put_back in undo:
                put_back()
            return batch
        raise PreflightError(_EMPTY)

    # -- the model ---------------------------------------------------------------------------------------------------

    def run(self, batch: Any = None, *, seed: int | None = SEED) -> Answer:
        """Computes the loss of a batch; `seed` makes dropout and noise the same in each call (None: as they come)."""
        batch = self.batch if batch is None else batch
        if seed is not None:
            torch.manual_seed(seed)
        output = self.forward(self.model, batch) if self.forward is not None else self._call(batch)
        if self.loss_fn is None:
            return self._answers.own(output)
        targets = self.targets(batch)
        if targets is None and not _takes_one(self.loss_fn):
            targets = self.inputs(batch)  # an autoencoder: the batch is what it should give back
        return self.loss_of(output, targets)

    def loss_of(self, output: Any, targets: Any) -> Answer:
        """Asks the loss function about an output."""
        if targets is None:
            return self._answers.of_function(self.loss_fn(output), output)
        if isinstance(self.loss_fn, nn.modules.loss._Loss) and not isinstance(output, Tensor):
            return self._answers.of_function(self.loss_fn(Answer(torch.zeros(()), output).main, targets), output)
        return self._answers.of_function(self.loss_fn(output, targets), output)

    def _call(self, batch: Any) -> Any:
        inputs = batch if self.loss_fn is None and isinstance(batch, Mapping) else self.inputs(batch)
        if isinstance(inputs, Mapping):
            taken = _named_arguments(self.model.forward)
            if taken is not None and not set(inputs) <= taken and len(inputs) == 1:
                return self.model(next(iter(inputs.values())))
            return self.model(**inputs)
        return self.model(*inputs) if isinstance(inputs, (tuple, list)) else self.model(inputs)

    def try_out(self) -> Answer:
        """Runs the model once; raises PreflightError with a sentence where it does not work as it was given."""
        answer, error = attempted(self.run)
        if isinstance(error, PreflightError):
            raise error
        if error is not None:
            raise PreflightError(self._explained(error)) from error
        if not answer.loss.requires_grad:
            raise PreflightError(
                "loss: it does not depend on any parameter (no grad_fn): look for detach(), .item(), no_grad() or "
                "argmax between the model and the loss"
            )
        checked: Answer = answer
        return checked

    def _explained(self, error: Exception) -> str:
        shapes = ", ".join(f"{name or 'inputs'} {shape(item)}" for name, item in trees.leaves(self.inputs()))
        wanted = ", ".join(f"{name or 'targets'} {shape(item)}" for name, item in trees.leaves(self.targets()))
        told = f"{type(error).__name__}: {str(error).strip()[:300]}"
        labels = self.targets()
        if "out of bounds" in told and isinstance(labels, Tensor) and not labels.is_floating_point():
            told += f"; labels go from {int(labels.min())} to {int(labels.max())}, classes count from 0 to C−1"
        return (
            f"batch: the model or the loss failed on it ({told}). The model got {shapes or 'no tensor'}; the loss "
            f"compares with {wanted or 'nothing'}. Where your loop calls them in another way, pass "
            "forward=function(model, batch)"
        )

    @contextmanager
    def mode(self, training: bool, *, dropout: bool = True) -> Iterator[None]:
        """Switches the whole model to training or evaluation for a while; `dropout=False` sets every rate to 0."""
        before = [(module, module.training) for module in self.model.modules()]
        rates: list[tuple[nn.Module, str, Any]] = []
        try:
            self.model.train(training)
            for module in self.model.modules() if not dropout else ():
                name = "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "dropout"
                rate = getattr(module, name, None)
                if isinstance(rate, float) and rate > 0:
                    rates.append((module, name, rate))
                    setattr(module, name, 0.0)
            yield
        finally:
            for module, name, rate in rates:
                setattr(module, name, rate)
            for module, state in before:
                module.training = state


def _samples(subject: Subject) -> tuple[int | None, int]:
    """Finds the dimension of the inputs that counts samples, and how many there are; None where two could.

    Recurrent and attention layers take sequences first unless told otherwise: there the targets decide, or the loader.
    """
    first = next((item for _, item in trees.leaves(subject.inputs()) if item.ndim > 0), None)
    if first is None:
        return 0, 0
    target = next((item for _, item in trees.leaves(subject.targets()) if item.ndim > 0), None)
    if first.ndim > 1 and any(getattr(module, "batch_first", True) is False for module in subject.model.modules()):
        size = getattr(subject.loader, "batch_size", None) or (target.shape[0] if target is not None else None)
        fits = [at for at in (0, 1) if first.shape[at] == size]
        both = target is not None and target.ndim > 1 and target.shape[:2] == first.shape[:2]
        if len(fits) != 1 or (both and getattr(subject.loader, "batch_size", None) is None):
            return None, first.shape[0]
        return fits[0], first.shape[fits[0]]
    return 0, first.shape[0]


def _takes_one(function: Any) -> bool:
    """Says whether a loss function needs the output alone."""
    signature, error = attempted(inspect.signature, getattr(function, "forward", function))
    if error is not None:
        return False
    needed = [
        item
        for item in signature.parameters.values()
        if item.default is item.empty and item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 1


def _named_arguments(function: Any) -> set[str] | None:
    """Lists the arguments of a function; None where it takes any."""
    signature, error = attempted(inspect.signature, function)
    if error is not None or any(item.kind is item.VAR_KEYWORD for item in signature.parameters.values()):
        return None
    return set(signature.parameters)

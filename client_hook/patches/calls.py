"""Wraps what a loop calls besides the loss: backward, clipping, zero_grad, schedulers, gradient scalers, data loaders,
fused attention, torch.save, torch.jit.script.

Each asks first whether torch traces it: `is_dynamo_compiling` takes one call where `is_compiling` takes two, and what
exports without Dynamo sets the flag. Not for: the optimizers' step, for which torch has hooks.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, compiler
from torch.amp import GradScaler
from torch.compiler import is_dynamo_compiling
from torch.nn import functional as F
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.overrides import has_torch_function
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from client_hook.numbers import is_bad
from client_hook.patches.attributes import Depth, Replacement, replace
from client_hook.patches.cuda_graphs import take_hooks
from client_hook.patches.tracing import is_traced

if TYPE_CHECKING:
    from client_hook.patches.hub import Ears

Wrapper = Callable[..., Any]
_ATTENTION = "scaled_dot_product_attention"
Loaders: TypeAlias = "weakref.WeakKeyDictionary[Any, Callable[[], Any]]"  # iterator → its loader


def install(ears: Ears) -> list[Replacement]:
    """Wraps them all."""
    installed = replace(torch.autograd, "backward", lambda original: _backward(ears, original))
    for replacement in installed:
        replacement.events = ("backward", "after_backward", "bad_loss")
    installed += _install_clipping(ears)
    cleared = replace(Optimizer, "zero_grad", lambda original: _zero_grad(ears, original))
    for replacement in cleared:
        replacement.events = ("zero_grad",)
    installed += cleared
    inside = Depth()
    for kind in _classes_with_step(lr_scheduler):
        installed += replace(kind, "step", lambda original: _scheduler_step(ears, original, inside))
    installed += replace(GradScaler, "scale", lambda original: _scale(ears, original))
    installed += replace(torch, "save", lambda original: _save(ears, original))
    installed += replace(torch.jit._recursive, "create_script_module", _script)
    fused = replace(F, _ATTENTION, partial(_Attention, ears))
    for replacement in fused:
        replacement.events, replacement.traced = ("attention",), True
    installed += fused
    loaders: Loaders = weakref.WeakKeyDictionary()
    installed += replace(DataLoader, "__iter__", lambda original: _loader_iter(original, loaders))
    installed += replace(_BaseDataLoaderIter, "__next__", lambda original: _loader_next(ears, original, loaders))
    return installed


def _backward(ears: Ears, original: Wrapper) -> Wrapper:
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            return original(tensors, *args, **kwargs)
        root = tensors if isinstance(tensors, Tensor) else _first_tensor(tensors)
        if root is None:
            return original(tensors, *args, **kwargs)
        for listen in ears.backward:
            listen(root)
        if ears.bad_loss and type(root) is Tensor and root.is_cpu and is_bad(root):
            for listen in ears.bad_loss:
                listen(root)
        result = original(tensors, *args, **kwargs)
        for listen in ears.after_backward:
            listen(root)
        return result

    return backward


def _first_tensor(tensors: Any) -> Tensor | None:
    first = tensors[0] if isinstance(tensors, (list, tuple)) and tensors else None
    return first if isinstance(first, Tensor) else None


def _zero_grad(ears: Ears, original: Wrapper) -> Wrapper:
    def zero_grad(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            return original(self, *args, **kwargs)
        result = original(self, *args, **kwargs)
        for listen in ears.zero_grad:
            listen(self)
        return result

    return zero_grad


def _scheduler_step(ears: Ears, original: Wrapper, inside: Depth) -> Wrapper:
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.level += 1
        try:
            result = original(self, *args, **kwargs)
        finally:
            inside.level -= 1
        # a chain of schedulers steps its parts, and each one steps itself once while it is made
        if inside.level == 0 and not getattr(self, "_is_initial", False):
            for listen in ears.scheduler_step:
                listen(self)
            if ears.plateau and isinstance(self, lr_scheduler.ReduceLROnPlateau):
                metric = args[0] if args else kwargs.get("metrics")
                for listen in ears.plateau:
                    listen(self, metric)
        return result

    return step


def _classes_with_step(module: Any) -> list[Any]:
    base = lr_scheduler.LRScheduler
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, base) and "step" in vars(item)
    ]


def _scale(ears: Ears, original: Wrapper) -> Wrapper:
    def scale(self: Any, outputs: Any) -> Any:
        result = original(self, outputs)
        for listen in ears.scale:
            listen(self)
        return result

    return scale


def _save(ears: Ears, original: Wrapper) -> Wrapper:
    def save(*args: Any, **kwargs: Any) -> Any:
        ears.saving = True
        try:
            result = original(*args, **kwargs)
        finally:
            ears.saving = False
        for listen in ears.saved:
            listen()
        return result

    return save


def _loader_iter(original: Wrapper, loaders: Loaders) -> Wrapper:
    def __iter__(self: DataLoader[Any]) -> Any:  # noqa: N807  the name of what it replaces
        iterator = original(self)
        # in `for batch in DataLoader(…)` nobody else keeps the loader; one with persistent workers keeps its iterator
        loaders[iterator] = weakref.ref(self) if self.persistent_workers else lambda: self
        return iterator

    return __iter__


def _loader_next(ears: Ears, original: Wrapper, loaders: Loaders) -> Wrapper:
    def __next__(self: Any) -> Any:  # noqa: N807
        began = perf_counter()
        batch = original(self)
        wait = perf_counter() - began
        reference = loaders.get(self)
        loader = reference() if reference is not None else None
        if loader is not None:
            first = getattr(self, "_num_yielded", 0) == 1
            for listen in ears.batch:
                listen(loader, wait, first)
            for listen in ears.drawn:
                listen(loader, batch)
        return batch

    return __next__


# -- clipping --------------------------------------------------------------------------------------------------------


def _install_clipping(ears: Ears) -> list[Replacement]:
    """Wraps the inner functions of clip_grad, so that a `clip_grad_norm_` imported by name earlier is seen too."""
    state = _Clipping()
    installed = replace(clip_grad, "_get_total_norm", lambda original: _total_norm(original, state))
    installed += replace(clip_grad, "_clip_grads_with_norm_", lambda original: _clip_with_norm(ears, original, state))
    installed += replace(
        clip_grad, "_group_tensors_by_device_and_dtype", lambda original: _group_tensors(ears, original, state)
    )
    # the public name for the same function was bound when torch was imported
    installed += replace(
        torch.nn.utils, "clip_grads_with_norm_", lambda original: _clip_with_norm(ears, original, state)
    )
    return installed


class _Clipping(Depth):
    """Remembers, per thread, the norm's type between the two halves of one clipping."""

    norm_type: float | None = 2.0


def _total_norm(original: Wrapper, state: _Clipping) -> Wrapper:
    def _get_total_norm(tensors: Any, norm_type: float = 2.0, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            return original(tensors, norm_type, *args, **kwargs)
        state.level += 1
        try:
            return original(tensors, norm_type, *args, **kwargs)
        finally:
            state.level -= 1
            state.norm_type = norm_type

    return _get_total_norm


def _clip_with_norm(ears: Ears, original: Wrapper, state: _Clipping) -> Wrapper:
    def _clip_grads_with_norm_(parameters: Any, max_norm: Any, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            return original(parameters, max_norm, total_norm, *args, **kwargs)
        listed = parameters
        if not isinstance(parameters, (list, tuple)):
            if isinstance(parameters, Tensor):
                listed = [parameters]
            elif isinstance(parameters, Iterable):
                parameters = listed = list(parameters)  # a generator can be read only once
        for listen in ears.clip:
            listen("norm", listed, max_norm, total_norm, state.norm_type)
        state.level += 1
        try:
            return original(parameters, max_norm, total_norm, *args, **kwargs)
        finally:
            state.level -= 1

    return _clip_grads_with_norm_


def _group_tensors(ears: Ears, original: Wrapper, state: _Clipping) -> Wrapper:
    """Sees `clip_grad_value_`, which calls no other inner function; its limit is a local of the caller."""

    def _group_tensors_by_device_and_dtype(*args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or compiler._is_compiling_flag:
            return original(*args, **kwargs)
        if state.level == 0 and ears.clip:
            caller = sys._getframe(1)
            if caller.f_code.co_name == "clip_grad_value_":
                local = caller.f_locals
                for listen in ears.clip:
                    listen("value", list(local.get("grads", ())), local.get("clip_value"), None, None)
        return original(*args, **kwargs)

    return _group_tensors_by_device_and_dtype


def _script(original: Wrapper) -> Wrapper:
    """Takes our hooks off a module that is scripted, because a script would hold them, and cannot."""

    def create_script_module(nn_module: Any, *args: Any, **kwargs: Any) -> Any:
        taken = [(module, take_hooks(module)) for module in nn_module.modules()]
        try:
            return original(nn_module, *args, **kwargs)
        finally:
            for module, hooks in taken:
                module._forward_hooks.update(hooks)

    return create_script_module


class _Attention:
    """Sees fused attention, `nn.MultiheadAttention`'s too; not what is written out as products and a softmax.

    As a builtin function it binds to no object, and what keeps it is copied and saved with the original.
    """

    def __init__(self, ears: Ears, original: Wrapper) -> None:
        self._ears = ears
        self._original = original

    def __reduce__(self) -> tuple[Any, ...]:
        return copy, (self._original,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        original = self._original
        if is_dynamo_compiling() or compiler._is_compiling_flag or is_traced():
            return original(*args, **kwargs)
        # what handles torch's functions itself is handed the original, and may look for it under its name
        hidden = getattr(F, _ATTENTION) is self and has_torch_function((*args, *kwargs.values()))
        if hidden:
            setattr(F, _ATTENTION, original)
        try:
            result = original(*args, **kwargs)
        finally:
            if hidden:
                setattr(F, _ATTENTION, self)
        for listen in self._ears.attention:
            listen(args, kwargs)
        return result

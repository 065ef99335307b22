"""Wraps the low-level loss functions that `torch.nn.functional` looks up each time it is called.

Wrapping these, and not `F.cross_entropy`, also sees names imported earlier and modules such as `nn.CrossEntropyLoss`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from torch import Tensor, compiler

from client_hook.numbers import is_bad
from client_hook.patches.attributes import Replacement, replace
from client_hook.patches.tracing import is_traced

if TYPE_CHECKING:
    from client_hook.patches.hub import Ears

_NN = torch._C._nn
_get_tracing_state = torch._C._get_tracing_state
LEAST = -1e300  # of the numbers; what lies below is no loss
ANY = float("inf")  # in place of a bound: where the backward begins at something else, that is looked at there

# (where it is looked up, its name there, what users call it)
FUNCTIONS: tuple[tuple[Any, str, str], ...] = (
    (_NN, "cross_entropy_loss", "cross_entropy"),
    (_NN, "nll_loss_nd", "nll_loss"),
    (_NN, "binary_cross_entropy", "binary_cross_entropy"),
    (torch, "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits"),
    (_NN, "mse_loss", "mse_loss"),
    (_NN, "l1_loss", "l1_loss"),
    (_NN, "smooth_l1_loss", "smooth_l1_loss"),
    (_NN, "huber_loss", "huber_loss"),
    (torch, "kl_div", "kl_div"),
    (torch, "poisson_nll_loss", "poisson_nll_loss"),
    (_NN, "soft_margin_loss", "soft_margin_loss"),
    (_NN, "multi_margin_loss", "multi_margin_loss"),
    (_NN, "multilabel_margin_loss", "multilabel_margin_loss"),
    (torch, "hinge_embedding_loss", "hinge_embedding_loss"),
    (torch, "margin_ranking_loss", "margin_ranking_loss"),
    (torch, "cosine_embedding_loss", "cosine_embedding_loss"),
    (torch, "triplet_margin_loss", "triplet_margin_loss"),
    (torch, "ctc_loss", "ctc_loss"),
)


def install(ears: Ears) -> list[Replacement]:
    """Wraps every loss function that this torch has."""
    installed: list[Replacement] = []
    for owner, name, function in FUNCTIONS:
        installed += replace(owner, name, _wrapper_of(ears, function))
    return installed


def _wrapper_of(ears: Ears, function: str) -> Callable[[Any], Callable[..., Any]]:
    def make(original: Any) -> Callable[..., Any]:
        def loss_function(*args: Any, **kwargs: Any) -> Any:
            if _get_tracing_state():
                return original(*args, **kwargs)
            try:
                result = original(*args, **kwargs)
            except BaseException:
                for listen in () if compiler._is_compiling_flag else ears.loss_failed:
                    listen(function, args, kwargs)
                raise
            bound = ears.bound  # in plain steps this is all: after a training step each question takes a microsecond
            if bound is not None and type(result) is Tensor and result.requires_grad:
                try:
                    if bound is ANY or LEAST <= result.item() <= bound:
                        ears.seen = args[1]
                        return result
                except (RuntimeError, TypeError):  # inside a functional transform it has no value; or it is complex
                    if not result.ndim:
                        return result
                except IndexError:
                    pass
            if compiler._is_compiling_flag or is_traced():
                return result
            for listen in ears.loss_call:
                listen(function, args, kwargs, result)
            if type(result) is Tensor and result.requires_grad:
                if not result.is_cpu:
                    ears.elsewhere = True
                if len(args) > 1 and type(args[1]) is Tensor:
                    turned = args[1].requires_grad and not getattr(args[0], "requires_grad", True)
                    ears.targets, ears.result, ears.seen = ref(args[not turned]), ref(result), None
                if ears.bad_result and result.is_cpu and not result.ndim and is_bad(result):
                    for listen in ears.bad_result:
                        listen(result)
            else:
                for listen in ears.unlearned:
                    listen(function, args, kwargs, result)
            return result

        loss_function._torchdynamo_inline = original  # type: ignore[attr-defined]  # Dynamo sees that alone
        return loss_function

    return make

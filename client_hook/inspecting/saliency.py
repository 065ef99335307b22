"""Says which inputs the answer of a model hangs on: the size of the gradient of the largest output with respect to each
input (Simonyan, Vedaldi and Zisserman 2014, "Deep inside convolutional networks").

Of texts it is the norm of the gradient at the word's vector. Not for: causes; a gradient is of one place alone.
"""

from __future__ import annotations

from math import isfinite, isqrt
from typing import Any

import torch
from torch import Tensor

from client_hook.guard import attempted
from client_hook.inspecting.feeding import Fed
from client_hook.inspecting.pictures import packed

MOST_SAMPLES = 4
MOST_FEATURES = 64
MOST_TOKENS = 128


def of(answer: Tensor, fed: Fed, embedded: tuple[Tensor, Tensor] | None) -> tuple[dict[str, Any] | None, str]:
    """Gives the saliency of a batch, or a sentence why there is none."""
    if not answer.requires_grad:
        return None, "saliency: the output has no gradient (look for detach(), argmax or no_grad() in the model)"
    watched = list(fed.watched.values())
    vectors = [] if embedded is None else [embedded[1]]
    if not watched and not vectors:
        return None, "saliency: the model got neither floats nor words through nn.Embedding"
    total, what = _asked(answer, last=not watched)
    found, error = attempted(_gradients, total, [*watched, *vectors])
    if error is not None:
        return None, f"saliency: the backward failed ({type(error).__name__}: {str(error).strip()[:200]})"
    gradients = dict(zip(fed.watched, found, strict=False))
    about: dict[str, Any] = {"of": what, "unused": [name for name, item in gradients.items() if item is None]}
    if embedded is not None and found[-1] is not None:
        sizes = found[-1].float().norm(dim=-1)[:MOST_SAMPLES, :MOST_TOKENS]
        ids = embedded[0][:MOST_SAMPLES, :MOST_TOKENS]
        return about | {"kind": "tokens", "ids": ids.tolist(), "map": packed(sizes.unsqueeze(1), 1, MOST_TOKENS)}, ""
    name, gradient = next(((name, item) for name, item in gradients.items() if item is not None), ("", None))
    if gradient is None:
        return about | {"kind": "none"}, ""
    return about | {"input": name} | _shown(fed.watched[name].detach(), gradient, answer.detach()), ""


def _gradients(total: Tensor, asked: list[Tensor]) -> Any:
    return torch.autograd.grad(total, asked, allow_unused=True)


def _asked(answer: Tensor, *, last: bool) -> tuple[Tensor, str]:
    if last and answer.ndim == 3:
        return answer[:, -1].max(1).values.sum(), "the largest output at the last position of each sample"
    if answer.ndim == 2 and answer.shape[1] > 1:
        return answer.max(1).values.sum(), "the largest output of each sample"
    if answer.numel() <= max(answer.shape[0] if answer.ndim else 1, 1):
        return answer.sum(), "the output of each sample"
    return answer.float().square().sum() / 2, "the length of all outputs"


def _shown(given: Tensor, gradient: Tensor, answer: Tensor) -> dict[str, Any]:
    sizes, values = gradient.float().abs(), given.float()
    if values.ndim == 2 and (side := isqrt(values.shape[1])) ** 2 == values.shape[1] and side >= 4:
        sizes, values = sizes.reshape(-1, 1, side, side), values.reshape(-1, 1, side, side)  # a flattened picture
    elif values.ndim == 2:
        return {"kind": "features", "shares": _shares(gradient)}
    if values.ndim == 3:
        sizes, values = sizes.unsqueeze(1), values.unsqueeze(1)
    while values.ndim > 4:
        sizes, values = sizes[:, :, sizes.shape[2] // 2], values[:, :, values.shape[2] // 2]
    if values.ndim != 4:
        return {"kind": "none"}
    some = values[:MOST_SAMPLES]
    colour = some.shape[1] == 3
    shown = some if colour else some[:, 0]
    answers = answer[:MOST_SAMPLES].argmax(1).tolist() if answer.ndim == 2 and answer.shape[1] > 1 else []
    return {
        "kind": "pictures",
        "pictures": packed(shown, planes=3 if colour else 1),
        "map": packed(sizes[:MOST_SAMPLES].amax(1)),
        "answers": answers,
    }


def _shares(gradient: Tensor) -> list[float | None]:
    """Gives the mean size of the gradient of each column, as a share of all, None where it is not finite; of many
    columns none."""
    if gradient.shape[1] > MOST_FEATURES:
        return []
    sizes = gradient.double().abs().mean(0).tolist()
    total = sum(item for item in sizes if isfinite(item)) or 1.0
    return [round(item / total, 6) if isfinite(item) else None for item in sizes]

"""Wraps the low-level dropout functions that `torch.nn.functional` looks up each time it is called.

They are wrapped only while somebody asks for it (a loop that validates), so that a training step is never slower by
it. Not for: dropout inside fused attention (attention) or inside a fused recurrent layer.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.compiler import is_compiling

from client_hook.patches.attributes import Replacement

if TYPE_CHECKING:
    from client_hook.patches.hub import Ears

_VF: Any = torch._VF
NAMES = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")


class _Shadow(Replacement):
    """Hides a name that torch._VF looks up elsewhere, and uncovers it again."""

    def restore(self) -> None:
        """Takes the wrapper away; the name is looked up elsewhere, as before."""
        super().restore()
        if vars(self.owner).get(self.name) is self.original:
            delattr(self.owner, self.name)


def install(ears: Ears) -> list[Replacement]:
    """Wraps every dropout function that this torch has, the ones that work in place too."""
    installed: list[Replacement] = []
    for name in NAMES:
        for variant in (name, f"{name}_"):
            original = getattr(_VF, variant, None)
            if original is not None and variant not in vars(_VF):
                wrapper = functools.update_wrapper(_wrapper(ears, name, original), original)
                replacement = _Shadow(_VF, variant, original, wrapper)
                replacement.install()
                installed.append(replacement)
    return installed


def _wrapper(ears: Ears, name: str, original: Any) -> Callable[..., Any]:
    def dropout(tensor: Any, p: float, train: bool) -> Any:
        result = original(tensor, p, train)
        if not is_compiling():  # Dynamo folds this away
            for listen in ears.dropout:
                listen(name, p, train)
        return result

    return dropout


def calling_module() -> nn.Module | None:
    """Gives the module whose method called the function that asks; None where no module did."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return owner
        frame = frame.f_back
    return None

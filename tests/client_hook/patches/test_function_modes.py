"""What handles torch's functions itself, a mode or a class of tensors, is handed those that it knows by name."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from client_hook.patches.hub import Patches

ORIGINAL = F.scaled_dot_product_attention
LOSSES = (F.cross_entropy, F.mse_loss, F.binary_cross_entropy_with_logits, F.kl_div)


class Ear:
    """Counts the calls of fused attention."""

    heard = 0

    def attention(self, args: Any, kwargs: Any) -> None:
        self.heard += 1


@pytest.fixture
def ear() -> Iterator[Ear]:
    hub, ear = Patches(), Ear()
    hub.subscribe(ear)
    assert F.scaled_dot_product_attention is not ORIGINAL
    yield ear
    assert F.scaled_dot_product_attention is not ORIGINAL, "it is heard again"
    hub.unsubscribe(ear)
    assert F.scaled_dot_product_attention is ORIGINAL


def handled(func: Any, args: Any, kwargs: Any) -> Any:
    """Answers the query, where the function is known by its present name and by the one of earlier."""
    if func is F.scaled_dot_product_attention and func is ORIGINAL:
        return (*args, *(kwargs or {}).values())[0]
    with torch._C.DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


class Mode(TorchFunctionMode):
    """Replaces fused attention."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return handled(func, args, kwargs)


class Own(Tensor):
    """Replaces fused attention of its own kind."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return handled(func, args, kwargs)


@pytest.mark.parametrize("named", [False, True])
def test_a_mode_and_a_subclass_know_fused_attention(ear: Ear, named: bool) -> None:
    def attend(query: Tensor) -> Tensor:
        given = {"query": query, "key": query * 2, "value": query * 3}
        attention = F.scaled_dot_product_attention
        return attention(**given) if named else attention(*given.values())

    query = torch.randn(1, 4, 8)
    with Mode():
        assert attend(query) is query
    own = query.as_subclass(Own)
    assert attend(own) is own
    assert not torch.equal(attend(query), query)
    assert ear.heard == 3


def test_fused_attention_is_heard_again_after_a_mode_that_raised(ear: Ear) -> None:
    class Raising(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise LookupError

    query = torch.randn(1, 4, 8)
    with pytest.raises(LookupError), Raising():
        F.scaled_dot_product_attention(query, query, query)


@pytest.mark.filterwarnings("ignore:reduction")
def test_a_mode_knows_the_loss_functions(ear: Ear) -> None:
    seen = []

    class Listing(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Listing():
        for loss in LOSSES:
            loss(torch.full((2, 3), 0.5), torch.full((2, 3), 0.5))
    assert [func for func in seen if func in LOSSES] == list(LOSSES)


def test_what_keeps_the_attention_is_copied_and_saved_as_without_us(ear: Ear) -> None:
    class Kept:
        of_class = F.scaled_dot_product_attention

    kept = nn.Module()
    kept.attention = F.scaled_dot_product_attention  # type: ignore[assignment]
    query = torch.randn(1, 2, 3, 4)
    torch.testing.assert_close(Kept().of_class(query, query, query), ORIGINAL(query, query, query))
    assert ear.heard == 1, "it is a builtin function's stand-in, so it binds to no object"
    assert copy.deepcopy(kept).attention is ORIGINAL
    assert pickle.loads(pickle.dumps(kept)).attention is ORIGINAL
    file = io.BytesIO()
    torch.save(kept, file)
    file.seek(0)
    assert torch.load(file, weights_only=False).attention is ORIGINAL

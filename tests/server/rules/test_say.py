"""What advice writes as Python can be pasted into a program."""

from __future__ import annotations

import pytest
from torch import nn

from server.rules._layers import Parameter
from server.rules._say import in_python


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.MultiheadAttention(4, 2)])
        self.head = nn.Linear(4, 2)


def test_a_name_becomes_the_expression_that_reaches_it() -> None:
    for model in (Blocks(), nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2)))):
        named = [*model.named_parameters(), *model.named_modules()]
        for name, item in named:
            assert eval(in_python(name), {"model": model}) is item, name


def test_what_is_no_name_in_python_is_quoted() -> None:
    heads = nn.ModuleDict({"left-eye": nn.Linear(2, 2)})
    model = nn.Module()
    model.heads = heads
    assert eval(in_python("heads.left-eye.weight"), {"model": model}) is heads["left-eye"].weight
    assert in_python("model.weight") == "model.model.weight"
    assert in_python("") == "model"


@pytest.mark.parametrize(("layer", "name", "owner"), [("0", "0.weight", "0"), ("model", "scale", "scale")])
def test_advice_for_a_parameter_of_the_model_itself_names_it_alone(layer: str, name: str, owner: str) -> None:
    item = Parameter(
        name=name,
        layer=layer,
        layer_type="Linear",
        shape=(2,),
        numel=2,
        trainable=True,
        std=None,
        order=None,
        groups=(),
    )
    assert item.owner == owner

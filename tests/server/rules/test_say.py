"""What advice writes as Python can be pasted into a program."""

from __future__ import annotations

from torch import nn

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


def test_a_model_of_one_layer_is_the_model() -> None:
    assert in_python("model") == "model"
    assert in_python("weight") == "model.weight"
    assert in_python("blocks.0.0.weight") == "model.blocks[0][0].weight"

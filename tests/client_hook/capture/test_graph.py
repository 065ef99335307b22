"""What the graph of the first backwards tells of a model: the fact `graph`, and graphs that somebody holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.capture.test_crossed import graph_of
from tests.client_hook.tape import taped


def test_the_graph_names_what_the_loss_does_not_reach() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lost = nn.Linear(8, 8)
            self.head = nn.Linear(8, 5)
            self.blocks = [nn.Linear(5, 5)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](self.head(self.lost(x).detach()))

    torch.manual_seed(0)
    graph = last(train(model=Detached()), "graph")
    assert graph["unreached"] == ["lost.weight", "lost.bias"]
    assert sorted(item["shape"] for item in graph["unregistered"]) == [[5], [5, 5]]
    assert graph["root"] == "NllLossBackward0"


def test_the_graph_names_what_inputs_are_multiplied_by_and_no_other_table() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.product = nn.Parameter(torch.randn(8, 6))
            self.rates = nn.Parameter(torch.linspace(-5, 0, 6).repeat(6, 1))
            self.head = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((x @ self.product).unsqueeze(1) * self.rates.exp()).sum(1)

    torch.manual_seed(0)
    factors = last(train(model=Own()), "graph")["factors"]
    assert factors == ["head.weight", "product"]


def test_what_a_layer_is_given_is_no_weight_though_it_is_learned() -> None:
    class Coded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Parameter(torch.randn(4, 16))
            self.made, self.head = nn.Linear(16, 8), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x * self.made(self.code).mean(0))

    assert last(train(model=Coded()), "graph")["factors"] == ["head.weight", "made.weight"]


def test_the_graph_names_parameters_whose_size_is_part_of_the_loss() -> None:
    def penalised(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        ways = model[0].weight.abs().sum() + model[0].bias.pow(2).sum() + model[2].weight.norm()
        loss = F.cross_entropy(2.0 * model(inputs), labels) + ways + (model[2].bias * model[2].bias).sum()
        loss.backward()
        optimizer.step()
        return loss

    assert last(train(penalised), "graph")["penalised"] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert last(train(), "graph")["penalised"] == []


def _squared(model: nn.Module, wanted: torch.Tensor) -> torch.Tensor:
    loss = ((model(torch.randn(12, 8)) - wanted) ** 2).mean()
    loss.backward()
    return loss


def test_the_graph_tells_what_each_softmax_goes_over_and_what_a_loss_averages() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.looks, self.head = nn.Linear(2, 4), nn.Linear(4, 1)
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.looks(x.reshape(len(x), 4, 2))
            weights = (seen @ seen.transpose(1, 2)).softmax(0)
            return self.head(self.block(weights @ seen).mean(1))

    torch.manual_seed(0)
    model = Attention()
    tape = train(lambda *_: _squared(model, torch.randn(12)), model=model, steps=3)
    graph = last(tape, "graph")
    assert [0, 12, 4, 4] in graph["softmaxes"]
    assert list(graph["reduced"]) == [12, 12]
    assert last(tape, "model")["time_first"] == ["block.self_attn"]


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (torch.ones(80, 80).tril(), [80, 0, 0]),
        (torch.ones(80, 80).triu(), [0, 80, 0]),
        (torch.ones(80, 80), [80, 80, 80]),
        (torch.ones(80, 80).tril(8), [80, 80, 0]),
    ],
    ids=["causal", "upside down", "none", "prefix"],
)
def test_the_graph_tells_what_attention_that_is_written_out_shows(mask: torch.Tensor, seen: list[int]) -> None:
    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        x = model(torch.randn(3, 80, 4))
        scores = (x @ x.mT).masked_fill(mask == 0, float("-inf"))
        loss = (scores.softmax(-1) @ x).mean() + x.softmax(-1).sum() + (x @ x.mT).softmax(1).sum()
        loss.backward()
        return loss

    assert last(train(body, model=nn.Linear(4, 4), steps=3), "graph")["sees"] == [seen]


def test_a_product_of_two_that_are_computed_ends_a_row_of_layers() -> None:
    """Values, answers and what follows are three layers in a row, but attention between them is no line."""
    heads = nn.MultiheadAttention(8, 2, batch_first=True)

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        values = model[0](torch.randn(3, 5, 8))
        loss = model[2](model[1](values, values, values, need_weights=True)[0]).square().mean()
        loss.backward()
        return loss

    graph = last(train(body, model=nn.ModuleList([nn.Linear(8, 8), heads, nn.Linear(8, 8)]), steps=3), "graph")
    assert graph["weighted"] == 4
    assert [(run["weighted"], run["last"]) for run in graph["linear_runs"]] == [(2, "MmBackward0"), (2, "2")]
    assert graph["activations"] == 3, "the softmax, what its scores are a product of, and what it weighs"


def test_a_layer_that_is_called_twice_is_named_once() -> None:
    """Two views of each picture go through the same encoder, as in self-supervised learning."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        one, two = model(torch.randn(12, 8)), model(torch.randn(12, 8))
        loss = (one - two).square().mean()
        loss.backward()
        return loss

    layers = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())
    graph = last(train(body, model=layers, steps=3), "graph")
    assert graph["weighted_before_norm"] == [{"layer": "2", "norm": "3"}]
    assert graph["dropout_before_norm"] == [{"dropout": "1", "p": 0.1, "norm": "3", "weighted_between": True}]


def test_what_a_way_around_a_block_adds_up_ends_a_row_of_layers() -> None:
    """The shortcuts of residual blocks, from convolution to convolution, are in no row: what they join is bent."""

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.one, self.two, self.around = (nn.Linear(size, outputs) for size in (inputs, outputs, inputs))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.around(x) + self.two(self.one(x.relu()).relu())

    model = nn.Sequential(nn.Linear(8, 8), Block(8, 6), nn.Linear(6, 6), Block(6, 4), nn.Linear(4, 1))

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        loss = (model(torch.randn(12, 8)) - 1).square().mean()
        loss.backward()
        return loss

    runs = last(train(body, model=model, steps=3), "graph")["linear_runs"]
    assert {(run["first"], run["last"]) for run in runs} == {("0", "1.around"), ("2", "3.around")}


def test_a_way_around_that_nothing_bends_is_in_a_row_of_layers() -> None:
    """So are the two matrices of low rank beside one, and the sum of two straight ways."""

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        x = model[0](torch.randn(12, 8)).relu()
        loss = model[3](x + model[2](model[1](x))).square().mean()
        loss.backward()
        return loss

    layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 2), nn.Linear(2, 8), nn.Linear(8, 1)])
    runs = last(train(body, model=layers, steps=3), "graph")["linear_runs"]
    assert [(run["first"], run["last"], run["weighted"]) for run in runs] == [("1", "3", 3)]


def test_a_product_with_a_sparse_matrix_is_no_activation() -> None:
    neighbours = torch.eye(12).to_sparse()

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        inputs, labels = batch(step)
        first, second = model.children()
        loss = F.cross_entropy(second(torch.sparse.mm(neighbours, first(inputs))), labels)
        loss.backward()
        return loss

    graph = last(train(body, model=nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 5)), steps=3), "graph")
    assert [(run["first"], run["last"]) for run in graph["linear_runs"]] == [("0", "1")]
    assert graph["activations"] == 0


def test_the_graph_tells_views_that_count_rows_anew_and_what_is_squashed_twice() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(4, 6), nn.Linear(12, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.first(x.view(3, 12, 4)).permute(1, 0, 2)  # a view where a transpose was meant
            return self.head(seen.reshape(18, 12)).sigmoid().view(-1).sigmoid()

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        loss = model(torch.randn(12, 3, 4)).mean()
        loss.backward()
        return loss

    graph = last(train(body, model=Turned(), steps=3), "graph")
    assert [[12, 3, 4], [3, 12, 4]] in graph["views"]
    assert [[12, 3, 6], [18, 12]] in graph["views"]
    assert graph["twice"] == ["SigmoidBackward0"]


def test_the_graph_names_weights_between_two_sines_and_the_frequency() -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, x):
            return self.last(torch.sin(30 * self.second(torch.sin(30 * self.first(x)))))

    assert last(train(model=Waves()), "graph")["sines"] == {"second.weight": 30.0}
    assert last(train(model=classifier()), "graph")["sines"] == {}


@pytest.mark.parametrize(("kept", "held"), [(lambda loss: loss, 20), (lambda loss: loss.detach(), None)])
def test_graphs_that_somebody_holds_are_counted(kept, held) -> None:
    total = torch.zeros(())

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        nonlocal total
        loss = usual(step, model, optimizer)
        total = total + kept(loss)
        return loss

    facts = train(body, steps=24).facts("kept_graphs")
    assert [fact["held"] for fact in facts] == ([held] if held else [])


def test_graphs_that_are_let_go_are_told_at_the_end() -> None:
    kept: list[torch.Tensor] = []

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        kept.append(usual(step, model, optimizer))
        loss = kept[-1]
        if step == 109:
            kept.clear()  # an epoch without a data loader
        return loss

    assert [fact["held"] for fact in train(body, steps=120).facts("kept_graphs")] == [20, 0]


def test_a_monitor_that_was_never_finished_holds_no_graph_of_the_next() -> None:
    forgotten = classifier()
    before, _ = taped(forgotten, torch.optim.SGD(forgotten.parameters(), lr=0.1))  # its cell of a notebook failed
    assert train(steps=120).facts("kept_graphs") == []
    before.finish(timeout=0.1)


GAIN = torch.linspace(-1, 1, 12)[:, None]


@pytest.mark.parametrize(
    ("objective", "found"),
    [
        (lambda ratio: -torch.min(ratio * GAIN, ratio.clamp(0.8, 1.2) * GAIN), True),
        (lambda ratio: torch.max(-GAIN * ratio, -GAIN * torch.clamp(ratio, 0.8, 1.2)), True),
        (lambda ratio: torch.max(ratio, torch.tensor(0.5)).clamp(0.1, 2.0), False),
        (lambda ratio: torch.max(ratio * GAIN, ratio.square().clamp(0.8, 1.2)), False),
    ],
    ids=["min", "max", "floor", "another"],
)
def test_the_clipped_ratio_of_a_policy_is_told(objective, found) -> None:
    chosen = torch.arange(12)[:, None] % 5

    def loss(model: nn.Module) -> torch.Tensor:
        chances = model(batch(0)[0]).log_softmax(1).gather(1, chosen)
        return objective((chances - chances.detach() + 0.1).exp()).mean()

    assert graph_of(loss, classifier())["clipped_ratio"] is found

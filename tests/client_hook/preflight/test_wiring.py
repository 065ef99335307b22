"""GW301, GW302, GW313, GW103, GW104, GW432: what is connected to what, against oracles that try every pair."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.client_hook.capture.test_left_over import Chain
from tests.client_hook.preflight.kit import HEALTHY, After, Before, Case, changed, healthy_report, seeded
from tests.corpus import models

# -- GW301: every parameter gets a gradient ----------------------------------------------------------------------------


class Detached(nn.Module):
    """A trunk whose result loses its graph before the head."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x).detach())


class Idle(nn.Module):
    """Owns a layer that its forward forgets."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.spare = model, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def without_gradient(case: Case) -> list[str]:
    """The oracle: backward once, and list what got nothing."""
    case.model.zero_grad(set_to_none=True)
    case.subject().run().loss.backward()
    return sorted(name for name, item in case.model.named_parameters() if item.grad is None)


def detached(name: str) -> Case:
    case = seeded(HEALTHY[name])
    outputs = {"mlp": 3, "cnn": 4, "lstm": 2}[name]
    return changed(case, Detached(case.model, nn.Linear(outputs, outputs)))


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
@pytest.mark.parametrize("sick", ["detached", "idle"])
def test_parameters_that_the_loss_does_not_reach_are_named(name: str, sick: str) -> None:
    case = detached(name) if sick == "detached" else changed(seeded(HEALTHY[name]), Idle(seeded(HEALTHY[name]).model))
    cut = without_gradient(case)
    result = case.check("GW301")
    assert cut
    assert (result.verdict, result.severity) == ("found", "error")
    assert result.message.startswith(f"{len(cut)} of {sum(1 for _ in case.model.parameters())} parameters do not reach")
    assert result.layers == list(dict.fromkeys(item.rpartition(".")[0] for item in cut))
    assert ("`spare` is never called" in result.message) == (sick == "idle")


def test_the_end_of_a_chain_of_blocks_passes() -> None:
    case = changed(seeded(HEALTHY["mlp"]), nn.Sequential(nn.Flatten(), nn.LazyLinear(8), Chain()))
    case.model(next(iter(case.loader))[0])
    result = case.check("GW301")
    assert without_gradient(case) == ["2.blocks.2.back.bias", "2.blocks.2.back.weight"]
    assert result.verdict == "passed"
    assert "but for 2 at the end of a chain of blocks (`2.blocks.2.back.bias`" in result.message


@pytest.mark.parametrize("name", HEALTHY)
def test_a_connected_model_passes(name: str) -> None:
    assert without_gradient(seeded(HEALTHY[name])) == []
    result = healthy_report(name)["GW301"]
    assert result.verdict == "passed"
    assert result.curves["gradient norms at the start"]["y"]


def test_a_dead_branch_is_a_warning_and_a_zero_start_is_not() -> None:
    case = seeded(HEALTHY["mlp"])
    with torch.no_grad():
        case.model[2].bias.fill_(-100.0)  # every unit of the second layer is off for every input
    assert case.check("GW301").severity == "warning"
    zero_head = seeded(HEALTHY["mlp"])
    nn.init.zeros_(zero_head.model[-1].weight)
    assert zero_head.check("GW301").verdict == "passed", "gradients come once the head has moved"


# -- GW302: the optimizer and the model know the same parameters -------------------------------------------------------


class Listed(nn.Module):
    """Keeps its layers in a list."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers, self.head = [nn.Linear(inputs, 8)], nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers[0](x.flatten(1)).relu())


@pytest.mark.parametrize("name", HEALTHY)
def test_what_the_optimizer_lacks_is_named(name: str) -> None:
    case = seeded(HEALTHY[name])
    some = list(case.model.parameters())[:-2]
    case.optimizer = torch.optim.SGD(some, 0.1)
    result = case.check("GW302")
    held = {id(item) for item in some}
    missing = [key for key, item in case.model.named_parameters() if id(item) not in held]
    assert result.severity == "error"
    assert result.numbers["missing"] == len(missing) == 2
    assert f"`{missing[0]}`" in result.message
    assert healthy_report(name)["GW302"].verdict == "passed"


@pytest.mark.parametrize(("name", "inputs"), [("mlp", 8), ("cnn", 64), ("lstm", 24)])
def test_layers_in_a_plain_list_are_found(name: str, inputs: int) -> None:
    result = changed(seeded(HEALTHY[name]), Listed(inputs, 4)).check("GW302")
    assert result.message.startswith("2 parameters of the loss belong to no module")


def test_a_parameter_that_is_in_the_optimizer_twice_is_found() -> None:
    case = seeded(HEALTHY["mlp"])
    parameters = list(case.model.parameters())
    with pytest.warns(UserWarning, match="duplicate"):
        case.optimizer = torch.optim.SGD([*parameters, parameters[0]], 0.1)
    assert case.check("GW302").message == "1 parameters are in the optimizer twice"
    case.optimizer = None
    assert case.check("GW302").verdict == "not_evaluated"


# -- GW103: no sample sees another -------------------------------------------------------------------------------------


def leaks(case: Case, count: int = 6) -> float:
    """The oracle: replaces each sample in turn, and compares the answer for each other one."""
    model, (x, _) = case.model.eval(), case.batch
    worst = 0.0
    with torch.no_grad():
        torch.manual_seed(0)
        before = model(x[:count])
        for j in range(count):
            other = x[:count].clone()
            other[j] = x[count]
            torch.manual_seed(0)
            after = model(other)
            for i in range(count):
                if i != j:
                    size = before[i].square().mean().sqrt()
                    worst = max(worst, float((after[i] - before[i]).abs().max() / size))
    return worst


def mixed(x: Tensor) -> Tensor:
    """Relabels the memory where a transposition is meant."""
    return x + 0.1 * x.flatten().view(-1, len(x)).mean(0).view(-1, *[1] * (x.ndim - 1)).roll(1, 0)


SICK_BATCH = {
    "mlp": lambda model: After(model, lambda out: out.softmax(0)),
    "cnn": lambda model: After(model, lambda out: out - out.mean(0)),
    "lstm": lambda model: Before(model, mixed),
    "gpt": lambda model: After(model, lambda out: out + 0.01 * out.flip(0)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_sample_that_sees_another_is_found(name: str) -> None:
    case = seeded(HEALTHY[name])
    case = changed(case, SICK_BATCH[name](case.model))
    result = case.check("GW103")
    assert leaks(case) > 1e-4
    assert (result.verdict, result.severity) == ("found", "error")
    assert result.numbers["change"] > 1e-4


@pytest.mark.parametrize("name", HEALTHY)
def test_samples_apart_pass_and_batch_norm_is_no_leak(name: str) -> None:
    result = healthy_report(name)["GW103"]
    assert leaks(seeded(HEALTHY[name])) < 1e-5
    assert result.verdict == "passed"
    assert result.numbers["change"] < 1e-5


def test_batch_first_forgotten_is_found_where_the_loader_tells_the_batch() -> None:
    case = seeded(HEALTHY["lstm"])
    case.model.cells.batch_first = False
    case.model.head = nn.Linear(24, 2)
    assert case.check("GW103").severity == "error", "16 samples of 12 steps run as 12 samples of 16 steps"


class SequenceFirst(nn.Module):
    """An LSTM as PyTorch makes it by default."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(2, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][-1])


def test_sequences_first_are_understood() -> None:
    case = seeded(HEALTHY["lstm"])
    x, y = case.batch
    case = changed(case, SequenceFirst(), batch=(x.transpose(0, 1), y), loader=None)
    report = case.report("GW103", "GW101")
    assert [item.verdict for item in report.results] == ["passed", "passed"]
    unclear = Case(
        SequenceFirst(), lambda out, y: F.mse_loss(out, y[0, :, :2]), (torch.randn(7, 7, 2), torch.randn(7, 7, 2))
    )
    assert "cannot be told" in unclear.check("GW103").reason


def test_as_many_features_as_samples_are_not_taken_for_samples() -> None:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(8, 32)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            found = self.net(x)
            return found, found.view(-1, 8)  # four rows a sample, and eight samples are looked at

    case = Case(Codes(), lambda output, y: F.cross_entropy(output[0], y), (torch.randn(16, 8), torch.arange(16)))
    assert case.check("GW103").verdict == "passed"


def test_too_few_samples_and_batch_statistics_are_said() -> None:
    x, y = seeded(HEALTHY["mlp"]).batch
    small = Case(models.mlp(8, 3), F.cross_entropy, (x[:2], y[:2]))
    assert small.check("GW103").reason == "needs a batch of at least 3 samples, this one has 2"
    blind = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3, track_running_stats=False))
    assert "uses the batch in evaluation too" in Case(blind, F.cross_entropy, (x, y)).check("GW103").reason


# -- GW104: no position sees a later one -------------------------------------------------------------------------------


class Convolved(nn.Module):
    """A causal convolution over tokens, or one that also looks ahead."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.tokens, self.net, self.ahead = nn.Embedding(17, 8), nn.Conv1d(8, 17, 3), ahead

    def forward(self, x: Tensor) -> Tensor:
        return self.net(F.pad(self.tokens(x).transpose(1, 2), (2 - self.ahead, self.ahead)))


class Recurrent(nn.Module):
    """An LSTM over tokens, in one direction or both; positions in dimension 1."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(17, 8)
        self.cells = nn.LSTM(8, 12, batch_first=True, bidirectional=both)
        self.head = nn.Linear(24 if both else 12, 17)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.tokens(x))[0]).transpose(1, 2)


def sequence(kind: str, sick: bool) -> Case:
    case = seeded(HEALTHY["gpt"])
    if kind == "gpt":
        case.model.causal = not sick
        return case
    return changed(case, Convolved(int(sick)) if kind == "conv" else Recurrent(sick))


def looks_ahead(case: Case) -> float:
    """The oracle: changes each token in turn, and compares every answer before it."""
    model, x = case.model.eval(), case.batch[0][:3]
    worst = 0.0
    with torch.no_grad():
        before = model(x)
        for t in range(1, x.shape[1]):
            other = x.clone()
            other[:, t] = (other[:, t] + 1) % 17
            change = (model(other) - before).abs()[:, :, :t].max() / before.square().mean().sqrt()
            worst = max(worst, float(change))
    return worst


@pytest.mark.parametrize("kind", ["gpt", "conv", "lstm"])
def test_a_model_that_looks_ahead_is_found(kind: str) -> None:
    case = sequence(kind, sick=True)
    result = case.check("GW104")
    assert looks_ahead(case) > 1e-3
    assert (result.verdict, result.severity) == ("found", "error")
    line = result.curves["change by position"]
    assert line["marks"][0]["x"] == 8
    assert max(line["y"][:8]) == pytest.approx(result.numbers["change"])


@pytest.mark.parametrize("kind", ["gpt", "conv", "lstm"])
def test_a_causal_model_passes(kind: str) -> None:
    case = sequence(kind, sick=False)
    assert looks_ahead(case) == pytest.approx(0, abs=1e-6)
    assert case.check("GW104").verdict == "passed"


def test_only_causal_models_are_tested() -> None:
    both_ways = sequence("gpt", sick=True)
    x, _ = both_ways.batch
    tagging = changed(both_ways, both_ways.model, batch=(x, x % 3), loader=None)
    assert "not declared causal" in tagging.check("GW104").reason
    declared = changed(tagging, tagging.model, causal=True)
    assert declared.check("GW104").severity == "error"
    assert changed(both_ways, both_ways.model, causal=False).check("GW104").verdict == "not_evaluated"
    assert healthy_report("mlp")["GW104"].reason == "not a sequence model"


def test_a_declared_model_of_numbers_is_tested_too() -> None:
    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.scale(x) + x.mean(1, keepdim=True)

    x = torch.randn(8, 10, 2)
    assert Case(Smooth(), F.mse_loss, (x, x.roll(-1, 1)), causal=True).check("GW104").severity == "error"


# -- GW432: dropout ends with training ---------------------------------------------------------------------------------


class Forgets(nn.Module):
    """Calls dropout as a function, and tells it the mode or not."""

    def __init__(self, model: nn.Module, told: bool) -> None:
        super().__init__()
        self.model, self.told = model, told

    def forward(self, x: Tensor) -> Tensor:
        out = self.model(x)
        return F.dropout(out, 0.3, training=self.training) if self.told else F.dropout(out, 0.3)


def differs(case: Case) -> bool:
    """The oracle: two passes in evaluation with different chance."""
    case.model.eval()
    with torch.no_grad():
        torch.manual_seed(1)
        first = case.model(case.batch[0])
        torch.manual_seed(2)
        return not torch.equal(first, case.model(case.batch[0]))


@pytest.mark.parametrize("name", HEALTHY)
def test_dropout_that_nobody_tells_the_mode_is_found(name: str) -> None:
    for told in (True, False):
        case = changed(seeded(HEALTHY[name]), Forgets(seeded(HEALTHY[name]).model, told))
        result = case.check("GW432")
        assert differs(case) is not told
        assert result.verdict == ("passed" if told else "found")
    assert (result.severity, result.layers) == ("error", ["model"])
    assert "dropout" in result.message
    assert healthy_report(name)["GW432"].verdict == "passed"


def test_attention_with_dropout_in_evaluation_is_found_and_noise_is_not() -> None:
    class Attends(nn.Module):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.net, self.rate = nn.Linear(8, 8), rate

        def forward(self, x: Tensor) -> Any:
            x = self.net(x).unsqueeze(1)
            noise = torch.randn_like(x) * 0.01  # a VAE draws in evaluation too
            return F.scaled_dot_product_attention(x, x, x, dropout_p=self.rate).squeeze(1) + noise.squeeze(1)

    batch = seeded(HEALTHY["mlp"]).batch
    assert Case(Attends(0.2), F.cross_entropy, batch).check("GW432").severity == "error"
    assert Case(Attends(0.0), F.cross_entropy, batch).check("GW432").verdict == "passed"


# -- GW313: something bends between the layers -------------------------------------------------------------------------


class Straight(nn.Module):
    """Three layers, with or without an activation between them."""

    def __init__(self, kind: str, bent: bool) -> None:
        super().__init__()
        self.bent = bent
        if kind == "cnn":
            self.layers = nn.ModuleList([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 4)])
        elif kind == "conv1d":
            self.layers = nn.ModuleList([nn.Conv1d(12, 8, 2), nn.Linear(1, 3), nn.Linear(24, 4)])
        else:
            self.layers = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x)
            x = x.relu() if self.bent else x
        return self.layers[-1](x.flatten(1))


@pytest.mark.parametrize(("kind", "name"), [("mlp", "mlp"), ("cnn", "cnn"), ("conv1d", "lstm")])
def test_layers_without_an_activation_between_them_are_found(kind: str, name: str) -> None:
    for bent in (True, False):
        torch.manual_seed(0)
        model = Straight(kind, bent)
        x, other = torch.randn(2, *seeded(HEALTHY[name]).batch[0].shape)
        with torch.no_grad():
            straight = model(x) + model(other) - model(0 * x) - model(x + other)
        assert (straight.abs().max() < 1e-4) is not bent, "the oracle: a linear map keeps sums"
        result = changed(seeded(HEALTHY[name]), model).check("GW313")
        assert result.verdict == ("passed" if bent else "found")
    assert (result.severity, result.layers) == ("warning", ["layers.0", "layers.2"])
    assert result.message.endswith("together they are one linear layer")


@pytest.mark.parametrize("name", HEALTHY)
def test_models_with_activations_pass(name: str) -> None:
    assert healthy_report(name)["GW313"].verdict == "passed"


def test_one_layer_alone_is_meant() -> None:
    x, y = seeded(HEALTHY["mlp"]).batch
    assert Case(nn.Linear(8, 3), F.cross_entropy, (x, y)).check("GW313").verdict == "passed"

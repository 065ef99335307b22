"""What the hook sees of the call of the loss function, for the losses and mistakes that people make."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook.capture import loss_call
from client_hook.capture.loss_call import LossCallSignal
from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.tape import recorder_of, taped


def with_loss(compute):
    """Makes the body of a loop from a function of (model, inputs, labels)."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = compute(model, inputs, labels)
        loss.backward()
        optimizer.step()
        return loss

    return body


def test_cross_entropy_is_known_with_its_labels() -> None:
    fact = last(train(usual), "loss_call")
    assert fact["function"] == "cross_entropy"
    assert (fact["classes"], fact["batch_size"], fact["calls_per_step"]) == (5, 12, 1)
    assert fact["arguments"]["reduction"] == "mean"
    assert sum(fact["label_counts"].values()) == fact["kept"] == 12 * fact["batches"]
    assert fact["value"] == pytest.approx(1.6, abs=0.4), "the loss before the first update, near ln 5"
    assert fact["previous_op"] == "AddmmBackward0"
    assert fact["last_layer"] == "2"
    assert not fact["rows_sum_to_one"]


def test_the_first_value_says_how_much_it_adds_up() -> None:
    """A sum of twelve rows, where the batch that was looked at last holds three."""

    def body(step, model, optimizer):
        inputs, labels = (item[: 3 if step % 2 else 12] for item in batch(step))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels, reduction="sum")
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, steps=4), "loss_call")
    assert (fact["batch_size"], fact["value_kept"]) == (3, 12)
    assert fact["value"] == pytest.approx(12 * 1.6, abs=12 * 0.4)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss])
def test_outputs_and_targets_may_be_told_the_other_way_round(function) -> None:
    """`mse_loss(target, model(x))`, as DQN is written in many places."""

    def body(step, model, optimizer):
        inputs, _ = batch(step)
        targets = torch.full((12, 5), 3.0)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = function(targets, outputs)
        loss.backward()
        optimizer.step()
        function(targets, outputs.detach())  # a metric of the same batch is no validation
        with torch.no_grad():
            function(targets + 1, model(inputs))
        return loss

    fact = last(train(body), "loss_call")
    assert (fact["target"]["mean"], fact["target"]["std"]) == (3.0, 0.0)
    assert fact["input"]["std"] > 0
    assert fact["previous_op"] == "AddmmBackward0"
    validation = fact["validation"]["target"]
    assert (validation["mean"], validation["std"]) == (4.0, 0.0)


def test_the_size_of_the_first_outputs_is_kept_while_they_grow() -> None:
    """A model that gives its answers out in the unit of its targets."""

    def body(step, model, optimizer):
        inputs, _ = batch(step)
        optimizer.zero_grad()
        loss = F.mse_loss(model(inputs) * 0 + 300.0 * (step + 1), torch.full((12, 5), 300.0))
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, steps=4), "loss_call")
    assert fact["input"]["first_rms"] == pytest.approx(300.0)
    assert fact["input"]["mean"] == pytest.approx(750.0)


def test_the_module_is_the_same_as_the_function() -> None:
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=3)
    fact = last(train(with_loss(lambda model, x, y: criterion(model(x), y))), "loss_call")
    assert fact["arguments"]["label_smoothing"] == pytest.approx(0.1)
    assert fact["arguments"]["ignore_index"] == 3
    assert fact["ignored"] > 0
    assert fact["kept"] + fact["ignored"] == 12 * fact["batches"]


def test_a_softmax_before_cross_entropy_is_seen() -> None:
    fact = last(train(usual, model=classifier(nn.Softmax(dim=1))), "loss_call")
    assert fact["rows_sum_to_one"] is True
    assert fact["previous_op"] == "SoftmaxBackward0"
    assert fact["last_layer"] == "3"


@pytest.mark.parametrize(
    ("function", "compute"),
    [
        ("nll_loss", lambda model, x, y: F.nll_loss(F.log_softmax(model(x), 1), y)),
        ("mse_loss", lambda model, x, y: F.mse_loss(model(x), F.one_hot(y, 5).float())),
        ("l1_loss", lambda model, x, y: F.l1_loss(model(x), F.one_hot(y, 5).float())),
        ("smooth_l1_loss", lambda model, x, y: F.smooth_l1_loss(model(x), F.one_hot(y, 5).float())),
        ("huber_loss", lambda model, x, y: F.huber_loss(model(x), F.one_hot(y, 5).float())),
        ("binary_cross_entropy", lambda m, x, y: F.binary_cross_entropy(m(x).sigmoid(), F.one_hot(y, 5).float())),
        (
            "binary_cross_entropy_with_logits",
            lambda m, x, y: F.binary_cross_entropy_with_logits(m(x), F.one_hot(y, 5).float()),
        ),
        ("kl_div", lambda m, x, y: F.kl_div(F.log_softmax(m(x), 1), F.one_hot(y, 5).float() * 0.9 + 0.02)),
    ],
)
def test_each_loss_is_known_by_its_name(function: str, compute) -> None:
    with pytest.warns(UserWarning, match="batchmean") if function == "kl_div" else nullcontext():
        fact = last(train(with_loss(compute)), "loss_call")
    assert fact["function"] == function
    assert fact["batches"] >= 8
    assert fact["value"] is not None


def test_broadcast_shapes_are_seen() -> None:
    def compute(model, x, y):
        return F.mse_loss(model(x)[:, :1], y.float())

    with pytest.warns(UserWarning, match="size"):
        fact = last(train(with_loss(compute)), "loss_call")
    assert fact["broadcast"] is True
    assert (fact["input"]["shape"], fact["target"]["shape"]) == ([12, 1], [12])
    assert fact["target"]["integer"] is True


def test_targets_outside_the_unit_interval_are_counted() -> None:
    def compute(model, x, y):
        return F.binary_cross_entropy_with_logits(model(x)[:, 0], y.float())

    fact = last(train(with_loss(compute)), "loss_call")
    assert fact["target"]["outside_unit"] == pytest.approx(0.6, abs=0.15), "labels 2, 3 and 4 of 0 to 4"
    assert fact["target"]["max"] == 4


def test_a_loss_of_ones_own_says_that_it_is_not_known() -> None:
    fact = last(train(with_loss(lambda model, x, y: (model(x).sum(1) - y).abs().mean())), "loss_call")
    assert fact["function"] is None


def test_validation_does_not_mix_with_training() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        with torch.no_grad():
            inputs, _ = batch(step)
            F.cross_entropy(model(inputs), torch.zeros(12, dtype=torch.long))
        return loss

    fact = last(train(body), "loss_call")
    assert len(fact["label_counts"]) == 5
    assert fact["validation"]["label_counts"].keys() == {"0"}


def test_label_counts_of_targets_given_as_probabilities() -> None:
    def one_hot(model, x, y):
        return F.cross_entropy(model(x), F.one_hot(y, 5).float())

    def mixed(model, x, y):
        return F.cross_entropy(model(x), 0.7 * F.one_hot(y, 5).float() + 0.06)

    plain, hard, soft = (last(train(with_loss(way)), "loss_call") for way in (index_labels, one_hot, mixed))
    assert hard["one_hot"] is True
    assert hard["label_counts"] == plain["label_counts"]
    assert (soft["one_hot"], soft["label_counts"]) == (False, None)
    assert hard["kept"] == soft["kept"] == plain["kept"] == 144, "one label a row, not one a class"


def index_labels(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (
            lambda m, x, y: F.cross_entropy(m(x), y, weight=torch.ones(5), reduction="sum"),
            {"weight": True, "reduction": "sum", "label_smoothing": 0.0, "ignore_index": -100},
        ),
        (
            lambda m, x, y: F.cross_entropy(m(x), y, reduction="none").mean(),
            {"weight": False, "reduction": "none", "label_smoothing": 0.0, "ignore_index": -100},
        ),
        (
            lambda m, x, y: F.nll_loss(F.log_softmax(m(x), 1), y, ignore_index=2),
            {"weight": False, "reduction": "mean", "ignore_index": 2},
        ),
        (
            lambda m, x, y: F.binary_cross_entropy_with_logits(m(x), F.one_hot(y, 5).float(), pos_weight=torch.ones(5)),
            {"weight": False, "pos_weight": True, "reduction": "mean"},
        ),
        (
            lambda m, x, y: nn.BCELoss(weight=torch.ones(5), reduction="sum")(m(x).sigmoid(), F.one_hot(y, 5).float()),
            {"weight": True, "reduction": "sum"},
        ),
        (lambda m, x, y: nn.HuberLoss(delta=0.5)(m(x), F.one_hot(y, 5).float()), {"reduction": "mean", "delta": 0.5}),
        (lambda m, x, y: nn.SmoothL1Loss(beta=0.5)(m(x), F.one_hot(y, 5).float()), {"reduction": "mean", "beta": 0.5}),
        (
            lambda m, x, y: F.kl_div(F.log_softmax(m(x), 1), torch.zeros(12, 5), log_target=True, reduction="sum"),
            {"reduction": "sum", "log_target": True},
        ),
    ],
)
def test_arguments_are_read_by_name(compute, expected) -> None:
    assert last(train(with_loss(compute)), "loss_call")["arguments"] == expected


@pytest.mark.parametrize(
    ("compute", "operation", "sums", "logarithms"),
    [
        (lambda m, x, y: F.nll_loss(F.softmax(m(x), 1), y), "SoftmaxBackward0", True, False),
        (lambda m, x, y: F.nll_loss(F.log_softmax(m(x), 1), y), "LogSoftmaxBackward0", False, True),
        (lambda m, x, y: F.cross_entropy(m(x).softmax(-1).view(12, 5), y), "SoftmaxBackward0", True, False),
        (lambda m, x, y: F.nll_loss(m(x), y), "AddmmBackward0", False, False),
        (
            lambda m, x, y: F.binary_cross_entropy_with_logits(m(x).sigmoid(), F.one_hot(y, 5).float()),
            "SigmoidBackward0",
            False,
            False,
        ),
        (lambda m, x, y: F.mse_loss(0.5 * (1.0 * m(x).tanh()), x[:, :5]), "TanhBackward0", False, False),
        (lambda m, x, y: F.mse_loss(2.0 * m(x).tanh(), x[:, :5]), "MulBackward0", False, False),
    ],
)
def test_what_came_before_the_loss_is_named(compute, operation: str, sums: bool, logarithms: bool) -> None:
    fact = last(train(with_loss(compute)), "loss_call")
    assert fact["previous_op"] == operation
    assert (fact["rows_sum_to_one"], fact["log_probabilities"]) == (sums, logarithms)


def test_a_softmax_over_the_batch_shows_its_size() -> None:
    fact = last(train(with_loss(lambda m, x, y: F.nll_loss(F.log_softmax(m(x), 0), y))), "loss_call")
    assert (fact["previous_dim"], fact["classes"], fact["batch_size"]) == (12, 5, 12)


@pytest.mark.parametrize("function", [F.binary_cross_entropy_with_logits, F.mse_loss])
def test_maps_have_their_channels_in_the_second_dimension(function) -> None:
    model = nn.Conv2d(3, 2, 3, padding=1)

    def body(step, model, optimizer):
        loss = function(model(torch.ones(4, 3, 8, 16)), torch.ones(4, 2, 8, 16))
        loss.backward()
        return loss

    assert last(train(body, model=model, steps=2), "loss_call")["classes"] == 2


def test_sequences_have_their_classes_in_the_second_dimension() -> None:
    def compute(model, x, y):
        return F.cross_entropy(model(x).view(4, 3, 5).transpose(1, 2), y.view(4, 3), ignore_index=0)

    fact = last(train(with_loss(compute)), "loss_call")
    assert (fact["classes"], fact["batch_size"], fact["input"]["shape"]) == (5, 4, [4, 5, 3])
    assert fact["kept"] + fact["ignored"] == 144
    assert "0" not in fact["label_counts"]


def test_batches_without_a_label_that_counts_are_counted() -> None:
    compute = with_loss(lambda m, x, y: F.cross_entropy(m(x), torch.full_like(y, -100)))
    fact = last(train(compute, steps=4), "loss_call")
    assert (fact["empty_batches"], fact["kept"], fact["label_counts"]) == (4, 0, None)


def test_the_batch_that_keeps_the_fewest_labels_is_known() -> None:
    def compute(model, x, y):
        kept = compute.kept = getattr(compute, "kept", 8) - 2
        return F.cross_entropy(model(x), torch.where(torch.arange(len(y)) < kept, y, -100))

    fact = last(train(with_loss(compute), steps=3), "loss_call")
    assert (fact["empty_batches"], fact["kept"], fact["fewest_kept"]) == (0, 12, 2)


def test_labels_that_are_no_class_are_told_although_the_call_raises() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    inputs, labels = batch(0)
    with pytest.raises(IndexError, match="out of bounds"):
        F.cross_entropy(model(inputs), labels + 1)
    monitor.finish("failed", timeout=0.1)
    fact = last(tape, "loss_call")
    assert (fact["function"], fact["classes"], fact["batches"]) == ("cross_entropy", 5, 1)
    assert (fact["target"]["min"], fact["target"]["max"]) == (1, 5)
    assert fact["label_counts"]["5"] == int((labels == 4).sum())
    assert fact["value"] is None


def test_a_caught_failure_does_not_decide_what_the_loss_is() -> None:
    def body(step, model, optimizer):
        if step == 0:
            with pytest.raises(IndexError):
                F.nll_loss(model(batch(0)[0]), torch.full((12,), 9))
        return usual(step, model, optimizer)

    fact = last(train(body), "loss_call")
    assert (fact["function"], fact["target"]["max"]) == ("cross_entropy", 4)


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("triplet_margin_loss", lambda m, x, y: F.triplet_margin_loss(m(x), m(x + 1), m(x - 1))),
        (
            "ctc_loss",
            lambda m, x, y: F.ctc_loss(
                m(x).log_softmax(1).unsqueeze(1), torch.tensor([[1, 2, 3]]), torch.tensor([12]), torch.tensor([3])
            ),
        ),
    ],
)
def test_losses_without_statistics_are_named(name: str, compute) -> None:
    fact = last(train(with_loss(compute)), "loss_call")
    assert (fact["function"], fact["batches"], fact["functions"]) == (name, 0, {name: 12})


def test_of_two_losses_the_one_that_leads_to_the_backward_is_meant() -> None:
    def compute(model, x, y):
        outputs = model(x)
        F.mse_loss(outputs, torch.zeros(12, 5))  # a metric, with a graph that nobody walks
        return F.cross_entropy(outputs, y) + 0.01 * outputs.square().mean()

    fact = last(train(with_loss(compute)), "loss_call")
    assert fact["function"] == "cross_entropy"
    assert fact["functions"] == {"mse_loss": 12, "cross_entropy": 12}


def test_calls_inside_functional_transforms_are_not_the_loss() -> None:
    def compute(model, x, y):
        torch.func.vmap(lambda a, b: F.cross_entropy(a[None], b[None]))(model(x), y)
        return F.cross_entropy(model(x), y)

    fact = last(train(with_loss(compute)), "loss_call")
    assert fact["functions"] == {"cross_entropy": 12}
    assert fact["calls_per_step"] == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_counted_and_left_out(bad: float) -> None:
    def compute(model, x, y):
        outputs = model(x).clone()
        outputs[0, 0] = bad
        return F.cross_entropy(outputs, y)

    fact = last(train(with_loss(compute), steps=1), "loss_call")
    assert fact["input"]["nonfinite"] == pytest.approx(1 / 60)
    assert abs(fact["input"]["max"]) < 100


def test_large_tensors_are_looked_at_in_part() -> None:
    model = nn.Linear(8, 1)

    def body(step, model, optimizer):
        optimizer.zero_grad()
        x = torch.randn(50_000, 8, generator=torch.Generator().manual_seed(step))
        loss = F.mse_loss(model(x), x.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, model=model), "loss_call")
    assert fact["input"]["shape"] == [50_000, 1]
    assert fact["target"]["std"] == pytest.approx(8**0.5, rel=0.05)
    assert fact["kept"] == 12 * 50_000


def test_everything_is_as_before_after_the_run() -> None:
    before = (torch._C._nn.cross_entropy_loss, torch._C._nn.mse_loss, torch.autograd.backward)
    train(usual, steps=3)
    assert (torch._C._nn.cross_entropy_loss, torch._C._nn.mse_loss, torch.autograd.backward) == before


def test_scripting_goes_on_while_a_monitor_lives() -> None:
    seen = []

    def body(step, model, optimizer):
        if step == 2:
            with pytest.warns(DeprecationWarning, match="script"):
                scripted = torch.jit.script(nn.CrossEntropyLoss())
            seen.append(float(scripted(torch.zeros(2, 5), torch.tensor([1, 2]))))
        return usual(step, model, optimizer)

    train(body)
    assert seen == [pytest.approx(1.609, abs=1e-3)]


@pytest.mark.parametrize(
    ("loss_of", "alone"),
    [
        (F.cross_entropy, True),
        (lambda output, y: F.cross_entropy(output, y, label_smoothing=0.1) / 4 * 0.5, True),
        (lambda output, y: -F.cross_entropy(output, y, reduction="none").mean(), True),
        (lambda output, y: F.cross_entropy(output, y) + 0.5 * F.mse_loss(output, torch.zeros_like(output)), True),
        (lambda output, y: torch.stack([F.cross_entropy(output, y), output.mean()]).sum(), False),
        (lambda output, y: F.cross_entropy(output, y) - 0.01 * output.std(), False),
        (lambda output, y: F.cross_entropy(output, y) - 1.0, False),
        (lambda output, y: (F.cross_entropy(output, y, reduction="none") * torch.randn(len(y))).mean(), False),
        (lambda output, y: F.cross_entropy(output, y) * torch.tensor(0.3), False),
    ],
    ids=["itself", "a-part", "negative", "two-losses", "with-more", "with-bonus", "less-one", "rewards", "reward"],
)
def test_it_is_known_whether_anything_was_added_to_the_loss(loss_of, alone: bool) -> None:
    fact = last(train(with_loss(lambda model, x, y: loss_of(model(x), y)), steps=1), "loss_call")
    assert (fact["function"], fact["alone"]) == ("cross_entropy", alone)


def test_a_gradient_scaler_adds_nothing_to_the_loss() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    assert last(train(body, steps=1), "loss_call")["alone"] is True


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_it_is_known_along_which_dimension_a_softmax_went(dim: int) -> None:
    fact = last(train(with_loss(lambda model, x, y: F.nll_loss(F.log_softmax(model(x), dim), y)), steps=2), "loss_call")
    assert (fact["previous_axis"], fact["log_probabilities"]) == ((0, False) if dim == 0 else (1, True))


def test_a_validation_whose_loss_is_computed_after_no_grad_is_seen_and_a_loss_of_the_same_targets_is_none() -> None:
    def body(step, model, optimizer, same: bool):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            output = model(inputs)
        F.cross_entropy(output, labels if same else torch.zeros(12, dtype=torch.long))
        return loss

    fact = last(train(lambda *given: body(*given, same=False)), "loss_call")
    assert fact["validation"]["label_counts"].keys() == {"0"}
    later = fact["validation"]["later_half"]
    assert [sum(row) for row in later["taken_for"]] == [later["label_counts"]["0"], 0, 0, 0, 0]
    assert sum(row[1] for row in later["taken_for"]) == later["prediction_counts"].get("1", 0)
    assert fact["validation"]["later_half"]["batches"] == fact["validation"]["batches"] // 2 > 0
    assert last(train(lambda *given: body(*given, same=True)), "loss_call")["validation"] is None


def test_the_marks_of_pairs_are_their_targets() -> None:
    def pairs(model, x, y):
        return F.cosine_embedding_loss(model(x), model(x.flip(0)), (y > 2).float())

    fact = last(train(with_loss(pairs)), "loss_call")
    assert (fact["function"], fact["target"]["min"], fact["target"]["max"]) == ("cosine_embedding_loss", 0.0, 1.0)
    assert fact["target"]["shape"] == [12]


def test_a_second_head_with_classes_of_its_own_is_left_out() -> None:
    def compute(model, x, y):
        outputs = model(x)
        return F.cross_entropy(outputs, y) + F.cross_entropy(outputs[:, :2], y % 2)

    fact = last(train(with_loss(compute)), "loss_call")
    assert (fact["classes"], fact["target"]["max"], fact["functions"]) == (5, 4, {"cross_entropy": 24})
    assert fact["value"] == pytest.approx(1.6, abs=0.4), "near ln 5; ln 2 is that of the other"


def test_the_labels_of_a_call_that_raises_are_told_with_its_own_classes() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(3):
        monitor.step(usual(step, model, optimizer))
    with pytest.raises(IndexError, match="out of bounds"):
        F.cross_entropy(model(batch(0)[0])[:, :2], torch.full((12,), 2))
    monitor.finish("failed", timeout=0.1)
    fact = last(tape, "loss_call")
    assert (fact["classes"], fact["target"]["min"], fact["target"]["max"]) == (2, 2, 2)


def test_of_a_closure_the_first_evaluation_is_that_of_fresh_weights() -> None:
    first = []

    def body(step, model, optimizer):
        inputs, labels = batch(0)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            first.append(loss.item())
            return loss

        return optimizer.step(closure)

    model = classifier()
    tape = train(body, model=model, optimizer=torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=10), steps=3)
    assert last(tape, "loss_call")["value"] == pytest.approx(first[0])
    assert first[5] < 0.9 * first[0]


def test_a_step_that_never_closes_keeps_so_many_calls_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_call, "MOST_CALLS", 5)
    model = classifier()
    recorder, _ = recorder_of(model, torch.optim.SGD(model.parameters(), lr=0.1), LossCallSignal)
    (signal,) = recorder.signals.all
    for step in range(20):
        inputs, labels = batch(step)
        F.cross_entropy(model(inputs), labels).backward()
    assert (len(signal._made), len(signal._open), len(signal._later._waiting)) == (5, 5, 5)
    recorder.detach()

"""Healthy trainings of very different kinds: none of them may raise a warning.

Each entry is a setup that works, at the settings that its literature or PyTorch's own examples use.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, long_runs, models
from tests.corpus.loops import contrastive, gan, lbfgs, pretrained_digits, reinforce
from tests.corpus.mistakes import half_call, in_half
from tests.corpus.phases import accumulates_later, dropping, freezes_the_trunk, restarts_by_hand
from tests.corpus.setup import Setup
from tests.corpus.whole import whole


def sgd(lr: float = 0.1, momentum: float = 0.9, decay: float = 0.0, nesterov: bool = False) -> Any:
    """Makes SGD."""
    return lambda model: SGD(model.parameters(), lr, momentum=momentum, weight_decay=decay, nesterov=nesterov)


def adam(lr: float = 1e-3, kind: Any = Adam, **more: Any) -> Any:
    """Makes an Adam or one of its kin."""
    return lambda model: kind([item for item in model.parameters() if item.requires_grad], lr=lr, **more)


def two_groups(model: nn.Module) -> AdamW:
    """Decays matrices only."""
    matrices = [item for item in model.parameters() if item.ndim >= 2]
    rest = [item for item in model.parameters() if item.ndim < 2]
    return AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=2e-3)


def smooth(output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels."""
    return F.cross_entropy(output, y, label_smoothing=0.1)


def focal(output: Tensor, y: Tensor) -> Tensor:
    """Focal loss, γ = 2."""
    chosen = F.log_softmax(output, 1).gather(1, y.unsqueeze(1)).squeeze(1)
    return -((1 - chosen.exp()) ** 2 * chosen).mean()


def weighted(output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy that counts the rare class more."""
    return F.cross_entropy(output, y, weight=torch.tensor([0.52, 16.0]))


def two_tasks(output: Any, y: Tensor) -> Tensor:
    """A class and a number from one trunk."""
    classes, number = output
    return F.cross_entropy(classes, y) + 0.5 * F.mse_loss(number.squeeze(1), y.float() / 4)


def elbo(output: Any, _: Tensor) -> Tensor:
    """Reconstruction and divergence; the inputs ride on the output."""
    (picture, mean, log_variance), x = output
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    return F.mse_loss(picture, x, reduction="sum") / len(x) + 0.5 * kl


def diffusion(output: Any, _: Tensor) -> Tensor:
    """Predicts the noise that was added."""
    guess, noise = output
    return F.mse_loss(guess, noise)


def noisy_input(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Adds noise of a random strength and hands both on."""
    noise, time = torch.randn_like(x), torch.rand(len(x), 1)
    return model(torch.cat([(1 - time).sqrt() * x + time.sqrt() * noise, time], 1)), noise


def bf16(model: nn.Module, x: Tensor) -> Tensor:
    """Computes the forward in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    return output.float()


def of_half(model: nn.Module, x: Tensor) -> Tensor:
    """Calls a model of tokens whose weights are bfloat16."""
    return model(x).float()


def lora_model() -> nn.Module:
    """A trained network whose first layers get corrections of low rank."""
    model = pretrained_digits()
    model[0], model[2] = models.Lora(model[0]), models.Lora(model[2])
    return model


def frozen_trunk() -> nn.Module:
    """A trained trunk that stands still, with a new head."""
    model = pretrained_digits().requires_grad_(False)
    model[4] = nn.Linear(64, 10)
    return model


def wide_he() -> nn.Module:
    """Ten layers, initialised for ReLU."""
    return models.he(models.mlp(20, 5, 48, 10))


def warm(optimizer: Any, steps: int, total: int) -> Any:
    """Rises, then follows a cosine."""
    return schedules.SequentialLR(
        optimizer,
        [schedules.LinearLR(optimizer, 0.05, total_iters=steps), schedules.CosineAnnealingLR(optimizer, total - steps)],
        [steps],
    )


def adversarial_copy(model: nn.Module) -> nn.Module:
    """Copies a model."""
    return copy.deepcopy(model)


MLP = Setup(data.teacher, lambda: models.mlp(20, 5), sgd(0.05))
EMPTY = replace(MLP, model=models.Shares, steps=250, batch_change=data.empty_example)
DIGITS = Setup(data.digits, lambda: models.mlp(64, 10), adam())
HALF = replace(DIGITS, model=in_half(DIGITS.model), call=half_call)
CNN = Setup(lambda: data.digits(images=True), models.cnn, adam(2e-3), steps=250)
BN = replace(CNN, model=lambda: models.cnn(norm=True), optimizer=sgd(0.05, decay=5e-4))
RESNET = Setup(
    lambda: data.digits(images=True),
    models.ResNet,
    sgd(0.1, decay=5e-4),
    steps=300,
    batch=48,
    scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 300),
)
LSTM = Setup(data.sums, models.Recurrent, adam(5e-3), steps=400, clip=1.0)
GPT = Setup(
    data.text,
    lambda: models.Gpt(data.letters()),
    adam(3e-3, AdamW, weight_decay=0.1),
    steps=250,
    batch=16,
    clip=1.0,
    scheduler=lambda opt: warm(opt, 20, 250),
    accuracy=False,
)
WAVE = Setup(data.wave, lambda: models.mlp(1, 1, act=nn.Tanh), adam(1e-2), loss=F.mse_loss, steps=500, accuracy=False)
TABLE = Setup(data.cancer, lambda: models.mlp(30, 2, 32), adam(), steps=250)
YES_NO = replace(
    TABLE,
    model=lambda: models.mlp(30, 1, 32),
    accuracy=False,
    loss=lambda output, y: F.binary_cross_entropy_with_logits(output.squeeze(1), y.float()),
)
VAE = Setup(
    data.digits,
    models.Vae,
    adam(2e-3),
    loss=elbo,
    steps=400,
    accuracy=False,
    call=lambda model, x: (model(x), x),
)
TAGS = Setup(
    data.tags, lambda: models.mlp(16, 6, 48), adam(2e-3), loss=F.binary_cross_entropy_with_logits, accuracy=False
)
RARE = Setup(data.rare, lambda: models.mlp(10, 2, 24), adam(), steps=500, loss=weighted)
GAN = Setup(data.digits, nn.Identity, adam(), loop=gan, steps=400)
READER = Setup(data.beginnings, models.Reader, adam(5e-3), steps=300)
FUNCTION = replace(DIGITS, model=lambda: models.DropsByFunction(64, 10))
FEW = replace(MLP, data=lambda: data.teacher(count=800), optimizer=sgd(0.01), steps=500)
MIXTURE = replace(
    DIGITS,
    model=lambda: models.Mixture(64, 10),
    penalty=lambda model: 0.1 * model.balance,
    optimizer=adam(2e-3),
)
PIECES = replace(MLP, accumulate=4, steps=250, batch=16)
LATE = replace(
    MLP, model=dropping, optimizer=sgd(0.02), steps=1000, evaluate=100, data=lambda: data.teacher(count=20_000)
)

HEALTHY: dict[str, Setup] = {
    "mlp-sgd": MLP,
    "mlp-sgd-seed-1": replace(MLP, seed=1),
    "mlp-sgd-seed-2": replace(MLP, seed=2),
    "mlp-chain": replace(MLP, model=lambda: models.Chain(left_over=False)),
    "mlp-empty-example": EMPTY,
    "mlp-plain-sgd": replace(MLP, optimizer=sgd(0.2, 0.0), steps=600),
    "mlp-nesterov": replace(MLP, optimizer=sgd(0.05, nesterov=True)),
    "mlp-rmsprop": replace(MLP, optimizer=adam(1e-3, RMSprop)),
    "mlp-adagrad": replace(MLP, optimizer=adam(2e-2, Adagrad)),
    "mlp-nadam": replace(MLP, optimizer=adam(2e-3, NAdam)),
    "mlp-undeclared-length": replace(MLP, planned=False),
    "mlp-without-validation": replace(MLP, evaluate=0),
    "mlp-wide": replace(MLP, model=lambda: models.mlp(20, 5, 256)),
    "mlp-one-hundred-steps": replace(MLP, steps=100, optimizer=adam(1e-2)),
    "mlp-long": replace(
        MLP,
        steps=5000,
        evaluate=250,
        optimizer=sgd(0.02, decay=5e-4),
        scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 5000),
        data=lambda: data.teacher(count=20_000),
    ),
    "mlp-noisy-labels-small-batch": replace(
        MLP, data=lambda: data.teacher(noise=1.5), batch=8, steps=800, optimizer=adam(5e-4)
    ),
    "mlp-gelu-adamw": replace(MLP, model=lambda: models.mlp(20, 5, act=nn.GELU), optimizer=adam(2e-3, AdamW)),
    "mlp-tanh": replace(MLP, model=lambda: models.mlp(20, 5, act=nn.Tanh)),
    "mlp-deep-he": replace(MLP, model=wide_he, optimizer=adam(5e-4), steps=500),
    "mlp-label-smoothing": replace(MLP, loss=smooth),
    "mlp-focal": replace(MLP, loss=focal, optimizer=adam(2e-3)),
    "mlp-accumulation": PIECES,
    "mlp-few-examples": FEW,
    "mlp-warm-restarts": replace(MLP, steps=600, scheduler=lambda opt: schedules.CosineAnnealingWarmRestarts(opt, 150)),
    "mlp-one-cycle": replace(MLP, steps=400, scheduler=lambda opt: schedules.OneCycleLR(opt, 0.1, total_steps=401)),
    "mlp-step-decay": replace(MLP, steps=450, scheduler=lambda opt: schedules.StepLR(opt, 150, 0.3)),
    "mlp-epoch-decay": replace(
        MLP, steps=600, per_batch_scheduler=False, scheduler=lambda opt: schedules.ExponentialLR(opt, 0.8)
    ),
    "mlp-lbfgs": replace(MLP, loop=lbfgs, steps=100),
    "mlp-bf16": replace(MLP, call=bf16, optimizer=adam(2e-3)),
    "digits-weights-in-bfloat16": replace(HALF, optimizer=sgd(0.05)),
    "digits-weights-in-bfloat16-solved": replace(HALF, optimizer=adam(1e-3), steps=1200, evaluate=100),
    "digits-cnn-weights-in-bfloat16": replace(
        CNN,
        model=in_half(models.cnn),
        call=half_call,
        optimizer=sgd(0.05),
        scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 250),
    ),
    "gpt-weights-in-bfloat16": replace(GPT, model=in_half(GPT.model), call=of_half),
    "mlp-multi-task": replace(
        MLP, model=lambda: models.TwoHeads(20, 5), loss=two_tasks, accuracy=False, optimizer=adam(3e-3)
    ),
    "logistic-regression": replace(TABLE, model=lambda: nn.Linear(30, 2), optimizer=sgd(0.05)),
    "table-adam": TABLE,
    "table-yes-or-no": YES_NO,
    "wine": Setup(data.wine, lambda: models.mlp(13, 3, 24), adam(3e-3), batch=16, steps=200),
    "digits-adam": DIGITS,
    "digits-dropout": replace(
        DIGITS,
        steps=500,
        model=lambda: nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10)),
    ),
    "digits-dropout-function": FUNCTION,
    "digits-mixture-of-experts": MIXTURE,
    "digits-cnn": CNN,
    "digits-cnn-batch-norm": BN,
    "digits-cnn-dropout-head": replace(BN, model=lambda: models.cnn(norm=True, dropout=0.3)),
    "digits-resnet": RESNET,
    "digits-resnet-seed-1": replace(RESNET, seed=1),
    "digits-resnet-two-groups": replace(RESNET, optimizer=two_groups),
    "framed-digits-cnn": Setup(
        data.framed_digits, lambda: models.cnn(32, size=32), sgd(0.02), batch=64, steps=150
    ),  # each example takes as much of a layer's output as lies from one block of a sample to the next
    "shapes-cnn": Setup(data.shapes, lambda: models.cnn(8, 4, 12), adam(2e-3), steps=300),
    "lstm": LSTM,
    "gru": replace(LSTM, model=lambda: models.Recurrent(nn.GRU)),
    "reader": READER,
    "gpt": GPT,
    "gpt-seed-1": replace(GPT, seed=1),
    "gpt-dropout-two-groups": replace(GPT, model=lambda: models.Gpt(data.letters(), dropout=0.1), optimizer=two_groups),
    "wave-tanh": WAVE,
    "wave-relu-sgd": replace(WAVE, model=lambda: models.mlp(1, 1), optimizer=sgd(0.02), steps=800),
    "wave-huber": replace(WAVE, loss=F.huber_loss),
    "wave-raw-targets": replace(
        WAVE, data=lambda: data.wave(scale=20.0, offset=10.0), steps=1500, optimizer=adam(2e-2)
    ),
    "diabetes": Setup(
        data.diabetes,
        lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)),
        adam(1e-3, AdamW, weight_decay=0.05),
        loss=F.mse_loss,
        steps=300,
        accuracy=False,
    ),
    "vae": VAE,
    "diffusion": Setup(
        data.digits,
        lambda: models.mlp(65, 64, 128),
        adam(2e-3),
        loss=diffusion,
        call=noisy_input,
        steps=400,
        accuracy=False,
    ),
    "tags": TAGS,
    "rare-class-weighted": RARE,
    "gan": GAN,
    "gan-seed-1": replace(GAN, seed=1),
    "contrastive": Setup(data.digits, nn.Identity, adam(), loop=contrastive, steps=600, batch=64),
    "reinforce": Setup(data.digits, nn.Identity, adam(), loop=reinforce, steps=400),
    "fine-tuning": Setup(data.digits, pretrained_digits, adam(1e-4), steps=200, watching={"finetune": True}),
    "fine-tuning-undeclared": Setup(data.digits, pretrained_digits, adam(1e-4), steps=200),
    "frozen-trunk": Setup(data.digits, frozen_trunk, adam(1e-3), steps=300, watching={"finetune": True}),
    "lora": Setup(data.digits, lora_model, adam(5e-4), steps=200),
    "mlp-dropout-long": LATE,
    "mlp-dropout-long-step-decay": replace(LATE, scheduler=lambda opt: schedules.StepLR(opt, 250, 0.3)),
    "mlp-three-layers-long": replace(LATE, model=lambda: models.mlp(20, 5, 64, 3)),
    "mlp-accumulates-later": replace(LATE, loop=partial(accumulates_later, divides=True), batch=16),
    "mlp-restarts-by-hand": replace(LATE, after_step=restarts_by_hand(250, 0.02)),
    "mlp-trunk-frozen-later": replace(LATE, after_step=freezes_the_trunk),
    "mlp-clipped-long": replace(LATE, clip=1.0),
    "soft-clipping": replace(MLP, clip=5.0),
    "sums-that-grok": whole(long_runs.grokking),
    "stream-of-20000-steps": whole(long_runs.stream),
}

LONG: dict[str, Setup] = {
    f"{name}-soak": replace(
        HEALTHY[name],
        steps=10_000,
        evaluate=500,
        scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 10_000),
        **more,
    )
    for name, more in {
        "mlp-sgd": {"data": lambda: data.teacher(count=40_000)},
        "mlp-noisy-labels-small-batch": {"data": lambda: data.teacher(noise=1.5, count=40_000)},
        "wave-tanh": {"data": lambda: data.wave(count=40_000)},
        "tags": {"data": lambda: data.tags(count=40_000)},
        "mlp-accumulation": {"data": lambda: data.teacher(count=40_000)},
        "mlp-bf16": {"data": lambda: data.teacher(count=40_000)},
        "mlp-multi-task": {"data": lambda: data.teacher(count=40_000)},
        "lstm": {"data": lambda: data.sums(count=40_000)},
        "shapes-cnn": {"data": lambda: data.shapes(count=20_000)},
        "vae": {},
    }.items()
}

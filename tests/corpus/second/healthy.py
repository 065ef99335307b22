"""Healthy trainings of the second held-out set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, RMSprop, SparseAdam
from torch.optim import lr_scheduler as schedules

from tests.corpus import data as corpus_data
from tests.corpus import models as corpus_models
from tests.corpus.healthy import adam, bf16, sgd
from tests.corpus.second import data, games, generative, loops, models, sequences, weights
from tests.corpus.second.optimizers import Lion
from tests.corpus.setup import Setup, nothing

OWN = {"data": corpus_data.digits, "model": nn.Identity}  # of loops that make their own


# -- losses --------


def weighted(output: Tensor, y: Tensor) -> Tensor:
    """Counts a yes eleven times."""
    return F.binary_cross_entropy_with_logits(output, y, pos_weight=torch.tensor(11.0))


def ctc(output: Tensor, y: Tensor) -> Tensor:
    """Connectionist temporal classification."""
    long = torch.full((len(y),), output.shape[1])
    return F.ctc_loss(output.log_softmax(2).transpose(0, 1), y[:, : data.MOST], long, y[:, data.MOST])


def triplet(points: Any, _: Tensor) -> Tensor:
    """Friends nearer than strangers."""
    return F.triplet_margin_loss(*points, margin=0.5)


def unpadded(output: Tensor, y: Tensor) -> Tensor:
    """Counts words only."""
    return F.cross_entropy(output, y, ignore_index=data.PAD)


def balanced(output: Any, y: Tensor) -> Tensor:
    """The answers, and even use of the experts: at a weight of 0.01 one of them got all rows, as GW956 told."""
    return F.cross_entropy(output[0], y) + 0.3 * output[1]


def softened(output: Tensor, said: Tensor) -> Tensor:
    """Divergence from a teacher at a temperature of 4."""
    return 16 * F.kl_div((output / 4).log_softmax(1), (said / 4).softmax(1), reduction="batchmean")


def quantiles(output: Tensor, y: Tensor) -> Tensor:
    """The 10 %, 50 % and 90 % quantiles."""
    away, at = y - output, torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(at * away, (at - 1) * away).mean()


def zero_inflated(output: Tensor, y: Tensor) -> Tensor:
    """Likelihood of counts that are often nothing."""
    log_rate, gate = output[:, :1].clamp(max=5), output[:, 1:]
    poisson = y * log_rate - log_rate.exp() - torch.lgamma(y + 1)
    nothing_seen = torch.logaddexp(F.logsigmoid(-gate), F.logsigmoid(gate) - log_rate.exp())
    return -torch.where(y == 0, nothing_seen, F.logsigmoid(gate) + poisson).mean()


def cox(output: Tensor, y: Tensor) -> Tensor:
    """Partial likelihood over the patients of the batch that are still at risk."""
    order = torch.argsort(y[:, 0], descending=True)
    risk, seen = output.squeeze(1)[order], y[order, 1]
    return -((risk - risk.logcumsumexp(0)) * seen).sum() / seen.sum().clamp(min=1)


def arc(output: Tensor, y: Tensor) -> Tensor:
    """Additive angular margin, scale 30."""
    angle = torch.arccos(output.clamp(-1 + 1e-6, 1 - 1e-6)) + 0.3 * F.one_hot(y, 10)
    return F.cross_entropy(30 * angle.cos(), y)


def dice(output: Tensor, y: Tensor) -> Tensor:
    """Overlap and pixels."""
    share = output.sigmoid()
    both = 2 * (share * y).sum((1, 2, 3)) + 1
    overlap = both / (share.sum((1, 2, 3)) + y.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(output, y) + (1 - overlap).mean()


def located(output: Any, y: Tensor) -> Tensor:
    """Borders and kind."""
    return 5 * F.smooth_l1_loss(output[0], y[:, :4], beta=0.1) + F.cross_entropy(output[1], y[:, 4].long())


def rebuilt(output: Any, _: Tensor) -> Tensor:
    """A picture from few active units; the picture rides on the output."""
    (picture, code), x = output
    return F.mse_loss(picture, x) + 1e-3 * code.abs().mean()


class Sparse(nn.Module):
    """An autoencoder with more units than pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = torch.relu(self.encoder(x))
        return self.decoder(code), code


def masked(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Hides 15 % of the letters; only they count."""
    hide = torch.rand(x.shape, generator=data.chance(step)) < 0.15
    hide[:, 0] = True
    return torch.where(hide, corpus_data.letters(), x), torch.where(hide, x, -100)


def cut_out(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Blackens a corner of each picture."""
    x, row, column = x.clone(), step * 7 % 5, step * 11 % 5
    x[:, :, row : row + 3, column : column + 3] = 0
    return x, y


def trainable(lr: float) -> Any:
    """Optimises what is not frozen."""
    return lambda model: AdamW([p for p in model.parameters() if p.requires_grad], lr)


INCOME = Setup(
    data.income, models.Table, adam(1e-3, AdamW), loss=weighted, batch=128, steps=600, evaluate=60, accuracy=False,
    seed=41,
)  # fmt: skip
TAGS = Setup(
    data.forty_labels, lambda: corpus_models.mlp(32, 40), adam(2e-3), loss=F.binary_cross_entropy_with_logits,
    batch=64, steps=600, accuracy=False, seed=42,
)  # fmt: skip
CTC = Setup(data.strokes, models.Reader, adam(4e-3), loss=ctc, steps=400, accuracy=False, seed=43)
TRIPLET = Setup(
    corpus_data.digits, lambda: corpus_models.mlp(64, 16), adam(), loss=triplet, steps=400, seed=44, loop=loops.triplets
)
DEEP_Q = Setup(**OWN, optimizer=adam(1e-3), steps=2000, seed=47, loop=games.deep_q, planned=False)
TRANSLATE = Setup(
    **OWN, optimizer=adam(3e-3), loss=unpadded, batch=64, steps=500, seed=49, loop=sequences.translate
)  # fmt: skip
GRAPH = Setup(**OWN, optimizer=adam(1e-2, weight_decay=5e-4), steps=200, evaluate=10, seed=50, loop=loops.cite)
EXPERTS = Setup(
    corpus_data.digits, models.Experts, adam(2e-3, AdamW), loss=balanced, steps=500, batch=64, accuracy=False, seed=51
)
DISTIL = Setup(
    corpus_data.digits, lambda: corpus_models.mlp(64, 10, 16), adam(3e-3), loss=softened, steps=400, seed=52,
    loop=loops.distil,
)  # fmt: skip
LOW_RANK = Setup(
    lambda: corpus_data.sums(seed=32), models.trained_majority, trainable(2e-3), steps=200, seed=53
)  # fmt: skip
SMALL_CNN = Setup(lambda: corpus_data.digits(images=True), corpus_models.cnn, sgd(0.05), steps=450, batch=48, seed=54)
VISITS = Setup(
    data.visits, lambda: corpus_models.mlp(6, 2, 32), adam(2e-3), loss=zero_inflated, steps=500, batch=64,
    accuracy=False, seed=57,
)  # fmt: skip
MAJORITY = Setup(
    lambda: corpus_data.sums(seed=33), models.Majority, adam(2e-3, AdamW), call=bf16, accumulate=4, batch=16, steps=250,
    seed=62,
)  # fmt: skip
FORECAST = Setup(
    data.load, models.Forecast, lambda m: RMSprop(m.parameters(), 2e-3), loss=F.mse_loss, batch=64, steps=700,
    per_batch_scheduler=False, seed=67, loop=sequences.forecast,
)  # fmt: skip
UNET = Setup(
    data.blobs, models.Unet, adam(2e-3), loss=dice, batch=8, steps=250, accuracy=False, seed=71
)  # fmt: skip
BOXES = Setup(data.boxes, models.Boxes, adam(1e-3), loss=located, steps=500, accuracy=False, seed=70)
STARS = Setup(
    data.ratings, models.Stars, lambda m: SparseAdam(list(m.parameters()), 5e-3), loss=F.mse_loss, batch=128, steps=800,
    accuracy=False, seed=69,
)  # fmt: skip
LINE = Setup(
    data.line, lambda: nn.Linear(10, 1), lambda m: SGD(m.parameters(), 5e-3), loss=F.mse_loss, batch=1, steps=4000,
    evaluate=400, accuracy=False, seed=73,
)  # fmt: skip

HEALTHY: dict[str, Setup] = {
    "income-weighted": INCOME,
    "forty-labels": TAGS,
    "strokes-ctc": CTC,
    "digits-triplets": TRIPLET,
    "spiral-diffusion-average": Setup(
        **OWN, optimizer=adam(1e-3), steps=1500, batch=128, evaluate=150, seed=45, loop=generative.diffusion
    ),
    "rings-flow": Setup(**OWN, optimizer=adam(2e-3), steps=800, batch=128, seed=46, loop=generative.flow),
    "field-deep-q": DEEP_Q,
    "carts-ppo": Setup(**OWN, optimizer=adam(1e-3), steps=800, seed=48, loop=games.proximal),
    "backwards-teacher-forcing": TRANSLATE,
    "citations-graph": GRAPH,
    "experts-top-one": EXPERTS,
    "distil-temperature": DISTIL,
    "low-rank-majority": LOW_RANK,
    "weights-averaged": replace(SMALL_CNN, loop=weights.averaged),
    "three-quantiles": Setup(
        data.spread, lambda: corpus_models.mlp(1, 3, 48), adam(3e-3), loss=quantiles, steps=600, batch=64,
        accuracy=False, seed=56,
    ),
    "visits-zero-inflated": VISITS,
    "survival-cox": Setup(
        data.survival, lambda: corpus_models.mlp(8, 1, 24, 1), adam(2e-3, AdamW), loss=cox, batch=128, steps=300,
        accuracy=False, seed=58,
    ),
    "digits-arc": Setup(
        corpus_data.digits, models.Angles, sgd(0.02, decay=5e-4), loss=arc, batch=64, steps=500, accuracy=False, seed=59
    ),
    "sparse-code": Setup(
        corpus_data.digits, Sparse, adam(2e-3), loss=rebuilt, call=lambda model, x: (model(x), x), steps=500, batch=64,
        accuracy=False, seed=60,
    ),
    "digits-sharpness": Setup(
        corpus_data.digits, lambda: corpus_models.mlp(64, 10), sgd(0.05), steps=300, seed=61, loop=weights.sharpness
    ),
    "income-lion": replace(INCOME, optimizer=lambda m: Lion(m.parameters(), 3e-4), seed=74),
    "digits-muon": Setup(
        corpus_data.digits, lambda: corpus_models.mlp(64, 10), nothing, steps=300, seed=75, loop=weights.two_optimizers
    ),
    "majority-accumulated-bf16": MAJORITY,
    "curriculum": Setup(
        data.harder_and_harder, lambda: corpus_models.mlp(16, 4, 48), adam(2e-3), steps=900, batch=64, seed=63,
        loop=loops.curriculum,
    ),
    "two-dozen-points": Setup(
        data.two_dozen, lambda: nn.Linear(3, 1), sgd(0.05, decay=1e-3), loss=F.mse_loss, batch=24, steps=150,
        evaluate=10, accuracy=False, seed=64,
    ),
    "two-in-five-flipped": Setup(
        data.flipped, lambda: corpus_models.mlp(12, 2, 32), adam(1e-3), batch=128, steps=250, evaluate=25, seed=65
    ),
    "stopped-by-patience": Setup(
        lambda: corpus_data.teacher(inputs=12, classes=3, noise=0.4, seed=66), lambda: corpus_models.mlp(12, 3, 32),
        adam(2e-3, AdamW), batch=64, steps=5000, evaluate=40, seed=66, loop=loops.early,
    ),
    "super-convergence": replace(
        SMALL_CNN, model=lambda: corpus_models.cnn(norm=True), optimizer=sgd(0.1, decay=1e-4, nesterov=True), steps=400,
        scheduler=lambda opt: schedules.OneCycleLR(opt, 0.4, total_steps=401), batch_change=cut_out, seed=76,
    ),
    "load-on-plateau": FORECAST,
    "letters-carried-over": Setup(
        **OWN, optimizer=lambda m: SGD(m.parameters(), 4.0), steps=500, seed=68, loop=sequences.truncated
    ),
    "letters-masked": Setup(
        lambda: corpus_data.text(32), models.Letters, adam(2e-3, AdamW), batch=32, steps=300, batch_change=masked,
        val_change=lambda x, y: masked(x, y, 1), accuracy=False, seed=77,
        scheduler=lambda opt: schedules.LambdaLR(opt, lambda s: min((s + 1) / 30, (30 / (s + 1)) ** 0.5)),
    ),
    "digits-two-views": Setup(
        **OWN, optimizer=sgd(0.05, decay=1e-4), batch=64, steps=400, seed=78, loop=loops.two_views
    ),
    "stars-sparse-adam": STARS,
    "rectangles": BOXES,
    "blobs-unet": UNET,
    "swing-physics": Setup(**OWN, optimizer=adam(3e-3), steps=1500, seed=72, loop=loops.physics),
    "line-one-by-one": LINE,
    "rings-wasserstein": Setup(**OWN, optimizer=nothing, batch=64, steps=600, seed=79, loop=generative.wasserstein),
}  # fmt: skip

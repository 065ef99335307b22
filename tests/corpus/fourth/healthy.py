"""Healthy trainings of the fourth held-out set."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim import lr_scheduler as schedules

from tests.corpus import data as corpus_data
from tests.corpus import models as corpus_models
from tests.corpus.fourth import data, models
from tests.corpus.fourth.loops import by_epochs, convolutional_gan
from tests.corpus.healthy import adam, bf16, sgd, smooth, warm
from tests.corpus.setup import Setup

# -- losses, ways to call --------


def yes_or_no(output: Tensor, y: Tensor) -> Tensor:
    """For one score a row."""
    return F.binary_cross_entropy_with_logits(output, y)


def column_or_no(output: Tensor, y: Tensor) -> Tensor:
    """For a column of scores."""
    return F.binary_cross_entropy_with_logits(output.squeeze(1), y.float())


def rebuilt(output: Any, _: Tensor) -> Tensor:
    """Compares with the picture before it was disturbed."""
    picture, x = output
    return F.binary_cross_entropy(picture, x)


def disturbed(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Adds noise, and hands the clean picture on."""
    return model(x + 0.3 * torch.randn_like(x)), x


def rare_counts_more(output: Tensor, y: Tensor) -> Tensor:
    """Weighs the rare class by how rare it is."""
    return F.cross_entropy(output, y, weight=torch.tensor([0.53, 8.0]))


def two_rates(model: nn.Sequential) -> AdamW:
    """A tenth of the head's rate for what was trained before."""
    return AdamW(
        [{"params": model[:13].parameters(), "lr": 3e-4}, {"params": model[13:].parameters(), "lr": 3e-3}],
        weight_decay=0.01,
    )


def head(model: nn.Sequential) -> Adam:
    """Optimises the head alone."""
    return Adam(model[13].parameters(), 5e-3)


def flat(make: Any) -> Any:
    """Pictures as rows."""
    found = make()
    return replace(found, x=found.x.flatten(1), val_x=found.val_x.flatten(1))


# -- what mistakes are made in --------

CHURN = Setup(
    data.churn, models.Churn, adam(2e-3, AdamW, weight_decay=0.01), loss=yes_or_no, batch=64, accuracy=False, seed=130,
    loop=partial(by_epochs, epochs=10),
)  # fmt: skip
TUMOURS = Setup(
    corpus_data.cancer, lambda: models.normed_table(30, 1), adam(1e-3), loss=column_or_no, batch=32, accuracy=False,
    seed=131, loop=partial(by_epochs, epochs=40, patience=6),
)  # fmt: skip
AUGMENTED = Setup(
    data.normalised_digits, models.pictures, adam(3e-3, AdamW, weight_decay=0.02), batch=64, seed=132,
    batch_change=data.shifted, loop=partial(by_epochs, epochs=12), per_batch_scheduler=False,
    scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 12),
)  # fmt: skip
MOVES = Setup(
    data.movements, lambda: models.Moves(nn.LSTM, 2, 0.2), adam(4e-3), batch=48, seed=133, clip=1.0,
    loop=partial(by_epochs, epochs=14),
)  # fmt: skip
GRU = Setup(
    data.movements, lambda: models.Moves(nn.GRU, both=True), adam(4e-3), batch=48, seed=134,
    loop=partial(by_epochs, epochs=12),
)  # fmt: skip
TEMPORAL = Setup(data.movements, models.Temporal, adam(2e-3), batch=32, seed=135, loop=partial(by_epochs, epochs=12))
SALES = Setup(
    data.sales, models.Shop, adam(5e-3), loss=F.mse_loss, batch=32, accuracy=False, seed=136,
    loop=partial(by_epochs, epochs=15),
)  # fmt: skip
WEEKS = Setup(
    lambda: data.sales(ahead=7), lambda: models.Shop(nn.GRU, 7), adam(4e-3), loss=F.l1_loss, batch=32, accuracy=False,
    seed=137, loop=partial(by_epochs, epochs=15), per_batch_scheduler=False, clip=1.0,
    scheduler=lambda opt: schedules.ExponentialLR(opt, 0.9),
)  # fmt: skip
REVIEW = Setup(
    data.reviews, models.Review, adam(2e-3, AdamW, weight_decay=0.01), batch=32, seed=138, clip=1.0,
    loop=partial(by_epochs, epochs=6), scheduler=lambda opt: warm(opt, 30, 300),
)  # fmt: skip
SORTER = Setup(
    data.unsorted, models.Sorter, adam(3e-3, AdamW, weight_decay=0.01), batch=64, seed=139, accuracy=False,
    loop=partial(by_epochs, epochs=8), scheduler=lambda opt: warm(opt, 40, 400),
)  # fmt: skip
CLEANS = Setup(
    lambda: corpus_data.digits(images=True), models.Cleans, adam(3e-3), loss=rebuilt, call=disturbed, batch=48,
    accuracy=False, seed=140, loop=partial(by_epochs, epochs=14),
)  # fmt: skip
SPECTRA = Setup(data.spectra, models.spectral, sgd(0.02), batch=32, seed=141, loop=partial(by_epochs, epochs=10))
POSTS = Setup(
    data.posts, lambda: nn.Sequential(nn.Linear(400, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4)),
    adam(1e-3), batch=32, seed=142, loop=partial(by_epochs, epochs=15, patience=3),
)  # fmt: skip
SPOTS = Setup(
    data.spots, models.finder, adam(2e-3), loss=F.mse_loss, batch=32, accuracy=False, seed=143,
    loop=partial(by_epochs, epochs=12),
)  # fmt: skip
SCENES = Setup(
    data.scenes, models.painter, adam(4e-3), batch=16, accuracy=False, seed=144, loop=partial(by_epochs, epochs=12)
)
TUNED = Setup(
    data.negatives, models.trained_pictures, two_rates, batch=32, seed=145, loop=partial(by_epochs, epochs=10),
    watching={"finetune": True},
)  # fmt: skip
DIABETES = Setup(
    data.patients, lambda: corpus_models.mlp(10, 1, 24, 1), adam(3e-3, AdamW, weight_decay=0.1), loss=F.smooth_l1_loss,
    batch=32, accuracy=False, seed=146, loop=partial(by_epochs, epochs=25), per_batch_scheduler=False,
    scheduler=lambda opt: schedules.ReduceLROnPlateau(opt, factor=0.5, patience=3),
)  # fmt: skip
GAN = Setup(data.normalised_digits, nn.Identity, adam(), batch=48, steps=350, seed=147, loop=convolutional_gan)
SELDOM = Setup(
    lambda: data.seldom(0.06), lambda: models.normed_table(20, 2), adam(2e-3), loss=rare_counts_more, batch=64,
    seed=148, loop=partial(by_epochs, epochs=10),
)  # fmt: skip
ROLL = Setup(
    data.roll, lambda: corpus_models.mlp(3, 1, 48, 2, nn.SiLU), adam(3e-3), loss=F.mse_loss, batch=64, accuracy=False,
    seed=149, loop=partial(by_epochs, epochs=20),
)  # fmt: skip
MOBILE = Setup(
    data.normalised_digits, models.separable, sgd(0.05, decay=1e-4), batch=64, seed=150, per_batch_scheduler=False,
    loop=partial(by_epochs, epochs=14), scheduler=lambda opt: schedules.MultiStepLR(opt, [7, 11], 0.2),
)  # fmt: skip
WIDE = Setup(
    corpus_data.digits, lambda: nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.LayerNorm(64),
        nn.GELU(), nn.Linear(64, 10),
    ), adam(1e-3, AdamW, weight_decay=0.01), loss=smooth, batch=64, seed=151, loop=partial(by_epochs, epochs=12),
)  # fmt: skip

HEALTHY: dict[str, Setup] = {
    "churn-embedded": CHURN,
    "tumours-until-patience-ends": TUMOURS,
    "augmented-pictures": AUGMENTED,
    "augmented-pictures-seed-1": replace(AUGMENTED, seed=1),
    "moves-two-layers": MOVES,
    "moves-both-ways": GRU,
    "moves-temporal": TEMPORAL,
    "sales-of-tomorrow": SALES,
    "sales-of-next-week": WEEKS,
    "reviews-bag-of-vectors": Setup(
        data.reviews, models.Bag, adam(5e-3), batch=32, seed=152, loop=partial(by_epochs, epochs=6)
    ),
    "reviews-judged-token": REVIEW,
    "numbers-sorted": SORTER,
    "disturbed-digits": CLEANS,
    "spectra-normed": SPECTRA,
    "spectra-plain-rmsprop": replace(
        SPECTRA, model=models.plain_spectral, optimizer=lambda m: RMSprop(m.parameters(), 1e-3)
    ),
    "posts-counted": POSTS,
    "posts-logistic": replace(
        POSTS, model=lambda: nn.Linear(400, 4), optimizer=adam(3e-3, weight_decay=1e-4),
        loop=partial(by_epochs, epochs=12),
    ),
    "spots-found": SPOTS,
    "scenes-painted": SCENES,
    "tuned-to-negatives": TUNED,
    "head-on-frozen-pictures": replace(
        TUNED, data=lambda: corpus_data.digits(images=True), model=lambda: models.trained_pictures(frozen=True),
        optimizer=head, loop=partial(by_epochs, epochs=6),
    ),
    "diabetes-on-plateau": DIABETES,
    "gan-of-convolutions": GAN,
    "rare-class-weighed": SELDOM,
    "roll-unrolled": ROLL,
    "mobile-milestones": MOBILE,
    "mobile-bf16-accumulated": replace(
        MOBILE, batch=32, accumulate=2, call=bf16, scheduler=None, optimizer=adam(3e-3), seed=153
    ),
    "digits-layer-norms": WIDE,
    "shells-whole-set": Setup(
        data.shells, lambda: corpus_models.mlp(2, 3, 24, 2, nn.Tanh), adam(1e-2), batch=480, seed=154,
        loop=partial(by_epochs, epochs=250),
    ),
    "wine-softmax-regression": Setup(
        corpus_data.wine, lambda: nn.Linear(13, 3), lambda m: SGD(m.parameters(), 0.1, weight_decay=1e-3), batch=16,
        seed=155, loop=partial(by_epochs, epochs=20), per_batch_scheduler=False,
        scheduler=lambda opt: schedules.StepLR(opt, 10, 0.5),
    ),
}  # fmt: skip

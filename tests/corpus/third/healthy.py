"""Healthy trainings of the third held-out set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW
from torch.optim import lr_scheduler as schedules

from tests.corpus import data as corpus_data
from tests.corpus import models as corpus_models
from tests.corpus.healthy import adam, sgd, smooth, warm
from tests.corpus.setup import Setup, nothing
from tests.corpus.third import data, games, loops, models, of_pairs, pictures, transformers
from tests.corpus.third.optimizers import ScheduleFree

OWN: dict[str, Any] = {"data": corpus_data.digits, "model": nn.Identity}  # of loops that make their own


# -- losses --------


def on_the_way(output: Any, _: Tensor) -> Tensor:
    """Compares two velocities."""
    return F.mse_loss(*output)


def looked_up(output: Any, _: Tensor) -> Tensor:
    """The picture, codes that go to what they were found for, and a little the other way round."""
    (picture, found, wanted), x = output
    return F.mse_loss(picture, x) + F.mse_loss(found, wanted.detach()) + 0.25 * F.mse_loss(wanted, found.detach())


def thresholds(output: Tensor, y: Tensor) -> Tensor:
    """Is it more than the first, the second, … edge?"""
    return F.binary_cross_entropy_with_logits(output, y)


def hinge(output: Tensor, y: Tensor) -> Tensor:
    """The squared hinge of a support vector machine."""
    return (1 - y * output.squeeze(1)).clamp(min=0).square().mean()


def several_answers(output: Tensor, y: Tensor) -> Tensor:
    """Likelihood of a mixture of five bells."""
    share, mean, log_width = output.chunk(3, 1)
    log_width = log_width.clamp(min=-4)
    bells = -0.5 * ((y - mean) / log_width.exp()) ** 2 - log_width - 0.9189
    return -(share.log_softmax(1) + bells).logsumexp(1).mean()


def every_tag(output: Tensor, y: Tensor) -> Tensor:
    """Counts what is no padding."""
    return F.cross_entropy(output, y, ignore_index=-100)


def of_all(output: Tensor, y: Tensor) -> Tensor:
    """Sums the losses of five networks."""
    return torch.stack([F.cross_entropy(one, y) for one in output.unbind(1)]).sum()


# -- ways to call, changes of batches --------


def noise_to_digit(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Puts points on straight lines from noise to digits (flow matching); gives guesses and truth."""
    digit, kind = x[:, :64], x[:, 64].long()
    noise, time = torch.randn_like(digit), torch.rand(len(x), 1)
    return model((1 - time) * noise + time * digit, kind, time), digit - noise


def both(model: nn.Module, x: Tensor) -> tuple[Any, Tensor]:
    """Hands the input on."""
    return model(x), x


def as_double(model: nn.Module, x: Tensor) -> Tensor:
    """Computes in double precision."""
    return model(x.double()).float()


class Five(nn.Module):
    """Five networks that know nothing of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(corpus_models.mlp(64, 10, 32, 1) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x) for part in self.parts], 1)


def decayed(lr: float, decay: float = 0.1) -> Any:
    """AdamW as language models use it: matrices are decayed, vectors are not."""

    def make(model: nn.Module) -> AdamW:
        wide = [p for p in model.parameters() if p.ndim > 1]
        rest = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": wide, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
        return AdamW(groups, lr, betas=(0.9, 0.95))

    return make


def falls_linearly(optimizer: Any, rises: int, steps: int) -> Any:
    """A warm-up and a straight line down to nothing."""
    return schedules.LambdaLR(optimizer, lambda s: min((s + 1) / rises, max(0.0, (steps - s) / (steps - rises))))


VIT = Setup(
    data.pictures, transformers.Vit, adam(5e-3, AdamW, weight_decay=0.05), loss=smooth, batch=32, steps=400, clip=1.0,
    scheduler=lambda opt: warm(opt, 40, 400), seed=81,
)  # fmt: skip
LLAMA = Setup(
    corpus_data.text, transformers.Llama, decayed(8e-3), batch=8, accumulate=2, steps=250, clip=1.0, accuracy=False,
    scheduler=lambda opt: falls_linearly(opt, 25, 250), seed=82,
)  # fmt: skip
SENTENCES = Setup(data.sentences, transformers.Sentences, adam(2e-3, AdamW), batch=32, steps=300, seed=83)
QUANTISED = Setup(
    corpus_data.digits, models.Quantised, adam(2e-3), loss=looked_up, call=both, batch=64, steps=500, accuracy=False,
    seed=84,
)  # fmt: skip
TASKS = Setup(**OWN, optimizer=adam(3e-3), batch=64, steps=500, seed=85, loop=loops.many_tasks)
ORDERED = Setup(
    data.grades, models.Ordered, adam(5e-3, AdamW, weight_decay=0.01), loss=thresholds, steps=250, accuracy=False,
    evaluate=25, seed=86,
)  # fmt: skip
HINGE = Setup(
    data.signs, lambda: nn.Linear(30, 1), sgd(0.005, decay=3e-2), loss=hinge, steps=250, accuracy=False, seed=87
)
BELLS = Setup(
    data.back_and_forth, lambda: corpus_models.mlp(1, 15, 48, act=nn.Tanh), adam(5e-3), loss=several_answers, batch=128,
    steps=600, accuracy=False, seed=88,
)  # fmt: skip
POINTS = Setup(data.clouds, models.Points, adam(2e-3), batch=32, steps=300, seed=89)
TAGGER = Setup(data.brackets, models.Tagger, adam(5e-3), loss=every_tag, steps=250, accuracy=False, clip=1.0, seed=90)
SHARES = Setup(
    data.shares, models.Dilated, adam(2e-3), loss=F.l1_loss, batch=32, steps=300, accuracy=False, seed=91
)  # fmt: skip
HOUSES = Setup(
    data.houses, lambda: corpus_models.mlp(8, 1, 48), adam(2e-3, AdamW), loss=F.smooth_l1_loss, batch=64, steps=400,
    accuracy=False, seed=92,
)  # fmt: skip
LARGER = Setup(
    data.small_and_large, pictures.Larger, adam(2e-3), loss=F.l1_loss, batch=16, steps=350, accuracy=False, seed=93
)
NEXT = Setup(data.pictures, pictures.Next, adam(3e-3, AdamW, weight_decay=0.05), batch=48, steps=400, seed=94)
FOUR_BITS = Setup(corpus_data.digits, pictures.FourBits, adam(2e-3), steps=400, seed=95)
KEPT = Setup(data.pictures, pictures.KeepsNorms, sgd(5e-3), batch=32, steps=200, seed=97)
SELDOM = Setup(
    data.seldom, lambda: corpus_models.mlp(12, 2, 32), adam(1e-3, AdamW, weight_decay=0.05), batch=64, steps=400,
    seed=98, loop=loops.sampled,
)  # fmt: skip
THAWED = Setup(
    corpus_data.digits, nn.Identity, nothing, steps=450, seed=99, loop=loops.thawed, watching={"finetune": True}
)
SCALED = Setup(
    corpus_data.digits, lambda: corpus_models.mlp(64, 10), sgd(0.1), batch=48, steps=300, seed=100, loop=loops.scaled
)
SIAMESE = Setup(**OWN, optimizer=adam(2e-3), batch=64, steps=500, seed=101, loop=of_pairs.siamese)
TOWERS = Setup(
    **OWN, optimizer=adam(2e-3, AdamW, weight_decay=0.02), batch=64, steps=500, seed=102, loop=of_pairs.two_towers
)
SIMSIAM = Setup(
    **OWN, optimizer=sgd(0.05, decay=1e-4), batch=128, steps=350, seed=103, loop=of_pairs.simsiam,
    scheduler=lambda opt: schedules.CosineAnnealingLR(opt, 350),
)  # fmt: skip
LIKES = Setup(
    **OWN, optimizer=adam(1e-2, weight_decay=3e-4), batch=256, steps=400, evaluate=40, seed=104, loop=of_pairs.likes
)
PREFERENCES = Setup(**OWN, optimizer=adam(5e-4, AdamW), batch=24, steps=200, seed=105, loop=of_pairs.preferences)
SINES = Setup(**OWN, optimizer=adam(2e-3), steps=500, seed=106, loop=games.of_tasks)
ATTACKED = Setup(
    corpus_data.digits, lambda: corpus_models.mlp(64, 10), sgd(0.05), batch=64, steps=300, seed=107, loop=games.attacked
)

LOW_RANK = Setup(data.dimmed, lambda: pictures.corrected(loops.pretrained_digits()), adam(3e-3), steps=300, seed=108)
CLICKS = Setup(
    data.clicks, models.WideAndDeep, adam(2e-3, weight_decay=1e-5), batch=128, steps=400,
    loss=F.binary_cross_entropy_with_logits, accuracy=False, seed=113,
)  # fmt: skip
AVERAGED = Setup(
    data.pictures, lambda: corpus_models.cnn(norm=True), adam(2e-3), batch=48, steps=300, seed=117, loop=loops.averaged
)
PLATEAU = Setup(
    data.pictures, lambda: corpus_models.cnn(norm=True), sgd(0.02, decay=5e-4), batch=48, steps=600, evaluate=37,
    seed=118, loop=loops.on_plateau,
)  # fmt: skip
GROUPS = Setup(**OWN, optimizer=adam(3e-3), batch=16, steps=500, seed=125, loop=games.groups)

HEALTHY: dict[str, Setup] = {
    "patches-warm-up": VIT,
    "letters-rotary": LLAMA,
    "padded-sentences": SENTENCES,
    "noise-to-digits": Setup(
        data.with_kinds, models.Velocity, adam(1e-3), loss=on_the_way, call=noise_to_digit, batch=128, steps=500,
        accuracy=False, seed=111,
    ),
    "quantised-digits": QUANTISED,
    "three-tasks-weighed": TASKS,
    "grades-in-order": ORDERED,
    "support-vectors": HINGE,
    "several-answers": BELLS,
    "clouds-of-points": POINTS,
    "packed-tags": TAGGER,
    "long-filters": Setup(
        lambda: corpus_data.beginnings(length=40), models.StateSpace, adam(6e-3, AdamW), steps=330, seed=112
    ),
    "shares-dilated": SHARES,
    "houses-logarithm": HOUSES,
    "clicks-wide-and-deep": CLICKS,
    "friends-attention": Setup(
        **OWN, optimizer=adam(5e-3, weight_decay=5e-4), steps=200, evaluate=10, seed=114, loop=loops.knows
    ),
    "swings-runge-kutta": Setup(
        data.swings, models.Swing, adam(5e-3), loss=F.mse_loss, batch=64, steps=300, accuracy=False, seed=115
    ),
    "pictures-doubled": LARGER,
    "branches-left-out": NEXT,
    "weights-of-four-bits": FOUR_BITS,
    "half-pruned": Setup(
        corpus_data.digits, pictures.pruned, adam(5e-4), steps=200, seed=116, watching={"finetune": True}
    ),
    "norms-kept": KEPT,
    "low-rank-dimmed": LOW_RANK,
    "average-validated": AVERAGED,
    "norms-and-plateau": PLATEAU,
    "fifth-of-five-folds": Setup(
        corpus_data.wine, lambda: corpus_models.mlp(13, 3, 24), adam(3e-3, AdamW, weight_decay=0.1), batch=16,
        steps=150, evaluate=15, seed=119, loop=loops.folds,
    ),
    "seldom-sampled": SELDOM,
    "head-first-then-all": THAWED,
    "halves-scaled": SCALED,
    "schedule-free": Setup(
        lambda: corpus_data.teacher(inputs=16, classes=4, noise=0.3, seed=120), lambda: corpus_models.mlp(16, 4, 48),
        lambda m: ScheduleFree(m.parameters(), 5e-3), batch=64, steps=500, seed=120, loop=loops.schedule_free,
    ),
    "harmless-copied": Setup(
        corpus_data.digits, lambda: nn.Sequential(
            nn.Linear(30, 20), nn.ELU(), nn.Linear(20, 6), nn.ELU(), nn.Linear(6, 20), nn.ELU(), nn.Linear(20, 30)
        ), adam(3e-3), loss=F.mse_loss, steps=400, seed=121, loop=loops.harmless_only,
    ),
    "five-at-once": Setup(
        corpus_data.digits, Five, adam(2e-3), loss=of_all, batch=64, steps=500, accuracy=False, seed=122
    ),
    "double-precision": Setup(
        lambda: corpus_data.wave(seed=123), lambda: corpus_models.mlp(1, 1, 48, act=nn.SiLU).double(),
        lambda m: Adam(m.parameters(), 5e-3, amsgrad=True), loss=F.mse_loss, call=as_double, steps=500, accuracy=False,
        seed=123,
    ),
    "digits-same-or-not": SIAMESE,
    "pictures-and-captions": TOWERS,
    "views-without-negatives": SIMSIAM,
    "likes-ranked": LIKES,
    "words-side-by-side": Setup(**OWN, optimizer=adam(5e-3), batch=128, steps=800, seed=124, loop=of_pairs.skip_gram),
    "preferences": PREFERENCES,
    "groups-of-answers": GROUPS,
    "sines-to-start-from": SINES,
    "two-domains": Setup(**OWN, optimizer=adam(2e-3), batch=64, steps=500, seed=126, loop=games.two_domains),
    "attacked-digits": ATTACKED,
    "friction-by-slope": Setup(
        lambda: corpus_data.teacher(inputs=10, classes=3, noise=0.2, seed=127), lambda: corpus_models.mlp(10, 3, 32),
        lambda m: SGD(m.parameters(), 0.1, momentum=0.9, dampening=0.1, weight_decay=1e-4), batch=128, steps=400,
        scheduler=lambda opt: schedules.PolynomialLR(opt, 400, 1.0), seed=127,
    ),
}  # fmt: skip

"""Faults of the fourth held-out set, with where people made them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim import lr_scheduler as schedules

from tests.corpus import models as corpus_models
from tests.corpus.fault import AT_FIRST_EVALUATION, DISCUSS, KARPATHY, SCALING, Fault
from tests.corpus.fourth import data, mistakes, models
from tests.corpus.fourth.healthy import (
    AUGMENTED,
    CHURN,
    CLEANS,
    DIABETES,
    GAN,
    GRU,
    MOBILE,
    MOVES,
    POSTS,
    REVIEW,
    ROLL,
    SALES,
    SELDOM,
    SORTER,
    SPECTRA,
    SPOTS,
    TEMPORAL,
    TUMOURS,
    TUNED,
    WEEKS,
)
from tests.corpus.fourth.loops import by_epochs, convolutional_gan
from tests.corpus.healthy import adam, sgd

FORUM = "discuss.pytorch.org and Stack Overflow, asked again and again"

FAULTS: dict[str, Fault] = {
    # -- losses and ends of networks --------
    "pictures-softmax-at-the-end": Fault(
        replace(AUGMENTED, model=lambda: models.pictures(end=nn.Softmax(1))), ("GW202", "GW212"), KARPATHY, ("GW209",)
    ),
    "churn-sigmoid-and-logits": Fault(
        replace(CHURN, model=lambda: models.Churn(nn.Sigmoid())), ("GW202", "GW212"), KARPATHY, ("GW206", "GW209")
    ),
    "roll-relu-at-the-end": Fault(
        replace(ROLL, model=lambda: nn.Sequential(*corpus_models.mlp(3, 1, 48, 2, nn.SiLU), nn.ReLU())),
        ("GW212",),
        FORUM,
        ("GW206", "GW209", "GW308", "GW311"),
    ),
    "diabetes-row-and-column": Fault(
        replace(DIABETES, loss=mistakes.row_and_column), ("GW202",), FORUM, ("GW206", "GW311", "GW102", "GW209")
    ),
    "moves-scores-for-logarithms": Fault(
        replace(GRU, loss=mistakes.scores_for_logarithms), ("GW202",), DISCUSS, ("GW211", "GW208", "GW952", "GW452")
    ),
    "posts-by-argmax": Fault(
        replace(POSTS, loss=mistakes.all_at_once, loop=partial(by_epochs, epochs=8)),
        ("GW301", "GW202", "GW305"),
        "Stack Overflow: element 0 of tensors does not require grad, after argmax",
        ("GW206", "GW303", "GW209"),
    ),
    "roll-logarithms-of-negatives": Fault(
        replace(ROLL, loss=mistakes.of_logarithms, loop=partial(by_epochs, epochs=6)),
        ("GW601", "GW202", "GW603"),
        "Kaggle: RMSLE is nan",
        ("GW602", "GW444"),
    ),
    # -- the order of calls, modes, the optimizer's list --------
    "moves-never-cleared": Fault(
        replace(MOVES, clear=lambda optimizer, step: None, clip=None), ("GW304",), KARPATHY, ("GW207", "GW208", "GW411")
    ),
    "reviews-step-of-the-schedule-only": Fault(
        replace(REVIEW, do_step=False), ("GW305",), FORUM, ("GW206", "GW303", "GW302")
    ),
    "sales-step-behind-the-loop": Fault(
        replace(SALES, loop=partial(by_epochs, outside=True)),
        ("GW305", "GW315"),
        "Stack Overflow: optimizer.step() indented wrongly",
        ("GW206", "GW412", "GW214", "GW303"),
    ),
    "pictures-validated-in-training-mode": Fault(replace(AUGMENTED, eval_mode=False), ("GW432",), KARPATHY),
    "tumours-in-training-mode-once": Fault(
        replace(TUMOURS, train_again=False, loop=partial(by_epochs, epochs=25)),
        ("GW432",),
        "discuss.pytorch.org: model.train() stands before the loop over epochs",
        ("GW431", "GW434"),
    ),
    "spots-optimizer-of-the-cell-before": Fault(
        replace(SPOTS, optimizer=mistakes.of_a_copy), ("GW302", "GW305"), FORUM, ("GW206", "GW303", "GW311")
    ),
    "tuned-with-the-old-head": Fault(
        replace(TUNED, optimizer=mistakes.with_old_head),
        ("GW302",),
        "discuss.pytorch.org: model.fc was replaced after the optimizer was made",
    ),
    "disturbed-encoder-without-gradient": Fault(
        replace(CLEANS, model=lambda: models.Cleans(no_grad=True)), ("GW301",), FORUM, ("GW303", "GW209")
    ),
    "gan-one-optimizer-for-both": Fault(
        replace(GAN, loop=partial(convolutional_gan, own=False)), ("GW302",), FORUM, ("GW303", "GW206", "GW208")
    ),
    # -- data --------
    "churn-in-euros": Fault(
        replace(CHURN, data=lambda: data.churn(raw=True)), ("GW107",), SCALING, ("GW201", "GW205", "GW308", "GW207")
    ),
    "churn-never-filled-in": Fault(
        replace(CHURN, data=lambda: data.churn(holes=0.01)),
        ("GW605",),
        "Stack Overflow: the loss is nan, pandas left holes",
        ("GW601", "GW602", "GW603", "GW444", "GW107"),
    ),
    "churn-day-of-leaving": Fault(
        replace(CHURN, data=lambda: data.churn(leaving=True)), ("GW803",), "Kaggle: leakage", ("GW802",)
    ),
    "posts-logarithm-of-nothing": Fault(
        replace(POSTS, data=mistakes.logarithm_of_nothing),
        ("GW605",),
        "Stack Overflow: np.log of counts gives -inf",
        ("GW601", "GW602", "GW603", "GW444", "GW107"),
    ),
    "posts-labels-of-others": Fault(
        replace(POSTS, data=mistakes.labels_of_others, loop=partial(by_epochs, epochs=20)),
        ("GW112", "GW801", "GW102"),
        "scikit-learn's shuffle called on X alone",
        ("GW801", "GW112", "GW206"),
    ),
    "spectra-normalised-twice": Fault(
        replace(SPECTRA, model=models.plain_spectral, data=lambda: data.spectra(times=2)),
        ("GW107",),
        FORUM,
        ("GW206", "GW311", "GW201", "GW209"),
    ),
    "moves-in-units-of-the-sensor": Fault(
        replace(TEMPORAL, data=mistakes.large_numbers), ("GW107",), SCALING, ("GW201", "GW205", "GW207", "GW307")
    ),
    "pictures-validation-not-normalised": Fault(
        replace(AUGMENTED, data=mistakes.raw_validation),
        ("GW113",),
        "torchvision: Normalize in one of two transforms",
        ("GW434", "GW801"),
    begins=AT_FIRST_EVALUATION),
    "moves-in-order": Fault(
        replace(GRU, data=mistakes.in_order, shuffle=False),
        ("GW111",),
        FORUM,
        ("GW205", "GW207", "GW208", "GW805", "GW206", "GW903"),
    ),
    "sales-in-pieces": Fault(
        replace(SALES, data=lambda: data.sales(pieces=True)), ("GW109",), SCALING, ("GW201", "GW412", "GW214", "GW311")
    ),
    "sales-of-a-growing-shop": Fault(
        replace(WEEKS, data=lambda: data.sales(ahead=7, grows=True)),
        ("GW113",),
        "machinelearningmastery.com: how to remove trends with differencing",
        ("GW801", "GW110"),
    begins=AT_FIRST_EVALUATION),
    "one-in-sixty": Fault(
        replace(SELDOM, data=lambda: data.seldom(0.015, 0.35), loss=F.cross_entropy, optimizer=adam(1e-3)),
        ("GW203", "GW805"),
        FORUM,
        ("GW805",),
    ),
    "forty-patients": Fault(
        replace(
            DIABETES, data=lambda: data.patients(40), model=lambda: corpus_models.mlp(10, 1, 128), scheduler=None,
            optimizer=adam(3e-3), batch=16, loop=partial(by_epochs, epochs=100),
        ),
        ("GW801", "GW112"),
        FORUM,
        ("GW112", "GW801"),
    ),
    # -- rates, schedules, batches, penalties, starts --------
    "numbers-rate-a-hundred-times": Fault(
        replace(SORTER, optimizer=adam(0.3), scheduler=None), ("GW411",), FORUM, ("GW206", "GW207", "GW951", "GW311")
    ),
    "moves-plain-descent-crawls": Fault(
        replace(TEMPORAL, optimizer=lambda m: SGD(m.parameters(), 1e-5)),
        ("GW412", "GW442"),
        FORUM,
        ("GW206", "GW214", "GW311", "GW303"),
    ),
    "mobile-tenth-after-each-epoch": Fault(
        replace(MOBILE, optimizer=sgd(5e-3), scheduler=lambda opt: schedules.StepLR(opt, 1, 0.1)),
        ("GW413",),
        "torchvision's tutorial with step_size=1",
        ("GW412", "GW214", "GW209", "GW303"),
    ),
    "spots-epochs-counted-in-batches": Fault(
        replace(SPOTS, scheduler=lambda opt: schedules.ExponentialLR(opt, 0.85), per_batch_scheduler=True),
        ("GW413",),
        FORUM,
        ("GW412", "GW214", "GW209", "GW303"),
    ),
    "moves-clipped-to-a-thousandth": Fault(
        replace(MOVES, optimizer=sgd(0.05), clip=1e-3), ("GW421",), FORUM, ("GW412", "GW206", "GW214", "GW303")
    ),
    "pictures-decay-of-one-in-adam": Fault(
        replace(AUGMENTED, optimizer=adam(3e-3, weight_decay=1.0)),
        ("GW451", "GW441"),
        FORUM,
        ("GW206", "GW311", "GW209", "GW452"),
    ),
    "spectra-norms-of-two": Fault(
        replace(SPECTRA, batch=2, loop=partial(by_epochs, epochs=1), optimizer=sgd(0.05)), ("GW403", "GW404"), FORUM,
        ("GW434", "GW432", "GW207", "GW411"),
    ),
    "posts-dropout-of-nine-tenths": Fault(
        replace(
            POSTS,
            model=lambda: nn.Sequential(
                nn.Dropout(0.8), nn.Linear(400, 32), nn.ReLU(), nn.Dropout(0.95), nn.Linear(32, 4)
            ),
        ),
        ("GW462",),
        FORUM,
        ("GW802", "GW214", "GW206"),
    ),
    "roll-starts-from-zero-to-one": Fault(
        replace(ROLL, model=mistakes.from_zero_to_one(lambda: corpus_models.mlp(3, 1, 128, 3))),
        ("GW471", "GW608", "GW310"),
        "discuss.pytorch.org: torch.rand for weights",
        ("GW201", "GW308", "GW307"),
    ),
    "tumours-in-halves": Fault(
        replace(
            TUMOURS, model=mistakes.in_halves, call=mistakes.call_in_halves, loop=partial(by_epochs, epochs=15)
        ),
        ("GW444", "GW606", "GW602"),
        "discuss.pytorch.org: Adam's epsilon is 0 in float16, NaN after one step",
        ("GW601", "GW603", "GW443"),
    ),
}  # fmt: skip

"""Faults of the fourteenth held-out set on tables."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fourteenth import tables
from tests.corpus.fourteenth.signs import BLOWN, STUCK
from tests.corpus.whole import whole

OF_TABLES: dict[str, Fault] = {
    "parcels-signed-error": Fault(
        whole(tables.parcels, 1, sign=-1.0),
        ("GW202", "GW211"),
        "StackOverflow on quantile loss in Keras: q * e without its maximum, the loss is negative and falls for ever",
        ("GW204", "GW208", "GW601", "GW602", "GW603", "GW952", "GW452", "GW307", "GW310", "GW608", "GW205", "GW109"),
    ),
    "parcels-in-seconds": Fault(
        whole(tables.parcels, 1, unit=3600.0),
        ("GW109", "GW107"),
        "machinelearningmastery.com on scaling targets; discuss.pytorch.org, network always predicts the mean",
        ("GW412", "GW214", "GW206", "GW209", "GW201", "GW108", "GW102", "GW311", "GW452"),
    ),
    "parcels-grams-unscaled": Fault(
        whole(tables.parcels, 3, levels=(0.8, 0.95), optimizer_name="sgd", rate=0.1, batch=32, epochs=20, scaled=False),
        ("GW107",),
        "37 reasons why your neural network is not working (Slavv): standardise the features",
        ("GW411", "GW201", *STUCK, *BLOWN, "GW308", "GW309", "GW207"),
    ),
    "soils-weights-upside-down": Fault(
        whole(tables.ground, 1, balance="upside-down"),
        ("GW203", "GW805"),
        "discuss.pytorch.org on the weight of CrossEntropyLoss: counts were given where their inverse is meant",
        ("GW209",),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-coded-twice": Fault(
        whole(tables.ground, 1, coded="each"),
        ("GW110", "GW112"),
        "Kaggle and StackOverflow: LabelEncoder is fitted on each set, so the same kind has two numbers",
        ("GW801", "GW203", "GW805", "GW208", "GW113"),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-empty-cells": Fault(
        whole(tables.ground, 1, holes=True),
        ("GW605", "GW107"),
        "Slavv, 37 reasons: check for NaN in the inputs; discuss.pytorch.org, loss becomes nan with a csv file",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "soils-kind-among-the-columns": Fault(
        whole(tables.ground, 1, label_column=True),
        ("GW803",),
        "Kaggle on leakage: the column of the answer, one-hot, was not dropped from the table",
        ("GW204", "GW214"),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-never-cleared": Fault(
        whole(tables.ground, 1, clear="no"),
        ("GW304",),
        "Karpathy, most common mistakes: you forgot to zero_grad before backward",
        ("GW207", "GW209", "GW206", "GW205", "GW307", "GW452", "GW801", "GW411", "GW112", "GW208"),
    ),
    "wells-labels-of-zero": Fault(
        whole(tables.water, 1, rate=0.1, zero_one=True),
        ("GW202", "GW110", "GW107"),
        "StackOverflow on hinge loss with labels 0 and 1, which wants -1 and 1",
        (*STUCK, "GW211", "GW301", "GW303", "GW306", "GW308", "GW443", "GW203"),
    ),
    "wells-without-bends": Fault(
        whole(tables.water, 1, rate=0.1, hidden=3, bends=False),
        ("GW313",),
        "Humbatova et al. 2020: missing activation function; StackOverflow, deep network no better than a linear one",
        ("GW209", "GW206", "GW108", "GW101"),
    ),
    "fares-in-metres": Fault(
        whole(tables.taxi, 3, judged="mse", optimizer_name="sgd", rate=0.02, epochs=4, batch=40, warm=30, raw=True),
        ("GW107",),
        "Kaggle, taxi fares: coordinates and minutes unscaled, loss is nan (Humbatova: missing preprocessing)",
        ("GW411", "GW201", *STUCK, *BLOWN, "GW207"),
    ),
    "fares-without-the-point": Fault(
        whole(tables.taxi, 3, judged="mse", optimizer_name="sgd", rate=0.02, epochs=8, batch=40, warm=30, typos=True),
        ("GW107", "GW109"),
        "Kaggle, taxi fares: a few targets a hundred times too large throw the weights about under a squared error",
        ("GW207", "GW209", "GW201", "GW208", "GW206", "GW802", "GW411", "GW402", "GW404", "GW953", *BLOWN),
    ),
    "fares-rate-of-bert": Fault(
        whole(tables.taxi, 1, rate=2e-6),
        ("GW412",),
        "r/learnmachinelearning: the rate of a fine-tuning script on a network that begins at random",
        ("GW214", "GW206", "GW209", "GW108", "GW102"),
    ),
    "fares-decay-of-one-coupled": Fault(
        whole(tables.taxi, 1, coupled=True, decay=1.0),
        ("GW441", "GW451"),
        "fast.ai forums: weight_decay of AdamW (1.0) handed to Adam, which adds it to the gradient",
        ("GW452", "GW306", *STUCK, "GW443"),
    ),
    "fares-warm-for-ever": Fault(
        whole(tables.taxi, 1, rate=1e-3, warm=200_000),
        ("GW413", "GW412"),
        "discuss.huggingface.co: warmup_steps of another dataset, longer than the whole training",
        ("GW214", "GW206", "GW209", "GW108", "GW102"),
    ),
    "parcels-ended-early": Fault(
        whole(tables.parcels, 1, rate=2e-4, epochs=4),
        ("GW214", "GW412"),
        "Google's tuning playbook, how long to train: the run was ended while the loss was falling steadily",
        ("GW108", "GW201"),
    ),
}

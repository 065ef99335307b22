"""Faults of the seventeenth held-out set in what people want, scenes, forecasts, tables, graphs and tales."""

from __future__ import annotations

from tests.corpus.fault import SCALING, Fault
from tests.corpus.seventeenth import clicks, columns, forecasts, friends, scenes, spoken, zoom
from tests.corpus.seventeenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.whole import whole

STRAYS: dict[str, Fault] = {
    # -- what people want --------
    "tags-by-means-at-the-rate-of-sums": Fault(
        whole(clicks.tags, 3, name="sgd", rate=0.5, sums=False),
        ("GW412",),
        "forums on extreme classification: the mean over thousands of tags leaves nearly no gradient",
        IDLE,
    ),
    "clicks-squashed-twice": Fault(
        whole(clicks.clicks, 1, squashed=True),
        ("GW202", "GW212"),
        "forums on BCEWithLogitsLoss: a sigmoid before it",
        STUCK,
    ),
    "clicks-places-begin-large": Fault(
        whole(clicks.clicks, 1, spread=10.0),
        ("GW201", "GW471"),
        "forums on factorisation machines: places begin with a spread of ten",
        (*HOT, "GW214", "GW412"),
    ),
    "towers-things-not-handed-over": Fault(
        whole(clicks.towers, 1, rate=0.3, given="person"),
        ("GW302",),
        "forums on two towers: the optimizer got one of them",
        ("GW303", *IDLE),
    ),
    "hits-in-ten-thousands": Fault(
        whole(clicks.hits_in_order, 2, judged="pairs", name="sgd", rate=2e-3, queries=8, unit=10000.0),
        ("GW107",),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- things in pictures --------
    "squares-by-anchors-rate-of-one": Fault(
        whole(scenes.anchors, 1, rate=1.0),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate",
        (*HOT, *BROKEN),
    ),
    "squares-by-dice-of-scores": Fault(
        whole(scenes.masks, 1, squashed=False),
        ("GW202", "GW211"),
        "jakeret/tf_unet#15: Dice of logits, the loss leaves its range",
        (*HOT, *STUCK),
    ),
    "corners-begin-at-zero": Fault(
        whole(scenes.joints, 1, begun=0.0),
        ("GW114",),
        "Humbatova 2020, weights' initialisation: all zeros",
        (*STUCK, "GW303", "GW306", "GW471", "GW308"),
    ),
    # -- what comes next --------
    "sales-counts-of-raw-numbers": Fault(
        whole(forecasts.counted, 1, scaled=False),
        ("GW107", "GW109"),
        "Salinas et al. 2020: without scaling by the mean of each series",
        (*SCALE, *STUCK),
    ),
    "sales-counts-below-zero": Fault(
        whole(forecasts.counted, 1, safe=False),
        ("GW601", "GW603"),
        "forums on DeepAR: softplus of the mean was forgotten",
        (*BROKEN, *HOT),
    ),
    "sales-warm-for-ever": Fault(
        whole(forecasts.sold, 2, kind="blocks", judged="squares", warm=100000),
        ("GW413", "GW412"),
        "forums on warm-up: epochs taken for steps, the rate never arrives",
        IDLE,
    ),
    "pendulum-brake-not-handed-over": Fault(
        whole(forecasts.swung, 1, given="long"),
        ("GW302",),
        "forums on differentiable physics: one of two numbers was handed over",
        ("GW303", *IDLE),
    ),
    # -- tables --------
    "patients-by-cox-in-thousands": Fault(
        whole(columns.lasting, 1, unit=1000.0),
        ("GW107",),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    # -- a graph --------
    "friends-never-cleared": Fault(
        whole(friends.links, 1, clear=False),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN),
    ),
    # -- signs in a row --------
    "sounds-longer-than-their-frames": Fault(
        whole(spoken.heard, 1, short=True, endless=True),
        ("GW601",),
        "ypwhs/captcha_break#29: too few frames for the targets, zero_infinity is off",
        (*BROKEN, *HOT),
    ),
    "tales-not-shifted": Fault(
        whole(spoken.told, 1, shift=0),
        ("GW955",),
        "forums on language models: inputs and targets are the same",
        ("GW104", "GW204", "GW803"),
    ),
    "tales-with-the-future": Fault(
        whole(spoken.told, 1, causal=False),
        ("GW104",),
        "forums on nn.TransformerEncoder: no mask",
        ("GW204", "GW803", "GW955"),
    ),
    # -- pictures given back --------
    "ring-that-pleases-nobody": Fault(
        whole(zoom.pleased, 1, stays=True),
        ("GW301",),
        "forums on GANs: detach() in the step of the generator too",
        ("GW302", "GW303", "GW206", *IDLE),
    ),
}

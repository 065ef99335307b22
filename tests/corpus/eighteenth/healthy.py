"""Healthy trainings of the eighteenth held-out set."""

from __future__ import annotations

from tests.corpus.eighteenth import (
    against,
    ahead,
    codes,
    fields,
    games,
    labels,
    letters,
    masks,
    nodes,
    patches,
    pictures,
    sharper,
    shops,
    sounds,
    steam,
    tables,
    turns,
    views,
)
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- pictures, named --------
    "photos-mnist-example": whole(
        pictures.named, 1, net="mnist", data="digits", name="adadelta", rate=1.0, plan="epochs", batch=64, steps=280,
        every=93,
    ),
    "photos-cifar-tutorial": whole(pictures.named, 2, net="cifar", rate=0.01, batch=32, steps=500, every=100),
    "photos-keras-recipe": whole(pictures.named, 3, net="keras", name="adam", rate=1e-3, batch=64, steps=156, every=39),
    "photos-resnet-one-cycle": whole(
        pictures.named, 4, net="resnet", rate=0.1, decay=5e-4, batch=128, steps=156, plan="one cycle", every=39
    ),
    "photos-resnet-of-56-layers": whole(
        pictures.named, 5, shape={"blocks": 9}, rate=0.02, name="nesterov", decay=1e-4, batch=32, steps=140,
        plan="warm cosine", warm=14, every=70,
    ),
    "photos-dense": whole(
        pictures.named, 6, net="dense", rate=0.05, name="nesterov", decay=1e-4, batch=64, steps=140, plan="cosine"
    ),
    "photos-mobile": whole(
        pictures.named, 7, net="mobile", name="adamw", rate=2e-3, decay=0.01, batch=64, steps=150, plan="cosine"
    ),
    "photos-plain-and-deep": whole(
        pictures.named, 8, net="plain", shape={"depth": 10}, name="adam", rate=1e-3, batch=64, steps=220,
        plan="milestones",
    ),
    "photos-convnext": whole(
        pictures.named, 9, net="convnext", name="adamw", rate=2e-3, decay=0.05, batch=64, steps=200,
        plan="warm cosine", warm=20, smooth=0.1,
    ),
    "photos-mixed-up": whole(
        pictures.named, 10, net="resnet", rate=0.1, decay=5e-4, batch=64, steps=200, plan="one cycle", mixed=True
    ),
    "photos-of-64-points": whole(
        pictures.named, 11, net="resnet", size=64, count=3000, classes=20, name="adamw", rate=3e-3, decay=0.01,
        shape={"blocks": 1}, batch=32, steps=140, plan="cosine", every=35,
    ),
    "photos-in-four-parts": whole(
        pictures.named, 12, net="resnet", rate=0.05, batch=32, parts=4, steps=60, plan="cosine", every=20
    ),
    "photos-cats-or-dogs": whole(pictures.cats, 13, size=48),
    "photos-three-tags": whole(
        pictures.cats, 14, kinds=3, size=48, name="rmsprop", rate=1e-3, batch=64, steps=100, drop=0.3
    ),
    # -- in patches --------
    "photos-vit": whole(patches.patches, 1, batch=32, depth=3, steps=200),
    "photos-vit-by-means": whole(
        patches.patches, 2, patch=8, width=96, depth=3, batch=32, whole=False, steps=250, decay=0.1, smooth=0.0
    ),
    "photos-mixer": whole(patches.patches, 3, net="mixer", rate=2e-3, steps=200, batch=32, depth=3, smooth=0.0),
    # -- masks, boxes, joints --------
    "things-covered-by-names": whole(masks.covered, 1, edge=True, rate=5e-3),
    "things-covered-by-bits-and-dice": whole(masks.covered, 2, judged="both", rate=5e-3, name="adamw", decay=0.01),
    "things-boxed": whole(masks.boxes, 1),
    "things-with-corners": whole(masks.joints, 1),
    # -- larger, cleaner --------
    "views-larger-by-edsr": whole(sharper.larger, 1),
    "views-four-times-larger": whole(
        sharper.larger, 2, net="espcn", times=4, judged="squares", rate=2e-3, steps=400, plan="cosine"
    ),
    "views-cleaner": whole(sharper.cleaner, 3),
    # -- through a narrow middle --------
    "digits-in-sixteen-numbers": whole(
        codes.given_back, 1, sums=False, rate=6e-3, steps=450, plan="cosine", every=90
    ),
    "digits-with-noise-taken-off": whole(
        codes.given_back, 2, sums=False, noise=0.3, last="none", centred=True, name="adamw", rate=2e-3, plan="cosine"
    ),
    "digits-of-28-points-by-vae": whole(
        codes.given_back, 3, chance=True, judged="bits", rate=3e-3, steps=450, every=90, plan="cosine"
    ),
    "digits-by-vae-with-warmer-kl": whole(
        codes.given_back, 4, chance=True, rate=2e-3, warm=150, weight=0.5, size=10, steps=400, plan="cosine", every=80
    ),
    # -- against each other, out of noise --------
    "digits-by-dcgan": whole(against.played, 1, rate=1e-3, rate_d=5e-4, steps=300),
    "digits-by-hinges": whole(against.played, 2, kind="hinge", rate=5e-4, rate_d=5e-4, betas=(0.0, 0.9)),
    "digits-of-28-points-out-of-noise": whole(steam.noised, 1),
    "digits-out-of-a-flow": whole(steam.noised, 2, kind="flow", name="adam", plan="none", clip=None, steps=160),
    # -- what pictures have in common --------
    "photos-by-contrasts": whole(views.contrasts, 1),
    "photos-by-a-slow-copy": whole(views.contrasts, 2, kind="alone", rate=3e-3),
    "photos-taught-by-a-larger-net": whole(views.distilled, 1),
    "photos-head-first": whole(views.handed_on, 1, frozen_for=40),
    "photos-head-alone": whole(
        views.handed_on, 2, frozen_for=10_000, steps=120, name="adam", plan="none", head_rate=5e-3
    ),
    "digits-by-pairs": whole(views.metric, 1),
    "digits-of-28-points-by-angles": whole(views.metric, 2, kind="angles", rate=2e-3),
    # -- what is written next --------
    "tale-in-letters": whole(letters.written, 1),
    "tale-in-letters-dropped": whole(
        letters.written, 2, length=128, batch=8, drop=0.1, width=64, depth=3, rate=2e-3, steps=350, every=70
    ),
    "tale-in-words": whole(
        letters.written, 3, kind="words", signs=1000, width=64, depth=2, rate=4e-3, steps=300, every=60
    ),
    "tale-in-ten-thousand-words": whole(
        letters.written, 4, kind="words", signs=10_000, batch=4, parts=2, width=48, depth=2, rate=4e-3,
        steps=130,
        tied=False, plan="cosine", every=26,
    ),
    "tale-on-and-on": whole(letters.on_and_on, 5, steps=500),
    "tale-on-and-on-by-adam": whole(
        letters.on_and_on, 6, kind="GRU", layers=1, name="adam", rate=3e-3, clip=1.0, steps=250, every=50, quarter=False
    ),
    "tale-with-hidden-words": whole(letters.hidden_words, 7),
    # -- texts, named --------
    "news-by-a-bag": whole(labels.named_texts, 1),
    "news-by-grams": whole(
        labels.named_texts, 2, net="grams", name="adam", rate=2e-3, clip=None, steps=350, decay=1e-5, every=50
    ),
    "news-packed": whole(
        labels.named_texts, 3, net="packed", name="adam", rate=5e-3, clip=1.0, steps=240, drop=0.3, every=40
    ),
    "news-encoded": whole(
        labels.named_texts, 4, net="encoded", name="adamw", rate=1e-3, clip=1.0, steps=250, plan="linear", warm=25,
        decay=0.01, batch=32, every=50,
    ),
    "words-tagged-by-cells": whole(labels.tagged, 1),
    # -- line to line --------
    "lines-turned": whole(turns.turned, 1, rate=3e-3, batch=48, width=64, depth=1),
    "lines-turned-by-cells": whole(
        turns.turned, 2, net="cells", rate=4e-3, batch=32, steps=300, smooth=0.0, plan="cosine",
        betas=(0.9, 0.999), every=60,
    ),
    # -- shops --------
    "stars-of-400000-by-factors": whole(shops.stars, 1, rate=1e-2),
    "stars-by-a-deep-net": whole(shops.stars, 2, net="deep", rate=5e-3, name="adamw", decay=1e-4, steps=600),
    "towers-of-shoppers": whole(shops.towers, 3),
    "clicks-on-20000-by-deepfm": whole(shops.clicked, 4),
    "clicks-by-deepfm-and-adagrad": whole(shops.clicked, 5, name="adagrad", rate=0.03, batch=256, steps=600, every=120),
    # -- tables --------
    "homes-standardised": whole(tables.priced, 1),
    "homes-in-hundreds-by-huber": whole(
        tables.priced, 2, target="hundreds", judged="huber", name="rmsprop", rate=5e-4, last="plus", plan="cosine"
    ),
    "homes-by-a-wide-net": whole(
        tables.priced, 3, net="wide", name="adamw", rate=2e-3, decay=1e-4, drop=0.1, steps=400,
        plan="one cycle", batch=512,
    ),
    "homes-between-quantiles": whole(tables.priced, 4, judged="quantiles", norm=True, rate=2e-3, steps=400),
    "homes-by-sgd": whole(tables.priced, 5, name="sgd", rate=0.03, batch=128, plan="milestones"),
    "wages-by-entities": whole(tables.earned, 6),
    "wages-of-a-few-weighed": whole(tables.earned, 7, rare=0.05, weighed=True, name="adam", rate=3e-3, decay=0.0),
    # -- what comes next --------
    "load-by-lstm": whole(ahead.foretold, 1),
    "load-by-dilated": whole(ahead.foretold, 2, net="tcn", layers=5, width=24, batch=32, steps=300, judged="amounts"),
    "load-by-patches": whole(
        ahead.foretold, 3, net="cuts", length=120, layers=2, batch=64, steps=300, name="adamw", rate=1e-3, every=60
    ),
    # -- sounds --------
    "tones-by-m5": whole(sounds.named_sounds, 1),
    "tones-by-spectra-of-8000": whole(
        sounds.named_sounds, 2, net="spectrum", length=8000, width=12, name="adamw", steps=120
    ),
    "tones-read-by-ctc": whole(sounds.read, 3),
    # -- graphs, points --------
    "papers-by-gcn": whole(nodes.cited, 1),
    "papers-by-sage": whole(nodes.cited, 2, kind="sage", width=64, drop=0.3, rate=5e-3, steps=120),
    "papers-by-gat": whole(nodes.cited, 3, kind="gat", drop=0.4, rate=0.02, steps=60, width=32),
    "points-by-pointnet": whole(nodes.shaped, 4),
    # -- by trying --------
    "cart-by-ppo": whole(games.ppo, 1),
    "cart-by-reinforce": whole(games.reinforced, 2),
    "cart-by-values": whole(games.valued, 3),
    # -- fields --------
    "picture-by-waves": whole(fields.painted, 1),
    "picture-by-sines": whole(fields.painted, 2, kind="sines", rate=5e-4, steps=300),
    "heat-obeyed": whole(fields.obeyed, 3),
}  # fmt: skip

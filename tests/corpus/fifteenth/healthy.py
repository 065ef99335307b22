"""Healthy trainings of the fifteenth held-out set: the repaired programs, and others as people write them."""

from __future__ import annotations

from tests.corpus.fifteenth import attention, games, makers, pictures, sequences, tables
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- tables --------
    "clients-who-leave": whole(tables.clients, 1),
    "clients-by-sgd": whole(tables.clients, 2, name="sgd", rate=0.05, batch=32),
    "clients-few-who-leave-weighed": whole(tables.clients, 3, share=0.04, weigh=True, epochs=12),
    "clients-by-adamw-wide": whole(
        tables.clients, 4, name="adamw", decay=0.05, width=96, drop=0.3, batch=128, epochs=14
    ),
    "clients-by-hand-written-loss": whole(tables.clients, 5, squashed=True, by_hand=True),
    "roof-yields": whole(tables.panels, 1),
    "roof-yields-by-sgd": whole(tables.panels, 2, name="sgd", rate=0.02, batch=32, epochs=12),
    "roof-yields-by-huber": whole(tables.panels, 3, judged="huber", width=32, layers=3, epochs=14),
    "roof-yields-by-absolute": whole(tables.panels, 4, judged="l1", rate=1e-3, batch=25, epochs=12),
    "roof-yields-normed": whole(tables.panels, 5, norm=True, rate=5e-3, batch=125, epochs=30),
    "roof-yields-clipped": whole(tables.panels, 6, name="rmsprop", rate=1e-3, clip=5.0, epochs=14),
    "irises-named": whole(tables.flowers, 1),
    "irises-by-log-softmax": whole(tables.flowers, 2, last="log", name="sgd", rate=0.03, scaled=True, epochs=25),
    "irises-scaled-small-steps": whole(tables.flowers, 3, scaled=True, rate=2e-3, batch=8, epochs=25),
    "machine-states": whole(tables.machines, 1),
    "machine-states-by-adam": whole(tables.machines, 2, name="adam", rate=2e-3, batch=32, epochs=10),
    "machine-states-normed": whole(tables.machines, 3, norm=True, rate=0.1, depth=3, decay=5e-4),
    "machine-states-tanh": whole(tables.machines, 4, activation="tanh", start="xavier", rate=0.1),
    "machine-states-deep-he": whole(tables.machines, 5, start="he", depth=5, width=48, rate=0.01, epochs=8),
    "machine-states-cosine": whole(tables.machines, 6, schedule="cosine", rate=0.1, decay=1e-4),
    "machine-states-one-cycle": whole(tables.machines, 7, schedule="onecycle", rate=0.15, batch=48),
    "machine-states-exponential": whole(tables.machines, 8, schedule="exponential", name="adam", rate=5e-3, epochs=16),
    "machine-states-some-drop": whole(tables.machines, 9, drop=0.2, width=128, name="adamw", rate=2e-3, decay=0.01),
    "machine-states-clipped": whole(tables.machines, 10, clip=1.0, rate=0.08),
    "machine-states-some-labels-wrong": whole(tables.machines, 11, labels=0.1, rate=0.05, epochs=7, decay=1e-3),
    "machine-states-autocast": whole(tables.machines, 12, bf16=True, name="adam", rate=3e-3),
    "machine-states-plain-sgd": whole(tables.machines, 13, momentum=0.0, rate=0.1, batch=32, epochs=10),
    # -- pictures --------
    "cloth-named": whole(pictures.shop, 1),
    "cloth-by-sgd": whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4),
    "cloth-without-norm": whole(pictures.shop, 3, norm=False, rate=2e-3, epochs=12),
    "cloth-mirrored-smoothed": whole(pictures.shop, 4, mirrored=True, smooth=0.1, pooled=True, width=16),
    "cloth-by-log-softmax": whole(pictures.shop, 5, last="log", judged="nll", batch=24, epochs=7),
    "cloth-rate-by-steps": whole(pictures.shop, 6, schedule="late", name="adamw", decay=0.01, rate=5e-3),
    "cloth-half-dropped": whole(pictures.shop, 7, drop=0.5, first=96, epochs=9),
    "cloth-without-norm-by-sgd": whole(pictures.shop, 8, norm=False, name="sgd", rate=0.03, epochs=10),
    "boxes-found": whole(pictures.boxes, 1),
    "boxes-by-huber": whole(pictures.boxes, 2, judged="huber", act="leaky", rate=3e-3, epochs=9),
    "boxes-by-sgd": whole(pictures.boxes, 3, name="sgd", rate=0.03, batch=32, epochs=9),
    "cells-of-two-kinds": whole(pictures.cells, 1),
    "cells-or-not": whole(pictures.cells, 2, kinds=1, rate=5e-3),
    "cells-by-overlap": whole(pictures.cells, 3, kinds=1, judged="dice", rate=5e-3, epochs=5),
    "small-cells-weighed": whole(pictures.cells, 4, kinds=1, small=True, weigh=6.0, rate=1e-2, epochs=6),
    "digits-new-head": whole(pictures.transfer, 1, rate=2e-2, epochs=16),
    "digits-tuned-gently": whole(pictures.transfer, 2, frozen="none", rate=2e-3, slow=0.2),
    "digits-tuned-all": whole(pictures.transfer, 3, frozen="none", rate=1e-3, said=False, epochs=9),
    # -- sequences --------
    "surnames-by-lstm": whole(sequences.surnames, 1),
    "surnames-by-gru": whole(sequences.surnames, 2, cell="gru", read="max", clip=1.0, width=32, epochs=8),
    "surnames-by-plain-rnn": whole(sequences.surnames, 3, cell="rnn", clip=1.0, rate=3e-3, log=True, judged="nll"),
    "surnames-by-sgd": whole(sequences.surnames, 4, name="sgd", rate=0.3, read="max", epochs=12),
    "weather-by-lstm": whole(sequences.weather, 1),
    "weather-by-gru-plateau": whole(sequences.weather, 2, cell="gru", plateau=True, rate=1e-2, epochs=12),
    "weather-by-two-layers": whole(sequences.weather, 3, cell="gru", layers=2, width=24, clip=1.0, window=16),
    "words-tagged": whole(sequences.tagging, 1),
    "words-tagged-by-adamw": whole(sequences.tagging, 2, name="adamw", drop=0.4, width=32, batch=48, epochs=9),
    "recipes-by-lstm": whole(sequences.recipes, 1),
    "recipes-by-sgd": whole(sequences.recipes, 2, name="sgd", rate=0.5, clip=1.0, steps=500),
    "recipes-by-two-layers": whole(sequences.recipes, 3, layers=2, width=48, drop=0.1, rows=12, kept=False),
    # -- attention --------
    "numbers-backwards": whole(attention.backwards, 1),
    "numbers-backwards-longer": whole(attention.backwards, 2, length=6, drop=0.05, rate=2e-3, steps=350),
    "questions-sorted": whole(attention.questions, 1),
    "questions-sorted-by-two-blocks": whole(attention.questions, 2, depth=2, drop=0.2, width=24, epochs=5),
    "questions-without-a-mask": whole(attention.questions, 3, mask="none", mean="all", rate=3e-3),
    # -- makers --------
    "digits-through-convolutions": whole(makers.squeeze, 1),
    "digits-through-a-linear-end": whole(makers.squeeze, 2, last="none", code=16, name="adamw"),
    "digits-cleaned": whole(makers.squeeze, 3, lowest=-1.0, last="tanh", noise=0.3, batch=64),
    "digits-dreamt": whole(makers.dream, 1),
    "digits-dreamt-softly": whole(makers.dream, 2, weight=0.3, code=12, batch=48, spoken=False),
    "zeros-forged": whole(makers.forge, 1),
    "zeros-forged-smoothed": whole(makers.forge, 2, smooth=0.9, rate=2e-3, width=64),
    "triplets-of-digits": whole(makers.triplets, 1),
    "triplets-by-sgd": whole(makers.triplets, 2, name="sgd", rate=0.1, margin=0.3, norm=False),
    "twins-of-digits": whole(makers.twins, 1),
    # -- games and ratings --------
    "pole-balanced": whole(games.pole, 1),
    "pole-balanced-undeclared": whole(games.pole, 2, told=False, width=48, rate=8e-3),
    "books-liked": whole(games.books, 1),
    "books-in-stars": whole(games.books, 2, middle=False, name="adamw", decay=0.02, factors=8, epochs=14),
}

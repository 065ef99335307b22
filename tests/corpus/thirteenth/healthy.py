"""Healthy trainings of the thirteenth held-out set: the repaired programs, and others of the same kind."""

from __future__ import annotations

from tests.corpus.setup import Setup
from tests.corpus.thirteenth import attention, figures, others, pictures, sequences, tables, toys
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- tables --------
    "growers-by-sgd": whole(tables.wines, 1),
    "growers-by-adam": whole(tables.wines, 2, optimizer_name="adam", rate=5e-3, hidden=16, batch=32),
    "tumours-all-rows": whole(tables.tumours, 1),
    "tumours-by-logits": whole(tables.tumours, 3, last="none", rate=0.02),
    "progress-foretold": whole(tables.diabetes, 1),
    "progress-with-dropout": whole(tables.diabetes, 4, sizes=(64, 32), drop=0.2, epochs=35),
    "progress-by-sgd": whole(tables.diabetes, 5, sgd=True, rate=0.02, decay=1e-3, batch=64, epochs=50),
    "estates-priced": whole(tables.houses, 1),
    "estates-by-logarithm": whole(tables.houses, 6, log_targets=True, batch=32, rate=5e-3),
    "payments-weighed": whole(tables.fraud, 1),
    "payments-less-rare-frauds": whole(tables.fraud, 7, share=0.05, batch=64, epochs=8),
    # -- toys --------
    "circles-by-relu": whole(toys.plane, 1),
    "circles-by-tanh": whole(toys.plane, 1, nonlinear="tanh", rate=0.15),
    "moons-by-tanh": whole(toys.plane, 8, kind="moons", nonlinear="tanh", rate=0.2, epochs=50),
    "blobs-by-relu": whole(toys.plane, 9, kind="blobs", width=16, batch=16, rate=0.02, epochs=15),
    "xor-by-tanh": whole(toys.xor, 1),
    "xor-by-sigmoid": whole(toys.xor, 3, activation="sigmoid", rate=2.0),
    "sine-by-adam": whole(toys.curve, 1),
    "square-by-adam": whole(toys.curve, 5, of="square", hidden=32),
    "cubic-by-rmsprop": whole(toys.curve, 4, of="cubic", optimizer_name="rmsprop", rate=1e-3),
    # -- digits --------
    "figures-first-tutorial": whole(figures.tutorial, 1),
    "figures-by-adam": whole(figures.tutorial, 6, optimizer_name="adam", rate=1e-3, batch=32, epochs=10),
    "figures-by-small-steps": whole(figures.tutorial, 7, optimizer_name="adam", rate=2e-4, epochs=45),
    "figures-as-classes": whole(figures.numbered, 1),
    "figures-deep-relu": whole(figures.stack, 1),
    "figures-deep-tanh": whole(figures.stack, 7, activation="tanh", depth=5, rate=0.03),
    "figures-normed": whole(figures.stack, 1, depth=3, normed=True, rate=0.02),
    "figures-deep-normed": whole(figures.stack, 8, normed=True, depth=6, momentum=0.9, width=48),
    "lenet-small": whole(figures.lenet, 1),
    "lenet-half-dropped": whole(figures.lenet, 1, drop=0.5),
    "lenet-clipped": whole(figures.lenet, 2, sgd=True, rate=0.02, clip=1.0),
    "lenet-plain-sgd": whole(figures.lenet, 1, sgd=True, rate=0.05, normed=False),
    "figures-rate-by-steps": whole(figures.scheduled, 1),
    "figures-rate-by-plateau": whole(figures.scheduled, 2, kind="plateau", rate=0.03, batch=24),
    # -- pictures --------
    "digits-through-a-narrow-code": whole(pictures.autoencoder, 1),
    "digits-squeezed-by-bce": whole(pictures.autoencoder, 3, judged="bce", code=16),
    "digits-drawn-anew": whole(pictures.vae, 1),
    "digits-drawn-wider": whole(pictures.vae, 4, code=10, rate=3e-3, batch=48),
    "discs-marked": whole(pictures.masks, 1),
    "discs-by-overlap": whole(pictures.masks, 5, judged="both", batch=20, rate=5e-3),
    "ring-by-gan": whole(pictures.gan, 1),
    "ring-by-gan-smaller-batch": whole(pictures.gan, 6, batch=96, drawn=6),
    # -- sequences --------
    "reviews-by-lstm": whole(sequences.reviews, 1),
    "reviews-by-gru": whole(sequences.reviews, 7, cell="gru", clip=1.0, width=20, epochs=8),
    "passengers-daily-by-lstm": whole(sequences.passengers, 1),
    "passengers-daily-by-gru": whole(sequences.passengers, 8, cell="gru", hidden=40, batch=48),
    "letters-by-gru": whole(sequences.letters, 1),
    "letters-by-sgd": whole(sequences.letters, 1, sgd=True, rate=0.2),
    "letters-two-layers": whole(sequences.letters, 9, layers=2, width=48, rate=5e-3),
    "first-sign-kept-by-gru": whole(sequences.memory, 1),
    "first-sign-kept-by-rnn": whole(sequences.memory, 1, cell="rnn"),
    "first-sign-kept-long-by-lstm": whole(sequences.memory, 1, cell="lstm", length=60),
    # -- attention --------
    "gpt-of-simple-sentences": whole(attention.gpt, 1),
    "gpt-of-one-block": whole(attention.gpt, 3, depth=1, width=64, batch=24, clip=None),
    "opinions-by-first-token": whole(attention.opinions, 1),
    # -- others --------
    "articles-tagged": whole(others.tags, 1),
    "articles-by-logits": whole(others.tags, 5, judged="logits", width=64, drop=0.0, batch=40, epochs=10),
    "films-rated": whole(others.ratings, 1),
    "films-with-decay": whole(others.ratings, 6, decoupled=True, decay=0.1, factors=12),
    "walk-to-the-corner": whole(others.dqn, 1),
    "walk-in-a-smaller-world": whole(others.dqn, 7, size=3, drawn=8),
    "offers-chosen": whole(others.bandit, 1),
    "offers-of-three": whole(others.bandit, 8, arms=3, rate=5e-3),
}

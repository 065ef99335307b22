"""Healthy trainings of the fourteenth held-out set."""

from __future__ import annotations

from tests.corpus.fourteenth import agents, fields, learners, letters, odd, pictures, plain, series, tables
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- tables --------
    "parcels-by-three-quantiles": whole(tables.parcels, 1),
    "parcels-median-by-adagrad": whole(tables.parcels, 2, levels=(0.5,), optimizer_name="adagrad", rate=0.03, batch=48),
    "parcels-late-ones-by-sgd": whole(
        tables.parcels, 3, levels=(0.8, 0.95), optimizer_name="sgd", rate=0.1, batch=32, epochs=20
    ),
    "soils-weighed": whole(tables.ground, 1),
    "soils-by-sampler": whole(tables.ground, 2, balance="sampler", rate=1e-3, drop=0.3),
    "soils-by-prior": whole(tables.ground, 3, balance="prior", batch=100),
    "wells-by-hinge": whole(tables.water, 1, rate=0.1),
    "wells-squared-hinge": whole(tables.water, 2, squared=True, batch=64, width=64),
    "wells-averaged-sgd": whole(tables.water, 3, averaged=True, batch=32),
    "fares-by-huber": whole(tables.taxi, 1),
    "fares-by-absolute-error": whole(tables.taxi, 2, judged="l1", batch=64, milestones=(400,), width=96),
    "fares-short-by-sgd": whole(
        tables.taxi, 3, judged="mse", optimizer_name="sgd", rate=0.02, epochs=4, batch=40, warm=30
    ),
    # -- pictures --------
    "cloth-by-sgd": whole(pictures.weave, 1),
    "cloth-one-cycle": whole(pictures.weave, 2, optimizer_name="adamw", rate=0.01, schedule="one-cycle", batch=50),
    "cloth-groups-of-eight": whole(
        pictures.weave, 3, norm="group", batch=8, optimizer_name="adamw", rate=1e-3, schedule="none", epochs=4, drop=0.2
    ),
    "quarters-told": whole(pictures.turned, 1),
    "quarters-told-by-rmsprop": whole(pictures.turned, 2, optimizer_name="rmsprop", rate=1e-3, width=12, batch=96),
    "twins-without-negatives": whole(pictures.twins, 1),
    "twins-by-adam": whole(pictures.twins, 2, optimizer_name="adam", rate=1e-3, out=48, batch=96, steps=350),
    "pupil-of-a-teacher": whole(pictures.pupil, 1),
    "pupil-of-nothing-but-its-teacher": whole(pictures.pupil, 1, share=1.0),
    "pupil-hotter-and-softer": whole(pictures.pupil, 2, heat=5.0, share=0.9, width=32, batch=32),
    # -- pictures that come out --------
    "regions-of-the-air": whole(fields.regions, 1),
    "regions-by-both-losses": whole(fields.regions, 2, judged="both", batch=24, width=20),
    "regions-by-sgd": whole(fields.regions, 3, optimizer_name="sgd", rate=0.05, epochs=8),
    "painting-by-fourier": whole(fields.painting, 1),
    "painting-by-sines": whole(fields.painting, 2, kind="siren", rate=1e-3),
    "painting-by-plain-places": whole(fields.painting, 4, kind="plain", width=96, steps=500),
    "painting-in-a-larger-part": whole(fields.painting, 3, part=2304, steps=300, width=96),
    "sharper-by-subpixels": whole(fields.sharper, 1),
    "sharper-by-sgd": whole(fields.sharper, 2, optimizer_name="sgd", rate=0.3, epochs=14),
    "pixel-after-pixel": whole(fields.by_pixel, 1),
    "pixel-after-pixel-normed": whole(fields.by_pixel, 2, norm=True, width=16, batch=64, epochs=14),
    # -- tokens --------
    "tags-by-a-random-field": whole(letters.tagging, 1),
    "tags-by-a-random-field-and-sgd": whole(letters.tagging, 2, optimizer_name="sgd", rate=0.2, width=32, epochs=5),
    "tags-of-long-sentences": whole(letters.tagging, 1, length=60),
    "neighbours-by-strangers": whole(letters.neighbours, 1),
    "neighbours-by-sparse-adam": whole(
        letters.neighbours, 2, optimizer_name="sparse", sparse=True, rate=0.02, negatives=8, steps=400
    ),
    "neighbours-by-summed-sgd": whole(letters.neighbours, 3, optimizer_name="sgd", rate=0.05, summed=True, batch=64),
    "brackets-that-fit": whole(letters.brackets, 1),
    "brackets-norm-behind": whole(letters.brackets, 2, first=False, rate=1e-3, warm=80, epochs=10, floor=-1e9),
    "brackets-in-bfloat16": whole(letters.brackets, 3, low=True, batch=48, rate=2e-3),
    # -- time and sets --------
    "visits-foretold": whole(series.visits, 1),
    "visits-foretold-by-lstm": whole(series.visits, 2, cell="lstm", width=32, clip=1.0, batch=28),
    "tides-of-the-next-hour": whole(series.tides, 1),
    "tides-of-six-hours": whole(series.tides, 2, ahead=6, norm=True, width=16, batch=32),
    "tides-by-sgd": whole(series.tides, 3, optimizer_name="sgd", rate=0.05, clip=1.0),
    "coins-added-up": whole(series.coins, 1, epochs=18),
    "coins-heeded": whole(series.coins, 3, pooled="attention", epochs=18),
    "coins-added-up-with-decay": whole(series.coins, 2, batch=64, width=48, rate=4e-3, decay=1e-4, epochs=20),
    # -- agents --------
    "heater-by-its-critic": whole(agents.heater, 1),
    "heater-by-a-wider-critic": whole(agents.heater, 2, width=48, batch=128, rate_actor=5e-4, steps=900),
    "warehouse-ordered-for": whole(agents.warehouse, 1),
    "warehouse-more-shops": whole(agents.warehouse, 2, shops=64, horizon=5, rate=2e-3, normed=False, bonus=0.02),
    "hand-copied": whole(agents.copied, 1),
    "hand-copied-by-sgd": whole(agents.copied, 2, optimizer_name="sgd", rate=0.01, batch=80, epochs=18),
    # -- loops of their own --------
    "sines-learnt-fast": whole(learners.sines, 1),
    "sines-learnt-fast-first-order": whole(learners.sines, 2, second=False, inner_steps=2, rate=3e-3, shots=12),
    "two-pens": whole(learners.domains, 1, strength=0.1),
    "two-pens-without-ramp": whole(learners.domains, 2, ramp=False, strength=0.1, width=64, batch=48),
    "five-lessons": whole(learners.lessons, 1),
    "five-lessons-anchored": whole(learners.lessons, 2, anchor=0.01, kept=12, steps=150),
    "digits-by-closure": whole(learners.by_closure, 1),
    "digits-by-closure-and-tanh": whole(learners.by_closure, 2, hidden=32, steps=60),
    # -- other kinds --------
    "regimes-by-gradients": whole(odd.regimes, 1),
    "regimes-of-two": whole(odd.regimes, 2, count=2, rate=0.03, steps=450, noise=0.3),
    "few-labels-and-a-mean": whole(odd.unlabelled, 1),
    "few-labels-and-a-slower-mean": whole(odd.unlabelled, 2, known=200, keep=0.99, weight=1.0, width=64, steps=500),
    "facts-by-moves": whole(odd.facts, 1, rate=0.1),
    "facts-by-moves-and-adam": whole(odd.facts, 2, optimizer_name="adam", rate=0.01, margin=0.5, width=32, batch=96),
    "mass-moved-to-six-spots": whole(odd.moved, 1),
    "mass-moved-by-a-wider-critic": whole(odd.moved, 2, width=64, each=5, rounds=300, penalty=0.5),
    "currents-to-a-chessboard": whole(odd.currents, 1),
    "currents-by-smaller-steps": whole(odd.currents, 2, rate=1e-3, batch=192, width=96, optimizer_name="adam"),
    # -- as everybody writes them --------
    "columns-two-hidden-layers": whole(plain.columns, 1),
    "columns-normed": whole(plain.columns, 2, norm="before", optimizer_name="sgd", rate=0.02, decay=1e-3, growth=0.9),
    "columns-by-sgd": whole(plain.columns, 5, optimizer_name="sgd", rate=0.02, growth=0.95),
    "columns-six-layers": whole(plain.columns, 3, depth=6, rate=1e-3, batch=100, growth=0.93),
    "columns-tanh-dropped": whole(plain.columns, 4, act="tanh", drop=0.2, epochs=30, batch=80),
    "chirps-named": whole(plain.chirps, 1),
    "chirps-in-four-pieces": whole(plain.chirps, 2, pieces=4, batch=8, norm="none", epochs=12),
    "chirps-in-eight-pieces-by-sgd": whole(
        plain.chirps, 4, pieces=8, batch=4, norm="none", epochs=12, optimizer_name="sgd", rate=0.02
    ),
    "chirps-by-sgd": whole(plain.chirps, 3, optimizer_name="sgd", rate=0.03, batch=24, drop=0.0),
    "new-pen-two-rates": whole(plain.new_pen, 1),
    "new-pen-half-frozen": whole(plain.new_pen, 2, frozen=3, body_rate=1e-3, batch=32),
    "new-pen-trunk-frozen": whole(plain.new_pen, 4, frozen=7, body_rate=1e-3, batch=32),
    "new-pen-by-sgd": whole(plain.new_pen, 3, optimizer_name="sgd", head_rate=0.02, body_rate=0.005),
}

"""Healthy trainings of the fourteenth held-out set."""

from __future__ import annotations

from tests.corpus.fourteenth import pictures, tables
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
    "pupil-hotter-and-softer": whole(pictures.pupil, 2, heat=5.0, share=0.9, width=32, batch=32),
}

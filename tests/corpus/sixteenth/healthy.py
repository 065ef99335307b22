"""Healthy trainings of the sixteenth held-out set: the repaired programs, and others as people write them."""

from __future__ import annotations

from tests.corpus.setup import Setup
from tests.corpus.sixteenth import (
    boards,
    drills,
    messages,
    movers,
    operators,
    outbreaks,
    pupils,
    rays,
    scans,
    spikes,
    steering,
    trees,
    views,
    voices,
    wards,
)
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- graphs --------
    "nets-by-messages": whole(messages.nets, 1),
    "nets-by-sums-of-three-rounds": whole(messages.nets, 2, rounds=3, gather="sum", width=24, clip=5.0),
    "nets-by-messages-and-sgd": whole(messages.nets, 3, name="sgd", rate=0.1, epochs=12),
    "town-of-four-clubs": whole(messages.town, 1),
    "town-by-three-layers-that-stay": whole(messages.town, 2, layers=3, stay=True),
    "town-by-sgd": whole(messages.town, 3, name="sgd", rate=0.3),
    # -- fields and functions --------
    "scene-along-rays": whole(rays.scene, 1),
    "scene-along-rays-by-exponent": whole(rays.scene, 2, dense="exp", rate=3e-3, noise=0.02),
    "scene-along-rays-by-relu": whole(rays.scene, 3, dense="relu", start=0.3, waves=3),
    "fluid-by-fourier-layers": whole(operators.fluid, 1),
    "fluid-by-three-narrow-layers": whole(operators.fluid, 2, layers=3, width=12, judged="mse", epochs=6),
    "water-at-a-place": whole(operators.places, 1),
    "water-at-a-place-by-tanh": whole(operators.places, 2, act="tanh", rate=4e-3),
    "water-at-a-place-by-sgd": whole(operators.places, 3, name="sgd", rate=0.05),
    # -- sounds --------
    "voices-apart": whole(voices.voices, 1),
    "voices-apart-by-shares": whole(voices.voices, 2, name="adamw", mask="softmax", blocks=2),
    "voices-apart-by-sgd": whole(voices.voices, 3, name="sgd", rate=0.02, norm=False, decays=0.995),
    # -- games --------
    "boards-of-noughts": whole(boards.boards, 1),
    "boards-of-noughts-normed": whole(boards.boards, 2, drop=0.2, norm=True, name="adamw"),
    "boards-of-noughts-one-move": whole(boards.boards, 3, judged="one", end="none", spoken=False),
    "puck-by-actor-and-critics": whole(steering.puck, 1),
    "puck-by-warmer-actor": whole(steering.puck, 2, named=False, heat=0.1, rate=2e-3, actor_rate=2e-3, steps=500),
    "puck-by-evolution": whole(steering.guesses, 1),
    "puck-by-evolution-and-sgd": whole(steering.guesses, 2, name="sgd", rate=0.3, pairs=24),
    # -- cells that fire --------
    "digits-by-spikes": whole(spikes.spikes, 1),
    "digits-by-spikes-of-one-layer": whole(spikes.spikes, 2, layers=1, width=64, name="sgd", rate=0.1),
    "digits-by-spikes-summed": whole(spikes.spikes, 3, read="sum", steep=2.0, layers=3),
    # -- noise that is moved --------
    "heaps-by-straight-lines": whole(movers.cloud, 1),
    "spiral-by-straight-lines": whole(movers.cloud, 2, kind="spiral", follow=0.98, rate=5e-3),
    "heaps-by-straight-lines-and-sgd": whole(movers.cloud, 3, name="sgd", rate=0.1, clip=1.0),
    # -- hospitals --------
    "wards-averaged": whole(wards.averaged, 1),
    "wards-averaged-by-adam": whole(wards.averaged, 2, server="adam", server_rate=4e-3, norm=True, rounds=100),
    "wards-averaged-of-digits": whole(wards.averaged, 3, digits=True, local=8, rate=0.1, rounds=150),
    "wards-in-private": whole(wards.private, 1),
    "wards-in-private-by-adam": whole(wards.private, 2, name="adam", rate=5e-3),
    # -- what follows --------
    "tunes-by-holed-convolutions": whole(scans.tunes, 1),
    "tunes-by-fading-states": whole(scans.tunes, 2, kind="fading"),
    "tunes-by-linear-attention": whole(scans.tunes, 3, kind="linear", steps=400),
    # -- tables --------
    "bottles-by-soft-trees": whole(trees.bottles, 1),
    "bottles-by-one-deep-tree": whole(trees.bottles, 2, trees=1, depth=4, balance=0.0, rate=0.03, spoken=False),
    "bottles-by-soft-trees-and-sgd": whole(trees.bottles, 3, name="sgd", rate=0.5),
    "pumps-by-hazard": whole(trees.lasting, 1, epochs=8),
    "pumps-by-hazard-normed": whole(trees.lasting, 2, norm=True, drop=0.2, name="adamw"),
    "pumps-by-hazard-and-tanh": whole(trees.lasting, 3, act="tanh", name="sgd", rate=0.1),
    # -- digits without names --------
    "views-held-apart": whole(views.apart, 1),
    "views-crossed": whole(views.apart, 2, kind="barlow", decay=0.0),
    "patches-filled-in": whole(views.patches, 1),
    "patches-filled-in-by-wider": whole(views.patches, 2, width=48, batch=64, rate=5e-3),
    # -- digits with names --------
    "drill-by-lamb": whole(drills.drills, 1),
    "drill-by-lars": whole(drills.drills, 2, name="lars", rate=1.0),
    "drill-by-looking-ahead": whole(drills.drills, 3, name="ahead", rate=3e-3, restarts=2),
    "drill-computed-again": whole(drills.drills, 4, again="new", name="adamw", rate=2e-3, half=True),
    "drill-in-four-mixed-pieces": whole(
        drills.drills, 5, pieces=4, mixed=0.4, smooth=0.1, name="adamw", rate=2e-3, drop=0.1
    ),
    "drill-by-adam": whole(drills.drills, 7, name="adam", rate=1e-2),
    "drill-by-plain-sgd": whole(drills.drills, 6, name="sgd", rate=0.05),
    "few-names-and-guesses": whole(pupils.few, 1, named=300, drop=0.3),
    "few-names-and-guesses-normed": whole(
        pupils.few, 2, named=300, norm=True, name="sgd", rate=0.05, ramp=50, steps=200, weight=0.5, batch=30
    ),
    "few-names-and-bolder-guesses": whole(pupils.few, 3, named=200, sure=0.8, weight=0.5, name="adamw", drop=0.2),
    "layers-each-for-itself": whole(pupils.layers, 1),
    "layers-each-for-itself-by-sgd": whole(pupils.layers, 2, name="sgd", rate=1.0),
    # -- a handful of weights --------
    "outbreak-explained": whole(outbreaks.outbreak, 1),
    "outbreak-explained-by-huber": whole(outbreaks.outbreak, 2, judged="huber", towns=12, rate=0.05, steps=300),
    "outbreak-explained-by-sgd": whole(outbreaks.outbreak, 3, name="sgd", rate=0.02, clip=1.0, steps=300),
}

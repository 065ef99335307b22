"""Healthy trainings of the fifth held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from torch.optim import Adam

from tests.corpus.fifth import games, pictures, series, tables, words
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "titanic-embedded": whole(tables.titanic, 200),
    "prices-by-a-trainer": whole(tables.prices, 161),
    "iris-whole-set": whole(tables.iris, 162),
    "frauds-sampled": whole(tables.fraud, 163),
    "frauds-weighed": whole(tables.fraud, 164, way="weights"),
    "spending-hardly-known": whole(tables.spending, 165),
    "parcels-three-quantiles": whole(tables.parcels, 166),
    "claims-counted": whole(tables.claims, 167),
    "mnist-example": whole(pictures.mnist, 168),
    "colours-cosine": whole(pictures.colours, 169),
    "colours-one-cycle": whole(pictures.colours, 170, optim=Adam, lr=0.01, cycle=True),
    "cells-by-overlap": whole(pictures.cells, 171),
    "arrows-moved": whole(pictures.arrows, 172),
    "boxes-and-kinds": whole(pictures.boxes, 173),
    "names-one-at-a-time": whole(words.names, 174),
    "entities-padded": whole(words.entities, 175),
    "letters-at-random-places": whole(words.letters, 176),
    "tickets-sent": whole(words.tickets, 177),
    "heartbeats-normed": whole(series.heartbeats, 178),
    "heartbeats-averaged": whole(series.heartbeats, 179, average=True),
    "adding-clipped": whole(series.adding, 180),
    "pendulum-copied": whole(series.pendulum, 181),
    "levels-three-heads": whole(series.levels, 182),
    "levels-warm-restarts": whole(series.levels, 183, schedule=series.restarts),
    "levels-in-pieces": whole(series.levels, 184, order="pieces"),
    "digits-summed-elbo": whole(games.autoencode, 185),
    "lake-crossed": whole(games.lake, 186),
    "ring-of-points": whole(games.ring, 187),
    "student-of-digits": whole(games.student, 188),
    "digits-turned": whole(games.rotations, 189),
    "digits-hardest-triplets": whole(games.triplets, 190),
    "digits-in-half-precision": whole(games.scaled, 191),
}

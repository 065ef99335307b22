"""Healthy trainings of the seventh held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from tests.corpus.setup import Setup
from tests.corpus.seventh import games, makers, pictures, sequences, sounds, tables
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "houses-by-a-trainer": whole(tables.houses, 300),
    "houses-rmsprop": whole(tables.houses, 301, robust=True),
    "hearts-one-logit": whole(tables.hearts, 302),
    "customers-focal": whole(tables.customers, 303),
    "machines-weighed": whole(tables.machines, 304),
    "ratings-by-factors": whole(tables.ratings, 305),
    "ratings-sparse": whole(tables.ratings, 306, sparse=True),
    "curve-run-backwards": whole(tables.backwards, 307),
    "plates-lightning": whole(pictures.plates, 310),
    "plates-nesterov": whole(pictures.plates, 311, module=pictures.Nesterov),
    "stripes-resnet": whole(pictures.resnet, 312),
    "stripes-in-four-pieces": whole(pictures.resnet, 313, pieces=4, batch=64, lr=0.08, epochs=5),
    "stripes-averaged": whole(pictures.resnet, 314, average=True),
    "stripes-retrained": whole(pictures.retrained, 315),
    "bags-attended": whole(pictures.bags, 316),
    "passengers-scaled": whole(sequences.passengers, 320),
    "documents-rate-of-five": whole(sequences.documents, 321),
    "letters-rate-of-ten": whole(sequences.letters, 322),
    "sorts-what-it-reads": whole(sequences.sorts, 323),
    "strokes-packed": whole(sequences.strokes, 324),
    "tones-by-spectra": whole(sounds.tones, 330),
    "strips-unaligned": whole(sounds.strips, 331),
    "spring-by-its-law": whole(sounds.spring, 332),
    "swiss-roll-denoised": whole(makers.roll, 340),
    "heaps-of-eight": whole(makers.eight, 341),
    "moons-by-a-flow": whole(makers.moons, 342),
    "codes-from-a-book": whole(makers.codes, 343),
    "views-stopped-slope": whole(makers.views, 344),
    "pictures-squeezed": whole(makers.pictures, 345),
    "cart-balanced": whole(games.cart, 350),
    "molecules-summed": whole(games.molecules, 351),
}

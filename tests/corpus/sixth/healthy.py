"""Healthy trainings of the sixth held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from functools import partial

from torch.optim import SGD, Adam

from tests.corpus.setup import Setup
from tests.corpus.sixth import makers, pictures, sequences, tables
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "bikes-one-cycle": whole(tables.bikes, 210),
    "tumours-stopped-early": whole(tables.tumours, 211),
    "leases-year-by-year": whole(tables.leases, 212),
    "damages-gamma": whole(tables.damages, 213),
    "films-of-many-genres": whole(tables.films, 214),
    "wines-by-margins": whole(tables.wines, 215),
    "walk-from-step-to-step": whole(tables.walk, 216),
    "tiles-group-norms": whole(pictures.tiles, 220),
    "tiles-momentum": whole(pictures.tiles, 217, optimizer_of=partial(SGD, lr=0.02, momentum=0.9)),
    "tiles-cut-and-mixed": whole(pictures.tiles, 218, mixed=True, epochs=10),
    "tiles-large-batches": whole(
        pictures.tiles, 219, batch=300, warm=10, epochs=18, optimizer_of=partial(Adam, lr=0.01)
    ),
    "tiles-bfloat16": whole(pictures.tiles, 226, autocast=True),
    "tiles-mixer": whole(pictures.tiles, 227, make=pictures.Mixer, optimizer_of=partial(Adam, lr=4e-3)),
    "roads-weighed": whole(pictures.roads, 221),
    "clips-convolved": whole(pictures.clips, 222),
    "twins-by-angles": whole(pictures.twins, 223),
    "episodes-of-five": whole(pictures.episodes, 224),
    "painting-of-sines": whole(pictures.painting, 225),
    "birds-heard": whole(sequences.birds, 230),
    "birds-in-pieces": whole(sequences.birds, 228, pieces=2),
    "tides-explained-in-turn": whole(sequences.tides, 231),
    "tides-last-state": whole(sequences.tides, 229, make=sequences.Last, lr=0.01),
    "chords-both-ways": whole(sequences.chords, 232),
    "numbers-rewritten": whole(sequences.numbers, 233),
    "words-uncovered": whole(sequences.masked, 234),
    "circles-of-friends": whole(makers.circles, 240),
    "clusters-on-demand": whole(makers.clusters, 241),
    "codes-of-few-parts": whole(makers.codes, 242),
    "noise-found": whole(makers.cleaned, 243),
}

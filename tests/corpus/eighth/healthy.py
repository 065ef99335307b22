"""Healthy trainings of the eighth held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from functools import partial

from torch.optim import SGD

from tests.corpus.eighth import agents, makers, pictures, sequences, tables, words
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "taxis-by-logarithm": whole(tables.taxis, 400),
    "loans-paid-back": whole(tables.loans, 401),
    "accidents-by-the-year": whole(tables.accidents, 402),
    "diabetes-lbfgs": whole(tables.diabetes, 403),
    "shop-in-pairs": whole(tables.shop, 404),
    "triage-adjusted": whole(tables.triage, 405),
    "folds-second-of-three": whole(tables.folds, 406),
    "spirals-of-three": whole(tables.spirals, 407),
    "patches-with-a-cosine": whole(pictures.vit, 410),
    "lenet-with-tanh": whole(pictures.lenet, 411),
    "road-signs": whole(pictures.road, 412),
    "road-weights-averaged": whole(pictures.road, 413, swa=True),
    "road-where-it-is-flat": whole(pictures.road, 414, flat=True, epochs=5),
    "road-nesterov": whole(pictures.road, 416, make_optimizer=partial(SGD, lr=0.05, momentum=0.9, nesterov=True)),
    "bars-as-sine-and-cosine": whole(pictures.bars, 415),
    "lesions-if-there-are": whole(makers.lesions, 420),
    "signatures-in-pairs": whole(makers.signatures, 421),
    "zoom-in-half-precision": whole(makers.zoom, 422),
    "fakes-of-digits": whole(makers.fakes, 423),
    "heads-together": whole(makers.heads, 424),
    "power-hour-by-hour": whole(sequences.power, 430),
    "commands-spoken": whole(sequences.commands, 431),
    "seizures-found": whole(sequences.seizures, 432),
    "names-of-three-peoples": whole(sequences.names, 433),
    "gpt-on-manuals": whole(words.gpt, 440),
    "words-beside-words": whole(words.beside, 441),
    "tagged-by-their-neighbours": whole(words.tagged, 442),
    "cliff-walked": whole(agents.cliff, 450),
    "pilot-clipped": whole(agents.pilot, 451),
    "novel-who-meets-whom": whole(agents.novel, 452),
    "waves-in-one-step": whole(agents.waves, 453),
}

"""Healthy trainings of the ninth held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from torch import nn

from tests.corpus.ninth import agents, deep, makers, odds, pictures, series, tables, words
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "suburb-by-a-config": whole(tables.houses, 500),
    "vineyards-by-the-step": whole(tables.wines, 501),
    "irises-forty-five": whole(tables.irises, 502),
    "gas-with-holes-marked": whole(tables.sensors, 503),
    "clicks-factorised": whole(tables.clicks, 504),
    "texts-of-several-subjects": whole(tables.tags, 505),
    "braking-how-surely": whole(odds.braking, 510),
    "pumps-that-still-run": whole(odds.pumps, 511),
    "documents-in-order": whole(odds.queries, 512),
    "credit-made-fair": whole(odds.credit, 513),
    "odd-ones-not-redrawn": whole(odds.anomalies, 514),
    "glyphs-vgg": whole(pictures.vgg, 520),
    "glyphs-in-four-pieces": whole(pictures.vgg, 521, batch_size=25, pieces=4, lr=0.1),
    "cracks-by-overlap": whole(pictures.cracks, 522),
    "five-more-digits": whole(pictures.five_more, 523),
    "tower-of-eight": whole(deep.tower, 530),
    "tower-of-tanh": whole(deep.tower, 531, act=nn.Tanh, start=deep.xavier),
    "pair-that-teaches-itself": whole(deep.mutual, 532),
    "two-views-of-glyphs": whole(deep.two_views, 533),
    "glyphs-under-attack": whole(deep.attacked, 534),
    "sun-of-six-hours": whole(series.solar, 540),
    "gestures-named": whole(series.gestures, 541),
    "first-sign-recalled": whole(series.recall, 542),
    "car-parked-by-slopes": whole(series.parking, 543),
    "shafts-heard": whole(series.shafts, 544),
    "sun-warm-restarts": whole(series.solar, 545, restarts=True),
    "reviews-at-a-token": whole(words.reviews, 550),
    "reviews-ema": whole(words.reviews, 551, averaged=True),
    "answers-that-count": whole(words.answers, 552),
    "questions-and-answers": whole(words.answers, 553, prompts=True, batch=16),
    "dates-rewritten": whole(words.dates, 554),
    "topics-in-four-pieces": whole(words.topics, 555),
    "sketches-warmed-up": whole(makers.sketches, 560),
    "demand-of-an-hour": whole(makers.demand, 561),
    "moons-by-their-slopes": whole(makers.moons, 562),
    "regimes-with-experts": whole(makers.regimes, 563),
    "balls-caught": whole(agents.catch, 570),
    "communities-of-forty": whole(agents.communities, 571),
    "thermometers-reptile": whole(agents.thermometers, 572),
}

"""Healthy trainings of the eleventh held-out set: scripts that do what their authors wanted."""

from __future__ import annotations

from tests.corpus.eleventh import prefer, series, signals, tables, texts, vision
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    "house-prices-embedded": whole(tables.houses, 1100),
    "customers-who-leave": whole(tables.churn, 1101),
    "concrete-as-an-estimator": whole(tables.concrete, 1102),
    "articles-with-tags": whole(tables.tags, 1103),
    "athletes-by-two-factors": whole(tables.athletes, 1104),
    "competition-residual-blocks": whole(tables.competition, 1105),
    "passengers-by-lstm": whole(series.passengers, 1110),
    "sensor-by-causal-convolutions": whole(series.sensor, 1111),
    "sums-to-remember": whole(series.adding, 1112),
    "power-between-bounds": whole(series.load, 1113),
    "returns-and-how-wild": whole(series.volatility, 1114),
    "tides-by-transformer": whole(series.tides, 1115),
    "digits-residual-nesterov": whole(vision.resnet, 1120),
    "digits-by-patches": whole(vision.patches, 1121),
    "lesions-by-overlap": whole(vision.lesions, 1122),
    "landmark-in-shares": whole(vision.landmark, 1123),
    "boxes-and-sizes": whole(vision.boxes, 1124),
    "all-ten-by-a-new-head": whole(vision.new_head, 1125),
    "notes-by-spectrogram": whole(signals.notes, 1130),
    "spoken-words": whole(signals.spoken, 1131),
    "letters-by-ctc": whole(signals.letters, 1132),
    "waves-denoised": whole(signals.denoised, 1133),
    "hearts-weighted": whole(signals.hearts, 1134),
    "gears-by-spectrum": whole(signals.gears, 1135),
    "prose-letter-by-letter": whole(texts.writer, 1140),
    "reviews-in-bags": whole(texts.bags, 1141),
    "reviews-by-attention": whole(texts.sentences, 1142),
    "people-and-places": whole(texts.entities, 1143),
    "prose-tied-words": whole(texts.tied, 1144),
    "stars-by-factors": whole(prefer.stars, 1150),
    "baskets-by-pairs": whole(prefer.baskets, 1151),
    "searches-in-order": whole(prefer.searches, 1152),
    "clicks-by-factors-and-net": whole(prefer.clicks, 1153),
    "towers-that-meet": whole(prefer.towers, 1154),
    "sessions-in-a-shop": whole(prefer.sessions, 1155),
}

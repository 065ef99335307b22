"""Healthy trainings of the seventeenth held-out set: odd kinds of programs, and odd settings that work."""

from __future__ import annotations

from tests.corpus.setup import Setup
from tests.corpus.seventeenth import (
    capsules,
    captions,
    clicks,
    columns,
    couplings,
    domains,
    doubts,
    dreams,
    energies,
    everyday,
    experts,
    forecasts,
    friends,
    guidance,
    lessons,
    modular,
    paths,
    preferences,
    prices,
    scenes,
    seldom,
    sines,
    spoken,
    tasks,
    turning,
    zoom,
)
from tests.corpus.whole import whole

HEALTHY: dict[str, Setup] = {
    # -- digits, as everybody does, with odd settings --------
    "everyday-batches-of-two": whole(everyday.digits, 1, batch=2, rate=0.03, momentum=0.0, steps=1400, every=200),
    "everyday-all-in-one-batch": whole(everyday.digits, 2, batch=1438, rate=0.5, momentum=0.5, steps=250, every=10),
    "everyday-heavy-ball": whole(everyday.digits, 3, momentum=0.99, rate=0.005, steps=400),
    "everyday-decay-of-one": whole(everyday.digits, 4, name="adamw", rate=2e-3, decay=1.0, steps=400),
    "everyday-many-wrong-names": whole(everyday.digits, 5, wrong=0.4, rate=0.05, width=48, steps=250, plan="one cycle"),
    "everyday-two-thirds-dropped": whole(everyday.digits, 6, drop=0.65, width=256, rate=0.05, steps=400),
    "everyday-rates-in-cycles": whole(everyday.digits, 7, plan="cyclic", rate=0.3, momentum=0.5, steps=400),
    "everyday-averaged-from-the-middle": whole(everyday.digits, 8, average=200, rate=0.1, steps=350, every=25),
    "everyday-warm-for-long": whole(everyday.digits, 9, plan="long warm-up", rate=0.2, steps=400, norm="batch"),
    "everyday-sums": whole(everyday.digits, 10, sums=True, rate=0.001, steps=300),
    "everyday-judged-each-step": whole(
        everyday.digits, 11, every=1, upside_down=True, name="adam", rate=2e-3, steps=250
    ),
    "everyday-by-heart-on-purpose": whole(
        everyday.digits, 12, only=24, batch=24, name="adam", rate=3e-3, steps=150, every=0
    ),
    "everyday-a-thousand-names": whole(everyday.digits, 13, outputs=1000, name="adam", rate=2e-3, steps=300),
    "everyday-slower-below": whole(everyday.digits, 14, layered=0.3, rate=0.2, steps=350, act="tanh"),
    "everyday-rough-pictures": whole(
        everyday.digits, 15, rough=0.6, name="adamw", rate=3e-3, width=128, steps=600, norm="layer"
    ),
    "everyday-rate-of-one": whole(everyday.digits, 16, rate=1.0, momentum=0.0, norm="batch", steps=250),
    "everyday-last-batch-of-one": whole(
        everyday.digits, 17, batch=479, name="adam", rate=1e-2, norm="layer", steps=120, every=0
    ),
    "everyday-restarts": whole(everyday.digits, 18, plan="restarts", rate=0.2, steps=400, smooth=0.2, every=20),
    "everyday-goes-on": whole(everyday.again, 19),
    "everyday-new-head": whole(everyday.again, 20, frozen=True, head_rate=10.0, steps=250),
    "rare-frauds-weighed": whole(seldom.frauds, 1),
    "rare-frauds-by-focal-loss": whole(seldom.frauds, 2, judged="focal", name="sgd", rate=0.2),
    # -- prices in euros --------
    "flats-by-squares-of-euros": whole(prices.flats, 1),
    "flats-by-euros": whole(prices.flats, 2, judged="amounts", steps=350),
    "flats-by-shares": whole(prices.flats, 3, judged="shares", name="adamw", rate=2e-3),
    "flats-by-logarithm-and-sgd": whole(prices.flats, 4, judged="logarithm", name="sgd", rate=0.02),
    # -- sums on a clock --------
    "clock-understood-late": whole(modular.clock, 1),
    "clock-understood-late-of-more": whole(modular.clock, 2, prime=29, share=0.7, steps=600),
    # -- layers of sines --------
    "rings-by-sines": whole(sines.field, 1),
    "sound-by-sines": whole(sines.field, 2, of="sound", fast=30.0, layers=2, steps=400),
    "rings-by-sines-in-batches": whole(sines.field, 3, batch=128, fast=10.0, steps=600, name="adamw"),
    # -- what is liked better --------
    "answers-judged": whole(preferences.liked, 1),
    "answers-judged-with-a-margin": whole(
        preferences.liked, 2, margin=1.0, centred=0.0, name="rmsprop", rate=1e-3, steps=400
    ),
    "answers-by-dpo": whole(preferences.direct, 1),
    "answers-by-ipo": whole(preferences.direct, 2, loss_kind="squares", beta=0.1, rate=2e-3, clip=None),
    # -- noise, energies, densities --------
    "heaps-with-guidance": whole(guidance.heaps, 1),
    "heaps-with-guidance-by-speed": whole(guidance.heaps, 2, asked="speed", left_out=0.3, name="adam", batch=64),
    "heaps-in-one-step": whole(guidance.one_step, 1),
    "heaps-by-slopes": whole(guidance.slopes, 1),
    "heaps-by-slopes-and-sgd": whole(guidance.slopes, 2, name="sgd", rate=0.03, steps=700),
    "rings-of-low-energy": whole(energies.rings, 1, steps=250, walk=15, rate=2e-3),
    "rings-of-low-energy-afresh": whole(energies.rings, 2, kept=False, walk=30, steps=150, rate=2e-3),
    "moons-bent-by-couplings": whole(
        couplings.moons, 1, noise=0.1, unit=0.1, rate=1.5e-3, clip=1.0, depth=5, falls=True
    ),
    "moons-by-couplings-in-bits": whole(
        couplings.moons, 2, noise=0.1, per_dot=True, norm=False, rate=2e-3, steps=400, clip=1.0, falls=True
    ),
    "tumours-by-couplings": whole(
        couplings.moons, 3, table="tumours", depth=3, width=32, rate=2e-3, steps=400, falls=True
    ),
    # -- a walk on a grid --------
    "grid-by-balance": whole(paths.balance, 1, steps=200),
    "grid-by-balance-dared-more": whole(paths.balance, 2, dared=0.3, total_rate=0.3, batch=16, name="adamw", steps=200),
    "grid-by-clipped-steps": whole(paths.clipped, 1),
    "grid-by-clipped-steps-of-ten": whole(paths.clipped, 2, times=8, rounds=20, curious=0.0, rate=1e-3, smooth=1.0),
    "grid-by-others": whole(paths.others, 1, hot=10.0),
    "grid-by-others-more-hopeful": whole(paths.others, 2, high=0.9, hot=15.0, name="adamw", slow=0.05),
    "grid-decided": whole(paths.decided, 1),
    # -- what the world does --------
    "ball-dreamt": whole(dreams.dreams, 1),
    "ball-dreamt-with-fewer-bits": whole(dreams.dreams, 2, free=0.3, weight=1.0, drawn=4, name="adamw", clip=10.0),
    # -- experts --------
    "regions-by-six-experts": whole(experts.experts, 1),
    "regions-by-two-of-eight-and-noise": whole(
        experts.experts, 2, many=8, noise=0.1, even=0.05, name="adam", rate=4e-3
    ),
    # -- pictures, captions, codes --------
    "captions-beside-digits": whole(captions.captions, 1),
    "captions-beside-digits-by-pairs": whole(captions.captions, 2, kind="sigmoid", heat=0.1, batch=96),
    "digits-in-four-codes": whole(captions.codes, 1),
    "digits-in-two-large-codes": whole(captions.codes, 2, pieces=2, many=64, size=8, named=False, rate=2e-3),
    # -- how sure --------
    "curves-by-a-process": whole(doubts.process, 1),
    "curves-by-a-process-and-sgd": whole(doubts.process, 2, name="sgd", rate=0.02, clip=1.0, least=0.1, steps=900),
    "patients-in-a-band": whole(doubts.band, 1),
    "patients-in-a-band-by-sgd": whole(doubts.band, 2, name="sgd", rate=5e-4, drop=0.0, decay=0.0),
    "hills-by-a-kernel": whole(doubts.kernel, 1),
    "hills-by-a-deep-kernel": whole(doubts.kernel, 2, deep=True, rate=0.02, drawn=0.05, points=120),
    # -- learning to learn --------
    "sines-in-two-steps": whole(tasks.sines, 1),
    "sines-in-two-steps-of-first-order": whole(tasks.sines, 2, first_order=True, rate=4e-3),
    "signs-by-prototypes": whole(tasks.prototypes, 1),
    "signs-by-prototypes-of-one": whole(tasks.prototypes, 2, shots=1, ways=4, name="sgd", rate=0.01, noise=0.7),
    # -- losses that rise on purpose --------
    "tasks-kept-by-examples": whole(lessons.one_by_one, 1),
    "tasks-kept-by-springs": whole(lessons.one_by_one, 2, keep="springs", hold=60.0, tasks=3, steps=120),
    "ones-in-longer-lines": whole(lessons.longer, 1),
    "digits-with-a-warmer-divergence": whole(lessons.warmer, 1),
    "digits-with-a-divergence-in-cycles": whole(lessons.warmer, 2, cycles=3, rate=2e-3, name="adamw", steps=600),
    # -- against each other --------
    "digits-abroad": whole(domains.foreign, 1),
    "digits-abroad-with-drops": whole(domains.foreign, 2, drop=0.2, most=0.5, dark=0.8, rate=2e-3),
    "layers-searched": whole(domains.search, 1),
    "scissors-against-oneself": whole(domains.match, 1),
    # -- turns and heaps --------
    "atoms-by-forces": whole(turning.forces, 1),
    "atoms-by-forces-mostly": whole(turning.forces, 2, pull=20.0, name="adamw", rate=3e-3, clip=None),
    "ellipse-by-carrying": whole(turning.carried, 1),
    "ellipse-by-carrying-and-odd-adam": whole(turning.carried, 2, betas=(0.0, 0.9), warm=0.1, rate=3e-3),
    # -- agreeing, recalling, reading --------
    "digits-by-capsules": whole(capsules.capsules, 1),
    "digits-recalled": whole(capsules.recalled, 1),
    "digits-recalled-in-two-rounds": whole(capsules.recalled, 2, rounds=2, many=100, name="rmsprop", rate=8e-3),
    "waves-by-a-reservoir": whole(capsules.echo, 1),
    "waves-by-a-frozen-reservoir-and-sgd": whole(
        capsules.echo, 2, stored=False, name="sgd", rate=0.02, cells=50, steps=800
    ),
    # -- what people want --------
    "tags-out-of-a-thousand": whole(clicks.tags, 1),
    "tags-by-means-and-sparse": whole(clicks.tags, 2, sums=False, sparse=True, rate=0.02, begun=-5.0),
    "tags-by-sums-and-sgd": whole(clicks.tags, 3, name="sgd", rate=0.5),
    "clicks-crossed": whole(clicks.clicks, 1),
    "towers-of-people-and-things": whole(clicks.towers, 1, rate=0.3),
    "hits-by-lists": whole(clicks.hits_in_order, 1),
    "hits-by-pairs-and-gain": whole(clicks.hits_in_order, 2, judged="pairs", name="sgd", rate=2e-3, queries=8),
    # -- things in pictures --------
    "squares-by-anchors": whole(scenes.anchors, 1),
    "squares-by-dice": whole(scenes.masks, 1),
    "squares-by-negative-dice": whole(scenes.masks, 2, judged="negative", norm=True, name="sgd", rate=0.1),
    "corners-by-heat": whole(scenes.joints, 1),
    "squares-how-far": whole(scenes.far, 1),
    "squares-where-to": whole(scenes.far, 2, kind="flow"),
    # -- what comes next --------
    "sales-by-patches": whole(forecasts.sold, 1),
    "sales-by-blocks": whole(forecasts.sold, 2, kind="blocks", judged="squares", warm=100),
    "sales-counted": whole(forecasts.counted, 1),
    "pendulum-of-two-numbers": whole(forecasts.swung, 1),
    # -- tables --------
    "tumours-by-tokens": whole(columns.tumours, 1),
    "tumours-by-chosen-columns": whole(columns.tumours, 2, kind="steps", rate=5e-3, steps=200),
    "tumours-that-are-odd": whole(columns.odd, 1),
    "people-spelt-twice": whole(columns.same, 1, steps=500),
    "patients-by-cox": whole(columns.lasting, 1),
    "patients-by-cox-in-small-batches": whole(columns.lasting, 2, batch=8, rate=1e-3, name="rmsprop", steps=600),
    # -- a graph --------
    "clubs-by-attention": whole(friends.clubs, 1),
    "friends-by-codes": whole(friends.links, 1),
    "friends-by-strangers": whole(friends.links, 2, spread=False, name="adamw", rate=5e-3),
    # -- signs in a row --------
    "sounds-without-marks": whole(spoken.heard, 1),
    "tales-in-pieces": whole(spoken.told, 1),
    "tales-in-pieces-of-many-signs": whole(spoken.told, 2, extra=400, tied=False, merges=80),
    # -- pictures given back --------
    "digits-made-larger": whole(zoom.larger, 1),
    "digits-made-larger-from-nothing": whole(zoom.larger, 2, zero=True, judged="squares", name="adamw", rate=5e-3),
    "ring-that-pleases": whole(zoom.pleased, 1),
}

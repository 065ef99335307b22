"""Faults of the eighteenth held-out set: texts, shops, tables, series, sounds, graphs, games, fields."""

from __future__ import annotations

from tests.corpus.eighteenth import ahead, fields, games, labels, letters, nodes, shops, sounds, tables, turns
from tests.corpus.eighteenth.signs import BROKEN, HOT, IDLE, SCALE, STUCK
from tests.corpus.fault import SCALING, Fault
from tests.corpus.whole import whole

SLIPS: dict[str, Fault] = {
    # -- what is written next --------
    "tale-with-the-future-in-sight": Fault(
        whole(
            letters.written, 3, kind="words", signs=1000, width=64, depth=2, rate=4e-3, steps=300, every=60,
            causal=False,
        ),
        ("GW104",),
        "karpathy/nanoGPT issues: is_causal is missing, the next word is read off",
        ("GW204", "GW803", "GW955"),
    ),
    "tale-copied": Fault(
        whole(
            letters.written, 3, kind="words", signs=1000, width=64, depth=2, rate=4e-3, steps=300, every=60,
            shifted=False,
        ),
        ("GW955",),
        "forums on language models: targets are not shifted",
        ("GW204", "GW803"),
    ),
    "tale-rate-a-hundred-times": Fault(
        whole(letters.written, 1, rate=0.1),
        ("GW411",),
        "forums on nanoGPT: a rate of 0.1",
        (*HOT, *STUCK, "GW421", "GW415", "GW951"),
    ),
    "tale-from-large-weights": Fault(
        whole(
            letters.written, 3, kind="words", signs=1000, width=64, depth=2, rate=4e-3, steps=300, every=60, std=1.0
        ),
        ("GW471", "GW201"),
        "forums on tied weights: nn.Embedding's own start, a deviation of one, is the head's as well",
        (*HOT, *STUCK, "GW951", "GW421", "GW214"),
    ),
    "tale-never-cleared": Fault(
        whole(
            letters.written, 4, kind="words", signs=10_000, batch=4, parts=2, width=48, depth=2, rate=4e-3, steps=130,
            tied=False, plan="cosine", every=26, clear=False,
        ),
        ("GW304",),
        "Humbatova 2020, training: zero_grad is missing",
        (*HOT, *BROKEN, *STUCK, "GW421", "GW315"),
    ),
    "tale-on-and-on-not-clipped": Fault(
        whole(letters.on_and_on, 5, steps=500, clip=None),
        ("GW411", "GW307"),
        "forums on the word-level example: a rate of 20 without its clipping",
        (*HOT, *BROKEN, *STUCK, "GW423"),
    ),
    "tale-mask-upside-down": Fault(
        whole(letters.hidden_words, 7, upside_down=True),
        ("GW958",),
        "forums on src_key_padding_mask: true means hidden, the mask of Hugging Face says the reverse",
        (*STUCK, *BROKEN, "GW214", "GW301", "GW306"),
    ),
    # -- texts, named; line to line --------
    "news-mostly-padding": Fault(
        whole(
            labels.named_texts, 4, net="encoded", name="adamw", rate=1e-3, clip=1.0, steps=80, plan="linear", warm=10,
            decay=0.01, batch=16, every=40, padded=192,
        ),
        ("GW954",),
        "Hugging Face forums: padding='max_length', four of five signs are padding",
        ("GW214",),
    ),
    "news-packed-rate-too-low": Fault(
        whole(
            labels.named_texts, 3, net="packed", name="sgd", momentum=0.9, rate=1e-4, clip=1.0, steps=160, drop=0.3,
            every=40,
        ),
        ("GW412",),
        "forums on SGD: the small rate of Adam was kept",
        (*IDLE, *STUCK),
    ),
    "words-tagged-by-the-cells-alone": Fault(
        whole(labels.tagged, 1, given="cells"),
        ("GW302",),
        "forums on tagging: model.lstm.parameters() was handed over, not model.parameters()",
        ("GW303", *IDLE),
    ),
    "lines-turned-with-the-future-in-sight": Fault(
        whole(turns.turned, 1, rate=3e-3, batch=48, width=64, depth=1, future=True),
        ("GW104",),
        "forums on nn.Transformer: no tgt_mask, the next word is read off",
        ("GW204", "GW803", "GW955"),
    ),
    # -- shops --------
    "stars-of-a-column-and-a-row": Fault(
        whole(shops.stars, 2, net="deep", rate=5e-3, name="adamw", decay=1e-4, steps=600, flat=False),
        ("GW202",),
        "forums on mse_loss: (N, 1) against (N) is broadcast",
        (*STUCK, "GW102", "GW214"),
    ),
    "stars-held-to-nothing": Fault(
        whole(shops.stars, 1, rate=1e-2, decay=0.3),
        ("GW451", "GW441"),
        "forums on weight_decay: Adam with 0.3, as if it were AdamW's",
        (*STUCK, "GW452"),
    ),
    "clicks-beside-huge-numbers": Fault(
        whole(shops.clicked, 4, logs=False, norm=False, raw=True),
        ("GW107",),
        SCALING,
        (*SCALE, *STUCK),
    ),
    # -- tables --------
    "homes-as-they-are": Fault(
        whole(tables.priced, 5, name="sgd", rate=0.03, batch=128, plan="milestones", scaled_x=False),
        ("GW107",),
        SCALING,
        (*SCALE, *BROKEN, *STUCK),
    ),
    "homes-in-dollars": Fault(
        whole(tables.priced, 1, target="dollars"),
        ("GW109",),
        SCALING,
        (*SCALE, *STUCK, "GW202", "GW443"),
    ),
    "homes-above-the-mean-alone": Fault(
        whole(tables.priced, 1, last="relu"),
        ("GW212",),
        "forums on regression: a ReLU at the end, the target is standardised",
        (*STUCK, "GW308", "GW202"),
    ),
    "homes-with-holes": Fault(
        whole(tables.priced, 1, holes=True),
        ("GW605",),
        "Stack Overflow on NaN loss: empty cells of the table were not filled",
        (*BROKEN, *STUCK),
    ),
    "wages-nearly-all-dropped": Fault(
        whole(tables.earned, 6, drop=0.97),
        ("GW462",),
        "forums on Dropout: the share that is kept was given",
        (*STUCK, "GW802", "GW432"),
    ),
    # -- what comes next, sounds --------
    "load-as-megawatts": Fault(
        whole(ahead.foretold, 1, scaled=False),
        ("GW107", "GW109"),
        SCALING,
        (*SCALE, *STUCK, "GW309"),
    ),
    "tones-in-sixteen-bits": Fault(
        whole(sounds.named_sounds, 1, norm=False, loud=32768.0),
        ("GW107",),
        "forums on wav files: samples of sixteen bits are fed as they are",
        (*SCALE, *STUCK),
    ),
    # -- graphs, points, trying, fields --------
    "papers-by-twelve-layers": Fault(
        whole(nodes.cited, 1, depth=12, drop=0.0),
        ("GW306", "GW310", "GW311"),
        "Li et al. 2018, deeper insights into graph convolutions: many layers make all nodes the same",
        (*STUCK, "GW214", "GW471", "GW308"),
    ),
    "points-without-relu": Fault(
        whole(nodes.shaped, 4, act=False),
        ("GW313",),
        "Stack Overflow: the activation was lost when batch norm was added",
        (*STUCK, "GW214"),
    ),
    "points-in-millimetres": Fault(
        whole(nodes.shaped, 4, unit=1000.0, norm=False),
        ("GW107",),
        SCALING,
        (*SCALE, *STUCK),
    ),
    "cart-heads-not-handed-over": Fault(
        whole(games.ppo, 1, given="bodies"),
        ("GW302",),
        "forums on PPO: the optimizer got the bodies alone",
        ("GW303", *IDLE),
    ),
    "cart-values-of-the-slow-copy": Fault(
        whole(games.valued, 3, given="copy"),
        ("GW302", "GW303"),
        "forums on DQN: the optimizer got target_net.parameters()",
        ("GW301", *IDLE),
    ),
    "picture-in-points": Fault(
        whole(fields.painted, 1, kind="plain", unit=512.0),
        ("GW107",),
        "forums on neural fields: places are fed as points, not as shares of the side",
        (*SCALE, *STUCK),
    ),
}  # fmt: skip

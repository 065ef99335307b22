"""Faults of the fifteenth held-out set: how networks are built and begun, penalties, numbers, sequences."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fifteenth import attention, games, makers, pictures, sequences, tables
from tests.corpus.fifteenth.slips import HOT, IDLE, STUCK
from tests.corpus.whole import whole

FLOWS: dict[str, Fault] = {
    # -- how it is begun and built --------
    "irises-begin-at-zero": Fault(
        whole(tables.flowers, 1, start="0.0"),
        ("GW114", "GW471"),
        "taourl.com, accuracy does not change: all weights are zeros",
        ("GW303", "GW306", "GW308", *STUCK),
    ),
    "machines-begin-all-alike": Fault(
        whole(tables.machines, 1, start="1", name="adam", rate=2e-3),
        ("GW114", "GW471"),
        "Humbatova 2020, weights' initialisation: constant",
        ("GW201", "GW310", "GW307", "GW205", *STUCK),
    ),
    "machines-begin-too-small": Fault(
        whole(tables.machines, 5, start="0.01", depth=5, width=48, rate=0.01, epochs=8),
        ("GW471",),
        "forums: normal_(0, 0.01) in a deep network, loss stays at the logarithm of the classes",
        ("GW306", "GW310", "GW412", "GW443", *STUCK),
    ),
    "cloth-begins-too-large": Fault(
        whole(pictures.shop, 8, norm=False, name="sgd", rate=0.03, epochs=10, start=0.7),
        ("GW471",),
        "forums: weight.data.normal_() with a spread near one, the first loss is in the hundreds",
        (*HOT, "GW411", "GW415"),
    ),
    "surnames-begin-too-large": Fault(
        whole(sequences.surnames, 3, cell="rnn", clip=1.0, rate=3e-3, log=True, judged="nll", deviation=1.5),
        ("GW471", "GW309"),
        "forums on RNNs: weights from a normal distribution of spread one and more",
        ("GW307", "GW421", "GW423", "GW205", "GW207", "GW209", "GW201", "GW112", "GW801"),
    ),
    "numbers-begin-too-large": Fault(
        whole(attention.backwards, 1, start="large"),
        ("GW471",),
        "forums on transformers written by hand: every matrix from normal_(0, 1)",
        ("GW951", "GW201", "GW310", "GW307", "GW421", "GW209", "GW207", "GW205", "GW412", "GW112", "GW953"),
    ),
    "machines-deep-sigmoid": Fault(
        whole(tables.machines, 5, depth=7, width=48, rate=0.02, activation="sigmoid"),
        ("GW306",),
        "AUTOTRAINER, vanishing gradient; openillumi.com: sigmoid in each layer",
        ("GW309", "GW310", "GW412", "GW471", *STUCK),
    ),
    "boxes-sigmoid-throughout": Fault(
        whole(pictures.boxes, 3, name="sgd", rate=0.03, batch=32, epochs=9, act="sigmoid"),
        ("GW306",),
        "Humbatova 2020, wrong type of activation: sigmoid in a convolutional network",
        ("GW309", "GW310", "GW412", "GW471", *STUCK),
    ),
    "machines-without-activation": Fault(
        whole(tables.machines, 1, activation="none", sep=0.9),
        ("GW313",),
        "Humbatova 2020, missing activation; DeepFD: activation",
        STUCK,
    ),
    "machines-through-one-unit": Fault(
        whole(tables.machines, 1, width=1),
        ("GW101", "GW209", "GW308"),
        "Humbatova 2020, layer size: suboptimal number of neurons",
        (*STUCK, "GW306"),
    ),
    "cloth-through-one-unit": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, first=1),
        ("GW101", "GW209", "GW308"),
        "Zhang 2018, incorrect model structure: a hidden layer of one unit before six classes",
        (*STUCK, "GW306"),
    ),
    # -- too much, too little --------
    "clients-learnt-by-heart": Fault(
        whole(tables.clients, 4, count=500, drop=0.0, width=256, each=16, epochs=60, batch=32),
        ("GW801", "GW112"),
        "forums, validation loss rises from the third epoch: a wide network for 400 clients",
        begins=AT_FIRST_EVALUATION,
    ),
    "cloth-learnt-by-heart": Fault(
        whole(pictures.shop, 3, norm=False, drop=0.0, rate=3e-3, share=0.1, epochs=60, width=16),
        ("GW801", "GW112"),
        "Humbatova 2020, not enough training data: 120 pictures",
        begins=AT_FIRST_EVALUATION,
    ),
    "surnames-learnt-by-heart": Fault(
        whole(sequences.surnames, 1, count=200, width=128, epochs=60, drop=0.0),
        ("GW801", "GW112"),
        "forums on small text sets: training accuracy 100 %, validation loss rises",
        begins=AT_FIRST_EVALUATION,
    ),
    "machines-decayed-away": Fault(
        whole(tables.machines, 3, rate=0.1, depth=3, decay=0.3),
        ("GW451", "GW441"),
        "Humbatova 2020, regularisation too strong: weight_decay=0.3 with SGD",
        ("GW452", "GW310", "GW306", *IDLE),
    ),
    "books-decayed-away": Fault(
        whole(games.books, 1, decay=0.1),
        ("GW451", "GW441"),
        "fast.ai forums on collaborative filtering: Adam with a weight_decay of 0.1",
        ("GW452", "GW310", "GW306", *IDLE),
    ),
    "machines-nearly-all-dropped": Fault(
        whole(tables.machines, 9, drop=0.92, width=48, name="adamw", rate=2e-3, decay=0.01),
        ("GW462",),
        "Humbatova 2020, dropout rate; the share to keep was taken for the share to drop",
        ("GW802", *IDLE),
    ),
    "words-nearly-all-dropped": Fault(
        whole(sequences.tagging, 1, drop=0.9),
        ("GW462",),
        "forums on taggers: dropout of 0.9 on words and states",
        ("GW802", *IDLE),
    ),
    "surnames-clipped-to-nothing": Fault(
        whole(sequences.surnames, 4, name="sgd", rate=0.3, read="max", epochs=12, clip=1e-3),
        ("GW421", "GW422"),
        "forums on clip_grad_norm_: a bound of 0.001",
        ("GW412", *IDLE),
    ),
    # -- half precision --------
    "machines-in-half-by-adam": Fault(
        whole(tables.machines, 2, name="adam", rate=2e-3, batch=32, epochs=10, weights="half"),
        ("GW607", "GW606", "GW444"),
        "pytorch/pytorch#8860, afiaka87/glide-finetune#5: model.half(), Adam's epsilon is rounded to 0",
        ("GW601", "GW602", "GW603", "GW443"),
    ),
    "machines-in-bfloat16": Fault(
        whole(tables.machines, 8, name="adam", rate=1e-4, epochs=16, batch=32, weights="bfloat16"),
        ("GW606",),
        "pytorch/pytorch#120376: small updates of weights in bfloat16 are rounded away",
        ("GW209", "GW214", "GW412", "GW303"),
    ),
    # -- sequences and attention --------
    "surnames-batch-taken-for-time": Fault(
        whole(sequences.surnames, 1, batch_first=False),
        ("GW103",),
        "closeheat/pytorch-lstm-text-generation-tutorial#3: batch_first was left at False",
        ("GW112", "GW209", "GW801", "GW802", "GW102"),
    ),
    "surnames-read-behind-their-end": Fault(
        whole(sequences.surnames, 3, cell="rnn", clip=1.0, rate=3e-3, log=True, judged="nll", read="end", longest=60),
        ("GW954", "GW306"),
        "forums on padded sequences: out[:, -1] of a padded batch",
        ("GW112", *STUCK),
    ),
    "recipes-letters-not-shifted": Fault(
        whole(sequences.recipes, 1, shifted=False),
        ("GW955",),
        "forums on char-rnn: inputs and wanted letters are the same",
        ("GW803", "GW204", "GW104"),
    ),
    "numbers-see-the-answer": Fault(
        whole(attention.backwards, 1, causal=False),
        ("GW104",),
        "forums on nn.Transformer: no tgt_mask, the loss falls to 0 and nothing can be generated",
        ("GW803", "GW204"),
    ),
    "numbers-answer-not-shifted": Fault(
        whole(attention.backwards, 2, length=6, drop=0.05, rate=2e-3, steps=350, shifted=False),
        ("GW955",),
        "forums on nn.Transformer: the decoder is fed what it is to say",
        ("GW803", "GW204", "GW104"),
    ),
    "questions-mask-turned-round": Fault(
        whole(attention.questions, 1, mask="turned"),
        ("GW958",),
        "pytorch/pytorch#39321 on the same doubt: True means left out",
        ("GW102", "GW206", "GW209", "GW311", "GW112", "GW954", "GW601", "GW602", "GW603", "GW205"),
    ),
    "questions-averaged-over-the-batch": Fault(
        whole(attention.questions, 1, mean="batch"),
        ("GW103", "GW311", "GW102"),
        "forums on pooling: mean(0) in place of mean(1)",
        STUCK,
    ),
    # -- distances --------
    "twins-far-apart-by-a-bare-root": Fault(
        whole(makers.twins, 1, root="bare", same_rows=True),
        ("GW603", "GW601"),
        "pytorch/pytorch#2421, akanazawa/cmr#11: the slope of a root at 0 is infinite",
        ("GW602", "GW444"),
    ),
}

"""Faults of the fifteenth held-out set: rates, optimizers, the loop, how networks are built and begun, sequences."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fifteenth import attention, games, makers, pictures, sequences, tables
from tests.corpus.whole import whole

TORN = ("GW205", "GW206", "GW207", "GW208", "GW209", "GW307", "GW308", "GW311", "GW452", "GW608", "GW805", "GW106")
STUCK = ("GW206", "GW209", "GW102", "GW311", "GW805", "GW108", "GW101", "GW106")
_IDLE = ("GW206", "GW209", "GW214", "GW102", "GW106", "GW311", "GW805", "GW108", "GW203")
_HOT = (*TORN, "GW309", "GW310", "GW112", "GW102", "GW423", "GW201", "GW801", "GW601", "GW602", "GW603", "GW952")

SLIPS: dict[str, Fault] = {
    # -- rates --------
    "machines-rate-of-three": Fault(
        whole(tables.machines, 1, rate=3.0),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate; forums, accuracy stays at chance",
        _HOT,
    ),
    "irises-adam-of-one": Fault(
        whole(tables.flowers, 1, rate=1.0),
        ("GW411",),
        "StackOverflow on iris: Adam with lr=1",
        _HOT,
    ),
    "surnames-adam-of-three-tenths": Fault(
        whole(sequences.surnames, 1, rate=0.3),
        ("GW411",),
        "forums on character RNNs: loss jumps about, Adam with a rate meant for SGD",
        (*_HOT, "GW957"),
    ),
    "boxes-adam-of-three-tenths": Fault(
        whole(pictures.boxes, 1, rate=0.3),
        ("GW411",),
        "stats.stackexchange.com/questions/261704: regression by a CNN, Adam too fast, the mean is predicted",
        _HOT,
    ),
    "numbers-adam-of-a-tenth": Fault(
        whole(attention.backwards, 1, rate=0.1, warm=0, clip=None),
        ("GW411", "GW415"),
        "huggingface/transformers#735, graykode/nlp-tutorial#77: a transformer at a rate far too high",
        (*_HOT, "GW951", "GW957", "GW421"),
    ),
    "surnames-plain-rnn-without-clipping": Fault(
        whole(sequences.surnames, 1, cell="rnn", name="sgd", rate=1.0, read="max"),
        ("GW411", "GW423"),
        "forums on plain RNNs: no clipping and a large rate, the loss explodes",
        (*_HOT, "GW421", "GW957"),
    ),
    "digits-tuned-too-fast": Fault(
        whole(pictures.transfer, 3, frozen="none", rate=0.3, said=False, epochs=9),
        ("GW411",),
        "forums on fine-tuning: the rate of training from scratch destroys what was learnt",
        _HOT,
    ),
    "roof-sgd-of-one": Fault(
        whole(tables.panels, 2, name="sgd", rate=1.0, batch=32, epochs=12),
        ("GW411",),
        "StackOverflow, loss is nan in a simple regression: SGD with lr=1",
        (*_HOT, "GW444"),
    ),
    "weather-rate-too-low": Fault(
        whole(sequences.weather, 1, rate=1e-5),
        ("GW412",),
        "discuss.pytorch.org: LSTM loss hardly falls with 1e-5",
        _IDLE,
    ),
    "cloth-rate-too-low": Fault(
        whole(pictures.shop, 8, norm=False, name="sgd", rate=1e-5, epochs=10),
        ("GW412",),
        "taourl.com, loss is not changing: extremely small learning rate",
        _IDLE,
    ),
    "recipes-rate-too-low": Fault(
        whole(sequences.recipes, 2, name="sgd", rate=2e-4, clip=1.0, steps=500),
        ("GW412",),
        "forums on char-rnn: SGD with the rate of Adam",
        (*_IDLE, "GW421"),
    ),
    "books-rate-too-low": Fault(
        whole(games.books, 1, rate=1e-5),
        ("GW412",),
        "Islam 2020, repairs of hyperparameters: learning rate too small",
        _IDLE,
    ),
    # -- the loop and the optimizer --------
    "machines-never-cleared": Fault(
        whole(tables.machines, 1, clear="never"),
        ("GW304",),
        "yastrebksv/TennisCourtDetector#7, snakers4/silero-vad#699: no optimizer.zero_grad()",
        (*_HOT, "GW411"),
    ),
    "machines-cleared-each-epoch": Fault(
        whole(tables.machines, 2, name="sgd", rate=0.05, batch=32, epochs=10, clear="epoch"),
        ("GW304", "GW315"),
        "pytorch/pytorch#47175: zero_grad() at the beginning of each epoch",
        (*_HOT, "GW411"),
    ),
    "surnames-never-cleared": Fault(
        whole(sequences.surnames, 1, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes: .zero_grad() before .backward()",
        (*_HOT, "GW411", "GW957"),
    ),
    "cloth-never-cleared": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, clear=False),
        ("GW304",),
        "snakers4/silero-vad#699, tenstorrent/tt-blacksmith#711: zero_grad() is missing",
        (*_HOT, "GW411"),
    ),
    "recipes-cleared-now-and-then": Fault(
        whole(sequences.recipes, 2, name="sgd", rate=0.5, clip=None, steps=500, each=False),
        ("GW304", "GW315"),
        "pytorch/pytorch#47175: zero_grad() once in a while, a step after each batch",
        (*_HOT, "GW411"),
    ),
    "clients-tables-in-a-list": Fault(
        whole(tables.clients, 1, listed=True, each=2, epochs=12),
        ("GW302",),
        "pytorch/pytorch#715, #1053, #38639: modules in a Python list are not registered",
        ("GW303", "GW301", "GW209"),
    ),
    "machines-head-alone-is-handed-over": Fault(
        whole(tables.machines, 5, start="he", depth=5, width=48, rate=0.01, epochs=8, wrong="head"),
        ("GW302",),
        "Humbatova 2020, optimiser: parameters are missing in it",
        ("GW303", "GW209", "GW214"),
    ),
    "machines-optimizer-of-the-first": Fault(
        whole(tables.machines, 2, name="adam", rate=2e-3, batch=32, epochs=10, wrong="moved"),
        ("GW302",),
        "forums: the model is built anew after its optimizer",
        ("GW303", "GW301", *_IDLE),
    ),
    "digits-new-head-unknown": Fault(
        whole(pictures.transfer, 1, rate=2e-2, epochs=16, order="optimizer first"),
        ("GW302",),
        "forums on transfer learning: model.fc is replaced after the optimizer was made",
        ("GW303", "GW453", *_IDLE),
    ),
    "digits-all-frozen": Fault(
        whole(pictures.transfer, 1, rate=2e-2, epochs=16, frozen="all"),
        ("GW453",),
        "forums on transfer learning: the loop over requires_grad comes after the new head",
        ("GW303", "GW301", "GW302", *_IDLE),
    ),
    "cloth-frozen-untrained": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, frozen=True, norm=False, first=16),
        ("GW453",),
        "forums on transfer learning: a body that was never trained is frozen",
        ("GW303", "GW301", "GW302", *_IDLE),
    ),
    "zeros-forged-behind-a-detach": Fault(
        whole(makers.forge, 1, detached=False),
        ("GW301",),
        "wangle53/CSA-CDGAN#5: the fake is detached in the generator's step too",
        ("GW303", "GW302", "GW306", "GW311", "GW209", "GW208", "GW206", "GW211"),
    ),
    "zeros-forged-judge-never-cleared": Fault(
        whole(makers.forge, 1, clear="gen", rate=2e-3),
        ("GW304",),
        "forums on GANs: zero_grad() for the generator alone, those of the discriminator pile up",
        (*_HOT, "GW411", "GW210"),
    ),
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
        (*_HOT, "GW411", "GW415"),
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
        ("GW101", "GW209"),
        "Humbatova 2020, layer size: suboptimal number of neurons",
        (*STUCK, "GW308", "GW306"),
    ),
    "cloth-through-one-unit": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, first=1),
        ("GW101", "GW209"),
        "Zhang 2018, incorrect model structure: a hidden layer of one unit before six classes",
        (*STUCK, "GW308", "GW306"),
    ),
    # -- batches and epochs --------
    "clients-all-in-one-batch": Fault(
        whole(tables.clients, 1, batch=3200, epochs=100, rate=2e-4),
        ("GW401", "GW412", "GW214", "GW402"),
        "Humbatova 2020, wrong batch size; few steps with a small rate",
        _IDLE,
    ),
    "machines-one-by-one": Fault(
        whole(tables.machines, 13, momentum=0.9, rate=0.1, batch=1, epochs=1, count=1800),
        ("GW404", "GW411", "GW402"),
        "AUTOTRAINER, oscillating loss: batch size of one, the rate was left as it was",
        _HOT,
    ),
    "cloth-normed-in-twos": Fault(
        whole(pictures.shop, 7, drop=0.5, first=96, epochs=1, batch=2, pooled=True),
        ("GW403", "GW404"),
        "forums on BatchNorm and small batches",
        (*_HOT, "GW411", "GW434", "GW402", "GW103", "GW214"),
    ),
    "books-two-epochs": Fault(
        whole(games.books, 1, rate=1e-3, epochs=2),
        ("GW214", "GW412"),
        "DeepFD: too few epochs; Humbatova 2020, wrong number of epochs",
        ("GW209", "GW206"),
    ),
    "recipes-stopped-early": Fault(
        whole(sequences.recipes, 3, layers=2, width=48, rows=12, kept=False, steps=120, rate=2e-3),
        ("GW214", "GW412"),
        "forums on char-rnn: samples make no sense after a few hundred batches",
        ("GW209",),
    ),
    # -- modes and schedules --------
    "cloth-stays-in-eval-mode": Fault(
        whole(pictures.shop, 7, drop=0.5, first=96, epochs=9, again=False),
        ("GW432", "GW431"),
        "wkentaro/pytorch-fcn#57, optuna/optuna#1725: train() is not called again after eval()",
        ("GW434",),
        begins=AT_FIRST_EVALUATION,
    ),
    "machines-stay-in-eval-mode": Fault(
        whole(tables.machines, 3, norm=True, rate=0.1, depth=3, decay=5e-4, modes=False),
        ("GW432", "GW431"),
        "joeynmt/joeynmt#184, ermongroup/ncsn#2: the model stays in eval mode after the first validation",
        ("GW434", *_HOT),
        begins=AT_FIRST_EVALUATION,
    ),
    "cloth-tested-in-train-mode": Fault(
        whole(pictures.shop, 7, drop=0.5, first=96, epochs=9, still=False),
        ("GW432",),
        "pliang279/MultiBench#26: validation while the model is in train mode",
        ("GW434",),
        begins=AT_FIRST_EVALUATION,
    ),
    "cloth-rate-falls-each-batch": Fault(
        whole(pictures.shop, 6, schedule="step-each-batch", name="adamw", decay=0.01, rate=5e-3),
        ("GW413",),
        "ivadomed/ivadomed#55, automl/Auto-PyTorch#210: the scheduler steps after each batch",
        ("GW412", *_IDLE),
    ),
    "cloth-rate-grows": Fault(
        whole(pictures.shop, 6, schedule="growing", name="sgd", rate=0.01),
        ("GW413", "GW411"),
        "forums on StepLR: gamma above one",
        _HOT,
    ),
    "machines-cosine-of-epochs": Fault(
        whole(tables.machines, 6, schedule="cosine-short", rate=0.1, decay=1e-4),
        ("GW413",),
        "nodefluxio/vortex#58: T_max in epochs, a step for each batch, so the rate swings up and down",
        ("GW207", "GW411", "GW412", "GW414"),
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
        ("GW452", "GW310", "GW306", *_IDLE),
    ),
    "books-decayed-away": Fault(
        whole(games.books, 1, decay=0.1),
        ("GW451", "GW441"),
        "fast.ai forums on collaborative filtering: Adam with a weight_decay of 0.1",
        ("GW452", "GW310", "GW306", *_IDLE),
    ),
    "machines-nearly-all-dropped": Fault(
        whole(tables.machines, 9, drop=0.92, width=48, name="adamw", rate=2e-3, decay=0.01),
        ("GW462",),
        "Humbatova 2020, dropout rate; the share to keep was taken for the share to drop",
        ("GW802", *_IDLE),
    ),
    "words-nearly-all-dropped": Fault(
        whole(sequences.tagging, 1, drop=0.9),
        ("GW462",),
        "forums on taggers: dropout of 0.9 on words and states",
        ("GW802", *_IDLE),
    ),
    "surnames-clipped-to-nothing": Fault(
        whole(sequences.surnames, 4, name="sgd", rate=0.3, read="max", epochs=12, clip=1e-3),
        ("GW421", "GW422"),
        "forums on clip_grad_norm_: a bound of 0.001",
        ("GW412", *_IDLE),
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

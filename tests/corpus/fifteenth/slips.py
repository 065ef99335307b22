"""Faults of the fifteenth held-out set: rates, optimizers, the loop, batches, modes and schedules."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fifteenth import attention, games, makers, pictures, sequences, tables
from tests.corpus.whole import whole

TORN = ("GW205", "GW206", "GW207", "GW208", "GW209", "GW307", "GW308", "GW311", "GW452", "GW608", "GW805", "GW106")
STUCK = ("GW206", "GW209", "GW102", "GW311", "GW805", "GW108", "GW101", "GW106")
IDLE = ("GW206", "GW209", "GW214", "GW102", "GW106", "GW311", "GW805", "GW108", "GW203")
HOT = (*TORN, "GW309", "GW310", "GW112", "GW102", "GW423", "GW201", "GW801", "GW601", "GW602", "GW603", "GW952")

SLIPS: dict[str, Fault] = {
    # -- rates --------
    "machines-rate-of-three": Fault(
        whole(tables.machines, 1, rate=3.0),
        ("GW411",),
        "Humbatova 2020, hyperparameters: learning rate; forums, accuracy stays at chance",
        HOT,
    ),
    "irises-adam-of-one": Fault(
        whole(tables.flowers, 1, rate=1.0),
        ("GW411",),
        "StackOverflow on iris: Adam with lr=1",
        HOT,
    ),
    "surnames-adam-of-three-tenths": Fault(
        whole(sequences.surnames, 1, rate=0.3),
        ("GW411",),
        "forums on character RNNs: loss jumps about, Adam with a rate meant for SGD",
        (*HOT, "GW957"),
    ),
    "boxes-adam-of-three-tenths": Fault(
        whole(pictures.boxes, 1, rate=0.3),
        ("GW411",),
        "stats.stackexchange.com/questions/261704: regression by a CNN, Adam too fast, the mean is predicted",
        HOT,
    ),
    "numbers-adam-of-a-tenth": Fault(
        whole(attention.backwards, 1, rate=0.1, warm=0, clip=None),
        ("GW411", "GW415"),
        "huggingface/transformers#735, graykode/nlp-tutorial#77: a transformer at a rate far too high",
        (*HOT, "GW951", "GW957", "GW421"),
    ),
    "surnames-plain-rnn-without-clipping": Fault(
        whole(sequences.surnames, 1, cell="rnn", name="sgd", rate=1.0, read="max"),
        ("GW411", "GW423"),
        "forums on plain RNNs: no clipping and a large rate, the loss explodes",
        (*HOT, "GW421", "GW957"),
    ),
    "digits-tuned-too-fast": Fault(
        whole(pictures.transfer, 3, frozen="none", rate=0.3, said=False, epochs=9),
        ("GW411",),
        "forums on fine-tuning: the rate of training from scratch destroys what was learnt",
        HOT,
    ),
    "roof-sgd-of-one": Fault(
        whole(tables.panels, 2, name="sgd", rate=1.0, batch=32, epochs=12),
        ("GW411",),
        "StackOverflow, loss is nan in a simple regression: SGD with lr=1",
        (*HOT, "GW444"),
    ),
    "weather-rate-too-low": Fault(
        whole(sequences.weather, 1, rate=1e-5),
        ("GW412",),
        "discuss.pytorch.org: LSTM loss hardly falls with 1e-5",
        IDLE,
    ),
    "cloth-rate-too-low": Fault(
        whole(pictures.shop, 8, norm=False, name="sgd", rate=1e-5, epochs=10),
        ("GW412",),
        "taourl.com, loss is not changing: extremely small learning rate",
        IDLE,
    ),
    "recipes-rate-too-low": Fault(
        whole(sequences.recipes, 2, name="sgd", rate=2e-4, clip=1.0, steps=500),
        ("GW412",),
        "forums on char-rnn: SGD with the rate of Adam",
        (*IDLE, "GW421"),
    ),
    "books-rate-too-low": Fault(
        whole(games.books, 1, rate=1e-5),
        ("GW412",),
        "Islam 2020, repairs of hyperparameters: learning rate too small",
        IDLE,
    ),
    # -- the loop and the optimizer --------
    "machines-never-cleared": Fault(
        whole(tables.machines, 1, clear="never"),
        ("GW304",),
        "yastrebksv/TennisCourtDetector#7, snakers4/silero-vad#699: no optimizer.zero_grad()",
        (*HOT, "GW411"),
    ),
    "machines-cleared-each-epoch": Fault(
        whole(tables.machines, 2, name="sgd", rate=0.05, batch=32, epochs=10, clear="epoch"),
        ("GW304", "GW315"),
        "pytorch/pytorch#47175: zero_grad() at the beginning of each epoch",
        (*HOT, "GW411"),
    ),
    "surnames-never-cleared": Fault(
        whole(sequences.surnames, 1, clear=False),
        ("GW304",),
        "A. Karpathy, the most common neural net mistakes: .zero_grad() before .backward()",
        (*HOT, "GW411", "GW957"),
    ),
    "cloth-never-cleared": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, clear=False),
        ("GW304",),
        "snakers4/silero-vad#699, tenstorrent/tt-blacksmith#711: zero_grad() is missing",
        (*HOT, "GW411"),
    ),
    "recipes-cleared-now-and-then": Fault(
        whole(sequences.recipes, 2, name="sgd", rate=0.5, clip=None, steps=500, each=False),
        ("GW304", "GW315"),
        "pytorch/pytorch#47175: zero_grad() once in a while, a step after each batch",
        (*HOT, "GW411"),
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
        ("GW303", "GW301", *IDLE),
    ),
    "digits-new-head-unknown": Fault(
        whole(pictures.transfer, 1, rate=2e-2, epochs=16, order="optimizer first"),
        ("GW302",),
        "forums on transfer learning: model.fc is replaced after the optimizer was made",
        ("GW303", "GW453", *IDLE),
    ),
    "digits-all-frozen": Fault(
        whole(pictures.transfer, 1, rate=2e-2, epochs=16, frozen="all"),
        ("GW453",),
        "forums on transfer learning: the loop over requires_grad comes after the new head",
        ("GW303", "GW301", "GW302", *IDLE),
    ),
    "cloth-frozen-untrained": Fault(
        whole(pictures.shop, 2, name="sgd", rate=0.05, decay=5e-4, frozen=True, norm=False, first=16),
        ("GW453",),
        "forums on transfer learning: a body that was never trained is frozen",
        ("GW303", "GW301", "GW302", *IDLE),
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
        (*HOT, "GW411", "GW210"),
    ),
    # -- batches and epochs --------
    "clients-in-two-large-batches": Fault(
        whole(tables.clients, 1, batch=1600, epochs=60, rate=2e-4),
        ("GW401", "GW412", "GW214", "GW402"),
        "Humbatova 2020, wrong batch size; few steps with a small rate",
        IDLE,
    ),
    "machines-one-by-one": Fault(
        whole(tables.machines, 13, momentum=0.9, rate=0.1, batch=1, epochs=1, count=1800),
        ("GW404", "GW411", "GW402"),
        "AUTOTRAINER, oscillating loss: batch size of one, the rate was left as it was",
        HOT,
    ),
    "cloth-normed-in-twos": Fault(
        whole(pictures.shop, 7, drop=0.5, first=96, epochs=1, batch=2, pooled=True),
        ("GW403", "GW404"),
        "forums on BatchNorm and small batches",
        (*HOT, "GW411", "GW434", "GW402", "GW103", "GW214"),
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
        ("GW434", *HOT),
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
        ("GW412", *IDLE),
    ),
    "cloth-rate-grows": Fault(
        whole(pictures.shop, 6, schedule="growing", name="sgd", rate=0.01),
        ("GW413", "GW411"),
        "forums on StepLR: gamma above one",
        HOT,
    ),
    "machines-cosine-of-epochs": Fault(
        whole(tables.machines, 6, schedule="cosine-short", rate=0.1, decay=1e-4),
        ("GW413",),
        "nodefluxio/vortex#58: T_max in epochs, a step for each batch, so the rate swings up and down",
        ("GW207", "GW411", "GW412", "GW414"),
    ),
}

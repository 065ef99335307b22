"""Faults of the seventh held-out set, with where people made them."""

from __future__ import annotations

from functools import partial

from torch import nn

from tests.corpus.fault import DEEPCHECKER, KARPATHY, SCALING, Fault
from tests.corpus.seventh import games, makers, pictures, sequences, sounds, tables
from tests.corpus.whole import whole

FAULTS: dict[str, Fault] = {
    # -- data --------
    "houses-as-counted": Fault(
        whole(tables.houses, 300, scale=False),
        ("GW107",),
        SCALING,
        ("GW201", "GW205", "GW207", "GW208", "GW308", "GW206", "GW311", "GW411", "GW209", "GW108"),
    ),
    "hearts-not-measured": Fault(
        whole(tables.hearts, 302, missing=True),
        ("GW605", "GW107"),
        "discuss.pytorch.org and Stack Overflow: the loss is nan, a column of the csv had NaN",
        ("GW601", "GW602", "GW603", "GW444", "GW108"),
    ),
    "customers-final-bill": Fault(
        whole(tables.customers, 303, final_bill=True),
        ("GW803",),
        "Kaggle, data leakage: a column that is only filled in after the fact",
        ("GW802",),
    ),
    "machines-not-weighed": Fault(
        whole(tables.machines, 304, weighed=False),
        ("GW203", "GW805"),
        "Stack Overflow: 98 % accuracy, the network always says no",
        ("GW805", "GW209", "GW311"),
    ),
    "plates-in-bytes": Fault(
        whole(pictures.plates, 311, module=pictures.Nesterov, to_tensor=False),
        ("GW107",),
        KARPATHY + ", and 37 reasons (S. Ivanov): input not normalised",
        ("GW201", "GW205", "GW207", "GW208", "GW308", "GW311", "GW411", "GW206", "GW307", "GW108"),
    ),
    "plates-folder-by-folder": Fault(
        whole(pictures.plates, 310, by_folder=True),
        ("GW111",),
        "37 reasons (S. Ivanov): shuffle the data set; ImageFolder and shuffle=False",
        ("GW205", "GW207", "GW208", "GW805", "GW206"),
    ),
    "hearts-of-sixty": Fault(
        whole(tables.hearts, 302, make=tables.wide, train=60, epochs=40),
        ("GW801", "GW112"),
        "Humbatova et al. 2020: not enough training data",
        ("GW112",),
    ),
    "documents-two-vocabularies": Fault(
        whole(sequences.documents, 321, apart=True),
        ("GW112", "GW113", "GW110"),
        "Stack Overflow: tokenizer fitted on the test set anew",
        ("GW801",),
    ),
    "passengers-by-the-hundred": Fault(
        whole(sequences.passengers, 320, scale=False),
        ("GW107", "GW109"),
        "Stack Overflow: LSTM gives a straight line, the series was not scaled",
        ("GW201", "GW214", "GW412", "GW309", "GW311", "GW209", "GW206"),
    ),
    "tones-logarithm-of-silence": Fault(
        whole(sounds.tones, 330, least=0.0),
        ("GW605", "GW107"),
        "pytorch/audio, discuss.pytorch.org: log of a spectrogram is -inf where it is silent",
        ("GW601", "GW602", "GW603", "GW444", "GW108"),
    ),
    "roll-time-to-a-thousand": Fault(
        whole(makers.roll, 340, relative=False),
        ("GW107",),
        SCALING + ": a time step from 0 to 1,000 beside coordinates",
        ("GW201", "GW205", "GW209", "GW207", "GW308", "GW310"),
    ),
    # -- losses and ends --------
    "plates-softmax-twice": Fault(
        whole(pictures.plates, 310, module=partial(pictures.LitPlates, softmax=True)),
        ("GW202",),
        "shaoxiongji/federated-learning#9, Lightning-Universe/lightning-bolts#654: softmax before CrossEntropyLoss",
        ("GW206", "GW209"),
    ),
    "hearts-sigmoid-twice": Fault(
        whole(tables.hearts, 302, twice=True),
        ("GW202", "GW212"),
        "discuss.pytorch.org: sigmoid, then BCEWithLogitsLoss",
        ("GW206", "GW209"),
    ),
    "houses-row-and-column": Fault(
        whole(tables.houses, 300, squeeze=True),
        ("GW202",),
        "Stack Overflow: using a target size that is different to the input size, model(x).squeeze()",
        ("GW206", "GW311", "GW209", "GW102"),
    ),
    "letters-without-the-logarithm": Fault(
        whole(sequences.letters, 322, end=nn.Softmax(dim=1)),
        ("GW202", "GW211"),
        "Stack Overflow: NLLLoss is negative, softmax for log_softmax",
        ("GW209", "GW206"),
    ),
    "strips-raw-scores": Fault(
        whole(sounds.strips, 331, normed=False),
        ("GW202", "GW211"),
        "SeanNaren/deepspeech.pytorch#488, gwx314/STARS#9: CTC loss is negative",
        ("GW208", "GW952", "GW310", "GW307", "GW452"),
    ),
    "plates-counts-what-is-right": Fault(
        whole(pictures.plates, 310, module=pictures.CountsRight),
        ("GW301", "GW305", "GW303"),
        "Stack Overflow: does not require grad, made to by requires_grad=True behind argmax",
        ("GW206", "GW303", "GW214", "GW211"),
    ),
    "curve-spread-of-zero": Fault(
        whole(tables.backwards, 307, spread=nn.ReLU()),
        ("GW601", "GW603", "GW602", "GW202", "GW212"),
        DEEPCHECKER + "; hardmaru's mixture density networks: a spread of zero",
        ("GW444", "GW308"),
    ),
    "pictures-sigmoid-at-the-end": Fault(
        whole(makers.pictures, 345, end=nn.Sigmoid),
        ("GW212",),
        "Stack Overflow: autoencoder is grey, Normalize(0.5, 0.5) and a sigmoid",
        ("GW309", "GW209", "GW206", "GW202"),
    ),
    "spring-law-in-thousands": Fault(
        whole(sounds.spring, 332, physics=1.0),
        ("GW210",),
        "benmoseley/harmonic-oscillator-pinn: why the physics is multiplied by 1e-4",
        ("GW205", "GW207", "GW209", "GW201"),
    ),
    # -- structure, starts --------
    "ratings-embedded-at-one": Fault(
        whole(tables.ratings, 305, std=None),
        ("GW471", "GW201"),
        "fast.ai forum: collaborative filtering by dot products needs small embeddings",
        ("GW801", "GW112", "GW214"),
    ),
    "hearts-eight-sigmoids": Fault(
        whole(tables.hearts, 302, make=tables.eight_sigmoids),
        ("GW306",),
        "Glorot & Bengio 2010; DeepLocalize (Wardat et al. 2021): vanishing gradients behind sigmoids",
        ("GW206", "GW311", "GW309", "GW209", "GW805"),
    ),
    "bags-heed-each-other": Fault(
        whole(pictures.bags, 316, over=0),
        ("GW103",),
        "discuss.pytorch.org: softmax over the wrong dimension of attention",
        ("GW206", "GW209", "GW112", "GW801", "GW434"),
    ),
    "strokes-across-the-batch": Fault(
        whole(sequences.strokes, 324, batch_first=False),
        ("GW103",),
        "Stack Overflow: batch_first left out, the RNN learns nothing",
        ("GW206", "GW209", "GW112", "GW801", "GW311"),
    ),
    "sorts-sees-the-answer": Fault(
        whole(sequences.sorts, 323, causal=False),
        ("GW104", "GW803"),
        "Stack Overflow: transformer decoder without tgt_mask, loss is zero and it writes nonsense",
        ("GW803",),
    ),
    "codes-cut-off": Fault(
        whole(makers.codes, 343, through=False),
        ("GW301", "GW312"),
        "zalandoresearch/pytorch-vq-vae, issues: the straight-through estimator left out",
        ("GW303", "GW209", "GW206"),
    ),
    "views-all-alike": Fault(
        whole(makers.views, 344, stops=False),
        ("GW311", "GW803"),
        "Chen & He 2021: without stop-gradient the loss goes to -1 at once",
        ("GW306", "GW209"),
    ),
    "molecules-plain-tensors": Fault(
        whole(games.molecules, 351, make=games.plain_tensor),
        ("GW302",),
        "rballester/tntorch#3, Stack Overflow: a tensor with requires_grad is not in parameters()",
        ("GW209", "GW206", "GW303"),
    ),
    "stripes-thawed-not-told": Fault(
        whole(pictures.retrained, 315, again=False),
        ("GW302", "GW303"),
        "discuss.pytorch.org: unfrozen later, the optimizer was made by filter(requires_grad) before",
        ("GW209",),
    ),
    "cart-critic-twice": Fault(
        whole(games.cart, 350, copied=True),
        ("GW302", "GW303"),
        "copied line: optim.Adam(critic.parameters()) for both (Stack Overflow, actor-critic does not learn)",
        ("GW207", "GW206", "GW303"),
    ),
    # -- optimizers, schedules, order of calls --------
    "plates-never-cleared": Fault(
        whole(pictures.plates, 310, clear=False),
        ("GW304",),
        KARPATHY,
        ("GW207", "GW208", "GW411", "GW307", "GW205", "GW206", "GW308"),
    ),
    "stripes-rate-of-five": Fault(
        whole(pictures.resnet, 312, lr=5.0),
        ("GW411",),
        "TFCheck and UMLAUT: learning rate too high",
        ("GW205", "GW206", "GW207", "GW208", "GW310", "GW311", "GW434", "GW805", "GW308", "GW307", "GW415"),
    ),
    "documents-rate-of-keras": Fault(
        whole(sequences.documents, 321, lr=1e-3),
        ("GW412",),
        "Humbatova et al. 2020: suboptimal learning rate, 0.001 for SGD because Adam had it",
        ("GW206", "GW214", "GW311", "GW421", "GW303"),
    ),
    "sorts-rate-at-once": Fault(
        whole(sequences.sorts, 323, lr=0.05, rise=1),
        ("GW411", "GW415"),
        "Xiong et al. 2020: norms behind the layers need a warm-up",
        ("GW206", "GW205", "GW209", "GW311", "GW951", "GW207"),
    ),
    "stripes-schedule-told-of-batches": Fault(
        whole(pictures.resnet, 312, per_batch=True),
        ("GW413",),
        "ivadomed/ivadomed#55, pytorch/tutorials#640: scheduler.step() in the loop over batches",
        ("GW412", "GW214", "GW209", "GW303", "GW206"),
    ),
    "letters-clipped-too-soon": Fault(
        whole(sequences.letters, 322, clipped="before"),
        ("GW422", "GW411"),
        "yandex-research/tabm#20: clip_grad_norm_ before backward()",
        ("GW411", "GW307", "GW205", "GW208", "GW207", "GW206", "GW309", "GW310", "GW423"),
    ),
    "stripes-cleared-for-each-piece": Fault(
        whole(pictures.resnet, 313, pieces=4, batch=64, lr=0.08, epochs=5, each=True),
        ("GW315", "GW305"),
        "huggingface forum and Stack Overflow: zero_grad() inside gradient accumulation",
        ("GW403", "GW412", "GW404"),
    ),
    # -- norms and modes --------
    "plates-judged-with-dropout": Fault(
        whole(pictures.plates, 310, quiet=False),
        ("GW432",),
        "wolny/pytorch-3dunet#53, nshaud/DeepHyperX#51: no eval() before the validation",
        ("GW434",),
    ),
    "stripes-asleep-since-loading": Fault(
        whole(pictures.resnet, 312, loaded=True),
        ("GW431", "GW432"),
        "discuss.pytorch.org: model.eval() after loading, and no train() before fine-tuning",
        ("GW434", "GW310", "GW307"),
    ),
}

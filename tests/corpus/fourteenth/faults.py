"""Faults of the fourteenth held-out set."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fourteenth import agents, fields, learners, letters, odd, pictures, series, tables
from tests.corpus.whole import whole

_STUCK = ("GW206", "GW209", "GW102", "GW311", "GW805", "GW108", "GW101", "GW106")
_BLOWN = ("GW601", "GW602", "GW603", "GW608", "GW307", "GW310", "GW205", "GW208", "GW423", "GW444")

FAULTS: dict[str, Fault] = {
    "parcels-signed-error": Fault(
        whole(tables.parcels, 1, sign=-1.0),
        ("GW202", "GW211"),
        "StackOverflow on quantile loss in Keras: q * e without its maximum, the loss is negative and falls for ever",
        ("GW204", "GW208", "GW601", "GW602", "GW603", "GW952", "GW452", "GW307", "GW310", "GW608", "GW205", "GW109"),
    ),
    "parcels-in-seconds": Fault(
        whole(tables.parcels, 1, unit=3600.0),
        ("GW109", "GW107"),
        "machinelearningmastery.com on scaling targets; discuss.pytorch.org, network always predicts the mean",
        ("GW412", "GW214", "GW206", "GW209", "GW201", "GW108", "GW102", "GW311", "GW452"),
    ),
    "parcels-grams-unscaled": Fault(
        whole(tables.parcels, 3, levels=(0.8, 0.95), optimizer_name="sgd", rate=0.1, batch=32, epochs=20, scaled=False),
        ("GW107",),
        "37 reasons why your neural network is not working (Slavv): standardise the features",
        ("GW411", "GW201", *_STUCK, *_BLOWN, "GW308", "GW309", "GW207"),
    ),
    "soils-weights-upside-down": Fault(
        whole(tables.ground, 1, balance="upside-down"),
        ("GW203", "GW805"),
        "discuss.pytorch.org on the weight of CrossEntropyLoss: counts were given where their inverse is meant",
        ("GW209",),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-coded-twice": Fault(
        whole(tables.ground, 1, coded="each"),
        ("GW110", "GW112"),
        "Kaggle and StackOverflow: LabelEncoder is fitted on each set, so the same kind has two numbers",
        ("GW801", "GW203", "GW805", "GW208", "GW113"),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-empty-cells": Fault(
        whole(tables.ground, 1, holes=True),
        ("GW605", "GW107"),
        "Slavv, 37 reasons: check for NaN in the inputs; discuss.pytorch.org, loss becomes nan with a csv file",
        ("GW601", "GW602", "GW603", "GW444"),
    ),
    "soils-kind-among-the-columns": Fault(
        whole(tables.ground, 1, label_column=True),
        ("GW803",),
        "Kaggle on leakage: the column of the answer, one-hot, was not dropped from the table",
        ("GW204", "GW214"),
        begins=AT_FIRST_EVALUATION,
    ),
    "soils-never-cleared": Fault(
        whole(tables.ground, 1, clear="no"),
        ("GW304",),
        "Karpathy, most common mistakes: you forgot to zero_grad before backward",
        ("GW207", "GW209", "GW206", "GW205", "GW307", "GW452", "GW801", "GW411", "GW112", "GW208"),
    ),
    "wells-labels-of-zero": Fault(
        whole(tables.water, 1, rate=0.1, zero_one=True),
        ("GW202", "GW110", "GW107"),
        "StackOverflow on hinge loss with labels 0 and 1, which wants -1 and 1",
        (*_STUCK, "GW211", "GW301", "GW303", "GW306", "GW308", "GW443", "GW203"),
    ),
    "wells-without-bends": Fault(
        whole(tables.water, 1, rate=0.1, hidden=3, bends=False),
        ("GW313",),
        "Humbatova et al. 2020: missing activation function; StackOverflow, deep network no better than a linear one",
        ("GW209", "GW206", "GW108", "GW101"),
    ),
    "fares-in-metres": Fault(
        whole(tables.taxi, 3, judged="mse", optimizer_name="sgd", rate=0.02, epochs=4, batch=40, warm=30, raw=True),
        ("GW107",),
        "Kaggle, taxi fares: coordinates and minutes unscaled, loss is nan (Humbatova: missing preprocessing)",
        ("GW411", "GW201", *_STUCK, *_BLOWN, "GW207"),
    ),
    "fares-without-the-point": Fault(
        whole(tables.taxi, 3, judged="mse", optimizer_name="sgd", rate=0.02, epochs=8, batch=40, warm=30, typos=True),
        ("GW107", "GW109", "GW307", "GW423"),
        "Kaggle, taxi fares: a few targets a hundred times too large throw the weights about under a squared error",
        ("GW207", "GW209", "GW201", "GW208", "GW206", "GW802", "GW411", "GW402", "GW404", "GW953", *_BLOWN),
    ),
    "fares-rate-of-bert": Fault(
        whole(tables.taxi, 1, rate=2e-6),
        ("GW412",),
        "r/learnmachinelearning: the rate of a fine-tuning script on a network that begins at random",
        ("GW214", "GW206", "GW209", "GW108", "GW102"),
    ),
    "fares-decay-of-one-coupled": Fault(
        whole(tables.taxi, 1, coupled=True, decay=1.0),
        ("GW441", "GW451"),
        "fast.ai forums: weight_decay of AdamW (1.0) handed to Adam, which adds it to the gradient",
        ("GW452", "GW306", *_STUCK, "GW443"),
    ),
    "fares-warm-for-ever": Fault(
        whole(tables.taxi, 1, rate=1e-3, warm=200_000),
        ("GW413", "GW412", "GW415"),
        "discuss.huggingface.co: warmup_steps of another dataset, longer than the whole training",
        ("GW214", "GW206", "GW209", "GW108", "GW102"),
    ),
    # -- pictures --------
    "cloth-turned-with-its-answer": Fault(
        whole(pictures.weave, 1, augment="turns"),
        ("GW110", "GW209", "GW206", "GW102"),
        "Slavv, 37 reasons: too much augmentation, here one that changes what the label says",
        ("GW112", "GW434", "GW802", "GW207", "GW101"),
    ),
    "cloth-rate-gone-in-a-dozen-steps": Fault(
        whole(pictures.weave, 1, schedule="steps"),
        ("GW413",),
        "StackOverflow on StepLR: step_size of 3 epochs, but scheduler.step() is called after each batch",
        ("GW412", "GW206", "GW209", "GW214", "GW434", "GW102"),
    ),
    "cloth-one-direction-after-another": Fault(
        whole(pictures.weave, 1, ordered=True),
        ("GW111",),
        "discuss.pytorch.org: ImageFolder without shuffle, each batch holds one class",
        ("GW434", "GW432", "GW207", "GW205", "GW801", "GW112", "GW805", "GW307", "GW209", "GW208", "GW802", "GW204"),
    ),
    "cloth-rate-of-three": Fault(
        whole(pictures.weave, 3, norm="none", schedule="none", rate=3.0, epochs=4),
        ("GW411",),
        "Zhang et al. 2018, TensorFlow bugs: a learning rate far too high",
        ("GW308", "GW309", "GW201", "GW207", "GW452", *_STUCK, *_BLOWN),
    ),
    "quarters-in-their-order": Fault(
        whole(pictures.turned, 1, shuffled=False),
        ("GW111",),
        "forum on RotNet: the four turns are put one after the other and the loader does not shuffle",
        ("GW434", "GW432", "GW207", "GW205", "GW801", "GW112", "GW805", "GW307", "GW209", "GW208", "GW802", "GW204"),
    ),
    "quarters-weights-of-zero": Fault(
        whole(pictures.turned, 1, blank=True),
        ("GW114", "GW471"),
        "CS231n and StackOverflow: all weights were initialised with zeros",
        ("GW303", "GW306", "GW308", "GW431", "GW310", *_STUCK),
    ),
    "pupil-teacher-in-the-optimizer": Fault(
        whole(pictures.pupil, 1, whose="teacher"),
        ("GW302", "GW303"),
        "StackOverflow on distillation: the optimizer was built from teacher.parameters()",
        ("GW206", "GW209", "GW108", "GW102", "GW301", "GW412"),
    ),
    # -- pictures that come out --------
    "regions-softmax-over-the-batch": Fault(
        whole(fields.regions, 1, axis=0),
        ("GW103", "GW202"),
        "discuss.pytorch.org, softmax dim for segmentation: dim=0 normalises over the pictures of the batch",
        ("GW201", "GW209", "GW206", "GW434", "GW212", "GW214"),
    ),
    "regions-softmax-over-the-width": Fault(
        whole(fields.regions, 1, axis=3),
        ("GW202",),
        "StackOverflow, nn.Softmax(dim=-1) on (B, C, H, W): the probabilities of a row of pixels add up to one",
        ("GW201", "GW209", "GW206", "GW212", "GW214", "GW103"),
    ),
    "regions-relu-on-the-scores": Fault(
        whole(fields.regions, 1, last="relu"),
        ("GW212",),
        "discuss.pytorch.org on U-Net: the last block has a ReLU too, so classes die",
        ("GW308", "GW805", "GW203", "GW209", "GW202", "GW214", "GW206", "GW102", "GW311"),
    ),
    "regions-spread-of-a-thousandth": Fault(
        whole(fields.regions, 3, optimizer_name="sgd", rate=0.05, epochs=8, spread=0.001),
        ("GW471",),
        "CS231n on initialisation, and StackOverflow: tf.random_normal with a tiny stddev, the loss does not move",
        ("GW306", "GW310", "GW412", "GW203", *_STUCK),
    ),
    "painting-in-pixels": Fault(
        whole(fields.painting, 4, kind="plain", width=96, steps=500, unit=512.0),
        ("GW107",),
        "r/MachineLearning on coordinate networks: places in pixels, not between -1 and 1",
        ("GW411", "GW201", "GW308", "GW310", "GW207", *_STUCK, *_BLOWN),
    ),
    "painting-of-255-by-sigmoid": Fault(
        whole(fields.painting, 1, bright=255.0, last="sigmoid"),
        ("GW212", "GW109", "GW107"),
        "StackOverflow: sigmoid at the end while the targets are bytes from 0 to 255",
        ("GW309", "GW201", "GW306", "GW303", "GW443", *_STUCK),
    ),
    "sharper-relu-at-the-end": Fault(
        whole(fields.sharper, 1, last="relu"),
        ("GW212",),
        "Humbatova et al. 2020, wrong activation of the last layer: residues below zero cannot be answered",
        ("GW308", "GW209", "GW214", "GW311", "GW102"),
    ),
    "sharper-summed-up": Fault(
        whole(fields.sharper, 2, optimizer_name="sgd", rate=0.3, epochs=14, reduction="sum"),
        ("GW411", "GW202"),
        "StackOverflow, loss is nan with MSELoss(reduction='sum'): the rate was meant for the mean",
        ("GW201", "GW452", *_STUCK, *_BLOWN),
    ),
    "pixel-sees-itself": Fault(
        whole(fields.by_pixel, 1, first="B"),
        ("GW104", "GW955"),
        "forums on PixelCNN: the first layer was given mask B, so each pixel is copied",
        ("GW803", "GW204", "GW214"),
    ),
    "pixel-masked-once": Fault(
        whole(fields.by_pixel, 1, always=False),
        ("GW104", "GW955"),
        "GitHub issues of PixelCNN: the weights are masked when made, not at each forward; one update undoes it",
        ("GW803", "GW204", "GW214"),
    ),
    "pixel-squashed-twice": Fault(
        whole(fields.by_pixel, 1, squashed=True),
        ("GW202", "GW212"),
        "discuss.pytorch.org: sigmoid in forward and BCEWithLogitsLoss",
        ("GW209", "GW206", "GW412", "GW214"),
    ),
    # -- tokens --------
    "tags-without-partition": Fault(
        whole(letters.tagging, 1, partition=False),
        ("GW202", "GW211"),
        "GitHub issues of CRF taggers: the loss is the path's score alone, without what all paths weigh",
        ("GW204", "GW208", "GW452", "GW952", "GW309", "GW307", "GW421", "GW422", "GW310", "GW214"),
    ),
    "tags-exponentials-summed": Fault(
        whole(letters.tagging, 1, stable=False, length=60),
        ("GW601",),
        "StackOverflow on CRF in PyTorch: log(sum(exp)) in place of logsumexp overflows on longer sentences",
        ("GW602", "GW603", "GW444", "GW205", "GW307", "GW608"),
    ),
    "neighbours-strangers-drawn-near": Fault(
        whole(letters.neighbours, 1, sign=-1.0),
        ("GW202", "GW211"),
        "StackOverflow on negative sampling in PyTorch: a wrong sign, strangers are to be likely too",
        ("GW204", "GW208", "GW452", "GW952", "GW307", "GW310", "GW205", "GW423"),
    ),
    "neighbours-rate-of-word2vec": Fault(
        whole(letters.neighbours, 3, optimizer_name="sgd", rate=0.025, batch=64),
        ("GW412",),
        "discuss.pytorch.org on word2vec: the rate of the C program (0.025 a pair) with a mean over the batch",
        ("GW206", "GW209", "GW214", "GW306", "GW106"),
    ),
    "brackets-lines-without-text": Fault(
        whole(letters.brackets, 1, empty=True),
        ("GW602", "GW601", "GW603", "GW107"),
        "pytorch/pytorch#41508: attention over a row that is padding only gives NaN",
        ("GW444", "GW954", "GW604"),
    ),
    "brackets-mask-inverted": Fault(
        whole(letters.brackets, 1, mask="inverted", floor=-1e9),
        ("GW958",),
        "discuss.pytorch.org on key_padding_mask: True marks what is left out, the script marked what is there",
        ("GW954", "GW112", "GW601", "GW602", "GW603", "GW444", *_STUCK),
    ),
    "brackets-norm-behind-at-full-rate": Fault(
        whole(letters.brackets, 2, first=False, rate=0.1, warm=0, epochs=10, floor=-1e9),
        ("GW411", "GW415"),
        "Xiong et al. 2020 and forums: a post-norm transformer without warm-up stays at chance",
        ("GW307", "GW205", "GW951", "GW310", "GW953", "GW423", *_STUCK),
    ),
    # -- time and sets --------
    "visits-rate-of-nothing": Fault(
        whole(series.visits, 1, ends_in="relu"),
        ("GW601", "GW212", "GW602", "GW603"),
        "discuss.pytorch.org: the logarithm of what a ReLU gives, -inf as soon as it gives 0",
        ("GW308", "GW444", "GW201", "GW205", "GW307", "GW311"),
    ),
    "visits-in-milliseconds": Fault(
        whole(series.visits, 1, unit=3.6e6, ends_in="raw"),
        ("GW107", "GW109"),
        "forums on event times: time stamps in milliseconds are fed as they are",
        ("GW309", "GW201", "GW412", "GW214", "GW411", *_STUCK, *_BLOWN),
    ),
    "tides-padded-on-both-sides": Fault(
        whole(series.tides, 1, centred=True),
        ("GW104",),
        "GitHub issues of TCN and WaveNet: padding='same' in place of causal padding, the next hour is seen",
        ("GW803", "GW204", "GW955"),
    ),
    "tides-in-centimetres": Fault(
        whole(series.tides, 3, optimizer_name="sgd", rate=0.05, clip=1.0, scaled=False),
        ("GW107", "GW109"),
        "37 reasons (Slavv): normalise inputs and targets; the clip hides how large the gradients are",
        ("GW421", "GW411", "GW412", "GW201", "GW308", "GW214", "GW207", *_STUCK, *_BLOWN),
    ),
    "tides-tested-in-centimetres": Fault(
        whole(series.tides, 1, own_scale=True),
        ("GW113",),
        "StackOverflow: the scaler was fitted on and applied to the training set only",
        ("GW801", "GW112", "GW208", "GW434"),
        begins=AT_FIRST_EVALUATION,
    ),
    "tides-clipped-to-a-thousandth": Fault(
        whole(series.tides, 3, optimizer_name="sgd", rate=0.05, clip=1e-4),
        ("GW421", "GW422"),
        "Google's tuning playbook on clipping: a threshold so low that it sets the length of each step",
        ("GW412", "GW206", "GW209", "GW214", "GW102", "GW108"),
    ),
    "coins-heeded-over-the-batch": Fault(
        whole(series.coins, 3, pooled="batch", epochs=18),
        ("GW103",),
        "GitHub issues of attention pooling: softmax(dim=0) weighs the bags of a batch, not the coins of a bag",
        ("GW202", "GW112", "GW801", "GW113", "GW434", *_STUCK),
    ),
    "coins-column-of-targets": Fault(
        whole(series.coins, 1, flat=False, epochs=18),
        ("GW202",),
        "discuss.pytorch.org: target size (32, 1) differs from input size (32), the warning was silenced",
        _STUCK,
    ),
    # -- agents --------
    "heater-in-millikelvin": Fault(
        whole(agents.heater, 1, unit=1000.0),
        ("GW107", "GW309"),
        "r/reinforcementlearning on DDPG: observations unscaled, the actor sits at the ends of its tanh",
        ("GW109", "GW201", "GW306", "GW411", "GW308", "GW205", "GW207", *_STUCK, *_BLOWN),
    ),
    "heater-wrong-actor-trained": Fault(
        whole(agents.heater, 1, whose="late"),
        ("GW302", "GW303"),
        "GitHub issues of DDPG: the optimizer was given the target network's parameters",
        ("GW301", "GW304", "GW206", "GW209", "GW412", "GW307", "GW208"),
    ),
    "heater-column-against-row": Fault(
        whole(agents.heater, 1, flat=True),
        ("GW202",),
        "StackOverflow on actor-critic: (64, 1) against (64) in MSELoss, each state is judged by the mean",
        ("GW209", "GW206", "GW311", "GW102", "GW306", "GW303", "GW309"),
    ),
    "heater-critic-rate-of-one": Fault(
        whole(agents.heater, 1, rate_critic=0.5),
        ("GW411",),
        "spinningup and forums on DDPG: a critic's rate far too high, the values explode",
        ("GW308", "GW309", "GW201", "GW452", "GW952", "GW311", "GW207", "GW306", "GW109", "GW303", *_BLOWN),
    ),
    "warehouse-bonus-of-five": Fault(
        whole(agents.warehouse, 1, bonus=5.0),
        ("GW451", "GW210"),
        "stable-baselines issues: ent_coef hundreds of times too large, the policy stays random",
        ("GW206", "GW209", "GW211", "GW311", "GW421"),
    ),
    "warehouse-money-unscaled": Fault(
        whole(agents.warehouse, 1, pays=1000.0),
        ("GW210", "GW109", "GW421"),
        "DQN and PPO implementation notes: rewards unscaled, the value's part outweighs the policy's",
        ("GW107", "GW201", "GW412", "GW206", "GW209", "GW214", "GW207", "GW307", "GW451"),
    ),
    "hand-tanh-too-short": Fault(
        whole(agents.copied, 1, last="tanh", spread=3.0),
        ("GW212",),
        "forums on imitation: actions reach to 5, the policy ends in tanh",
        ("GW309", "GW109", "GW209", "GW306", "GW201"),
    ),
    "hand-doubt-left-out": Fault(
        whole(agents.copied, 1, drop_doubt=True),
        ("GW302",),
        "GitHub issues of policies: log_std is a parameter, but the optimizer got the network's only",
        ("GW303", "GW209", "GW304"),
    ),
    "hand-decay-of-one": Fault(
        whole(agents.copied, 1, decay=1.0),
        ("GW441", "GW451"),
        "discuss.pytorch.org: weight_decay=1 taken for a factor that leaves the weights as they are",
        ("GW452", "GW306", "GW310", *_STUCK),
    ),
    # -- loops of their own --------
    "sines-graph-cut": Fault(
        whole(learners.sines, 2, second=False, inner_steps=2, rate=3e-3, shots=12, cut=True),
        ("GW301",),
        "GitHub issues of MAML: the fast weights of the body were copied by .data, only the head has a gradient",
        ("GW206", "GW209", "GW102", "GW311", "GW303"),
    ),
    "sines-rate-of-a-half": Fault(
        whole(learners.sines, 1, rate=0.5),
        ("GW411",),
        "37 reasons (Slavv): the learning rate is far too high, here that of the outer loop",
        ("GW309", "GW201", "GW207", "GW306", "GW452", *_STUCK, *_BLOWN),
    ),
    "two-pens-strength-of-a-hundred": Fault(
        whole(learners.domains, 1, strength=100.0, ramp=False),
        ("GW451", "GW210"),
        "fungtion/DANN issues: lambda without a ramp and far too large, nothing is named any more",
        ("GW411", "GW308", "GW452", "GW311", "GW310", "GW952", "GW108", *_STUCK, *_BLOWN),
    ),
    "two-pens-second-loss-forgotten": Fault(
        whole(learners.domains, 1, strength=0.1, added=False),
        ("GW301",),
        "GitHub issues of DANN: the domain loss is computed and logged, and never added",
        ("GW303", "GW312"),
    ),
    "five-lessons-anchor-of-steel": Fault(
        whole(learners.lessons, 2, anchor=10.0, kept=12, steps=150),
        ("GW451",),
        "GitHub issues of EWC: an importance a thousand times too large, nothing new is learnt",
        ("GW210", "GW209", "GW206", "GW412", "GW207"),
    ),
    "five-lessons-rate-gone": Fault(
        whole(learners.lessons, 1, rate_later=1e-5),
        ("GW413", "GW412", "GW506"),
        "GitHub issues of continual learning: the decayed rate of the first lesson goes on in the others",
        ("GW205", "GW208", "GW209", "GW206", "GW110", "GW111"),
    ),
    "closure-never-clears": Fault(
        whole(learners.by_closure, 1, clear=False),
        ("GW304",),
        "discuss.pytorch.org on LBFGS: optimizer.zero_grad() belongs into the closure",
        ("GW207", "GW209", "GW206", "GW208", "GW105", "GW102", "GW214", "GW307"),
    ),
    "closure-rate-of-fifty": Fault(
        whole(learners.by_closure, 1, search=False, rate=50.0),
        ("GW411",),
        "discuss.pytorch.org, LBFGS loss becomes nan: a rate of SGD and no line search",
        ("GW201", "GW207", "GW452", *_STUCK, *_BLOWN),
    ),
    # -- other kinds --------
    "regimes-begin-alike": Fault(
        whole(odd.regimes, 1, alike=True),
        ("GW114",),
        "textbooks on mixtures: all experts start at 0 and stay one, for they get the same gradient",
        ("GW471", *_STUCK),
    ),
    "regimes-shared-over-the-batch": Fault(
        whole(odd.regimes, 1, axis=0),
        ("GW103", "GW202"),
        "GitHub issues of mixtures of experts: softmax(dim=0) shares the points out, not the experts",
        _STUCK,
    ),
    "few-labels-weight-of-five-hundred": Fault(
        whole(odd.unlabelled, 1, weight=500.0),
        ("GW451", "GW210"),
        "CuriousAI/mean-teacher issues: a consistency weight meant for a sum, all digits get the same answer",
        ("GW206", "GW209", "GW311", "GW102", "GW805", "GW208"),
    ),
    "few-labels-none-in-the-batch": Fault(
        whole(odd.unlabelled, 1, mixed=True, batch=32),
        ("GW604", "GW601"),
        "pytorch/pytorch#75181: cross_entropy with ignore_index is nan if nothing of the batch is left",
        ("GW602", "GW603", "GW444", "GW107"),
    ),
    "facts-strangers-are-the-facts": Fault(
        whole(odd.facts, 1, rate=0.1, strangers="same"),
        ("GW211", "GW206", "GW202"),
        "GitHub issues of TransE: the corrupted triple is the true one, the loss stays at the margin",
        ("GW209", "GW301", "GW303", "GW306", "GW102"),
    ),
    "facts-margin-turned-round": Fault(
        whole(odd.facts, 1, rate=0.1, sign=-1.0),
        ("GW202",),
        "StackOverflow on MarginRankingLoss: the order of its inputs, the false are to be near",
        ("GW206", "GW209", "GW211"),
    ),
    "mass-moved-through-a-sigmoid": Fault(
        whole(odd.moved, 1, last="sigmoid"),
        ("GW212",),
        "forums on GANs: a sigmoid at the end of the generator while the data reach from -2 to 2",
        ("GW309", "GW306", "GW952", "GW208"),
    ),
    "mass-moved-critic-never-trained": Fault(
        whole(odd.moved, 1, swapped=True),
        ("GW302", "GW303"),
        "StackOverflow on GANs: both optimizers were given the generator's parameters",
        ("GW301", "GW304", "GW208", "GW204", "GW952", "GW452", "GW206", "GW211", "GW307", "GW608"),
    ),
    "mass-moved-without-a-penalty": Fault(
        whole(odd.moved, 1, penalty=0.0),
        ("GW452", "GW952", "GW208", "GW307"),
        "Gulrajani et al. 2017 and forums: a critic that nothing holds grows without end",
        ("GW310", "GW205", "GW423", "GW207", "GW211"),
    ),
    "currents-never-cleared": Fault(
        whole(odd.currents, 1, clear=False),
        ("GW304",),
        "Karpathy, most common mistakes: zero_grad forgotten",
        ("GW207", "GW209", "GW206", "GW205", "GW208", "GW307", "GW452", "GW411"),
    ),
    "currents-without-bends": Fault(
        whole(odd.currents, 1, bends=False),
        ("GW313",),
        "StackOverflow: linear layers in a row, no activation in between",
        ("GW209", "GW206", "GW108", "GW101"),
    ),
    "currents-in-halves-by-adam": Fault(
        whole(odd.currents, 2, rate=1e-3, batch=192, width=96, optimizer_name="adam", half=True),
        ("GW601", "GW602", "GW606", "GW444", "GW443"),
        "discuss.pytorch.org, Adam with half precision gives nan: eps of 1e-8 is 0 in float16",
        ("GW603", "GW607", "GW107"),
    ),
    "currents-nearly-all-dropped": Fault(
        whole(odd.currents, 1, drop=0.9),
        ("GW462",),
        "StackOverflow on dropout: the share to keep was handed over as the share to drop",
        ("GW206", "GW209", "GW802", "GW108", "GW214"),
    ),
}

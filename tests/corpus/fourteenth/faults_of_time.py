"""Faults of the fourteenth held-out set on tokens, time, sets and deeds."""

from __future__ import annotations

from tests.corpus.fault import AT_FIRST_EVALUATION, Fault
from tests.corpus.fourteenth import agents, letters, series
from tests.corpus.fourteenth.signs import BLOWN, STUCK
from tests.corpus.whole import whole

OF_TIME: dict[str, Fault] = {
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
        ("GW954", "GW112", "GW601", "GW602", "GW603", "GW444", *STUCK),
    ),
    "brackets-norm-behind-at-full-rate": Fault(
        whole(letters.brackets, 2, first=False, rate=0.1, warm=0, epochs=10, floor=-1e9),
        ("GW411", "GW415"),
        "Xiong et al. 2020 and forums: a post-norm transformer without warm-up stays at chance",
        ("GW307", "GW205", "GW951", "GW310", "GW953", "GW423", *STUCK),
    ),
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
        ("GW309", "GW201", "GW412", "GW214", "GW411", *STUCK, *BLOWN),
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
        ("GW421", "GW411", "GW412", "GW201", "GW308", "GW214", "GW207", *STUCK, *BLOWN),
    ),
    "tides-tested-in-centimetres": Fault(
        whole(series.tides, 1, own_scale=True),
        ("GW113",),
        "StackOverflow: the scaler was fitted on and applied to the training set only",
        ("GW801", "GW112", "GW208", "GW434"),
        begins=AT_FIRST_EVALUATION,
    ),
    "tides-clipped-to-nearly-nothing": Fault(
        whole(series.tides, 3, optimizer_name="sgd", rate=0.05, clip=1e-4),
        ("GW421", "GW422"),
        "Google's tuning playbook on clipping: a threshold so low that it sets the length of each step",
        ("GW412", "GW206", "GW209", "GW214", "GW102", "GW108"),
    ),
    "coins-heeded-over-the-batch": Fault(
        whole(series.coins, 3, pooled="batch", epochs=18),
        ("GW103",),
        "GitHub issues of attention pooling: softmax(dim=0) weighs the bags of a batch, not the coins of a bag",
        ("GW202", "GW112", "GW801", "GW113", "GW434", *STUCK),
    ),
    "coins-column-of-targets": Fault(
        whole(series.coins, 1, flat=False, epochs=18),
        ("GW202",),
        "discuss.pytorch.org: target size (32, 1) differs from input size (32), the warning was silenced",
        STUCK,
    ),
    "heater-in-millikelvin": Fault(
        whole(agents.heater, 1, unit=1000.0),
        ("GW107", "GW309"),
        "r/reinforcementlearning on DDPG: observations unscaled, the actor sits at the ends of its tanh",
        ("GW109", "GW201", "GW306", "GW411", "GW308", "GW205", "GW207", *STUCK, *BLOWN),
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
        ("GW308", "GW309", "GW201", "GW452", "GW952", "GW311", "GW207", "GW306", "GW109", "GW303", *BLOWN),
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
        ("GW452", "GW306", "GW310", *STUCK),
    ),
}

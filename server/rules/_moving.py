"""Tells losses whose targets the training itself makes, from how the loss function was called.

Such a loss need not fall: what it is compared with grows as the model learns. Not for: what names and rewards tell
(server.diagnosis.gates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.rules._loss_call import CROSS_ENTROPIES, REGRESSION, counts_of

FEWEST_LABELS = 100
FEWEST_OUTPUTS = 3
PLAYERS, TURNS, FEWEST_CALLS = 2, 1.5, 10  # optimizers; backwards and steps for each call of monitor.step()
PICKED = ("Select", "Slice", "Stack", "View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView")
REDUCED = ("Neg", "Mean", "Sum", "Div", "View", "Reshape", "Squeeze", "Unsqueeze")
PASSING = ("LogSoftmax", "NllLoss", "Div", "Mul", "View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView")
PRODUCTS = ("Sum", "Mm", "Bmm", "UnsafeView", "CosineSimilarity", "Div")
RESHAPED = ("View", "Reshape", "Squeeze", "Unsqueeze", "UnsafeView", "Mean", "Mul")
WEIGHTED = ("Addmm", "Mm", "Linear", "Convolution")


def makes_its_targets(facts: Mapping[str, Any]) -> bool:
    """Says whether the loss is one of values of actions, of a policy's clipped ratio, of similarities to a memory of
    the model's own answers, of scores of data less those of samples, or one of several with an optimizer each."""
    call, graph = facts.get("loss_call"), facts.get("graph")
    if _of_several(facts) or (isinstance(graph, Mapping) and (graph.get("clipped_ratio") or _of_energies(graph))):
        return True
    if not isinstance(call, Mapping):
        return False
    return _of_actions(call) or (isinstance(graph, Mapping) and _to_a_memory(call, graph))


def weighs_probabilities(facts: Mapping[str, Any]) -> bool:
    """Says whether the loss is the logarithm of probabilities times numbers, as of a policy and its advantages. So is a
    weighted cross-entropy of one's own, which is never negative."""
    call, graph = facts.get("loss_call"), facts.get("graph")
    if not isinstance(graph, Mapping):
        return False
    operations = graph.get("operations")
    names = [str(name) for name in operations] if isinstance(operations, (list, tuple)) else []
    if isinstance(call, Mapping) and call.get("function"):
        return call["function"] in REGRESSION and _beside_a_critic(names)
    behind = [name for name in names if not name.startswith(REDUCED)]
    if not behind or not behind[0].startswith("Mul"):
        return False
    picked = [name for name in behind[1:] if not name.startswith(PICKED)]
    ends = tuple(name.partition("Backward")[0] for name in picked[:3])
    return ends[:1] == ("LogSoftmax",) or ends[:2] in (("Gather", "LogSoftmax"), ("Gather", "Sub"))


def _beside_a_critic(names: Sequence[str]) -> bool:
    """Says whether logarithms of probabilities, one picked for each row, are weighed beside a regression: an actor and
    the critic that tells its advantages."""
    kinds = {name.partition("Backward")[0] for name in names}
    return {"Gather", "Mul"} <= kinds and bool(kinds & {"LogSoftmax", "Logsumexp"})


def _of_several(facts: Mapping[str, Any]) -> bool:
    """Finds two optimizers that take a step each after a backward of its own: players of a game, or one that learns
    from what the other says."""
    loop, optimizers = facts.get("loop"), facts.get("optimizers")
    if not isinstance(loop, Mapping) or not isinstance(optimizers, (list, tuple)) or len(optimizers) < PLAYERS:
        return False
    calls, steps, backwards = (int(loop.get(key) or 0) for key in ("calls", "optimizer_step", "backward"))
    return calls >= FEWEST_CALLS and min(steps, backwards) >= TURNS * calls


def _of_actions(call: Mapping[str, Any]) -> bool:
    """Finds the outputs picked by an index, one of a row, and compared with numbers: Q-learning."""
    return call.get("function") in REGRESSION and str(call.get("previous_op") or "").startswith("Gather")


def _of_energies(graph: Mapping[str, Any]) -> bool:
    """Finds the mean score that a network gives to one batch less the mean it gives to another, with nothing between
    score and mean: an energy of data and of samples, or a critic. It has no lower end, and comes back to 0 as the
    samples get as good as the data."""
    operations, sequence = graph.get("operations"), graph.get("sequence")
    if not isinstance(operations, (list, tuple)) or not isinstance(sequence, (list, tuple)):
        return False
    names = [str(name).partition("Backward")[0] for name in operations]  # breadth first: children follow their level
    above = names.index("Sub") if "Sub" in names[:2] else None
    if above is None or names[:above] not in ([], ["Add"], ["Neg"]):
        return False
    beside = names[:above].count("Add")  # what is added to the difference, such as a penalty
    below = names[above + 1 + beside :]
    if below[:2] != ["Mean", "Mean"]:
        return False
    scores = [name for name in below[2:8] if name not in RESHAPED][:2]
    layers = [
        str(item.get("layer")) for item in sequence if isinstance(item, Mapping) and item.get("kind") == "weighted"
    ]
    twice = bool(layers) and layers.count(layers[-1]) > 1
    return twice and len(scores) == 2 and scores[0] == scores[1] and scores[0] in WEIGHTED


def _to_a_memory(call: Mapping[str, Any], graph: Mapping[str, Any]) -> bool:
    """Finds a cross-entropy of products, put side by side, whose first is always the right one: the others come from a
    queue, and are the harder the more was learned."""
    labels, operations = counts_of(call.get("label_counts")), graph.get("operations")
    if call.get("function") not in CROSS_ENTROPIES or len(labels) != 1 or sum(labels.values()) < FEWEST_LABELS:
        return False
    names = list(map(str, operations)) if isinstance(operations, (list, tuple)) else []
    behind = [name for name in names[1:] if not name.startswith(PASSING)]
    joined = len(behind) > 1 and behind[0].startswith("Cat") and behind[1].startswith(PRODUCTS)
    return joined and int(call.get("classes") or 0) >= FEWEST_OUTPUTS

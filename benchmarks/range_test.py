"""Measures how long the learning-rate range test takes, in seconds and in training steps, and whether it restores all.

python -m benchmarks.range_test [--quick]: two small models, else six up to a GPT of twelve layers.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import torch

from benchmarks.models import MODELS, Training
from client_hook import lr_range_test

QUICK = ("mlp", "lstm")
TARGET_S = 60.0
WARM_STEPS = 3


def main() -> None:
    """Prints one JSON object a line."""
    torch.set_num_threads(1)  # two threads of a busy machine wait for each other
    for name in QUICK if "--quick" in sys.argv else MODELS:
        torch.manual_seed(0)
        training = MODELS[name]()
        step_s = _step_s(training)
        before = [item.clone() for item in training.model.state_dict().values()]
        began = perf_counter()
        test = lr_range_test(
            training.model,
            None,
            torch.ones(1, 1),
            training.optimizer,
            seconds=TARGET_S,
            forward=lambda _model, _batch, compute=training.compute: compute(),
        )
        took = perf_counter() - began
        kept = all(torch.equal(a, b) for a, b in zip(before, training.model.state_dict().values(), strict=True))
        _print(name, "time", took, "s", TARGET_S, meets=took <= TARGET_S * 1.1)
        _print(name, "time in training steps", took / step_s, "steps", 300, meets=took / step_s <= 300)
        _print(name, "weights restored bit for bit", float(kept), "", 1, meets=kept)
        print(f"{name}: {test}", file=sys.stderr)


def _step_s(training: Training) -> float:
    times = []
    for _ in range(WARM_STEPS + 5):
        began = perf_counter()
        training.step()
        times.append(perf_counter() - began)
    return sorted(times[WARM_STEPS:])[2]


def _print(case: str, metric: str, value: float, unit: str, target: float, *, meets: bool) -> None:
    row = {"benchmark": "range_test", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": meets}), flush=True)


if __name__ == "__main__":
    main()

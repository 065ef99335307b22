"""Healthy trainings whose records, hours and processes are in order: the twins of the faults of records."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn
from torch.optim import lr_scheduler as schedules

from tests.corpus import data, models, records
from tests.corpus.apart import apart
from tests.corpus.healthy import DIGITS, MLP, TABLE, sgd
from tests.corpus.setup import Setup
from tests.corpus.whole import whole

COMMITTED = replace(
    MLP,
    loop=partial(records.from_a_folder, committed=True),
    watching={"config": {"lr": 0.05, "momentum": 0.9, "batch": 32, "seed": 0}},
)
LONG_ENOUGH = replace(MLP, steps=1200, optimizer=sgd(0.02), evaluate=100)
AVERAGED = replace(MLP, loop=partial(records.validated_by_the_batch, averages=True))
RESUMED = replace(
    MLP,
    steps=200,
    optimizer=sgd(0.1),
    scheduler=lambda opt: schedules.StepLR(opt, 150, 0.1),
    loop=partial(records.resumed, restores=True),
)
PICTURES_AND_NAMES = replace(
    DIGITS, data=lambda: data.digits(brightest=12.0), batch=96, loop=partial(records.two_parts, reduction="mean")
)
HALVES = replace(
    MLP,
    model=lambda: models.he(models.mlp(20, 5)).half(),
    call=lambda model, x: model(x.half()).float(),
    clip=1.0,
)
TABLE_TANH = replace(TABLE, model=lambda: models.mlp(30, 2, 32, act=nn.Tanh))
# in processes of their own
EVEN: dict[str, Any] = {"script": "tests.corpus.hours:trained", "steps": 1900}
AN_HOUR: dict[str, Any] = {**EVEN, "steps": 300, "step_s": 15.0}
TOGETHER: dict[str, Any] = {"script": "tests.corpus.ranks:together", "ranks": 2}

RECORDED: dict[str, Setup] = {
    "mlp-committed-with-its-config": COMMITTED,
    "mlp-twelve-hundred-steps": LONG_ENOUGH,
    "mlp-mean-of-each-evaluation": AVERAGED,
    "mlp-resumed": RESUMED,
    "mlp-halves": HALVES,
    "pictures-and-names": PICTURES_AND_NAMES,
    "table-tanh": TABLE_TANH,
    "an-hour-with-checkpoints": whole(partial(apart, **AN_HOUR)),
    "even-steps": whole(partial(apart, **EVEN)),
    "two-processes": whole(partial(apart, **TOGETHER)),
}

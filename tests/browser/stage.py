"""A server full of runs, as the tests of every page need them: healthy and sick, deep, odd, many, and oddly named."""

from __future__ import annotations

import json
import math
from urllib.parse import urlencode

import numpy as np
import torch

from tests.browser.kit import open_run, post, send, write_notes
from tests.inspected import Words, digits, event, seen, table
from tests.serving import Server, wait_until

SICK, ODD, DEEP, EMPTY = "sick", "odd", "deep", "empty"
NOTES = """# Half the rate

The loss of [yesterday's run](https://lab.example/runs/7) **jumped** at step 120, so:

- `lr` 0.1 → 0.05
- clipping at 1

| rate | val/loss |
|---|---|
| 0.1 | nan |
| a-name-without-any-space-in-it-that-is-wider-than-the-window-of-a-phone-is | 0.5 |

> It may be the data.
"""
PAGES = (
    "/",
    "/?shelf=deleted",
    "/?search=nothing-fits",
    "/?col=config.lr&col=last.val/accuracy&sort=config.lr",
    f"/runs/{SICK}",
    f"/runs/{ODD}?scale=log&smooth=20",
    f"/runs/{EMPTY}",
    f"/runs/{SICK}/notes",
    f"/runs/{EMPTY}/notes",
    f"/runs/{SICK}/checklist",
    f"/runs/{DEEP}/layers?layer=blocks.1.fc",
    f"/runs/{EMPTY}/layers",
    f"/runs/{DEEP}/inspect",
    f"/runs/{DEEP}/inspect?n=1",
    f"/runs/{DEEP}/inspect?n=2",
    f"/runs/{EMPTY}/inspect",
    f"/compare?run={SICK}&run={ODD}",
    "/?where=config.lr%3D0.1&col=config.lr",
    "/sweep?result=last.loss",
    "/sweep?search=nothing-fits",
    f"/compare?run={SICK}&run={ODD}&run={DEEP}&group=all",
    "/compare",
    "/schedule",
    f"/schedule?kind=wsd&run={SICK}",
    "/schedule?kind=step&steps=100&warmup=99",
    "/rules",
    "/rules/GW308",
    "/settings",
    "/settings?project=default&rule=GW308",
    "/settings/people",
    "/settings/tokens",
    "/settings/account",
    "/settings/alerts",
    "/settings/alerts?edit=1",
    "/nothing-is-here",
)


def fill(server: Server) -> None:
    """Sends the runs and waits until they are diagnosed."""
    noise = np.random.default_rng(0)
    steps = 300
    falling = 2.0 * np.exp(-np.arange(steps) / 80) + 0.02 * noise.standard_normal(steps)
    broken = falling.copy()
    broken[200:] = math.nan
    open_run(server, SICK, name="sick run", config={"lr": 0.1, "model": {"width": 64}}, tags=["night"])
    send(server, 0, {
        "loss": broken.tolist(), "lr/0": [0.1] * steps, "momentum/0": [0.9] * steps, "grad_norm": falling.tolist(),
        "clip/before": (2 * falling).tolist(), "clip/coefficient": [0.5] * steps, "time/step": [0.1] * steps,
        "accuracy": (1 - falling / 3).tolist(), "update_ratio/fc.weight": [1e-3] * steps,
    }, run_id=SICK)  # fmt: skip
    send(server, 1, {"val/loss": [1.0], "val/accuracy": [0.5], "iou/cat": [0.2]}, first_step=steps - 1, run_id=SICK)
    odd = falling.copy()
    odd[50], odd[60], odd[70:80], odd[90], odd[150] = math.inf, -math.inf, 0.0, -1.0, 60.0
    open_run(server, ODD, name="odd run", config={"lr": 0.2})
    send(server, 0, {"loss": odd.tolist(), "loss/kl": falling.tolist()}, run_id=ODD)
    open_run(server, DEEP, name="deep run")
    layers = {f"act/std/blocks.{block}.{part}": falling.tolist() for block in range(4) for part in ("fc", "norm")}
    layers["act/std/blocks.2.fc"] = [0.0] * steps
    looks = (
        (digits(), torch.rand(6, 1, 8, 8)),
        (Words(), torch.arange(6).reshape(2, 3)),
        (table(), torch.randn(9, 30)),
    )
    seen_so = tuple(event(seen(*look), step, step) for step, look in enumerate(looks))
    send(server, 0, {"loss": falling.tolist(), **layers}, run_id=DEEP, records=seen_so)
    open_run(server, EMPTY, name="empty run")
    wait_until(lambda: server.get(f"runs/{SICK}/findings")["items"], "a finding of the run with NaN", 60)
    write_notes(server, SICK, "To be *written*")
    write_notes(server, SICK, NOTES)
    mute = {"project": "default", "code": "GW954", "reason": "Texts of one line", "days": 30, "who": "Ada"}
    change = {
        "project": "default",
        "code": "GW308",
        "name": "dead",
        "value": 0.7,
        "reason": "Wide layers",
        "who": "Ada",
    }
    for path, content in (("mutes", mute), ("thresholds", change)):
        post(server, f"/api/v1/{path}", json.dumps(content).encode(), "application/json")
    channel = {"kind": "slack", "name": "a channel of the lab", "address": "https://hooks.invalid/T0K3N", "ends": "1",
               "projects": "default, another project with a rather long name", "tags": "night"}  # fmt: skip
    for path, fields in (("", channel), ("/1", {"do": "off"})):  # nobody is told of the stage
        form = urlencode(fields).encode()
        post(server, f"/settings/alerts{path}", form, "application/x-www-form-urlencoded")

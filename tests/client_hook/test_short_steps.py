"""Where steps are short, their closing waits for each other; nothing is lost, mixed up or late at the end."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.client_hook.tape import taped

STEPS = 400


def run(*, clip: str | None = None):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)
    monitor, tape = taped(model, optimizer)
    governor = monitor._parts.recorder.governor
    losses, rates, norms, waited = [], [], [], 0
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        if clip == "norm":
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.1)))
        elif clip == "value":
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        governor._step_s = 0.002  # whatever this machine makes of it
        monitor.step(loss)
        waited += bool(monitor._parts.recorder._waiting)
        losses.append(loss.item())
        if step == 350:
            monitor.log(mark=1.0)
    monitor.finish(timeout=0.2)
    return tape, losses, rates, norms, waited


@pytest.mark.parametrize("clip", [None, "norm"])
def test_every_step_arrives_in_order_with_its_own_values(clip: str | None) -> None:
    tape, losses, rates, norms, waited = run(clip=clip)
    assert waited > 100, "most of them waited"
    assert tape.series("loss") == dict(enumerate(losses))
    assert tape.series("lr/0") == dict(enumerate(rates))
    assert list(tape.series("time/step")) == list(range(STEPS))
    assert all(seconds >= 0 for seconds in tape.series("time/step").values())
    assert tape.series("clip/before") == pytest.approx(dict(enumerate(norms)))
    assert tape.series("mark") == {350: 1.0}


def test_value_clipping_must_be_heard_at_once_and_so_nothing_waits() -> None:
    tape, losses, _, _, waited = run(clip="value")
    assert waited == 0
    assert list(tape.series("clip/coefficient"))[:20] == list(range(20)), "known on measured steps"
    assert tape.series("loss") == dict(enumerate(losses))


def test_a_loop_with_micro_batches_is_closed_as_ever() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer)
    governor = monitor._parts.recorder.governor
    for call in range(600):
        if call % 3 == 2 or call < 300:
            optimizer.step()
        governor._step_s = 0.002
        monitor.step(float(call % 3))
    monitor.finish(timeout=0.2)
    losses = tape.series("loss")
    assert list(losses) == list(range(400))
    assert losses[399] == 1.0, "the mean of three"

"""A sampler that shuffles by its epoch's number, and whether anybody told it."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tests.client_hook.capture.loops import classifier, last
from tests.client_hook.tape import taped


def trained(tell: bool):
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    whole = TensorDataset(torch.randn(48, 8), torch.randint(0, 5, (48,)))
    sampler = DistributedSampler(whole, num_replicas=1, rank=0, shuffle=True)
    loader = DataLoader(whole, batch_size=12, sampler=sampler)
    monitor, tape = taped(model, optimizer, strict=True)
    for epoch in range(3):
        if tell:
            sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    return last(tape, "data")["epoch_set"]


def test_a_sampler_that_was_told_its_epoch_is_fine() -> None:
    assert trained(tell=True) is True


def test_a_sampler_that_was_not_told_has_the_same_order_each_epoch() -> None:
    assert trained(tell=False) is False

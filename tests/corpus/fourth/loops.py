"""Loops of the fourth held-out set: that of every tutorial, by epochs, and a GAN of convolutions."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus import data as corpus_data
from tests.corpus.fourth.data import chance
from tests.corpus.probe import Probe, Recording
from tests.corpus.setup import Setup, evaluate


def by_epochs(setup: Setup, epochs: int = 15, patience: int = 0, outside: bool = False) -> Recording:
    """Trains epoch by epoch and validates after each; may stop by patience and go back to the best weights.

    With `outside` the optimizer's step stands behind the loop over the batches, by a wrong indentation.
    """
    found, model = setup.data(), setup.model()
    optimizer = setup.optimizer(model)
    scheduler = setup.scheduler(optimizer) if setup.scheduler else None
    loader = DataLoader(
        TensorDataset(found.x, found.y), setup.batch, shuffle=setup.shuffle, generator=chance(setup.seed)
    )
    probe = Probe(model, optimizer, total_steps=epochs * len(loader), **setup.watching)
    setup.after_watch(model, optimizer)
    checkpoint, best, waited, step = copy.deepcopy(model.state_dict()), float("inf"), 0, 0
    try:
        for _ in range(epochs):
            for x, y in loader:
                _one(setup, model, optimizer, probe, (x, y), step, not outside)
                if scheduler is not None and setup.per_batch_scheduler:
                    scheduler.step()
                step += 1
            if outside:
                optimizer.step()
            if scheduler is not None and not setup.per_batch_scheduler:
                on_plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                scheduler.step(_seen(setup, found, model)) if on_plateau else scheduler.step()
            evaluate(setup, found, model, probe)
            if patience:
                now = _seen(setup, found, model)
                if now < best - 1e-4:
                    best, waited, checkpoint = now, 0, copy.deepcopy(model.state_dict())
                else:
                    waited += 1
                if waited == patience:
                    break
        if patience:
            model.load_state_dict(checkpoint)
    except (RuntimeError, ValueError, IndexError) as error:
        recording = probe.finish()
        recording.failed = str(error)
        return recording
    return probe.finish()


def _one(
    setup: Setup, model: nn.Module, optimizer: Any, probe: Probe, batch: tuple[Tensor, Tensor], step: int, steps: bool
) -> None:
    x, y = setup.batch_change(*batch, step)
    last = (step + 1) % setup.accumulate == 0
    if step % setup.accumulate == 0:
        setup.clear(optimizer, step)
    loss = setup.loss(setup.call(model, x), y)
    setup.backward(loss / setup.accumulate if setup.accumulate > 1 else loss, step)
    if last and setup.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
    if last:
        setup.before_step(model, optimizer, step)
    if last and steps and setup.do_step:
        optimizer.step()
    probe.step(loss)


def _seen(setup: Setup, found: corpus_data.Split, model: nn.Module) -> float:
    """Gives the loss of the validation, for a scheduler or for patience."""
    before = model.training
    model.eval()
    with torch.no_grad():
        loss = float(setup.loss(setup.call(model, found.val_x), found.val_y))
    model.train(before)
    return loss


def convolutional_gan(setup: Setup, own: bool = True) -> Recording:
    """Lets two networks of convolutions play (DCGAN); the generator's optimizer may hold the other's parameters."""
    found = corpus_data.digits(images=True)
    generator = nn.Sequential(
        nn.Linear(16, 128), nn.Unflatten(1, (32, 2, 2)), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(128, 1),
    )  # fmt: skip
    opt_g = torch.optim.Adam((generator if own else critic).parameters(), 1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(critic.parameters(), 4e-4, betas=(0.5, 0.999))
    probe = Probe({"g": generator, "d": critic}, {"g": opt_g, "d": opt_d}, total_steps=setup.steps)
    seed = chance(setup.seed)
    for _ in range(setup.steps):
        real = 2 * found.x[torch.randint(len(found.x), (setup.batch,), generator=seed)] - 1
        fake = generator(torch.randn(setup.batch, 16))
        opt_d.zero_grad()
        loss_d = F.binary_cross_entropy_with_logits(critic(real), torch.full((setup.batch, 1), 0.9))
        loss_d = loss_d + F.binary_cross_entropy_with_logits(critic(fake.detach()), torch.zeros(setup.batch, 1))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(critic(fake), torch.ones(setup.batch, 1))
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, loss_d=loss_d, loss_g=loss_g)
    return probe.finish()

"""Scripts of the sixteenth held-out set that take two voices apart: masks on a code of the sound, in decibels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

LENGTH = 320


def _voices(count: int, seed: int, silent: float = 0.0) -> Tensor:
    """Pairs of a low voice with overtones and a high one that trembles; `silent` is the share of mute low ones."""
    chance = dice(seed)
    at = torch.arange(LENGTH) / 80
    low, high = 2 + 2 * torch.rand(count, 1, generator=chance), 11 + 6 * torch.rand(count, 1, generator=chance)
    turn = 6.2832 * torch.rand(2, count, 1, generator=chance)
    one = sum((6.2832 * k * low * at + k * turn[0]).sin() / k for k in (1, 2, 3))
    two = (6.2832 * high * at + turn[1] + 1.5 * (6.2832 * 2 * at).sin()).sin()
    speaks = (torch.rand(count, 1, generator=chance) >= silent).float()
    return torch.stack((one * speaks, two), 1)


def _decibels(out: Tensor, wanted: Tensor, least: float) -> Tensor:
    """How much louder a voice is than what is wrong with it, whatever its loudness."""
    out, wanted = out - out.mean(-1, keepdim=True), wanted - wanted.mean(-1, keepdim=True)
    part = (out * wanted).sum(-1, keepdim=True) * wanted / (wanted.pow(2).sum(-1, keepdim=True) + least)
    wrong = (out - part).pow(2).sum(-1)
    return 10 * torch.log10(part.pow(2).sum(-1) / (wrong + least) + least)


def _best(out: Tensor, wanted: Tensor, least: float, fixed: bool) -> Tensor:
    """The mean of both voices, in the better order."""
    straight = _decibels(out, wanted, least).mean(1)
    return straight if fixed else torch.maximum(straight, _decibels(out, wanted.flip(1), least).mean(1))


class Splitter(nn.Module):
    """A code by convolution, a mask of it for each voice, and the sound again."""

    def __init__(self, width: int, blocks: int, mask: str, norm: bool, act: bool) -> None:
        super().__init__()
        self.code = nn.Conv1d(1, width, 16, stride=8, padding=4)
        layers: list[nn.Module] = []
        for at in range(blocks):
            layers += [nn.Conv1d(width, width, 3, padding=2**at, dilation=2**at)]
            layers += [nn.GroupNorm(1, width)] if norm else []
            layers += [nn.PReLU()] if act else []
        self.body = nn.Sequential(*layers, nn.Conv1d(width, 2 * width, 1))
        self.sound = nn.ConvTranspose1d(width, 1, 16, stride=8, padding=4)
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(x.unsqueeze(1)).relu()
        masks = self.body(code).unflatten(1, (2, -1))
        masks = masks.sigmoid() if self.mask == "sigmoid" else masks.softmax(0 if self.mask == "rows" else 1)
        heard = self.sound((masks * code.unsqueeze(1)).flatten(0, 1))
        return heard.view(len(x), 2, -1)


def voices(
    rate: float = 5e-3, name: str = "adam", width: int = 32, blocks: int = 3, mask: str = "sigmoid", norm: bool = True,
    act: bool = True, batch: int = 12, steps: int = 200, silent: float = 0.0, least: float = 1e-8,
    clear: str = "each", clip: float | None = 5.0, clip_late: bool = False, scaled: bool = True, frozen: bool = False,
    momentum: float = 0.9, decays: float = 0.985,
) -> Recording:  # fmt: skip
    """Learns to take them apart."""
    learn, test = _voices(1000, 31, silent), _voices(100, 32)
    model = Splitter(width, blocks, mask, norm, act)
    if frozen:
        for value in model.body.parameters():
            value.requires_grad_(False)
    optimizer = made(name, [value for value in model.parameters() if value.requires_grad], rate, momentum)
    plan = torch.optim.lr_scheduler.ExponentialLR(optimizer, decays)
    probe = Probe(model, optimizer)
    for step in range(steps):
        wanted = learn[torch.randint(len(learn), (batch,))]
        loss = -_best(model(wanted.sum(1)), wanted, least, fixed=False).mean()
        if clear == "each":
            optimizer.zero_grad()
        loss.backward()
        if clip and not clip_late:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if clip and clip_late:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        plan.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                heard = _best(model(test.sum(1)), test, 1e-8, fixed=False).mean()
            probe.validation(-heard, decibels=heard)
    return probe.finish()

"""Scripts of the eighteenth held-out set in which two nets play against each other: DCGAN and hinges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.corpus.eighteenth.shelf import digits, forever, loaders
from tests.corpus.probe import Probe, Recording


def makes(code: int, width: int, norm: bool = True) -> nn.Sequential:
    """Codes to pictures of 28 points."""

    def turn(many: int) -> nn.Module:
        return nn.BatchNorm2d(many) if norm else nn.Identity()

    return nn.Sequential(
        nn.Unflatten(1, (code, 1, 1)), nn.ConvTranspose2d(code, 4 * width, 7, bias=False), turn(4 * width),
        nn.ReLU(True), nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), turn(2 * width), nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def tells(width: int, spectral: bool = False, norm: bool = True) -> nn.Sequential:
    """Pictures to one number."""

    def held(layer: nn.Module) -> nn.Module:
        return parametrizations.spectral_norm(layer) if spectral else layer

    return nn.Sequential(
        held(nn.Conv2d(1, 2 * width, 4, 2, 1)), nn.LeakyReLU(0.2), held(nn.Conv2d(2 * width, 4 * width, 4, 2, 1)),
        nn.BatchNorm2d(4 * width) if norm and not spectral else nn.Identity(), nn.LeakyReLU(0.2),
        held(nn.Conv2d(4 * width, 1, 7)), nn.Flatten(0),
    )  # fmt: skip


def played(
    kind: str = "bits", code: int = 32, width: int = 12, rate: float = 2e-4, rate_d: float = 2e-4, batch: int = 64,
    steps: int = 250, betas: tuple[float, float] = (0.5, 0.999), cut: bool = False, given: str = "both",
) -> Recording:  # fmt: skip
    """DCGAN or hinges with spectral norm; `cut` detaches what is made also where the maker should learn."""
    x, y, vx, vy = digits(classes=3)
    learn, _ = loaders((2 * x - 1, y, 2 * vx - 1, vy), batch)
    maker, teller = makes(code, width), tells(width, kind == "hinge")
    for layer in (*maker.modules(), *teller.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and kind == "bits":
            nn.init.normal_(layer.weight, 0.0, 0.02)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    opt_d = torch.optim.Adam(teller.parameters(), rate_d, betas=betas)
    opt_g = torch.optim.Adam((maker if given == "both" else teller).parameters(), rate, betas=betas)
    probe = Probe({"generator": maker, "discriminator": teller}, {"g": opt_g, "d": opt_d}, total_steps=steps)
    source = forever(learn)

    def wrong(real: Tensor, new: Tensor) -> Tensor:
        if kind == "hinge":
            return F.relu(1 - real).mean() + F.relu(1 + new).mean()
        ones, zeros = torch.ones_like(real), torch.zeros_like(new)
        return F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(new, zeros)

    for step in range(steps):
        real, _ = next(source)
        new = maker(torch.randn(batch, code))
        opt_d.zero_grad()
        loss_d = wrong(teller(real), teller(new.detach()))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        said = teller(new.detach() if cut else new)
        loss_g = -said.mean() if kind == "hinge" else F.binary_cross_entropy_with_logits(said, torch.ones_like(said))
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, loss_d=loss_d, loss_g=loss_g)
        if step % 50 == 49:
            with torch.no_grad():
                made = maker(torch.randn(200, code)).flatten(1)
            near = torch.cdist(made, (2 * vx[:500] - 1).flatten(1)).min(1).values.mean()
            probe.log(nearest=near, spread=made.std(0).mean(), ink=made.mean())
    return probe.finish()

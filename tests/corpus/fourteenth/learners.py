"""Scripts of the fourteenth held-out set with loops of their own: fast sines, two domains, lessons, a closure."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call
from torch.nn import functional as F

from tests.corpus.fourteenth.stock import accuracy, digits
from tests.corpus.probe import Probe, Recording


def sines(
    second: bool = True, cut: bool = False, inner: float = 0.05, rate: float = 2e-3, tasks: int = 8, steps: int = 300,
    width: int = 40, shots: int = 10, inner_steps: int = 1, optimizer_name: str = "adam",
) -> Recording:  # fmt: skip
    """Learns to learn sines from ten points (MAML); `cut` detaches the fast weights of the body."""
    net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    opt: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    probe = Probe(net, opt)

    def points(high: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        at = torch.rand(shots, 1) * 6 - 3
        return at / 2, high * torch.sin(at + shift)

    for step in range(steps):
        losses = []
        for _ in range(tasks):
            high, shift = 0.5 + 1.5 * torch.rand(1), 1.5 * torch.rand(1)
            (x, y), (qx, qy) = points(high, shift), points(high, shift)
            fast = dict(net.named_parameters())
            for _ in range(inner_steps):
                own = F.mse_loss(functional_call(net, fast, (x,)), y)
                slopes = torch.autograd.grad(own, list(fast.values()), create_graph=second)
                fast = {name: value - inner * slope for (name, value), slope in zip(fast.items(), slopes, strict=True)}
            if cut:
                fast = {name: value if name[0] == "4" else value.detach() for name, value in fast.items()}
            losses.append(F.mse_loss(functional_call(net, fast, (qx,)), qy))
        loss = torch.stack(losses).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 20 == 19:
            probe.log(last_task=losses[-1])
    return probe.finish()


class Reversed(Function):
    """Lets values through and turns gradients round."""

    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        return -ctx.strength * slope, None


def domains(
    strength: float = 0.3, added: bool = True, rate: float = 2e-3, batch: int = 64, steps: int = 400, width: int = 48,
    ramp: bool = True, shift: float = 0.5,
) -> Recording:  # fmt: skip
    """Names digits of one pen and is not to tell which of two pens wrote (DANN); the second loss may grow."""
    x, y, vx, vy = digits(images=False)
    half = len(x) // 2
    stain = shift * torch.randn(64, generator=torch.Generator().manual_seed(3))
    own, kinds, foreign, vx = x[:half], y[:half], x[half:] + stain, vx + stain
    body = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    names, pens = nn.Linear(width, 10), nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 2))
    model = nn.ModuleDict({"body": body, "names": names, "pens": pens})
    opt = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, opt, moving_target=True)
    for step in range(steps):
        a, b = torch.randint(0, half, (batch,)), torch.randint(0, len(foreign), (batch,))
        seen = body(torch.cat((own[a], foreign[b])))
        grown = strength * min(1.0, 2 * step / steps) if ramp else strength
        which = pens(Reversed.apply(seen, grown))
        named = F.cross_entropy(names(seen[:batch]), kinds[a])
        pen = F.cross_entropy(which, torch.arange(2).repeat_interleave(batch))
        loss = named + pen if added else named
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss, named=named, pen=pen)
        if step % 20 == 19:
            with torch.no_grad():
                probe.log(foreign_accuracy=accuracy(names(body(vx)), vy))
    return probe.finish()


def lessons(
    kept: int = 8, anchor: float = 0.0, rate: float = 0.05, batch: int = 32, steps: int = 120, width: int = 64,
    momentum: float = 0.9, rate_later: float | None = None, clear: bool = True,
) -> Recording:  # fmt: skip
    """Learns digits two at a time and hears old ones again; the loss jumps at each lesson. `anchor` holds weights."""
    x, y, vx, vy = digits(images=False)
    net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=momentum)
    probe = Probe(net, opt)
    before = [value.detach().clone() for value in net.parameters()]
    for lesson in range(5):
        new = (y // 2 == lesson).nonzero()[:, 0]
        old = (y // 2 < lesson).nonzero()[:, 0]
        for _ in range(steps):
            rows = new[torch.randint(0, len(new), (batch,))]
            if lesson and kept:
                rows = torch.cat((rows, old[torch.randint(0, len(old), (kept * lesson,))]))
            error = F.cross_entropy(net(x[rows]), y[rows])
            held = sum(((now - then) ** 2).sum() for now, then in zip(net.parameters(), before, strict=True))
            loss = error + anchor * held
            if clear:
                opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss, error=error, held=anchor * held)
        if rate_later is not None:
            opt.param_groups[0]["lr"] = rate_later
        before = [value.detach().clone() for value in net.parameters()]
        with torch.no_grad():
            probe.log(known=accuracy(net(vx[vy // 2 <= lesson]), vy[vy // 2 <= lesson]))
    return probe.finish()


def by_closure(
    clear: bool = True, rate: float = 1.0, decay: float = 1e-3, steps: int = 40, hidden: int = 0, search: bool = True,
    history: int = 10, part: int = 1437, inner: int = 5,
) -> Recording:  # fmt: skip
    """Names digits with L-BFGS, all of them at once."""
    x, y, vx, vy = digits(images=False)
    x, y = x[:part], y[:part]
    net = nn.Sequential(nn.Linear(64, 10))
    if hidden:
        net = nn.Sequential(nn.Linear(64, hidden), nn.Tanh(), nn.Linear(hidden, 10))
    line = "strong_wolfe" if search else None
    opt = torch.optim.LBFGS(net.parameters(), lr=rate, max_iter=inner, history_size=history, line_search_fn=line)
    probe = Probe(net, opt)

    def closure() -> Tensor:
        if clear:
            opt.zero_grad()
        penalty = sum((value**2).sum() for value in net.parameters())
        loss = F.cross_entropy(net(x), y) + decay * penalty
        loss.backward()
        return loss

    for step in range(steps):
        loss = opt.step(closure)
        probe.step(loss)
        if step % 5 == 4:
            with torch.no_grad():
                out = net(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()

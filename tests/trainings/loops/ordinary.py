"""Loops that differ in how gradients come about: accumulation, scaling, clipping, closures, several optimizers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_ as imported_earlier

from client_hook.steps import CALLS_WITHOUT_OPTIMIZER
from tests.trainings.loops.kit import STEPS, Loop, Run, batch, mlp


def plain(run: Run, *, set_to_none: bool = True, extra_call: bool = False) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if extra_call:
            model(x)
        run.before_update(model)
        optimizer.step()
        run.step(loss)


def keeping_zeros(run: Run) -> None:
    plain(run, set_to_none=False)


def called_twice(run: Run) -> None:
    plain(run, extra_call=True)


def accumulation(run: Run, *, each: bool = False) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        for part in range(4):
            x, y = batch(4)
            loss = F.cross_entropy(model(x), y) / 4
            loss.backward()
            if part < 3 and each:
                run.micro_step(loss)
        run.before_update(model)
        optimizer.step()
        optimizer.zero_grad()
        run.step(loss)


def accumulation_told_each(run: Run) -> None:
    accumulation(run, each=True)


def scaled(run: Run, *, fused: bool = False, unscale: bool = False, forget: bool = False) -> None:
    """Step 3 overflows, so the scaler leaves it out."""
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    run.watch(model, optimizer)
    for step in range(STEPS):
        x, y = batch()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        broken = loss * float("inf") if step == 3 and not forget else loss
        scaler.scale(broken).backward()
        if unscale:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        if forget:
            run.before_update(model)
            optimizer.step()
        else:
            if step != 3:
                run.before_update(model, scale=1.0 if unscale else scaler.get_scale())
            scaler.step(optimizer)
            scaler.update()
        run.step(loss)


def scaled_fused(run: Run) -> None:
    scaled(run, fused=True)


def scaled_and_clipped(run: Run) -> None:
    scaled(run, unscale=True)


def scale_forgotten(run: Run) -> None:
    scaled(run, forget=True)


def bfloat16(run: Run) -> None:
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        run.before_update(model)
        optimizer.step()
        run.step(loss)


def clipped(run: Run, *, value: bool = False, foreach: bool | None = None) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if value:
            nn.utils.clip_grad_value_(model.parameters(), 0.01, foreach=foreach)
        else:
            imported_earlier(model.parameters(), 0.1, foreach=foreach)
        run.before_update(model)
        optimizer.step()
        run.step(loss)


def clipped_foreach(run: Run) -> None:
    clipped(run, foreach=True)


def clipped_by_value(run: Run) -> None:
    clipped(run, value=True)


def lbfgs(run: Run) -> None:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()
        evaluations: list[float] = []

        def closure(x: torch.Tensor = x, y: torch.Tensor = y, told: list[float] = evaluations) -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if not told:
                run.before_update(model)
            told.append(float(loss.detach()))
            return loss

        run.step(optimizer.step(closure))


def closure_of_sgd(run: Run) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()

        def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            run.before_update(model)
            return loss

        run.step(optimizer.step(closure=closure))


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation, as its users copy it: two steps around a second backward."""

    def __init__(self, parameters, base, rho: float = 0.05, **options) -> None:
        super().__init__(parameters, dict(rho=rho, **options))
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        norm = torch.norm(torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]))
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.data.clone()
                p.add_(p.grad * (0.05 / (norm + 1e-12)))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old"]
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure=None):
        raise NotImplementedError


def sam(run: Run) -> None:
    """The gradient of the second backward, which moves the weights, is the one that counts."""
    model = mlp()
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1)
    run.watch(model, optimizer)
    for _ in range(STEPS):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.first_step()
        F.cross_entropy(model(x), y).backward()
        run.before_update(model)
        optimizer.second_step()
        run.step(loss)


def gan(run: Run) -> None:
    models = {"generator": mlp(4, 2), "critic": mlp(2, 1)}
    optimizers = {key: torch.optim.Adam(model.parameters(), lr=1e-3) for key, model in models.items()}
    run.watch(models, optimizers)
    bce = F.binary_cross_entropy_with_logits
    for _ in range(STEPS):
        made = models["generator"](torch.randn(16, 4))
        optimizers["critic"].zero_grad()
        real = bce(models["critic"](torch.randn(16, 2)), torch.ones(16, 1))
        d_loss = real + bce(models["critic"](made.detach()), torch.zeros(16, 1))
        d_loss.backward()
        run.before_update({"critic": models["critic"]})
        optimizers["critic"].step()
        optimizers["generator"].zero_grad()
        g_loss = bce(models["critic"](made), torch.ones(16, 1))
        g_loss.backward()
        run.before_update({"generator": models["generator"]})
        optimizers["generator"].step()
        run.step(d_loss.detach() + g_loss.detach(), d=d_loss, g=g_loss)


def actor_critic(run: Run) -> None:
    """Two optimizers on one model with a shared trunk; a loop that is not supervised."""
    model = nn.ModuleDict({"trunk": nn.Linear(8, 16), "actor": nn.Linear(16, 3), "critic": nn.Linear(16, 1)})
    optimizers = {
        "actor": torch.optim.Adam([*model["trunk"].parameters(), *model["actor"].parameters()], lr=1e-3),
        "critic": torch.optim.Adam(model["critic"].parameters(), lr=1e-2),
    }
    run.watch(model, optimizers)
    for _ in range(STEPS):
        states, returns = torch.randn(16, 8), torch.randn(16)
        hidden = torch.tanh(model["trunk"](states))
        values = model["critic"](hidden.detach()).squeeze(1)
        chosen = torch.distributions.Categorical(logits=model["actor"](hidden))
        actor_loss = -(chosen.log_prob(chosen.sample()) * (returns - values.detach())).mean()
        critic_loss = F.mse_loss(values, returns)
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        actor_loss.backward()
        critic_loss.backward()
        run.before_update(model)
        for optimizer in optimizers.values():
            optimizer.step()
        run.step(actor_loss + critic_loss, actor=actor_loss, critic=critic_loss)


def never_stepping(run: Run) -> None:
    """Plain gradient descent by hand beside an optimizer that is never used."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run.watch(model, optimizer)
    run.closed = STEPS - CALLS_WITHOUT_OPTIMIZER + 1  # the first calls are one step
    for _ in range(STEPS):
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, tuple(model.parameters())), strict=True
        ):
            parameter.data.sub_(gradient, alpha=0.1)
        run.step(loss)


def functional(run: Run) -> None:
    """Parameters in a dict and no optimizer: there is nothing that the hook could listen to."""
    model = mlp()
    weights = {name: item.detach().clone().requires_grad_() for name, item in model.named_parameters()}
    run.watch(model, None)
    for _ in range(STEPS):
        x, y = batch()
        loss = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
        gradients = torch.autograd.grad(loss, tuple(weights.values()))
        weights = {
            name: (item - 0.1 * gradient).detach().requires_grad_()
            for (name, item), gradient in zip(weights.items(), gradients, strict=True)
        }
        run.step(loss)


ONE = {"backwards": 1, "accumulated": False, "scale": "none", "clipped": None, "reduction": "whole: one process"}
FOUR = ONE | {"backwards": 4, "accumulated": True}
BY_SCALER = ONE | {"scale": "divided out: by the scaler"}
BY_OPTIMIZER = ONE | {"scale": "divided out: by the factor that the fused optimizer applies"}
LOOPS = [
    Loop("the usual loop", plain, ONE),
    Loop("`zero_grad(set_to_none=False)`", keeping_zeros, ONE),
    Loop("gradient accumulation, `step` called once a step", accumulation, FOUR),
    Loop("gradient accumulation, `step` called for each micro-batch", accumulation_told_each, FOUR),
    Loop("AMP with GradScaler, a step left out", scaled, BY_SCALER),
    Loop("AMP with GradScaler, `fused=True`, a step left out", scaled_fused, BY_OPTIMIZER),
    Loop("AMP with GradScaler, `unscale_` and clipping", scaled_and_clipped, BY_SCALER | {"clipped": "norm"}),
    Loop("AMP with a scale that nobody divides out", scale_forgotten, ONE | {"scale": "still in it"}),
    Loop("bf16 autocast", bfloat16, ONE),
    Loop("`clip_grad_norm_`, its name imported before `watch`", clipped, ONE | {"clipped": "norm"}),
    Loop("`clip_grad_norm_(foreach=True)`", clipped_foreach, ONE | {"clipped": "norm"}),
    Loop("`clip_grad_value_`", clipped_by_value, ONE | {"clipped": "value"}),
    Loop("LBFGS with a closure", lbfgs),
    Loop("SGD with a closure", closure_of_sgd, ONE),
    Loop("SAM's two steps", sam),
    Loop("GAN: two models, two optimizers", gan, ONE),
    Loop("actor–critic: one trunk, two optimizers", actor_critic, ONE),
    Loop("a module called twice in a step", called_twice, ONE),
    Loop("a loop that never calls `optimizer.step()`", never_stepping),
    Loop("functional training without an optimizer", functional),
]

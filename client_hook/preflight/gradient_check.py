"""GW105: the gradient that backward computes is not the slope of the loss."""

from __future__ import annotations

import copy
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from client_hook.guard import attempted
from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import SEED, Subject

WRONG, SUSPICIOUS, DIRECTIONS, STEPS, ROWS, MOST_NAMED, ASIDE = 1e-2, 1e-4, 5, (1e-4, 1e-5, 1e-6), 8, 40, 0.01
STEP_OPERATIONS = frozenset(
    {"round", "floor", "ceil", "trunc", "sign", "sgn", "heaviside", "argmax", "argmin", "bucketize"}
)
LIMITS = [
    limit("error", WRONG, "relative difference", "Stanford's CS231n: above it the gradient is probably wrong"),
    limit("warning", SUSPICIOUS, "relative difference", "CS231n: acceptable only where there are kinks"),
]


class Check:
    """Compares g·v with (L(w+hv) − L(w−hv)) / 2h on a copy in float64."""

    code, name, passes = "GW105", "gradient-check", 70

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Judges the median over five random directions, the best of three step sizes each."""
        twin, error = attempted(_twin, subject)
        if error is not None:
            return not_evaluated(self, f"no copy in float64 could be made ({type(error).__name__}: {str(error)[:120]})")
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("cpu"):  # where the copy is, whatever the default
                return self._judge(twin, budget)
        finally:
            torch.set_default_dtype(default)

    def _judge(self, twin: Subject, budget: Budget) -> CheckResult:
        low: list[str] = []
        for name, module in twin.model.named_modules():
            module.register_forward_hook(lambda _, __, output, name=name: low.append(name) if _narrow(output) else None)
        seen = _Seen()
        with twin.mode(False, dropout=False):
            began = monotonic()
            with seen:
                answer, error = attempted(twin.run)
            if error is not None:  # what is compiled may not let itself be looked at
                answer, error = attempted(twin.run)
            if error is not None:
                return not_evaluated(
                    self, f"the model does not run in float64 ({type(error).__name__}: {str(error)[:120]})"
                )
            if low or seen.narrowed or answer.loss.dtype != torch.float64:
                where = f"`{low[0]}`" if low else "a cast" if seen.narrowed else "the loss"
                return not_evaluated(self, f"something computes in less than float64 ({where})")
            needs = (monotonic() - began) * (2 * DIRECTIONS * len(STEPS) + 2)
            if needs > budget.left:
                return not_evaluated(
                    self, f"in float64 on the CPU it needs {needs:.0f} s, {budget.left:.0f} s are left"
                )
            every = list(twin.parameters.items())
            given = torch.autograd.grad(answer.loss, [weight for _, weight in every], allow_unused=True)
            # what the loss does not reach is another check's
            known = [(*item, slope) for item, slope in zip(every, given, strict=True) if slope is not None]
            names = [name for name, _, _ in known]
            weights: list[Tensor] = [weight for _, weight, _ in known]
            gradient = [slope.to_dense() if slope.is_sparse else slope for _, _, slope in known]
            chance = torch.Generator().manual_seed(SEED)
            errors = []
            for index in range(DIRECTIONS):
                errors.append(_difference(twin, weights, gradient, range(len(weights)), chance))
                budget.at((index + 1) / (DIRECTIONS + 1))
            middle = sorted(errors)[DIRECTIONS // 2]
            wrong = []
            if middle > SUSPICIOUS and len(weights) <= MOST_NAMED:
                parts = [(name, _difference(twin, weights, gradient, [at], chance)) for at, name in enumerate(names)]
                wrong = [name for name, part in parts if part > SUSPICIOUS]
        numbers = {"relative difference": middle, "parameters": float(len(weights))}
        marks = [{"y": WRONG, "label": "wrong"}, {"y": SUSPICIOUS, "label": "suspicious"}]
        more: dict[str, Any] = {
            "numbers": numbers,
            "thresholds": LIMITS,
            "layers": [name.rpartition(".")[0] or name for name in wrong],
            "curves": {
                "by direction": curve(
                    range(DIRECTIONS), errors, "direction", "relative difference", log=True, marks=marks
                )
            },
        }
        if middle > SUSPICIOUS and seen.steps:
            return not_evaluated(
                self,
                f"the forward pass has steps in it (`{sorted(seen.steps)[0]}`): a gradient that is passed through them "
                "(straight-through) is an estimate and no slope",
                **more,
            )
        if middle > SUSPICIOUS:
            where = f", in {', '.join(f'`{name}`' for name in wrong[:3])}" if wrong else ""
            return found(
                self,
                "error" if middle > WRONG else "warning",
                f"backward and the slope of the loss differ by {middle:.2g} of their size{where}",
                "Look at custom autograd Functions, detach(), .data and in-place changes; regularisers apart.",
                **more,
            )
        return passed(self, f"backward agrees with the slope of the loss to {middle:.1g}", **more)


class _Seen(TorchDispatchMode):
    """Notes operations whose value does not move with its input, and casts to fewer digits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: set[str] = set()
        self.narrowed = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if name.rstrip("_") in STEP_OPERATIONS:
            self.steps.add(name)
        wide = any(item.dtype == torch.float64 for _, item in trees.leaves(args))
        self.narrowed = self.narrowed or (wide and _narrow(result))
        return result


def _twin(subject: Subject) -> Subject:
    """Copies model, loss and a few samples to float64 on the CPU."""
    model, loss = copy.deepcopy((subject.model, subject.loss_fn if isinstance(subject.loss_fn, nn.Module) else None))
    model = model.double().cpu()
    chance = torch.Generator().manual_seed(SEED)
    with torch.no_grad():  # biases of 0 and inputs of 0 put units exactly on the kink of a ReLU: step aside a little
        for weight in model.parameters():
            spread = weight.std() if weight.numel() > 1 else weight.abs().sum()
            aside = torch.randn(weight.shape, generator=chance, dtype=torch.float64, device="cpu")
            weight.add_(aside, alpha=ASIDE * max(spread.item(), 1.0 if not spread else 0.0))
    batch = (
        subject.rows(torch.arange(min(ROWS, subject.batch_size), device=subject.device))
        if subject.batch_dim is not None
        else subject.batch
    )
    batch = trees.convert(
        batch, lambda item: item.detach().cpu().double() if item.is_floating_point() else item.detach().cpu()
    )
    return Subject(
        model,
        subject.loss_fn if loss is None else loss.double().cpu(),
        batch,
        forward=subject.forward,
        causal=subject.causal,
    )


def _narrow(output: Any) -> bool:
    return any(item.is_floating_point() and item.dtype != torch.float64 for _, item in trees.leaves(output))


@torch.no_grad()
def _difference(
    twin: Subject, weights: list[Tensor], gradient: list[Tensor], where: Any, chance: torch.Generator
) -> float:
    """Gives the relative difference along one random direction through some of the parameters."""
    direction = [torch.randn(weights[at].shape, generator=chance, dtype=torch.float64) for at in where]
    length = torch.stack([item.square().sum() for item in direction]).sum().sqrt()
    size = max(1.0, torch.stack([weights[at].square().sum() for at in where]).sum().sqrt().item())
    analytic = (
        sum((gradient[at] * item).sum().item() for at, item in zip(where, direction, strict=True)) / length.item()
    )
    best = float("inf")
    for step in STEPS:
        h = step * size
        ends: list[float] = []
        for sign in (1, -2, 1):
            for at, item in zip(where, direction, strict=True):
                weights[at].add_(item, alpha=sign * h / length.item())
            if sign != 1 or not ends:
                with torch.enable_grad():  # without, attention may take another way
                    ends.append(twin.run().loss.item())
        numeric = (ends[0] - ends[1]) / (2 * h)
        rounding = 2e-14 * max(abs(ends[0]), 1e-300) / h
        best = min(
            best, abs(numeric - analytic) / max(abs(numeric), abs(analytic), 1e-10 * abs(ends[0]), rounding, 1e-300)
        )
    return best

"""GW107: inputs or labels that no network can use as they are, in the first batches of the loader."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from client_hook.capture.tensors import nonfinite, sample
from client_hook.preflight import trees
from client_hook.preflight.checks import Budget, found, passed
from client_hook.preflight.observed import Observed, observe
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject

LARGE, SMALL, COLUMN, COLUMN_RMS, ONE_CLASS, REPEATED = 10.0, 0.02, 300.0, 3.0, 0.95, 0.5
LIMITS = [
    limit("large", LARGE, "root mean square", "ours: saturates every unit at PyTorch's default start"),
    limit("small", SMALL, "root mean square", "ours: the biases alone learn"),
    limit("column", COLUMN, "times the usual column", "ours: it drowns the others"),
    limit("one class", ONE_CLASS, "of the labels", "ours"),
    limit("repeated", REPEATED, "of the samples", "ours: a loader gives each sample once an epoch"),
]
SAMPLE = 65_536  # values of a batch
SCALE_FREE = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "Embedding")


class Check:
    """Looks at scale, layout, labels and repetition over 20 batches."""

    code, name, passes = "GW107", "data-batch-sanity", 11

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Judges the worst of what it sees."""
        if subject.bad_labels:
            return found(
                self,
                "error",
                subject.bad_labels,
                "Count the classes of the data; ids go from 0 to C−1 (subtract 1 if yours begin at 1).",
                thresholds=LIMITS,
            )
        observed = observe(subject)
        budget.at(0.5)
        batches = subject.batches()
        more: dict[str, Any] = {"thresholds": LIMITS, "numbers": {"batches": float(len(batches))}, "curves": {}}
        names = [name for name, _ in trees.leaves(subject.inputs())]
        floats = 0
        worst: CheckResult | None = None
        for place, name in enumerate(names):
            pieces = [list(trees.leaves(subject.inputs(batch)))[place][1] for batch in batches]
            if not pieces[0].is_floating_point():
                continue
            floats += 1
            result = self._input(f"`{name}`" if name else "the inputs", pieces, _first(observed), more)
            if result is not None and (worst is None or result.level > worst.level):
                worst = result
        result = worst or self._repeated(subject, batches, more) or self._labels(observed, more)
        if result is not None:
            return result
        if not floats:
            return passed(
                self, f"whole numbers without a scale; labels and repetition of {len(batches)} batches", **more
            )
        rms = more["numbers"].get("rms", 0.0)
        return passed(self, f"root mean square {rms:.3g} over {len(batches)} batches; labels fit", **more)

    def _input(self, name: str, pieces: list[Tensor], first: str, more: dict[str, Any]) -> CheckResult | None:
        if share := sum(int(nonfinite(piece.detach())) for piece in pieces) / sum(piece.numel() for piece in pieces):
            return found(
                self,
                "error",
                f"{share:.2g} of the values of {name} are not finite",
                "Fill or drop missing values where the data set is made.",
                **more,
            )
        values = torch.cat([sample(piece.detach(), SAMPLE).double().cpu() for piece in pieces])
        alive = values[values != 0]
        rms = (alive.square().mean().sqrt() if len(alive) else alive.sum()).item()
        mean, std, largest = values.mean().item(), values.std().item(), values.abs().max().item()
        more["numbers"] |= {"rms": rms, "mean": mean, "std": std, "largest": largest}
        counts = torch.histc(values.float(), 40)
        low, high = values.min().item(), values.max().item()
        more["curves"] |= {
            f"values of {name.strip('`')}": curve(
                torch.linspace(low, high, 41, device="cpu")[:-1].tolist(), counts.tolist(), "value", "how often"
            )
        }
        shape = pieces[0].shape
        if std == 0 and len(values) > 1:
            return found(
                self,
                "error",
                f"every value of {name} is {mean:g}",
                "Print x.min(), x.max() where a batch is made: a cast to int, a wrong division, an empty buffer.",
                **more,
            )
        last = len(shape) == 4 and shape[-1] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        if last and tuple(shape[2:]) != (1, 1) and first.startswith("Conv"):  # a code of one place is no picture
            return found(
                self,
                "warning",
                f"pictures come as {tuple(shape)}: the channels seem to be last",
                "Put the channels first: x.permute(0, 3, 1, 2).",
                **more,
            )
        if first.startswith(SCALE_FREE):
            return None
        if len(shape) == 2 and shape[1] > 1:
            table = torch.cat([piece.detach().double().cpu() for piece in pieces])
            columns = table.square().mean(0).sqrt()
            moving = columns[table.std(0) > 1e-6 * columns.clamp(min=1e-30)]
            usual = moving.median().item() if len(moving) else 0.0
            at = int(columns.argmax())
            if usual and columns[at] > max(COLUMN * usual, COLUMN_RMS):
                return found(
                    self,
                    "warning",
                    f"column {at} of {name} has a root mean square of {columns[at]:.4g}, the usual column {usual:.3g}",
                    "Standardise every column: (x - mean) / std, with the numbers of the training set.",
                    **more,
                )
        if rms > LARGE or rms < SMALL:
            hint = (
                "divide pictures by 255"
                if len(shape) > 2 and 40 < largest <= 255
                else "subtract the mean, divide by the standard deviation"
            )
            return found(
                self,
                "warning",
                f"{name} have a root mean square of {rms:.4g} (up to {largest:.4g}); networks start well between "
                f"{SMALL:g} and {LARGE:g}",
                f"Scale them: {hint}, and use the same numbers for validation.",
                **more,
            )
        return None

    def _repeated(self, subject: Subject, batches: list[Any], more: dict[str, Any]) -> CheckResult | None:
        seen: set[bytes] = set()
        whole: set[bytes] = set()
        total = same = 0
        for batch in batches:
            rows = torch.cat(
                [
                    item.detach().reshape(item.shape[0], -1).double().cpu()
                    for _, item in trees.leaves(subject.inputs(batch))
                    if item.ndim and item.shape[0] == subject.size_of(batch)
                ]
                or [torch.zeros(0, 1, device="cpu")],
                1,
            )
            raw = rows.numpy().tobytes()
            same += raw in whole
            whole.add(raw)
            total += len(rows)
            seen.update(row.numpy().tobytes() for row in rows[:256])
        share = 1 - len(seen) / total if total and len(batches) > 1 and subject.batch_size <= 256 else 0.0
        more["numbers"] |= {"samples": float(total), "repeated": share}
        if same and len(batches) > 1 and share > REPEATED:
            return found(
                self,
                "warning",
                f"the loader repeats itself: {same} of {len(batches)} batches came twice",
                "Look at __iter__ of the data set, and at a sampler or a generator that starts anew.",
                **more,
            )
        return None

    def _labels(self, observed: Observed, more: dict[str, Any]) -> CheckResult | None:
        counts = observed.facts.get("loss_call", {}).get("label_counts") or {}
        total = sum(counts.values())
        if not total:
            return None
        label, most = max(counts.items(), key=lambda item: item[1])
        more["curves"]["labels"] = curve(map(float, counts), counts.values(), "class", "how often")
        more["numbers"] |= {"largest class": most / total}
        if most / total > ONE_CLASS and total >= 20:
            return found(
                self,
                "info",
                f"{most / total:.0%} of {total} labels are class {label}",
                "If the data are not like that, look at how labels are made; else judge by recall, not accuracy.",
                **more,
            )
        return None


def _first(observed: Observed) -> str:
    """Names the type of the layer that is called first."""
    return next((str(item["type"]) for item in observed.layers.values() if item.get("order") is not None), "")

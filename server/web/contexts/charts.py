"""Which charts a run's page has: decided by the names of the series that the run sent, never by their values.

Not for: drawing. `server/charts` makes each figure, and the browser asks for it by the address that stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from server.domain.kinds import LAYER_KINDS, Kind, parse

STATS = {
    "std": "standard deviation of the output",
    "mean": "mean of the output",
    "absmax": "largest absolute output",
    "zeros": "share of zeros in the output",
    "saturated": "share of saturated outputs",
    "nonfinite": "non-finite outputs",
    "grad_norm": "gradient norm",
    "update_ratio": "update-to-weight ratio",
    "weight_norm": "weight norm",
}
DEFAULT_STAT = "std"

_STAT_KINDS = {
    "std": Kind.ACT_STD,
    "mean": Kind.ACT_MEAN,
    "absmax": Kind.ACT_ABSMAX,
    "zeros": Kind.ACT_ZEROS,
    "saturated": Kind.ACT_SATURATED,
    "nonfinite": Kind.ACT_NONFINITE,
    "grad_norm": Kind.PARAM_GRAD_NORM,
    "update_ratio": Kind.PARAM_UPDATE_RATIO,
    "weight_norm": Kind.PARAM_WEIGHT_NORM,
}
_ALWAYS = (("loss", "Loss", (Kind.LOSS, Kind.LOSS_PART)),)
_WHEN_SENT = (
    ("learning-rate", "Learning rate", (Kind.LEARNING_RATE,)),
    ("grad-norm", "Gradient norm", (Kind.GRAD_NORM, Kind.CLIP_BEFORE)),
)
_PER_PARAMETER = (
    ("param-grad-norms", "Gradient norm by parameter", Kind.PARAM_GRAD_NORM),
    ("update-ratios", "Update-to-weight ratio by parameter", Kind.PARAM_UPDATE_RATIO),
    ("weight-norms", "Weight norm by parameter", Kind.PARAM_WEIGHT_NORM),
)
_MACHINERY = (
    Kind.TIME_STEP,
    Kind.TIME_DATA,
    Kind.OVERHEAD,
    Kind.SCALER_SCALE,
    Kind.CLIP_COEFFICIENT,
    Kind.MOMENTUM,
    Kind.BETA2,
    Kind.WEIGHT_DECAY,
    Kind.SYSTEM,
    Kind.EPOCH,
)
_ON_LOSS_CHART = ("val/loss",)
_CHART_OF_TOPIC = {"activations": "layers", "gradients": "grad-norm", "updates": "update-ratios"}


@dataclass(frozen=True)
class Chart:
    """A place where a chart is drawn."""

    id: str
    name: str
    title: str
    url: str
    tall: bool = False


@dataclass(frozen=True)
class Choice:
    """One statistic of the heatmap, chosen by its address."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True)
class ChartsView:
    """The charts of a run in four groups, most looked at first."""

    main: tuple[Chart, ...]
    own: tuple[Chart, ...]
    heatmap: Chart | None
    stats: tuple[Choice, ...]
    layers: tuple[Chart, ...]
    machinery: tuple[Chart, ...]
    run_id: str
    run_url: str
    fragment_url: str


def charts_view(run_id: str, names: Iterable[str], stat: str) -> ChartsView:
    """Lists the charts for the series that the run has."""
    known = [(name, *parse(name)) for name in names]
    kinds = {kind for _, kind, _ in known}
    run_url = "/runs/" + quote(run_id, safe="")
    base = f"/api/v1/runs/{quote(run_id, safe='')}/charts/"
    fixed = [_named(base, name, title) for name, title, _ in _ALWAYS]
    fixed += [_named(base, name, title) for name, title, needed in _WHEN_SENT if kinds.intersection(needed)]
    own = [name for name, kind, _ in known if kind in (Kind.USER, Kind.VALIDATION) and name not in _ON_LOSS_CHART]
    machinery = [name for name, kind, _ in known if kind in _MACHINERY]
    return ChartsView(
        main=tuple(fixed),
        own=_series(base, own),
        heatmap=Chart("chart-layers", "layers", "Layers", base + "layers?" + urlencode({"stat": stat}), True)
        if kinds.intersection(LAYER_KINDS)
        else None,
        stats=tuple(Choice(value, label, value == stat) for value, label in STATS.items()),
        layers=tuple(_named(base, name, title) for name, title, kind in _PER_PARAMETER if kind in kinds),
        machinery=_series(base, machinery),
        run_id=run_id,
        run_url=run_url,
        fragment_url=f"{run_url}/fragments/charts?" + urlencode({"stat": stat}),
    )


def best_stat(names: Iterable[str]) -> str:
    """Gives the statistic that the heatmap begins with: the first of the list that the run has."""
    kinds = {parse(name)[0] for name in names}
    return next((stat for stat, kind in _STAT_KINDS.items() if kind in kinds), DEFAULT_STAT)


def chart_anchor(chart: str, series: Sequence[str]) -> str:
    """Gives the id of the chart that shows a finding best: the rule's own, else that of its first series."""
    if chart:
        return f"chart-{_CHART_OF_TOPIC.get(chart, chart)}"
    return _series_id(series[0]) if series else "chart-loss"


def _named(base: str, name: str, title: str) -> Chart:
    return Chart(f"chart-{name}", name, title, base + name)


def _series(base: str, names: Iterable[str]) -> tuple[Chart, ...]:
    return tuple(
        Chart(_series_id(name), "series", name, base + "series?" + urlencode({"name": name})) for name in sorted(names)
    )


def _series_id(name: str) -> str:
    return "series-" + quote(name, safe="")

"""Which charts a run's page has: decided by the names of the series that the run sent, never by their values.

Not for: drawing. `server/charts` makes each figure, and the browser asks for it by the address that stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from server.domain.kinds import LAYER_KINDS, Kind, parse
from server.domain.metrics import better, partners, subject
from server.domain.order import natural
from server.domain.series import SeriesInfo
from server.domain.units import unit_of, with_unit
from server.web import formats
from server.web.contexts.look import Choice, Look, axes_of, ranks_of, scales_of, smoothings_of

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
_MAIN = (
    ("loss", "Loss", (Kind.LOSS, Kind.LOSS_PART), True),
    ("learning-rate", "Learning rate", (Kind.LEARNING_RATE,), False),
    ("grad-norm", "Gradient norm", (Kind.GRAD_NORM, Kind.CLIP_BEFORE), False),
    ("update-ratios", "Update-to-weight ratio", (Kind.PARAM_UPDATE_RATIO,), False),
    ("step-time", "Step and data time (s)", (Kind.TIME_STEP, Kind.TIME_DATA), False),
)
_PER_PARAMETER = (
    ("param-grad-norms", "Gradient norm by parameter", Kind.PARAM_GRAD_NORM),
    ("weight-norms", "Weight norm by parameter", Kind.PARAM_WEIGHT_NORM),
)
_MACHINERY = (
    (
        "Optimizer",
        (
            Kind.MOMENTUM,
            Kind.BETA2,
            Kind.WEIGHT_DECAY,
            Kind.SCALER_SCALE,
            Kind.CLIP_COEFFICIENT,
            Kind.DISPLACEMENT,
        ),
    ),
    ("Noise of the gradient", (Kind.NOISE_SCALE,)),
    ("Recurrent layers", (Kind.GRAD_TIME_FIRST, Kind.GRAD_TIME_LAST)),
    ("Hook", (Kind.OVERHEAD, Kind.EPOCH)),
    ("Attention", (Kind.ACT_SCORES, Kind.ACT_ENTROPY)),
    ("Machine", (Kind.SYSTEM,)),
)
_ON_LOSS_CHART = ("val/loss",)
_CHART_OF_TOPIC = {"activations": "layers", "gradients": "grad-norm", "updates": "update-ratios"}
ORDERS = {"": "by name", "sent": "as sent"}
MOST_METRICS = 500  # a name with a number in it makes a metric a step, and no page holds those
PLAIN_GROUP = "Metrics"


@dataclass(frozen=True)
class Chart:
    """A place where a chart is drawn. `figures` sums its series up; `series` are the names that it shows, if fixed."""

    id: str
    name: str
    title: str
    url: str
    tall: bool = False
    wide: bool = False
    figures: str = ""
    series: str = ""
    csv_url: str = ""
    pinned: bool = False


@dataclass(frozen=True)
class Group:
    """Charts that belong together, by the prefix of their names."""

    id: str
    title: str
    charts: tuple[Chart, ...]
    count_text: str


@dataclass(frozen=True)
class ChartsView:
    """The charts of a run in groups, most looked at first."""

    pinned: tuple[Chart, ...]
    main: tuple[Chart, ...]
    groups: tuple[Group, ...]
    left_out: str  # says how many metrics there are, where not all are here
    heatmap: Chart | None
    stats: tuple[Choice, ...]
    layers: tuple[Chart, ...]
    machinery: tuple[Group, ...]
    axes: tuple[Choice, ...]
    smoothings: tuple[Choice, ...]
    scales: tuple[Choice, ...]
    orders: tuple[Choice, ...]
    ranks: tuple[Choice, ...]  # none where the training is one process
    look: Look
    run_id: str
    run_url: str
    layers_url: str
    fragment_url: str
    preflight_url: str  # where a run holds a preflight and nothing else yet


def charts_view(
    run_id: str,
    infos: Sequence[SeriesInfo],
    stat: str,
    look: Look,
    *,
    ranks: Sequence[int] = (),
    gradients: str = "",
    only_preflight: bool = False,
) -> ChartsView:
    """Lists the charts for the series that the run has; `ranks` are the processes that sent them, and `gradients` says
    what the gradients are, where that matters."""
    known = {info.name: info for info in infos}
    kinds = {parse(name)[0] for name in known}
    run_url = "/runs/" + quote(run_id, safe="")
    base = f"/api/v1{run_url}/charts/"
    export = f"/api/v1{run_url}/series/export?" + (f"rank={look.rank}&" if look.rank else "")
    fixed = [
        replace(_named(base, export, name, title, known, needed), wide=wide)
        for name, title, needed, wide in _MAIN
        if name == "loss" or kinds.intersection(needed)
    ]
    fixed = [replace(chart, figures=gradients) if chart.name == "grad-norm" else chart for chart in fixed]
    topics = _topics(known)
    metrics = _metrics(base, export, known, topics, look)
    return ChartsView(
        pinned=tuple(chart for chart in metrics if chart.pinned),
        main=() if only_preflight else tuple(fixed),
        groups=_grouped([chart for chart in metrics if not chart.pinned]),
        left_out=_left_out(len(metrics), len(topics), look),
        heatmap=Chart("chart-layers", "layers", "Layers", base + "layers?" + urlencode({"stat": stat}), True)
        if kinds.intersection(LAYER_KINDS)
        else None,
        stats=tuple(
            Choice(value, label, value == stat) for value, label in STATS.items() if _STAT_KINDS[value] in kinds
        ),
        layers=tuple(
            replace(
                _named(base, export, name, title, known, ()), figures=gradients if kind is Kind.PARAM_GRAD_NORM else ""
            )
            for name, title, kind in _PER_PARAMETER
            if kind in kinds
        ),
        machinery=_machinery(base, export, known),
        axes=axes_of(look, known),
        smoothings=smoothings_of(look),
        scales=scales_of(look),
        orders=tuple(Choice(value, label, value == look.order) for value, label in ORDERS.items()),
        ranks=ranks_of(look, ranks),
        look=look,
        run_id=run_id,
        run_url=run_url,
        layers_url=f"{run_url}/layers?" + urlencode({"stat": stat}),
        fragment_url=f"{run_url}/fragments/charts",
        preflight_url=f"{run_url}/preflight" if only_preflight else "",
    )


def best_stat(names: Iterable[str]) -> str:
    """Gives the statistic that the heatmap begins with: the first of the list that the run has."""
    kinds = {parse(name)[0] for name in names}
    return next((stat for stat, kind in _STAT_KINDS.items() if kind in kinds), DEFAULT_STAT)


def chart_anchor(chart: str, series: Sequence[str]) -> str:
    """Gives the id of the chart that shows a finding best: the rule's own, else that of its first series; "" where it
    has neither."""
    if chart and chart != "series":
        return f"chart-{_CHART_OF_TOPIC.get(chart, chart)}"
    return _chart_of(series[0]) if series else ""


def _chart_of(name: str) -> str:
    """Gives the id of the chart on which a series is drawn."""
    kind = parse(name)[0]
    if any(kind in kinds for _, kinds in _MACHINERY):
        return _metric_id(name)
    fixed = [(chart, kinds) for chart, _, kinds, _ in _MAIN] + [(chart, (only,)) for chart, _, only in _PER_PARAMETER]
    drawn = next((chart for chart, kinds in fixed if kind in kinds), None)
    if drawn is None and kind in LAYER_KINDS:
        drawn = "layers"
    if drawn is not None or name in _ON_LOSS_CHART:
        return f"chart-{drawn or 'loss'}"
    return _metric_id(subject(name))


def _named(
    base: str, export: str, name: str, title: str, known: Mapping[str, SeriesInfo], kinds: Sequence[Kind]
) -> Chart:
    series = [each for each in known if parse(each)[0] in kinds]
    if name == "loss":
        series += [each for each in _ON_LOSS_CHART if each in known]
    csv_url = export + urlencode([("name", each) for each in series[:50]]) if series else ""
    figures = _figures(known[series[0]]) if name == "loss" and series else ""
    return Chart(f"chart-{name}", name, title, base + name, figures=figures, csv_url=csv_url)


def _topics(known: Iterable[str]) -> dict[str, list[str]]:
    """Gives what the training measured itself → its series, on the training data first."""
    own = {
        name: None for name in known if parse(name)[0] in (Kind.USER, Kind.VALIDATION) and name not in _ON_LOSS_CHART
    }
    return {topic: partners(topic, own) for topic in dict.fromkeys(subject(name) for name in own)}


def _metrics(
    base: str, export: str, known: Mapping[str, SeriesInfo], topics: Mapping[str, Sequence[str]], look: Look
) -> list[Chart]:
    order = sorted(topics, key=natural) if look.order == "" else list(topics)
    if len(order) > MOST_METRICS:
        words = look.find.lower().split()
        fitting = [topic for topic in order if all(word in topic.lower() for word in words)]
        kept = {*(topic for topic in order if topic in look.pins), *fitting[:MOST_METRICS]}
        order = [topic for topic in order if topic in kept]
    found = []
    for topic in order:
        series = topics[topic]
        query = [("name", name) for name in series]
        found.append(
            Chart(
                id=_metric_id(topic),
                name="series",
                title=topic,
                url=base + "series?" + urlencode(query),
                figures=_figures(known[series[-1]]),
                series=topic,
                csv_url=export + urlencode(query),
                pinned=topic in look.pins,
            )
        )
    return found


def _left_out(shown: int, amount: int, look: Look) -> str:
    if amount <= MOST_METRICS:
        return ""
    fitting = " with these words" if look.find.split() else ""
    return (
        f"{formats.plural(shown, 'metric')}{fitting} of {formats.count(amount)} {'is' if shown == 1 else 'are'} here. "
        "Find the others by a part of their name; a name with a number in it makes a new metric each time."
    )


def _grouped(charts: Sequence[Chart]) -> tuple[Group, ...]:
    found: dict[str, list[Chart]] = {}
    for chart in charts:
        prefix, slash, _ = chart.series.partition("/")
        found.setdefault(prefix if slash and prefix else PLAIN_GROUP, []).append(chart)
    titles = sorted(found, key=lambda title: (title != PLAIN_GROUP, natural(title)))
    return tuple(
        Group("group-" + quote(title, safe=""), title, tuple(found[title]), formats.plural(len(found[title]), "chart"))
        for title in titles
    )


def _machinery(base: str, export: str, known: Mapping[str, SeriesInfo]) -> tuple[Group, ...]:
    found = []
    for title, kinds in _MACHINERY:
        names = sorted((name for name in known if parse(name)[0] in kinds), key=natural)
        charts = tuple(
            Chart(
                _metric_id(name),
                "series",
                with_unit(name),
                base + "series?" + urlencode({"name": name}),
                figures=_figures(known[name]),
                csv_url=export + urlencode({"name": name}),
            )
            for name in names[:MOST_METRICS]
        )
        if charts:
            shown = "" if len(charts) == len(names) else f"{len(charts)} of "
            count_text = shown + formats.plural(len(names), "chart")
            found.append(Group(f"machinery-{title.lower()}", title, charts, count_text))
    return tuple(found)


def _figures(info: SeriesInfo) -> str:
    """Sums a series up: its best value where the name says which end is good, else its range; then the newest one."""
    best = better(info.name)
    parts = []
    _, size = unit_of(info.name)
    if best == "lowest" and info.min is not None:
        parts.append(f"best {formats.number(info.min)}")
    elif best == "highest" and info.max is not None:
        parts.append(f"best {formats.number(info.max)}")
    elif info.min is not None and info.max is not None and info.min != info.max:
        parts.append(f"{formats.number(info.min / size)} to {formats.number(info.max / size)}")
    parts.append(f"last {formats.number(info.last_value / size)}")
    if info.nonfinite:
        parts.append(f"{formats.count(info.nonfinite)} not finite")
    return " · ".join(parts)


def _metric_id(topic: str) -> str:
    return "series-" + quote(topic, safe="")

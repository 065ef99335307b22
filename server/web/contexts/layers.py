"""The layers of a run: the module tree beside the heatmap, and the drawer with everything about one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from server.charts.layers import STATISTICS
from server.domain import modules
from server.domain.findings import Finding
from server.domain.kinds import LAYER_KINDS, parse
from server.domain.order import of_model
from server.domain.runs import Run
from server.domain.told import as_told
from server.rules.registry import Registry
from server.web import formats
from server.web.contexts.charts import STATS, Chart
from server.web.contexts.facts import Layer, model_view
from server.web.contexts.findings import Card, findings_view
from server.web.contexts.look import Choice, Look, ranks_of, scales_of, smoothings_of
from server.web.contexts.runs import RunRow, run_row
from server.web.contexts.tabs import Tab, tabs

MOST_SERIES = 20
_WORDS = {statistic.prefix: words for words, statistic in ((STATS[name], one) for name, one in STATISTICS.items())}


@dataclass(frozen=True)
class TreeNode:
    """One module of the tree; `children` is empty for a layer."""

    path: str
    word: str
    count_text: str
    url: str
    open: bool
    chosen: bool
    found: bool
    children: tuple[TreeNode, ...]


@dataclass(frozen=True)
class Drawer:
    """Everything about one layer."""

    name: str
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    findings: tuple[Card, ...]
    close_url: str
    missing: str
    run_id: str


@dataclass(frozen=True)
class LayersView:
    """The page."""

    run: RunRow
    tabs: tuple[Tab, ...]
    heatmap: Chart | None
    preload_url: str  # of the heatmap, where the script will ask for that very address
    stats: tuple[Choice, ...]
    tree: tuple[TreeNode, ...]
    count_text: str
    drawer: Drawer | None
    layer: str
    unfolded: tuple[str, ...]
    all_url: str
    none_url: str
    drawer_url: str
    look: Look
    axes: tuple[Choice, ...]
    smoothings: tuple[Choice, ...]
    scales: tuple[Choice, ...]
    ranks: tuple[Choice, ...]
    run_id: str


@dataclass(frozen=True)
class Asked:
    """What the address asks for."""

    stat: str
    layer: str
    unfolded: tuple[str, ...]
    look: Look
    plain: bool = False  # nothing but these

    def query(self, **changes: str) -> str:
        """Writes the query of this view with some fields changed."""
        values = {"stat": self.stat, "layer": self.layer, **changes}
        kept = [(key, value) for key, value in values.items() if value and key != "open"]
        opened = [changes["open"]] if "open" in changes else list(self.unfolded)
        return "?" + urlencode(kept + [("open", path) for path in opened])


def layers_view(
    run: Run,
    names: Sequence[str],
    order: Sequence[str],
    findings: Sequence[Finding],
    facts: Mapping[str, Any],
    registry: Registry,
    asked: Asked,
    now_ms: int,
    ranks: Sequence[int] = (),
) -> LayersView:
    """Makes the page; `ranks` are the processes that sent something."""
    url = "/runs/" + quote(run.id, safe="")
    prefix = STATISTICS[asked.stat].prefix
    subjects = in_order([name.removeprefix(prefix) for name in names if name.startswith(prefix)], order)
    root = modules.tree(subjects)
    unfolded = modules.opened(root, asked.unfolded)
    suspects = {layer for finding in findings if finding.state == "open" for layer in finding.layers}
    kinds = {parse(name)[0] for name in names}
    present = [stat for stat, one in STATISTICS.items() if any(name.startswith(one.prefix) for name in names)]
    link = url + "/layers" + asked.query(layer="") + "&layer="  # made once: there may be thousands
    chart_url = f"/api/v1{url}/charts/layers" + Asked(asked.stat, "", asked.unfolded, asked.look).query()
    return LayersView(
        run=run_row(run, now_ms),
        tabs=tabs(run.id, "layers"),
        heatmap=Chart("chart-layers", "layers", STATS[asked.stat], chart_url, True)
        if kinds & set(LAYER_KINDS)
        else None,
        preload_url=chart_url if asked.plain else "",
        stats=tuple(Choice(stat, STATS[stat], stat == asked.stat) for stat in present or [asked.stat]),
        tree=tuple(_node(child, link, asked, unfolded, suspects) for child in root.children),
        count_text=formats.plural(len(subjects), "row"),
        drawer=drawer_view(run, names, findings, facts, registry, asked.layer) if asked.layer else None,
        layer=asked.layer,
        unfolded=asked.unfolded,
        all_url=url + "/layers" + asked.query(open=modules.EVERYTHING),
        none_url=url + "/layers" + asked.query(open="none"),
        drawer_url=f"{url}/fragments/layer",
        look=asked.look,
        axes=(
            Choice("step", "step", asked.look.x == "step"),
            Choice("time", "time since the start", asked.look.x == "time"),
        ),
        smoothings=smoothings_of(asked.look),
        scales=scales_of(asked.look),
        ranks=ranks_of(asked.look, ranks),
        run_id=run.id,
    )


def drawer_view(
    run: Run,
    names: Sequence[str],
    findings: Sequence[Finding],
    facts: Mapping[str, Any],
    registry: Registry,
    layer: str,
) -> Drawer:
    """Makes the drawer of one layer, parameter or module."""
    url = "/runs/" + quote(run.id, safe="")
    model = model_view(facts, names)
    told = next((one for one in model.layers if one.name == layer), None) if model else None
    charts = tuple(_charts(url, names, layer))
    about = [one for one in as_told(findings) if any(_within(each, layer) for each in one.layers)]
    shown = findings_view(run, about, registry)
    return Drawer(
        name=layer,
        facts=_facts(told),
        charts=charts,
        findings=(*shown.open, *shown.muted, *shown.resolved),
        close_url=url + "/layers",
        missing="" if charts else "Nothing was measured of this layer yet.",
        run_id=run.id,
    )


def in_order(subjects: Sequence[str], order: Sequence[str]) -> list[str]:
    """Sorts layers or parameters by the order in which the model calls them; unknown ones come last."""
    return [subjects[place] for place in of_model(subjects, order)]


def _node(node: modules.Module, link: str, asked: Asked, unfolded: set[str], suspects: set[str]) -> TreeNode:
    children = tuple(_node(child, link, asked, unfolded, suspects) for child in node.children)
    return TreeNode(
        path=node.path,
        word=node.word,
        count_text=formats.count(len(node.leaves)) if children else "",
        url=link + quote_plus(node.path),
        open=node.path in unfolded,
        chosen=node.path == asked.layer,
        found=any(_within(suspect, node.path) for suspect in suspects),
        children=children,
    )


def _within(subject: str, module: str) -> bool:
    return subject == module or subject.startswith(module + ".") or module.startswith(subject + ".")


def _charts(url: str, names: Sequence[str], layer: str) -> list[Chart]:
    found: dict[str, list[str]] = {}
    for name in names:
        kind, subject = parse(name)
        if kind in LAYER_KINDS and (subject == layer or subject.rpartition(".")[0] == layer):
            found.setdefault(kind.value, []).append(name)
    return [
        Chart(
            id="drawer-" + quote(prefix, safe=""),
            name="series",
            title=_WORDS.get(prefix, prefix.rstrip("/")),
            url=f"/api/v1{url}/charts/series?" + urlencode([("name", each) for each in series[:MOST_SERIES]]),
            csv_url=f"/api/v1{url}/series/export?" + urlencode([("name", each) for each in series]),
        )
        for prefix, series in found.items()
    ]


def _facts(layer: Layer | None) -> tuple[tuple[str, str], ...]:
    if layer is None:
        return ()
    pairs = (
        ("type", layer.type),
        ("output", layer.shape),
        ("parameters", layer.parameters),
        ("trained", layer.trainable),
    )
    return tuple((name, value) for name, value in pairs if value and value != formats.NOTHING)

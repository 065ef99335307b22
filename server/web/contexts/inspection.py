"""What `monitor.inspect` saw: filters, saliency, and what each layer makes of a batch, with what stands out in words.

Not for: findings. Nothing here is judged against a threshold; a reader looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from server.charts import pictures
from server.domain.inspection import BAD, Filters, Given, Inspection, LayerSeen, Pictures, Saliency
from server.domain.runs import Event, Run
from server.web import formats
from server.web.contexts.runs import RunRow, run_row
from server.web.contexts.tabs import Tab, tabs

PYTHON = """monitor = watch(model, optimizer)
...
monitor.inspect((inputs, targets))   # when you like: after each epoch, or where the loss is odd"""
TALL, TALLEST = 64, 160  # pixels that one of several pictures has at least on the page, and one alone at most
LARGEST = 12  # times
FEATURES = 24
SHADES = 9
NAMED = 5


@dataclass(frozen=True)
class Moment:
    """One inspection of the run; `here` marks the one that is shown."""

    url: str
    word: str
    here: bool


@dataclass(frozen=True)
class Remark:
    """Something that stands out; `sign` names its icon."""

    sign: str
    words: str


@dataclass(frozen=True)
class Painting:
    """An image with its size on the page, and in words what it shows and what its colours stand for."""

    source: str
    width: int
    height: int
    words: str
    low: str = ""
    high: str = ""
    legend: str = ""


@dataclass(frozen=True)
class LayerCard:
    """A layer with what it made of the batch."""

    name: str
    type: str
    shape: str
    said: str
    painting: Painting | None


@dataclass(frozen=True)
class FiltersCard:
    """The filters of the first layer."""

    layer: str
    said: str
    painting: Painting


@dataclass(frozen=True)
class Pair:
    """A sample beside the map of what the answer hangs on."""

    words: str
    sample: Painting
    map: Painting


@dataclass(frozen=True)
class Feature:
    """A column of a table, and its share of the gradient."""

    name: str
    share: float
    words: str


@dataclass(frozen=True)
class Token:
    """A word's id; `shade` is 0 to SHADES by its share of the largest gradient of its sample, or "bad"."""

    id: int
    shade: str
    words: str


@dataclass(frozen=True)
class SaliencyCard:
    """On what the answer hangs."""

    said: str
    pairs: tuple[Pair, ...]
    features: tuple[Feature, ...]
    texts: tuple[tuple[Token, ...], ...]


@dataclass(frozen=True)
class InputRow:
    """An input of the model."""

    name: str
    shape: str
    type: str
    range: str
    mean: str


@dataclass(frozen=True)
class InspectView:
    """The page; `empty` where nothing was inspected yet."""

    run: RunRow
    tabs: tuple[Tab, ...]
    empty: bool
    lead: str
    moments: tuple[Moment, ...]
    older: str
    newer: str
    remarks: tuple[Remark, ...]
    inputs: tuple[InputRow, ...]
    filters: FiltersCard | None
    saliency: SaliencyCard | None
    layers: tuple[LayerCard, ...]
    left_out: tuple[str, ...]
    fragment_url: str
    api_url: str
    python: str


def inspect_view(run: Run, moments: Sequence[Event], number: int, found: Inspection | None, now_ms: int) -> InspectView:
    """Makes the page of inspection `number`, counted from 1, of the run's `moments`."""
    url = "/runs/" + quote(run.id, safe="")
    several = len({item.attempt for item in moments}) > 1
    at = number - 1

    def link(place: int) -> str:
        return f"{url}/inspect?n={place + 1}" if 0 <= place < len(moments) and place != at else ""

    return InspectView(
        run=run_row(run, now_ms),
        tabs=tabs(run.id, "inspect"),
        empty=found is None,
        lead=_lead(found, moments[at]) if found else "",
        moments=tuple(
            Moment(f"{url}/inspect?n={place + 1}", _when(item, attempt=several), place == at)
            for place, item in enumerate(moments)
        ),
        older=link(at - 1),
        newer=link(at + 1),
        remarks=tuple(_remarks(found)) if found else (),
        inputs=tuple(map(_input, found.inputs)) if found else (),
        filters=_filters(found.filters) if found and found.filters else None,
        saliency=_saliency(found.saliency) if found and found.saliency else None,
        layers=tuple(map(_layer, found.layers)) if found else (),
        left_out=found.left_out if found else (),
        fragment_url=f"{url}/fragments/inspect" + (f"?n={number}" if at + 1 < len(moments) else ""),
        api_url=f"/api/v1{url}/inspections/{number}",
        python=PYTHON,
    )


def _when(moment: Event, *, attempt: bool = False) -> str:
    where = f"step {formats.count(moment.step)}" if moment.step >= 0 else "before the first step"
    return f"{where}, attempt {moment.attempt}" if attempt else where


def _lead(found: Inspection, moment: Event) -> str:
    when = _when(moment)
    of = f"`{found.model}`, " if found.model else ""
    took = f", in {formats.number(found.seconds, 2)} s" if math.isfinite(found.seconds) else ""
    answer = f", answer {_shape(found.output.shape)}" if found.output.shape else ""
    return (
        f"{when[0].upper()}{when[1:]}: {of}{formats.plural(found.samples, 'sample')}{answer}{took}. A copy of the "
        "model ran in evaluation mode; the training was left as it was."
    )


def _remarks(found: Inspection) -> Iterator[Remark]:
    """Says what stands out, the worst first."""
    for given in found.inputs:
        if given.nonfinite:
            yield Remark("error", f"Input `{given.name}` has {_values(given.nonfinite)} not finite.")
    if found.bad_layers:
        others = found.bad_layers - 1
        more = f"; {formats.plural(others, 'layer')} after it as well" if others else ""
        yield Remark(
            "error", f"`{found.bad_layer}` is the first layer with {_values(found.bad_values)} not finite{more}."
        )
    if found.output.nonfinite:
        yield Remark("error", f"The answer has {_values(found.output.nonfinite)} not finite.")
    if found.saliency is not None and any(math.isnan(share) for share in found.saliency.shares):
        columns = [f"column {at}" for at, share in enumerate(found.saliency.shares) if math.isnan(share)]
        yield Remark("warning", f"The gradient of the answer is not finite at {_listed(columns)}.")
    if found.saliency is not None and found.saliency.unused:
        yield Remark("warning", f"The answer does not hang on {_listed(found.saliency.unused, 'input')} at all.")
    gradient = found.saliency.map if found.saliency is not None else None
    if gradient is not None and gradient.low == gradient.high == 0 and not gradient.codes.any():
        yield Remark("warning", "The gradient of the answer is 0 at every input shown: something is saturated or dead.")
    silent = [item for item in found.layers if item.units and item.dead == item.units]
    if silent:
        yield Remark("warning", f"{_listed([item.name for item in silent])}: 0 for every sample, in all units.")
    same = [item for item in found.layers if item.units and item.constant and item.dead + item.constant == item.units]
    if same:
        yield Remark("info", f"{_listed([item.name for item in same])}: the same for every sample, in all units.")
    for item in sorted(found.layers, key=lambda item: -item.dead / max(item.units, 1))[:NAMED]:
        if 0 < item.dead < item.units and 2 * item.dead >= item.units:
            yield Remark("info", f"`{item.name}`: {item.dead} of {item.units} units give 0 for every sample.")
    never = [item.name for item in found.layers if not item.calls]
    if never:
        yield Remark("info", f"Not called: {_listed(never, 'layer')}.")


def _values(amount: int) -> str:
    return f"{formats.plural(amount, 'value')} that {'is' if amount == 1 else 'are'}"


def _listed(names: Sequence[str], one: str = "") -> str:
    shown = ", ".join(f"`{name}`" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    word = f"{one if len(names) == 1 else one + 's'} " if one else ""
    return f"{word}{shown}{more}"


def _shape(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes)) or "a number"


def _input(item: Given) -> InputRow:
    return InputRow(
        name=item.name,
        shape=_shape(item.shape),
        type=item.dtype,
        range=f"{formats.number(item.low)} to {formats.number(item.high)}",
        mean=formats.number(item.mean),
    )


def _filters(found: Filters) -> FiltersCard:
    shown, every = found.pictures.codes.shape[0], found.shape[0] if found.shape else 0
    amount = f"{shown} of {every}" if shown < every else f"all {shown}"
    return FiltersCard(
        layer=found.layer,
        said=f"Weights {_shape(found.shape)}; {amount} filters"
        + (
            "."
            if found.pictures.codes.shape[1] == 3 or len(found.shape) != 4 or found.shape[1] == 1
            else ", first plane."
        ),
        painting=_painting(found.pictures, f"Filters of {found.layer}"),
    )


def _layer(item: LayerSeen) -> LayerCard:
    if not item.calls:
        return LayerCard(item.name, item.type, "", "not called", None)
    said = [f"mean {formats.number(item.mean, 3)}", f"std {formats.number(item.std, 3)}"]
    said += [f"largest {formats.number(item.absmax, 3)}"]
    said += [f"{formats.percent(item.zeros)} zeros"] if item.zeros > 0 else []
    said += [f"{item.dead} of {item.units} units always 0"] if item.dead else []
    said += [f"{item.constant} of {item.units} units always the same"] if item.constant else []
    said += [f"{formats.plural(item.nonfinite, 'value')} not finite"] if item.nonfinite else []
    said += [f"called {item.calls} times, the first is shown"] if item.calls > 1 else []
    return LayerCard(item.name, item.type, _shape(item.shape), " · ".join(said), _maps(item))


def _maps(item: LayerSeen) -> Painting | None:
    if item.maps is None:
        return None
    count, _, rows, columns = item.maps.codes.shape
    if item.of_batch:
        words = f"{item.name}: samples downwards, units across"
    elif count == 1 and len(item.shape) == 3:
        words = f"{item.name}, first sample: units downwards, positions across"
    else:
        units = item.shape[1] if len(item.shape) > 1 else count
        words = f"{item.name}, first sample: {f'{count} of {units}' if count < units else f'all {count}'} channels"
    return _painting(item.maps, words) if rows * columns > 1 or count > 1 else None


def _painting(found: Pictures, words: str, *, grey: bool = False) -> Painting:
    """Lays pictures side by side, as large as they are comfortable to look at."""
    width, height = pictures.size(found)
    times = _times(found)
    colours = found.codes.shape[1] == 3
    return Painting(
        source=pictures.strip(found, grey=grey),
        width=width * times,
        height=height * times,
        words=f"{words}; from {formats.number(found.low, 3)} to {formats.number(found.high, 3)}",
        low=formats.number(found.low, 3),
        high=formats.number(found.high, 3),
        legend="" if grey or colours else pictures.legend(signed=found.signed),
    )


def _times(found: Pictures) -> int:
    count, rows = int(found.codes.shape[0]), int(found.codes.shape[2])
    return max(1, min(LARGEST, TALLEST // rows if count == 1 else -(-TALL // rows)))


def _saliency(found: Saliency) -> SaliencyCard:
    said = f"Size of the gradient of {found.of} with respect to each input." if found.of else ""
    return SaliencyCard(said=said, pairs=tuple(_pairs(found)), features=_features(found), texts=tuple(_texts(found)))


def _pairs(found: Saliency) -> Iterator[Pair]:
    if found.pictures is None or found.map is None:
        return
    for index in range(min(len(found.pictures.codes), len(found.map.codes))):
        answer = f": largest output {found.answers[index]}" if index < len(found.answers) else ""
        yield Pair(
            words=f"Sample {index}{answer}",
            sample=_one(found.pictures, index, f"Sample {index}", grey=True),
            map=_one(found.map, index, f"What the answer to sample {index} hangs on"),
        )


def _one(found: Pictures, index: int, words: str, *, grey: bool = False) -> Painting:
    _, _, rows, columns = found.codes.shape
    times = max(1, min(LARGEST, 2 * TALL // max(rows, 1)))
    return Painting(pictures.single(found, index, grey=grey), columns * times, rows * times, words)


def _features(found: Saliency) -> tuple[Feature, ...]:
    if found.pictures is not None:
        return ()
    known = [(share, at) for at, share in enumerate(found.shares) if math.isfinite(share)]
    best = sorted(known, key=lambda item: -item[0])[:FEATURES]
    return tuple(Feature(f"column {at}", share, formats.percent(share)) for share, at in best)


def _texts(found: Saliency) -> Iterator[tuple[Token, ...]]:
    if found.map is None or not found.tokens or found.pictures is not None:
        return
    sizes = found.map.low + found.map.codes.astype(float) / (BAD - 1) * (found.map.high - found.map.low)
    for row, codes, ids in zip(sizes, found.map.codes, found.tokens, strict=False):
        known = [(float(size), code != BAD) for size, code in zip(row.reshape(-1), codes.reshape(-1), strict=True)][
            : len(ids)
        ]
        most = max((size for size, finite in known if finite), default=0.0)
        yield tuple(
            _token(word, size / most if most > 0 else 0.0, finite)
            for word, (size, finite) in zip(ids, known, strict=False)
        )


def _token(word: int, share: float, finite: bool) -> Token:
    if not finite or not math.isfinite(share):
        return Token(word, "bad", "not finite")
    return Token(word, str(min(int(SHADES * share + 0.5), SHADES)), f"{100 * share:.0f} % of the largest")

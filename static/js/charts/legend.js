// The legend of a chart as text in the page: it can be searched, wraps on narrow screens, and a click hides a line.

const chosen = new WeakMap(); // chart element → name of a line → whether the reader wants to see it

export function withHidden(element, data) {
  return data.map((trace) => (isShown(element, trace) === (trace.visible !== "legendonly") ? trace : { ...trace, visible: isShown(element, trace) }));
}

// What is drawn only when it is asked for (the tail of an attempt that ended) comes as "legendonly".
function isShown(element, trace) {
  return chosen.get(element)?.get(nameOf(trace)) ?? trace.visible !== "legendonly";
}

export function drawLegend(element, data, redraw) {
  let list = element.querySelector(".chart-legend");
  const shown = new Map();
  for (const trace of data) if (trace.type === "scatter" && trace.showlegend !== false && trace.name) shown.set(nameOf(trace), trace);
  if (shown.size < 2 && ![...shown.values()].some((trace) => trace.yaxis === "y2")) {
    list?.remove();
    return;
  }
  if (!list) {
    list = document.createElement("ul");
    list.className = "chart-legend";
    element.querySelector(".plot").after(list);
  }
  list.replaceChildren(...[...shown.values()].map((trace) => entry(element, trace, redraw)));
}

function entry(element, trace, redraw) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "chart-legend__name";
  const name = nameOf(trace);
  const off = !isShown(element, trace);
  button.setAttribute("aria-pressed", String(!off));
  button.title = off ? "Show this line" : "Hide this line";
  const key = document.createElement("i");
  const marks = trace.mode === "markers";
  key.className = marks ? `chart-legend__mark chart-legend__mark--${trace.marker.symbol ?? "circle"}` : "chart-legend__line";
  if (!marks) key.style.borderTopStyle = { dot: "dotted", dash: "dashed", dashdot: "dashed" }[trace.line.dash] ?? "solid";
  key.style.color = marks ? trace.marker.color : trace.line.color;
  button.append(key, text(name));
  button.addEventListener("click", () => {
    chosen.set(element, (chosen.get(element) ?? new Map()).set(name, off));
    redraw();
  });
  item.append(button);
  return item;
}

const nameOf = (trace) => trace.legendgroup || trace.name;

// Names come escaped, because plotly reads tags in them.
export function text(name) {
  return name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

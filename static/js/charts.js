// Draws every element with data-chart: asks the server for its figure, draws it with plotly, and asks again when the
// page hears of new data or somebody zooms. One zoom and one crosshair serve all charts of a page.

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00", "#4d4d4d"];
const SEVERITIES = { "#b3261e": "--severity-error", "#8f5a00": "--severity-warning", "#0a65a8": "--severity-info" };
const PAUSE_MS = 1000;
const CONFIG = {
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  responsive: true,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
  doubleClick: "reset",
};

const charts = new Map(); // element → its state
let zoom = readZoom();
let seen = null;

function startCharts() {
  if (!globalThis.Plotly) return;
  seen = new IntersectionObserver(onSeen, { rootMargin: "400px" });
  scan();
  document.addEventListener("htmx:after:swap", scan);
  document.addEventListener("gw:data", refreshAll);
  document.addEventListener("gw:findings", refreshAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
  addEventListener("popstate", () => {
    zoom = readZoom();
    refreshAll();
  });
}

function scan() {
  for (const element of charts.keys()) if (!element.isConnected) forget(element);
  for (const element of document.querySelectorAll("[data-chart]")) {
    if (charts.has(element)) continue;
    charts.set(element, { element, visible: false, stale: true, busy: false, answer: null, timer: 0 });
    element.tabIndex = 0;
    say(element, "Loading…");
    seen.observe(element);
  }
}

function forget(element) {
  seen.unobserve(element);
  globalThis.Plotly.purge(element.querySelector(".plot") ?? element);
  charts.delete(element);
}

function onSeen(entries) {
  for (const entry of entries) {
    const chart = charts.get(entry.target);
    if (!chart) continue;
    chart.visible = entry.isIntersecting;
    if (chart.visible && chart.stale) refresh(chart);
  }
}

function refreshAll() {
  charts.forEach((chart) => {
    chart.stale = true;
    if (chart.visible) refresh(chart);
  });
}

// At most one request at a time and one a second for each chart; what comes meanwhile makes one more afterwards.
async function refresh(chart) {
  if (chart.busy || chart.timer) return;
  chart.busy = true;
  chart.stale = false;
  try {
    const response = await fetch(addressOf(chart.element), { headers: { Accept: "application/json" } });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? `The server answered ${response.status}.`);
    chart.answer = answer;
    draw(chart);
  } catch (error) {
    if (!chart.answer) say(chart.element, `This chart could not be drawn: ${error.message}`);
    else chart.stale = true;
  } finally {
    chart.busy = false;
    chart.timer = setTimeout(() => {
      chart.timer = 0;
      if (chart.stale && chart.visible && chart.element.isConnected) refresh(chart);
    }, PAUSE_MS);
  }
}

function addressOf(element) {
  const url = new URL(element.dataset.url, location.href);
  url.searchParams.set("points", String(Math.min(4000, Math.max(200, 2 * element.clientWidth))));
  if (zoom) {
    url.searchParams.set("from", String(Math.floor(zoom[0])));
    url.searchParams.set("to", String(Math.ceil(zoom[1])));
  }
  return url;
}

function draw(chart) {
  const { element, answer } = chart;
  if (!answer) return;
  if (!answer.figure) {
    if (!element.querySelector(".plot")) say(element, zoom ? "Nothing was sent in the steps that are shown." : answer.summary);
    return;
  }
  let plot = element.querySelector(".plot");
  if (!plot) {
    plot = document.createElement("div");
    plot.className = "plot";
    element.replaceChildren(plot);
  }
  element.setAttribute("aria-label", answer.summary);
  globalThis.Plotly.react(plot, coloured(answer.figure.data), styled(answer.figure.layout), CONFIG).then(() => {
    element.dataset.drawnStep = String(answer.last_step);
    if (!chart.listening) listen(chart, plot);
  });
}

function listen(chart, plot) {
  chart.listening = true;
  plot.on("plotly_relayout", (change) => {
    const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
    const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
    if (from !== undefined) setZoom([Math.max(-1, from), to]);
    else if (change["xaxis.autorange"] || change["xaxis.showspikes"] === undefined && change["yaxis.autorange"]) setZoom(null);
  });
  plot.on("plotly_doubleclick", () => setZoom(null));
  plot.on("plotly_hover", (event) => point(chart, event.xvals?.[0] ?? event.points?.[0]?.x));
  plot.on("plotly_unhover", () => point(chart, null));
}

function setZoom(range) {
  if (String(range) === String(zoom)) return;
  zoom = range;
  const url = new URL(location.href);
  for (const [key, value] of [["from", range?.[0]], ["to", range?.[1]]]) {
    if (value === undefined) url.searchParams.delete(key);
    else url.searchParams.set(key, String(Math.round(value)));
  }
  history.replaceState(history.state, "", url);
  refreshAll();
}

function readZoom() {
  const query = new URLSearchParams(location.search);
  const range = [query.get("from"), query.get("to")].map((text) => (text === null ? NaN : Number(text)));
  return range.every(Number.isFinite) && range[0] < range[1] ? range : null;
}

// The crosshair: a thin line at the same step in every other chart.
function point(from, step) {
  charts.forEach((chart) => {
    const plot = chart.element.querySelector(".plot");
    const axis = plot?._fullLayout?.xaxis;
    if (!axis) return;
    let hair = chart.element.querySelector(".crosshair");
    const there = typeof step === "number" && chart !== from && step >= axis.range[0] && step <= axis.range[1];
    if (!there) {
      if (hair) hair.hidden = true;
      return;
    }
    if (!hair) {
      hair = document.createElement("div");
      hair.className = "crosshair";
      chart.element.append(hair);
    }
    const size = plot._fullLayout._size;
    hair.hidden = false;
    hair.style.left = `${axis._offset + axis.d2p(step)}px`;
    hair.style.top = `${size.t}px`;
    hair.style.height = `${size.h}px`;
  });
}

function coloured(data) {
  const style = getComputedStyle(document.documentElement);
  const swap = (colour) => {
    const index = LIGHT.indexOf(colour);
    const name = index >= 0 ? `--data-${index + 1}` : SEVERITIES[colour];
    return name ? style.getPropertyValue(name).trim() || colour : colour;
  };
  return data.map((trace) => ({
    ...trace,
    ...(trace.line && { line: { ...trace.line, color: swap(trace.line.color) } }),
    ...(trace.marker && { marker: { ...trace.marker, color: swap(trace.marker.color) } }),
  }));
}

function styled(layout) {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  const [ink, grid, surface] = [get("--chart-text"), get("--chart-grid"), get("--chart-paper")];
  const severity = (colour) => (SEVERITIES[colour] ? get(SEVERITIES[colour]) : colour);
  const axis = (own) => own && { ...own, gridcolor: grid, linecolor: grid, tickcolor: grid, zerolinecolor: grid };
  return {
    ...layout,
    autosize: true,
    font: { color: ink, size: 11, family: getComputedStyle(document.body).fontFamily },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: surface, bordercolor: grid, font: { color: get("--text") }, namelength: -1 },
    xaxis: { ...axis(layout.xaxis), ...(zoom ? { range: [...zoom], autorange: false } : { autorange: true }) },
    yaxis: { ...axis(layout.yaxis), fixedrange: true },
    ...(layout.yaxis2 && { yaxis2: layout.yaxis2 }),
    shapes: (layout.shapes ?? []).map((shape) => ({ ...shape, line: { ...shape.line, color: severity(shape.line.color) } })),
    annotations: (layout.annotations ?? []).map((note) => ({
      ...note,
      font: { ...note.font, color: severity(note.font.color) },
    })),
    dragmode: "zoom",
  };
}

function say(element, sentence) {
  const paragraph = document.createElement("p");
  paragraph.className = "chart-says";
  paragraph.textContent = sentence;
  element.replaceChildren(paragraph);
}

startCharts();

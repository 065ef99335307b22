// Draws every element with data-chart: asks the server for its figure, draws it with plotly, and asks again when the
// page hears of new data or somebody changes how it is looked at. One zoom and one crosshair serve all charts of a page.
import { stepAt } from "./axis.js";
import { tipOf } from "./cells.js";
import { pointAll } from "./crosshair.js";
import { CONFIG, coloured, styled } from "./figure.js";
import { drawLegend, withHidden } from "./legend.js";
import { look, onLook, query, setZoom, startLook } from "./look.js";
import { startTools } from "./tools.js";
import { unpacked } from "./unpack.js";

const PAUSE_MS = 1000;
const POINTS = { least: 200, most: 4000 };
const charts = new Map(); // element → its state
let seen = null;
// Full screen, a fold or a wider window: a chart fills the room that it has.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.isConnected && target.offsetWidth && target.data) globalThis.Plotly.Plots.resize(target);
});

function startCharts() {
  if (!globalThis.Plotly) return;
  startLook();
  startTools(charts);
  onLook(() => refreshAll(true));
  seen = new IntersectionObserver(onSeen, { rootMargin: "300px" });
  scan();
  document.addEventListener("htmx:after:swap", scan);
  document.addEventListener("gw:places", scan);
  document.addEventListener("gw:data", () => refreshAll());
  document.addEventListener("gw:findings", () => refreshAll());
  document.addEventListener("fullscreenchange", () => refreshAll()); // a wider chart shows more points
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
}

function scan() {
  for (const element of charts.keys()) if (!element.isConnected) forget(element);
  for (const element of document.querySelectorAll("[data-chart]")) {
    const chart = charts.get(element);
    const url = element.closest("[data-url]").dataset.url;
    if (!chart) {
      charts.set(element, { element, url, visible: false, stale: true, busy: false, answer: null, timer: 0 });
      if (!element.querySelector(".plot")) say(element, "Loading…", "loading");
      seen.observe(element);
    } else if (chart.url !== url) {
      chart.url = url;
      refreshOne(chart, true);
    }
  }
}

function forget(element) {
  seen.unobserve(element);
  const plot = element.querySelector(".plot");
  if (plot) drop(plot);
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

function refreshAll(now = false) {
  charts.forEach((chart) => refreshOne(chart, now));
}

function refreshOne(chart, now) {
  chart.stale = true;
  if (now) {
    clearTimeout(chart.timer);
    chart.timer = 0;
  }
  if (chart.visible) refresh(chart);
}

// At most one request at a time and one a second for each chart; what comes meanwhile makes one more afterwards.
async function refresh(chart) {
  if (chart.busy || chart.timer) return;
  chart.busy = true;
  chart.stale = false;
  const asked = JSON.stringify(look) + chart.url;
  try {
    const response = await fetch(addressOf(chart), { headers: { Accept: "application/json" } });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? `The server answered ${response.status}.`);
    chart.answer = unpacked(answer);
    draw(chart);
  } catch (error) {
    if (!chart.answer) failed(chart, error);
    else chart.stale = true;
  } finally {
    chart.busy = false;
    const changed = asked !== JSON.stringify(look) + chart.url;
    const again = () => {
      chart.timer = 0;
      if (chart.stale && chart.visible && chart.element.isConnected) refresh(chart);
    };
    if (changed) {
      chart.stale = true;
      again();
    } else chart.timer = setTimeout(again, PAUSE_MS);
  }
}

function addressOf(chart) {
  if (chart.element.dataset.chart === "layers") return query(new URL(chart.url, location.href), null); // as the page preloads it
  const points = Math.min(POINTS.most, Math.max(POINTS.least, 2 * chart.element.clientWidth));
  return query(new URL(chart.url, location.href), points);
}

function draw(chart) {
  const { element, answer } = chart;
  if (!answer) return;
  element.querySelector(".chart-says")?.remove();
  if (!answer.figure) {
    forgetPlot(element);
    say(element, look.zoom ? "Nothing was sent in the steps that are shown." : answer.summary, "empty");
    return;
  }
  let plot = element.querySelector(".plot");
  if (!plot) {
    plot = document.createElement("div");
    plot.className = "plot";
    plot.setAttribute("aria-hidden", "true");
    element.prepend(plot);
    sizes.observe(plot);
    chart.listening = false;
  }
  element.setAttribute("aria-label", answer.summary);
  note(element, answer.detail ?? "");
  const data = withHidden(element, coloured(answer.figure.data));
  const range = answer.axis ? null : (look.zoom ?? whole(answer.figure.layout.xaxis.range, data));
  drawLegend(element, data, () => draw(chart));
  globalThis.Plotly.react(plot, data, styled(answer.figure.layout, range), CONFIG).then(() => {
    element.dataset.drawnStep = String(answer.last_step);
    if (!chart.listening) listen(chart, plot);
  });
}

// The steps of the whole run, and what is shown beyond them: the tail of an earlier attempt.
function whole(range, data) {
  if (!range) return null;
  const ends = data.filter((trace) => trace.visible !== "legendonly" && trace.visible !== false && trace.x?.length).flatMap(({ x }) => [x[0], x[x.length - 1]]);
  return [Math.min(range[0], ...ends.filter(Number.isFinite)), Math.max(range[1], ...ends.filter(Number.isFinite))];
}

function listen(chart, plot) {
  chart.listening = true;
  plot.on("plotly_relayout", (change) => {
    const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
    const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
    if (from !== undefined) setZoom([Math.max(-1, stepAt(chart.answer, from)), stepAt(chart.answer, to)]);
    else if (change["xaxis.autorange"]) setZoom(null);
  });
  plot.on("plotly_doubleclick", () => setZoom(null));
  plot.on("plotly_hover", (event) => {
    pointAll(charts, chart, stepAt(chart.answer, event.xvals?.[0] ?? event.points?.[0]?.x));
    tipOf(chart, event);
  });
  plot.on("plotly_unhover", () => {
    pointAll(charts, chart, null);
    tipOf(chart, null);
  });
  plot.on("plotly_click", (event) => {
    const point = event.points?.[0];
    if (point?.data.type !== "heatmap") return;
    const row = chart.answer.rows?.[point.pointIndex?.[0] ?? -1];
    document.dispatchEvent(new CustomEvent("gw:layer", { detail: { row, from: chart.element } }));
  });
}

function forgetPlot(element) {
  const plot = element.querySelector(".plot");
  if (!plot) return;
  drop(plot);
  plot.remove();
}

function drop(plot) {
  sizes.unobserve(plot);
  globalThis.Plotly.purge(plot);
}

function note(element, words) {
  let place = element.querySelector(".chart-note");
  if (!place) {
    place = document.createElement("p");
    place.className = "chart-note";
    element.append(place);
  }
  place.textContent = words;
}

function failed(chart, error) {
  say(chart.element, `This chart could not be drawn: ${error.message}`, "error");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  button.addEventListener("click", () => refreshOne(chart, true));
  chart.element.querySelector(".chart-says").append(button);
}

function say(element, sentence, kind) {
  element.querySelector(".chart-says")?.remove();
  const paragraph = document.createElement("p");
  paragraph.className = `chart-says chart-says--${kind}`;
  paragraph.textContent = sentence;
  element.prepend(paragraph);
}

startCharts();

// The buttons of a chart, and its keys while it has the focus: full screen, a picture, reading point by point.
import { text } from "./legend.js";
import { look, setZoom } from "./look.js";
import { stepAt } from "./axis.js";
import { savePicture } from "./picture.js";

export function startTools(charts) {
  document.addEventListener("gw:layer", ({ detail }) => {
    const link = document.querySelector("[data-layers-url]");
    if (!link || !detail.row) return;
    const url = new URL(link.href);
    if (!detail.row.folded) url.searchParams.set("layer", detail.row.path);
    location.assign(url);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-tool]");
    const chart = button && chartIn(charts, button.closest(".chart-card"));
    if (chart) ({ png: savePicture, full: fill })[button.dataset.tool](chart);
  });
  document.addEventListener("keydown", (event) => {
    const chart = charts.get(event.target);
    if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { f: fill, ArrowRight: (one) => read(one, 1), ArrowLeft: (one) => read(one, -1), "+": (one) => scale(one, 0.5), "-": (one) => scale(one, 2) }[event.key];
    if (!act) return;
    event.preventDefault();
    act(chart);
  });
}

function chartIn(charts, card) {
  return charts.get(card.querySelector("[data-chart]"));
}

function fill(chart) {
  const card = chart.element.closest(".chart-card");
  if (document.fullscreenElement) document.exitFullscreen();
  else card.requestFullscreen?.();
}

// Moves a cursor along the first line and says its values; sighted readers see the same as a hover.
function read(chart, by) {
  const plot = chart.element.querySelector(".plot");
  const curve = plot?.data.findIndex((trace) => trace.type === "scatter" && trace.mode !== "markers" && (trace.x?.length ?? 0) > 0) ?? -1;
  if (curve < 0) return;
  const x = plot.data[curve].x;
  chart.cursor = Math.min(x.length - 1, Math.max(0, (chart.cursor ?? (by > 0 ? -1 : x.length)) + by));
  globalThis.Plotly.Fx.hover(plot, [{ curveNumber: curve, pointNumber: chart.cursor }]);
  const said = plot.data
    .filter((trace) => trace.type === "scatter" && trace.hoverinfo !== "skip" && trace.x?.[chart.cursor] === x[chart.cursor])
    .map((trace) => `${text(trace.name)} ${valueOf(trace.y[chart.cursor])}`);
  speak(chart, `step ${stepAt(chart.answer, x[chart.cursor])}: ${said.join(", ")}`);
}

const valueOf = (y) => (Number.isFinite(y) ? String(Number(y.toPrecision(6))) : "not finite");

function speak(chart, words) {
  let place = chart.element.querySelector("[data-read-out]");
  if (!place) {
    place = document.createElement("p");
    place.className = "hidden";
    place.dataset.readOut = "";
    place.setAttribute("aria-live", "polite");
    chart.element.append(place);
  }
  place.textContent = words;
}

function scale(chart, factor) {
  const plot = chart.element.querySelector(".plot");
  const range = look.zoom ?? plot?._fullLayout?.xaxis.range.map((x) => stepAt(chart.answer, x));
  if (!range) return;
  const middle = chart.cursor === undefined ? (range[0] + range[1]) / 2 : stepAt(chart.answer, plot.data[0].x[chart.cursor] ?? 0);
  const half = ((range[1] - range[0]) * factor) / 2;
  const next = [Math.max(-1, middle - half), Math.min(middle + half, chart.answer.last_step)];
  setZoom(factor > 1 && next[0] <= 0 && next[1] >= chart.answer.last_step ? null : next);
}

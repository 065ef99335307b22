// Says what the cell of a heatmap under the pointer holds: its layer, its steps and its value. Plotly's own label could
// only show the logarithm that the colour stands for.
import { text } from "./legend.js";

const LOG = "log10";

export function tipOf(chart, event) {
  const point = event?.points?.[0];
  let tip = chart.element.querySelector(".cell-tip");
  if (point?.data.type !== "heatmap") {
    if (tip) tip.hidden = true;
    return;
  }
  if (!tip) {
    tip = document.createElement("p");
    tip.className = "cell-tip";
    tip.setAttribute("aria-hidden", "true");
    chart.element.append(tip);
  }
  const [row, column] = point.pointIndex ?? point.pointNumber;
  tip.textContent = `${text(point.data.y[row])}\n${steps(chart.answer, column)}\n${value(point)}`;
  tip.hidden = false;
  const box = chart.element.getBoundingClientRect();
  const x = event.event.clientX - box.left;
  const left = x + 14 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, event.event.clientY - box.top - tip.offsetHeight - 8)}px)`;
}

// A cell reaches to the next measured step, and its value is of the first one alone.
function steps({ columns, single }, column) {
  const [first, next] = [columns[column], columns[column + 1]];
  const say = (step) => step.toLocaleString("en");
  if (next - first < 2) return `step ${say(first)}`;
  if (!single?.[column]) return `measured in steps ${say(first)} to ${say(next - 1)}`;
  return `measured at step ${say(first)}, ${column + 2 < columns.length ? `next at ${say(next)}` : "the last time"}`;
}

function value(point) {
  const { meta } = point.data;
  if (meta && meta !== LOG) return meta;
  return String(Number((meta === LOG ? 10 ** point.z : point.z).toPrecision(4)));
}

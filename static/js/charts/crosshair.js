// A thin line at the same step in every chart but the one under the pointer, which has its own.
import { xAt } from "./axis.js";

let waiting = 0;

export function pointAll(charts, from, step) {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => {
    for (const chart of charts.values()) if (chart.visible) point(chart, chart === from ? null : step);
  });
}

function point(chart, step) {
  const plot = chart.element.querySelector(".plot");
  const axis = plot?._fullLayout?.xaxis;
  if (!axis) return;
  let hair = chart.element.querySelector(".crosshair");
  const x = typeof step === "number" ? xAt(chart.answer, step) : null;
  if (x === null || x < axis.range[0] || x > axis.range[1]) {
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
  hair.style.transform = `translateX(${axis._offset + axis.d2p(x)}px)`;
  hair.style.top = `${size.t}px`;
  hair.style.height = `${size.h}px`;
}

// A chart as a picture that stands alone: with the run, the title and the legend that are parts of the page otherwise.
import { CONFIG, surface } from "./figure.js";

const PICTURE = { format: "png", scale: 2, width: 1200, height: 600 };
const ROOM = 72; // above the plot, for the title and the labels of the marks

export function savePicture(chart) {
  const plot = chart.element.querySelector(".plot");
  if (!plot) return;
  const [run, title] = [document.querySelector("h1").textContent, chart.element.closest("figure").querySelector("figcaption > span").textContent];
  const filename = `${run} ${title}`.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 100) || "chart";
  const compared = chart.element.dataset.chart === "overlay"; // the legend names the runs
  const layout = {
    ...plot.layout,
    paper_bgcolor: surface(),
    margin: { ...plot.layout.margin, t: ROOM },
    title: { text: compared ? escaped(title) : `<b>${escaped(run)}</b> · ${escaped(title)}`, x: 0.01, xanchor: "left", y: 0.97, yanchor: "top", font: { size: 16 } },
    showlegend: true,
    legend: { orientation: "h", x: 0, xanchor: "left", y: -0.14, yanchor: "top" },
  };
  globalThis.Plotly.downloadImage({ data: named(plot.data), layout, config: CONFIG }, { ...PICTURE, filename });
}

// Of a pale line and its average the average is in the legend; so is what the legend of the page leaves out.
function named(data) {
  const colours = (trace) => `${trace.name}\n${trace.line?.color}`;
  const averages = new Set(data.filter((trace) => !isPale(trace)).map(colours));
  const isNamed = (trace) => trace.type === "scatter" && trace.name && isSeen(trace) && !(isPale(trace) && averages.has(colours(trace)));
  return data.map((trace) => ({ ...trace, showlegend: Boolean(isNamed(trace)), legendgroup: "" }));
}

const isPale = (trace) => trace.opacity < 1;
const isSeen = (trace) => trace.visible !== "legendonly" && trace.visible !== false && trace.line?.width !== 0;
const escaped = (words) => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// Gives a figure from the server the colours of the page, light or dark. Not for: what is drawn.

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00", "#4d4d4d"];
const SEVERITIES = { "#b3261e": "--severity-error", "#8f5a00": "--severity-warning", "#0a65a8": "--severity-info" };

const PALE = /^#[0-9a-f]{8}$/i; // its last two digits are the opacity of the line

export const CONFIG = {
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  responsive: false, // charts.js watches the size of each chart
  displayModeBar: false,
  doubleClick: false, // charts.js shows the whole run again
  scrollZoom: false,
};

export function coloured(data) {
  const get = reader();
  const swap = (colour) => {
    const base = colour?.slice?.(0, 7);
    const index = LIGHT.indexOf(base);
    const name = index >= 0 ? `--data-${index + 1}` : SEVERITIES[base];
    const found = name && get(name);
    return found || (PALE.test(colour) ? base : colour);
  };
  return data.map((trace) => ({
    ...trace,
    ...faded(trace.line?.color),
    ...(trace.line && { line: { ...trace.line, color: swap(trace.line.color) } }),
    ...(trace.marker && { marker: { ...trace.marker, color: swap(trace.marker.color) } }),
  }));
}

// The line is pale, and its name in the label under the pointer is not.
const faded = (colour) => (PALE.test(colour) ? { opacity: parseInt(colour.slice(7), 16) / 255 } : {});

// `zoom` is the range of the x axis where it is known; otherwise plotly fits it.
export function styled(layout, zoom) {
  const get = reader();
  const [ink, grid, surface] = [get("--chart-text"), get("--chart-grid"), get("--chart-paper")];
  const severity = (colour) => (SEVERITIES[colour] ? get(SEVERITIES[colour]) : colour === "note" ? ink : colour);
  const axis = (own) => own && { ...own, gridcolor: grid, linecolor: grid, tickcolor: grid, zerolinecolor: grid };
  return {
    ...layout,
    autosize: true,
    showlegend: false,
    font: { color: ink, size: 11, family: getComputedStyle(document.body).fontFamily },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: surface, bordercolor: grid, font: { color: get("--text") }, namelength: -1 },
    xaxis: { ...axis(layout.xaxis), ...(zoom ? { range: [...zoom], autorange: false } : { range: undefined, autorange: true }) },
    yaxis: { ...axis(layout.yaxis), fixedrange: true },
    ...(layout.yaxis2 && { yaxis2: layout.yaxis2 }),
    ...(layout.yaxis3 && { yaxis3: { ...axis(layout.yaxis3), fixedrange: true } }),
    shapes: (layout.shapes ?? []).map((shape) => shape.line ? { ...shape, line: { ...shape.line, color: severity(shape.line.color) } } : shape),
    annotations: (layout.annotations ?? []).map((note) => ({
      ...note,
      font: { ...note.font, color: severity(note.font.color) },
    })),
    dragmode: "zoom",
  };
}

export function surface() {
  return reader()("--chart-paper");
}

function reader() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}

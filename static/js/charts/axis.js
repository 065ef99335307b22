// Where the x axis is time or another series, a chart's answer brings the x of its steps along: everything that charts
// share (zoom, crosshair) is said in steps.

export function stepAt(answer, x) {
  const axis = answer?.axis;
  if (!axis) return x;
  return axis.steps[nearest(axis.x, x)] ?? null;
}

export function xAt(answer, step) {
  const axis = answer?.axis;
  if (!axis) return step;
  return axis.x[nearest(axis.steps, step)] ?? null;
}

function nearest(values, wanted) {
  let best = -1;
  let least = Infinity;
  for (let index = 0; index < values.length; index += 1) {
    const away = values[index] === null ? Infinity : Math.abs(values[index] - wanted);
    if (away < least) [best, least] = [index, away];
  }
  return best;
}

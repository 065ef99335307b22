// Lines come as bytes: makes arrays of numbers of them, once, so that all others read x and y as ever. Plotly would do so
// too, but keeps the result to itself. What is no number is NaN.

const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array };

export function unpacked(answer) {
  for (const trace of answer.figure?.data ?? []) {
    for (const key of ["x", "y"]) if (trace[key]?.bdata) trace[key] = numbers(trace[key]);
    if (trace.customdata?.bdata) placesOf(trace);
  }
  return answer;
}

function numbers({ dtype, bdata }) {
  const text = atob(bdata);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return new KINDS[dtype](bytes.buffer);
}

// How many points stand behind each place of a line; where it is one alone, nothing is said.
function placesOf(trace) {
  const words = new Map([[1, ""]]);
  trace.customdata = Array.from(numbers(trace.customdata), (count) => {
    if (!words.has(count)) words.set(count, ` (min–max of ${count.toLocaleString("en")} points)`);
    return words.get(count);
  });
  trace.hovertemplate = "%{y:.5g}%{customdata}";
}

// The server writes UTC; the reader sees the time of the place where the browser is, and how long ago it was.

const REFRESH_MS = 30_000;
const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60]];

export function startTimes() {
  localise();
  document.addEventListener("htmx:after:swap", localise);
  setInterval(localise, REFRESH_MS);
}

function localise() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const local = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    time.title = `${local} (${time.dateTime})`;
    put(time, time.hasAttribute("data-ago") ? ago(moment) : local);
  }
}

function ago(moment) {
  const seconds = (Date.now() - moment.getTime()) / 1_000;
  const unit = UNITS.find(([, size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[1])} ${unit[0]} ago` : "just now";
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

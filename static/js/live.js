// Listens to the stream that this browser's tabs share and says on `document` what is new: gw:state, gw:data and
// gw:findings with detail.step, and gw:series now and then while data comes, for parts that change rarely. Fragments and
// charts ask for what they show; nothing travels in the stream itself.
import { Stream } from "./live-stream.js";

const PAUSE_MS = { state: 300, data: 500, findings: 300, series: 3000 };
const HIDDEN_AFTER_MS = 10_000;
const LOST_AFTER_MS = 3_000;
const ANSWER_MS = 5_000; // a worker that runs answers at once

let lostSince = 0;

export function startLive() {
  const runs = document.body.dataset.liveRuns;
  if (runs === undefined) return;
  const wanted = new Set(JSON.parse(runs));
  const sayings = Object.fromEntries(Object.entries(PAUSE_MS).map(([kind, pause]) => [kind, paced(kind, pause)]));
  const hear = (news) => {
    if (news.link) return showLink(news);
    if (wanted.size && news.run !== null && !wanted.has(news.run)) return;
    sayings[news.kind](news);
    if (news.kind === "data") sayings.series(news);
  };
  if (globalThis.SharedWorker) share(hear);
  else listen(hear);
  setInterval(writeLink, 1_000);
}

function share(hear) {
  const worker = new SharedWorker("/static/js/live-worker.js", { type: "module", name: "gradwatch live" });
  const left = new AbortController();
  const { signal } = left;
  let heard = false;
  let silence = 0;
  // one that could not be loaded, because the server went in that moment, says so or says nothing at all; what came
  // meanwhile was not heard: the first word of the own stream shows it
  const alone = () => {
    clearTimeout(silence);
    worker.port.postMessage("bye");
    left.abort();
    lostSince ||= Date.now();
    listen(hear, lostSince);
  };
  worker.addEventListener("error", alone, { once: true, signal });
  worker.port.addEventListener("message", ({ data }) => {
    heard = true;
    clearTimeout(silence);
    hear(data);
  }, { signal });
  worker.port.start();
  const tell = () => {
    worker.port.postMessage(document.hidden ? "hidden" : "seen");
    clearTimeout(silence);
    if (!heard && !document.hidden) silence = setTimeout(alone, ANSWER_MS);
  };
  document.addEventListener("visibilitychange", tell, { signal });
  addEventListener("pagehide", () => worker.port.postMessage("bye"), { signal });
  addEventListener("pageshow", (event) => event.persisted && tell(), { signal });
  tell();
}

// Without shared workers each tab has a stream of its own, and gives it back while nobody looks.
function listen(hear, since = 0) {
  const stream = new Stream("/api/v1/live", hear);
  stream.lostSince = since; // then its first word says that the server is back
  let hiding = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => stream.close(), HIDDEN_AFTER_MS);
    else stream.open();
  });
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => event.persisted && stream.open());
  stream.open();
}

// Says the first of a burst at once and the newest of it after a pause, so that nothing is lost and nothing flickers.
function paced(kind, pause) {
  let waiting = null;
  let resting = false;
  const say = (detail) => {
    document.dispatchEvent(new CustomEvent(`gw:${kind}`, { detail }));
    resting = true;
    setTimeout(() => {
      resting = false;
      const next = waiting;
      waiting = null;
      if (next) say(next);
    }, pause);
  };
  return (detail) => (resting ? (waiting = detail) : say(detail));
}

function showLink({ link, since }) {
  lostSince = link === "lost" ? since : 0;
  document.body.toggleAttribute("data-lost", Boolean(lostSince));
  writeLink();
}

function writeLink() {
  const place = document.querySelector("[data-link-state]");
  const away = lostSince ? Date.now() - lostSince : 0;
  place.hidden = away < LOST_AFTER_MS;
  if (!place.hidden) place.textContent = `No answer from the server for ${span(away)}; what you see is from before. Trying again…`;
}

function span(milliseconds) {
  const seconds = Math.floor(milliseconds / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

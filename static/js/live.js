// Listens to the page's event stream and says on `document` what is new: gw:state, gw:data and gw:findings with
// detail.step, and gw:series now and then while data comes, for parts that change rarely. Fragments and charts ask
// for what they show; nothing travels in the stream itself.

const PAUSE_MS = { state: 300, data: 500, findings: 300, series: 3000 };
const HIDDEN_AFTER_MS = 10_000; // browsers give a site six connections: a tab that nobody sees gives its own back
const LOST_AFTER_MS = 3_000;

export function startLive() {
  const url = document.body.dataset.live;
  if (!url) return;
  const sayings = Object.fromEntries(Object.entries(PAUSE_MS).map(([kind, pause]) => [kind, paced(kind, pause)]));
  let source = null;
  let lost = 0;
  let hiding = 0;

  const connected = (yes) => {
    clearTimeout(lost);
    lost = yes ? (showLink(""), 0) : setTimeout(() => showLink("Connection lost, trying again…"), LOST_AFTER_MS);
  };
  const open = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource(url);
    source.onopen = () => connected(true);
    source.onerror = () => {
      connected(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(() => !document.hidden && open(), LOST_AFTER_MS);
    };
    for (const kind of ["state", "data", "findings"]) {
      source.addEventListener(kind, (event) => {
        const detail = JSON.parse(event.data);
        sayings[kind](detail);
        if (kind === "data") sayings.series(detail);
      });
    }
  };
  const close = () => {
    source?.close();
    connected(true);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_AFTER_MS);
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
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

function showLink(text) {
  const place = document.querySelector("[data-link-state]");
  place.hidden = !text;
  place.textContent = text;
}

// One event stream to the server, kept alive: it says what is new, when the server is lost, and when it is back.
// Runs in a shared worker, or in the page where a browser has none. Not for: what a page does with the news.

const AGAIN_MS = 3_000;
const DOUBT_MS = 45_000; // after so long without a word the server is asked whether it is there
const ANSWER_MS = 5_000;
const KINDS = ["state", "data", "findings"];

export class Stream {
  constructor(url, hear) {
    this.url = url;
    this.hear = hear; // called with {kind, run, step} or {link, since}
    this.source = null;
    this.lostSince = 0;
    this.timer = 0;
    this.watch = 0;
  }

  open() {
    if (this.source && this.source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.timer);
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => this.found();
    source.onerror = () => {
      this.lose();
      if (source.readyState === EventSource.CLOSED) this.again();
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        this.found();
        const news = JSON.parse(event.data);
        // the first word of each stream: of any run anything may have changed while none was open
        for (const each of news.run === null ? KINDS : [kind]) this.hear({ kind: each, ...news });
      });
    }
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    this.source?.close();
    this.source = null;
    this.lostSince = 0;
  }

  status() {
    return { link: this.lostSince ? "lost" : "fine", since: this.lostSince };
  }

  found() {
    if (this.lostSince) {
      this.lostSince = 0;
      this.hear(this.status());
    }
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.doubt(), DOUBT_MS);
  }

  lose() {
    if (!this.lostSince) this.lostSince = Date.now();
    this.hear(this.status());
  }

  again() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), AGAIN_MS);
  }

  // A machine that slept or a cable that was pulled leaves a stream that never ends and never speaks.
  async doubt() {
    try {
      const answer = await fetch("/api/v1/health", { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      this.found();
    } catch {
      this.source?.close();
      this.lose();
      this.again();
    }
  }
}

// Shared by all tabs of this browser, so that they hold one stream together: a browser gives a site six connections.
// Nobody looks: the stream is closed after a while. A tab that is looked at again is told to ask for everything.
import { Stream } from "./live-stream.js";

const CLOSE_AFTER_MS = 10_000;
const tabs = new Map(); // port → whether it is looked at
let closing = 0;

const stream = new Stream("/api/v1/live", (news) => {
  for (const [port, seen] of tabs) if (seen) port.postMessage(news);
});

self.addEventListener("connect", (event) => {
  const [port] = event.ports;
  port.addEventListener("message", ({ data }) => {
    if (data === "bye") tabs.delete(port);
    else {
      const catchUp = data === "seen" && !tabs.get(port); // what came between its rendering and now is not known to it
      tabs.set(port, data === "seen");
      if (catchUp) for (const kind of ["state", "data", "findings"]) port.postMessage({ kind, run: null, step: -1 });
      if (data === "seen") port.postMessage(stream.status());
    }
    settle();
  });
  port.start();
});

function settle() {
  clearTimeout(closing);
  if ([...tabs.values()].some(Boolean)) stream.open();
  else closing = setTimeout(() => stream.close(), CLOSE_AFTER_MS);
}

// Says gw:tick on `document` once a second as long as a part of the page says that the server still works on it.
const EVERY_MS = 1_000;

export function startWorking() {
  if (!document.querySelector("[data-working]")) return;
  const timer = setInterval(() => {
    if (!document.querySelector("[data-working]")) clearInterval(timer);
    else if (!document.hidden) document.dispatchEvent(new CustomEvent("gw:tick"));
  }, EVERY_MS);
}

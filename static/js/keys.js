// The keyboard: "?" shows what there is. Keys act only where nobody is typing.

const JUMP = { r: "/", u: "/rules" };

export function startKeys() {
  let leader = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, dialog[open], [contenteditable]")) return;
    const pressed = event.key;
    if (Date.now() - leader < 1_500 && JUMP[pressed]) {
      event.preventDefault();
      location.href = JUMP[pressed];
      return;
    }
    leader = pressed === "g" ? Date.now() : 0;
    if (pressed === "?") {
      event.preventDefault();
      document.querySelector("[data-help]").showModal();
    } else if (pressed === "j" || pressed === "k") step(pressed === "j" ? 1 : -1);
    else if (pressed === "x") document.activeElement?.closest("[data-row]")?.querySelector("[data-tick]")?.click();
    else {
      const target = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === pressed);
      if (!target) return;
      event.preventDefault();
      if (target.matches("input, select")) target.focus();
      else target.click();
    }
  });
  document.querySelector("[data-help-open]")?.addEventListener("click", () => document.querySelector("[data-help]").showModal());
}

// Moves through rows, findings or charts: whatever the page has most of at the top.
function step(by) {
  const stops = [...document.querySelectorAll("[data-row] a[href^='/runs/'], article[data-finding], .chart[data-chart]")].filter(
    (element) => element.checkVisibility(),
  );
  if (!stops.length) return;
  const at = stops.findIndex((stop) => stop.contains(document.activeElement));
  const next = stops[Math.min(stops.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : stops.length - 1) : at + by))];
  if (next.matches("article")) next.tabIndex = -1;
  next.focus();
}

// A run that somebody deletes while its page is open: the page is asked for again, and says so with the way back.
const LATER_MS = 1_000; // who deletes it here is on the way to another page

export function startGone() {
  document.addEventListener("htmx:response:error", ({ detail, target }) => {
    if (target.id === "head" && detail.ctx.response.status === 404) setTimeout(() => location.reload(), LATER_MS);
  });
}

// Buttons that copy the text of another element. Where a browser may not copy, the text is selected instead.

import { toast } from "./toasts.js";

const SAID_MS = 1_500;

export function startCopy() {
  document.addEventListener("click", async (event) => {
    const remote = event.target.closest?.("[data-copy-url]");
    if (remote) return copyFrom(remote);
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    if (!navigator.clipboard) return getSelection().selectAllChildren(source);
    await navigator.clipboard.writeText(source.textContent);
    const word = button.querySelector("[data-copy-word]");
    word.textContent = "Copied";
    setTimeout(() => (word.textContent = "Copy"), SAID_MS);
  });
}

// Fetches a text and copies it; where that is not allowed, the text is opened instead.
async function copyFrom(button) {
  const answer = await fetch(button.dataset.copyUrl).catch(() => null);
  if (!answer?.ok || !navigator.clipboard) return location.assign(button.dataset.copyUrl);
  await navigator.clipboard.writeText(await answer.text());
  toast("Summary copied, as Markdown.");
}

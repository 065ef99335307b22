// Buttons that copy the text of another element. Where a browser may not copy, the text is selected instead.

const SAID_MS = 1_500;

export function startCopy() {
  document.addEventListener("click", async (event) => {
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

// Says in a corner what was done, with a button that takes it back. Also read out by screen readers.

const SHOWN_MS = 12_000;

export function toast(sentence, action = null) {
  const place = document.querySelector("[data-toasts]");
  const box = document.createElement("div");
  box.className = "toast";
  const text = document.createElement("span");
  text.textContent = sentence;
  box.append(text);
  const leave = () => box.remove();
  let timer = setTimeout(leave, SHOWN_MS);
  box.addEventListener("mouseenter", () => clearTimeout(timer));
  box.addEventListener("focusin", () => clearTimeout(timer));
  box.addEventListener("mouseleave", () => (timer = setTimeout(leave, SHOWN_MS)));
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action.word;
    button.addEventListener("click", () => {
      leave();
      action.act();
    });
    box.append(button);
  }
  place.append(box);
  while (place.children.length > 3) place.firstElementChild.remove();
}

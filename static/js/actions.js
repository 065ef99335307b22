// Buttons that change one field of a finding: they ask the API and let the page hear of it. A dot of a picture opens its run.
import { ask } from "./ask.js";
import { toast } from "./toasts.js";

export function startActions() {
  document.addEventListener("click", ({ target }) => target.dataset?.open && location.assign(target.dataset.open));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-patch]");
    if (!button || button.ariaBusy === "true") return;
    const pressed = button.getAttribute("aria-pressed") === "true";
    button.ariaBusy = "true"; // not disabled: that would take the focus away
    const change = (value) => ask("PATCH", button.dataset.patch, { [button.dataset.field]: value }).then(heard);
    try {
      await change(!pressed);
      if (button.dataset.field === "muted" && !pressed) {
        toast("Muted: it no longer counts in the verdict.", { word: "Undo", act: () => change(false).catch(failed) });
      }
    } catch (error) {
      failed(error);
    } finally {
      button.ariaBusy = null;
    }
  });
}

function heard() {
  document.dispatchEvent(new CustomEvent("gw:findings", { detail: {} }));
}

function failed(error) {
  toast(error.message);
}

// Buttons that change one field of a finding: they ask the API and let the page hear of it.

export function startActions() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-patch]");
    if (!button || button.ariaBusy === "true") return;
    const pressed = button.getAttribute("aria-pressed") === "true";
    button.ariaBusy = "true"; // not disabled: that would take the focus away
    try {
      const answer = await fetch(button.dataset.patch, {
        method: "PATCH",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ [button.dataset.field]: !pressed }),
      });
      if (!answer.ok) throw new Error((await answer.json()).detail);
      document.dispatchEvent(new CustomEvent("gw:findings", { detail: {} }));
    } catch (error) {
      button.title = error.message;
      button.textContent = "Not saved, try again";
    } finally {
      button.ariaBusy = null;
    }
  });
}

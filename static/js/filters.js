// Filters without a reload: what is chosen goes into the address, and the table is asked for again.

const TYPING_MS = 250;

export function startFilters() {
  const form = document.querySelector("[data-filters]");
  if (form) {
    let typing = 0;
    form.addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => apply(form), event.target.type === "search" ? TYPING_MS : 0);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      apply(form);
    });
  }
  document.addEventListener("change", (event) => event.target.closest?.("[data-stat]")?.requestSubmit());
}

function apply(form) {
  form.elements.cursor.value = "";
  const chosen = new URLSearchParams(new FormData(form));
  for (const [name, value] of [...chosen]) {
    if (!value || (name === "sort" && value === "started")) chosen.delete(name);
  }
  history.replaceState(null, "", chosen.size ? `/?${chosen}` : "/");
  document.dispatchEvent(new CustomEvent("gw:filter"));
}

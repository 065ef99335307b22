// Filters without a reload: what is chosen goes into the address, and the table is asked for again. Added columns are also
// remembered for the next visit.

const TYPING_MS = 250;
const DEFAULTS = { sort: "started" };
const COLUMNS = "gradwatch-columns";
const MOST_COLUMNS = 12;

export function startFilters() {
  const form = document.querySelector("[data-filters]");
  if (form) startTable(form);
  document.addEventListener("input", (event) => event.target.matches?.("[data-narrow]") && narrow(event.target));
  document.addEventListener("input", (event) => event.target.form?.matches("[data-find]") && keep(event.target));
  const again = () => document.querySelectorAll("[data-narrow]").forEach((field) => field.value && narrow(field));
  document.addEventListener("htmx:after:swap", again);
  again();
}

function startTable(form) {
  let typing = 0;
  restoreColumns();
  // Columns that are added later belong to the form by their form attribute, and their events bubble elsewhere.
  document.addEventListener("input", (event) => {
    if (event.target.form !== form) return;
    if (event.target.name === "sort") form.elements.reverse.value = "";
    clearTimeout(typing);
    typing = setTimeout(() => apply(form), event.target.type === "search" ? TYPING_MS : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply(form);
  });
  // what was typed before this script was there
  if (form.elements.search.value !== (new URLSearchParams(location.search).get("search") ?? "")) apply(form);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-sort]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const order = form.elements.sort;
    if (![...order.options].some((option) => option.value === link.dataset.sort)) order.add(new Option(link.textContent, link.dataset.sort));
    order.value = link.dataset.sort;
    form.elements.reverse.value = link.dataset.reverse;
    apply(form);
  });
}

// An address with columns of its own stays what its sender saw.
function restoreColumns() {
  const url = new URL(location.href);
  if (url.searchParams.has("col")) return;
  let kept = [];
  try {
    kept = JSON.parse(localStorage.getItem(COLUMNS) ?? "[]");
  } catch {
    localStorage.removeItem(COLUMNS);
  }
  for (const name of kept) url.searchParams.append("col", name);
  if (kept.length) location.replace(url);
}

function apply(form) {
  form.elements.cursor.value = "";
  const chosen = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value && value !== DEFAULTS[name]) chosen.append(name, value);
  localStorage.setItem(COLUMNS, JSON.stringify(chosen.getAll("col").slice(0, MOST_COLUMNS)));
  history.replaceState(null, "", chosen.size ? `/?${chosen}` : "/");
  document.dispatchEvent(new CustomEvent("gw:filter"));
}

// A search within a page stands in its address too.
function keep(field) {
  const url = new URL(location.href);
  if (field.value) url.searchParams.set(field.name, field.value);
  else url.searchParams.delete(field.name);
  history.replaceState(history.state, "", url);
}

// Hides the entries of a list that do not hold every word of what is typed.
function narrow(field) {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = document.getElementById(field.dataset.narrow);
  for (const entry of list.querySelectorAll("[data-narrow-text]")) {
    const text = entry.dataset.narrowText.toLowerCase();
    entry.hidden = !words.every((word) => text.includes(word));
  }
  for (const group of list.querySelectorAll("[data-narrow-group]")) {
    group.hidden = !group.querySelector("[data-narrow-text]:not([hidden])");
  }
  const none = list.querySelector("[data-narrow-none]");
  if (none) none.hidden = Boolean(list.querySelector("[data-narrow-text]:not([hidden])"));
}

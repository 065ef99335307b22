// The layers page: the module tree folds the heatmap, and a click on a row opens the drawer of that layer. All of it
// stands in the address.

const TYPING_MS = 250;
let typing = 0;

const heatmap = () => document.getElementById("chart-layers");

function start() {
  document.addEventListener("toggle", (event) => event.target.matches?.("[data-module]") && fold(), true);
  document.addEventListener("click", (event) => {
    const layer = event.target.closest?.("a[data-layer]");
    const all = event.target.closest?.("a[data-open]");
    const close = event.target.closest?.("[data-close-drawer]");
    if (!(layer || all || close) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (layer) openDrawer(layer.dataset.layer);
    if (close) closeDrawer();
    if (all) for (const module of modules()) module.open = all.dataset.open === "*";
  });
  document.addEventListener("keydown", escape, true); // before a menu has heard of it
  document.addEventListener("gw:layer", ({ detail }) => {
    const row = detail.row;
    if (!row) return;
    if (row.folded) modules().find((module) => module.dataset.module === row.path).open = true;
    else openDrawer(row.path);
  });
  document.querySelector("[data-find-layer]")?.addEventListener("input", find);
  if (document.querySelector("[data-find-layer]")?.value) find(); // a browser keeps what was typed
  document.querySelector("[data-layers-form]")?.addEventListener("change", (event) => {
    address((query) => query.set("stat", event.target.value));
    location.reload();
  });
}

function escape(event) {
  if (event.key !== "Escape" || !document.querySelector("[data-drawer-title]")) return;
  if (document.fullscreenElement || document.querySelector("dialog[open], details.drop[open]")) return; // these go first
  if (!event.target.closest?.("input, select")) closeDrawer();
}

const modules = () => [...document.querySelectorAll("[data-module]")];

// The map keeps to what the list shows, once nobody types any more.
function find() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const words = document.querySelector("[data-find-layer]").value.trim();
    ask((query) => (words ? query.set("find", words) : query.delete("find")));
  }, TYPING_MS);
}

function fold() {
  const all = modules();
  const open = all.filter((module) => module.open).map((module) => module.dataset.module);
  const names = open.length === all.length ? ["*"] : open.length ? open : ["none"];
  const put = (query) => {
    query.delete("open");
    for (const name of names) query.append("open", name);
  };
  address(put);
  ask(put);
}

function ask(edit) {
  const url = new URL(heatmap().dataset.url, location.href);
  edit(url.searchParams);
  heatmap().dataset.url = url.pathname + url.search;
  document.dispatchEvent(new CustomEvent("gw:places"));
}

function openDrawer(layer) {
  document.querySelector("#drawer-choice [name=layer]").value = layer;
  address((query) => query.set("layer", layer));
  for (const link of document.querySelectorAll("a[data-layer]")) link.toggleAttribute("aria-current", link.dataset.layer === layer);
  document.addEventListener("htmx:after:swap", () => document.querySelector("[data-drawer-title]")?.focus({ preventScroll: false }), { once: true });
  document.dispatchEvent(new CustomEvent("gw:drawer", { detail: {} }));
}

function closeDrawer() {
  address((query) => query.delete("layer"));
  document.getElementById("drawer").replaceChildren();
  document.dispatchEvent(new CustomEvent("gw:places"));
  heatmap().querySelector("[data-chart]").focus();
}

function address(edit) {
  const url = new URL(location.href);
  edit(url.searchParams);
  history.replaceState(history.state, "", url);
}

start();

// What can be done with runs: a menu for each, ticks for several, one dialog for name and tags. What is taken away can
// be brought back from the toast.
import { ask } from "./ask.js";
import { toast } from "./toasts.js";

const CHANGES = "/api/v1/runs/changes";
const DONE = {
  archive: ["Archived", { archived: true }, { archived: false }],
  unarchive: ["Brought back from the archive", { archived: false }, { archived: true }],
  delete: ["Deleted; it can be brought back for a day", { deleted: true }, { deleted: false }],
  restore: ["Restored", { deleted: false }, { deleted: true }],
};
const MOST_COMPARED = 20;
const ticked = new Set();
let editing = null;

export function startRuns() {
  document.addEventListener("click", (event) => {
    const one = event.target.closest?.("[data-run-act]");
    if (one) return actOnOne(one.dataset.runAct, one.closest("[data-run]"));
    const many = event.target.closest?.("[data-bulk]");
    if (many) actOnMany(many.dataset.bulk);
  });
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches("[data-tick-all]")) {
      for (const tick of document.querySelectorAll("[data-tick]")) mark(tick.dataset.tick, box.checked);
    } else if (box.matches("[data-tick]")) mark(box.dataset.tick, box.checked);
    else return;
    showTicks();
  });
  document.addEventListener("htmx:after:swap", showTicks);
  document.querySelector("[data-edit-cancel]")?.addEventListener("click", () => dialog().close());
  dialog()?.querySelector("form").addEventListener("submit", save);
}

function actOnOne(act, place) {
  place.closest("details").open = false;
  const ids = [place.dataset.run];
  if (act === "edit") return edit({ ids, ...place.dataset });
  change(act, ids, place.dataset.name);
}

function actOnMany(act) {
  const ids = [...ticked];
  if (act === "compare") {
    location.href = `/compare?${new URLSearchParams(ids.map((id) => ["run", id]))}`;
    return;
  }
  if (act === "tag") return edit({ ids });
  if (act !== "none") change(act, ids, `${ids.length} ${ids.length === 1 ? "run" : "runs"}`);
  ticked.clear();
  showTicks();
}

async function change(act, ids, what) {
  const [words, forth, back] = DONE[act];
  const leaves = act === "delete" && location.pathname.startsWith("/runs/") ? deaf() : null;
  try {
    await ask("POST", CHANGES, { ids, ...forth });
    if (leaves) return void location.assign("/?shelf=deleted");
    const undo = () => ask("POST", CHANGES, { ids, ...back }).then(heard, failed);
    toast(`${what}: ${words[0].toLowerCase()}${words.slice(1)}.`, { word: "Undo", act: undo });
    heard();
  } catch (error) {
    leaves?.abort();
    failed(error);
  }
}

// A page whose run is about to go hears of no news: what it would ask for again is not there any more.
function deaf() {
  const end = new AbortController();
  for (const kind of ["state", "data", "findings", "series"]) {
    window.addEventListener(`gw:${kind}`, (event) => event.stopImmediatePropagation(), { capture: true, signal: end.signal });
  }
  return end;
}

function edit(what) {
  editing = what;
  const form = dialog().querySelector("form");
  const one = Boolean(what.api);
  form.querySelector("[data-edit-name]").hidden = !one;
  form.elements.name.required = one;
  form.elements.name.value = what.name ?? "";
  form.elements.tags.value = what.tags ?? "";
  dialog().querySelector("h2").textContent = one ? "Name and tags" : `Add tags to ${what.ids.length} runs`;
  wrong("");
  dialog().showModal();
}

async function save(event) {
  event.preventDefault();
  const form = event.target;
  const tags = form.elements.tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  try {
    if (editing.api) await ask("PATCH", editing.api, { name: form.elements.name.value.trim(), tags });
    else if (tags.length) await ask("POST", CHANGES, { ids: editing.ids, add_tags: tags });
    dialog().close();
    heard();
  } catch (error) {
    wrong(error.message);
  }
}

function mark(id, yes) {
  if (yes) ticked.add(id);
  else ticked.delete(id);
}

// The rows come from the server without ticks: what is ticked is put back after each swap.
function showTicks() {
  const bar = document.querySelector("[data-selection]");
  if (!bar) return;
  const boxes = [...document.querySelectorAll("[data-tick]")];
  for (const box of boxes) box.checked = ticked.has(box.dataset.tick);
  const all = document.querySelector("[data-tick-all]");
  if (all) {
    all.checked = boxes.length > 0 && boxes.every((box) => box.checked);
    all.indeterminate = !all.checked && boxes.some((box) => box.checked);
  }
  bar.hidden = ticked.size === 0;
  bar.querySelector("[data-selection-count]").textContent = `${ticked.size} ticked`;
  const shelf = document.querySelector("[name=shelf]")?.value;
  const shown = { archive: shelf === "", unarchive: shelf === "archived", restore: shelf === "deleted", delete: shelf !== "deleted",
    compare: shelf !== "deleted" && ticked.size > 1 && ticked.size <= MOST_COMPARED };
  bar.querySelector("[data-selection-most]").hidden = shelf === "deleted" || ticked.size <= MOST_COMPARED;
  // a viewer has fewer of them
  for (const button of bar.querySelectorAll("[data-bulk]")) if (button.dataset.bulk in shown) button.hidden = !shown[button.dataset.bulk];
}

const dialog = () => document.querySelector("[data-edit-run]");
const failed = (error) => toast(error.message);

function wrong(sentence) {
  const place = dialog().querySelector("[data-edit-wrong]");
  place.textContent = sentence;
  place.hidden = !sentence;
}

function heard() {
  document.dispatchEvent(new CustomEvent("gw:state", { detail: {} }));
}

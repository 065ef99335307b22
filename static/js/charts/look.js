// How all charts of a page are looked at: x axis, smoothing, y axis, process, the zoomed steps. It stands in the address, so a
// link shows what its sender saw; pins are also remembered for the next visit.

const FIELDS = ["x", "group", "smooth", "scale", "order", "find", "rank"];
const DEFAULTS = { x: "step" };
const PINS = "gradwatch-pins";
const TYPING_MS = 250;

const listeners = new Set();
export const look = { x: "step", group: "", smooth: "", scale: "", rank: "", zoom: null };
let typing = 0;
const PLACES = ["order", "rank"]; // what stands in the places of the charts too

export function onLook(listener) {
  listeners.add(listener);
}

export function startLook() {
  readAddress();
  if (form()) restorePins();
  document.addEventListener("input", (event) => event.target.form === form() && event.target.name !== "pin" && change(event.target));
  document.addEventListener("change", (event) => event.target.closest("[data-stat]") && chooseStat(event.target));
  form()?.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const pin = event.target.closest?.("[data-pin]");
    if (pin) togglePin(pin.dataset.pin);
    if (event.target.closest?.("[data-zoom-reset]")) setZoom(null);
  });
  addEventListener("popstate", () => {
    readAddress();
    tell(false);
  });
  showZoom();
}

export function setZoom(range) {
  const rounded = range && [Math.floor(range[0]), Math.ceil(range[1])];
  if (rounded && !(rounded[0] < rounded[1])) return;
  if (String(rounded) === String(look.zoom)) return;
  look.zoom = rounded;
  writeAddress((query) => {
    put(query, "from", rounded?.[0]);
    put(query, "to", rounded?.[1]);
  });
  tell(false);
}

export function query(url, points) {
  if (points) url.searchParams.set("points", String(points));
  if (look.x !== "step") url.searchParams.set("x", look.x);
  if (look.group) url.searchParams.set("group", look.group);
  if (look.smooth) url.searchParams.set("smooth", look.smooth);
  if (look.scale) url.searchParams.set("scale", look.scale);
  if (look.rank) url.searchParams.set("rank", look.rank);
  if (look.zoom) {
    url.searchParams.set("from", String(look.zoom[0]));
    url.searchParams.set("to", String(look.zoom[1]));
  }
  return url;
}

function change(field) {
  const value = field.value === DEFAULTS[field.name] ? "" : field.value;
  writeAddress((query) => put(query, field.name, value));
  if (field.name in look) look[field.name] = field.value;
  if (field.name !== "find") tell(PLACES.includes(field.name));
  else if (document.querySelector("[data-left-out]")) soon();
}

// What is looked for may be among the charts that the page left out.
function soon() {
  clearTimeout(typing);
  typing = setTimeout(() => say("gw:look"), TYPING_MS);
}

function chooseStat(field) {
  writeAddress((query) => put(query, "stat", field.value));
  say("gw:look");
}

function togglePin(name) {
  const pins = new Set(new URLSearchParams(location.search).getAll("pin"));
  if (!pins.delete(name)) pins.add(name);
  localStorage.setItem(PINS, JSON.stringify([...pins].slice(0, 100)));
  writePins([...pins]);
  say("gw:look");
}

function restorePins() {
  if (new URLSearchParams(location.search).has("pin")) return;
  let kept = [];
  try {
    kept = JSON.parse(localStorage.getItem(PINS) ?? "[]");
  } catch {
    localStorage.removeItem(PINS);
  }
  const here = kept.filter((name) => document.querySelector(`[data-pin="${CSS.escape(name)}"]`));
  if (!here.length) return;
  writePins(here);
  addEventListener("load", () => say("gw:look"), { once: true });
}

function writePins(pins) {
  for (const old of form().querySelectorAll("[name=pin]")) old.remove();
  for (const name of pins) {
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "pin", value: name });
    form().append(field);
  }
  writeAddress((query) => {
    query.delete("pin");
    for (const name of pins) query.append("pin", name);
  });
}

function readAddress() {
  const asked = new URLSearchParams(location.search);
  look.x = asked.get("x") || "step";
  look.group = asked.get("group") ?? "";
  look.smooth = asked.get("smooth") ?? "";
  look.scale = asked.get("scale") ?? "";
  look.rank = asked.get("rank") ?? "";
  const range = [asked.get("from"), asked.get("to")].map((text) => (text === null ? NaN : Number(text)));
  look.zoom = range.every(Number.isFinite) && range[0] < range[1] ? range : null;
  for (const name of FIELDS) {
    const field = form()?.elements[name];
    if (field && asked.has(name)) field.value = asked.get(name);
  }
}

function writeAddress(edit) {
  const url = new URL(location.href);
  edit(url.searchParams);
  history.replaceState(history.state, "", url);
}

function put(query, name, value) {
  if (value === undefined || value === "") query.delete(name);
  else query.set(name, String(value));
}

function tell(places) {
  showZoom();
  for (const listener of listeners) listener();
  if (places) say("gw:look");
}

function showZoom() {
  const place = document.querySelector("[data-zoomed]");
  if (!place) return;
  place.hidden = !look.zoom;
  if (look.zoom) place.querySelector("[data-zoom-text]").textContent = `Steps ${look.zoom[0].toLocaleString("en")} to ${look.zoom[1].toLocaleString("en")}`;
}

const form = () => document.getElementById("look");
const say = (name) => document.dispatchEvent(new CustomEvent(name, { detail: {} }));

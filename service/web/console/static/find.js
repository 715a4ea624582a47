/** A finder over models, datasets and screens, as one types. */

import { go } from "./address.js";
import { pages } from "./api.js";
import { fill, h } from "./dom.js";

/** How many results are shown. */
const SHOWN = 12;
const SCREENS = [
  { kind: "screen", name: "Models", address: "/console/" },
  { kind: "screen", name: "Data", address: "/console/data" },
  { kind: "screen", name: "Jobs", address: "/console/jobs" },
];

/** @typedef {{ kind: string, name: string, address: string }} Place */

/** Show the finder. */
export function showFinder() {
  /** @type {Place[]} */
  const places = [...SCREENS];
  let chosen = 0;
  const list = h("ul", { id: "found", role: "listbox", "aria-label": "Found" });
  const combobox = { role: "combobox", "aria-label": "Find a model or a dataset", "aria-expanded": "true", "aria-controls": "found", "aria-autocomplete": "list" };
  const input = h("input", { type: "text", id: "find", autocomplete: "off", spellcheck: false, placeholder: "Name of a model or a dataset", ...combobox });
  const dialog = h("dialog", { class: "finder", "aria-label": "Find" }, input, list), leaving = new AbortController();

  const matching = () => {
    const wanted = input.value.trim().toLowerCase(), at = (/** @type {Place} */ place) => place.name.toLowerCase().indexOf(wanted);
    return places.filter((place) => at(place) >= 0).sort((one, other) => at(one) - at(other) || one.name.length - other.name.length).slice(0, SHOWN);
  };
  const open = (/** @type {Place} */ place) => (dialog.close(), go(place.address));
  const draw = () => {
    const found = matching();
    chosen = Math.max(0, Math.min(chosen, found.length - 1));
    fill(list, found.map((place, index) =>
      h("li", { role: "option", id: `found-${index}`, "aria-selected": String(index === chosen), onclick: () => open(place) },
        h("span", { class: "name" }, place.name), " ", h("span", { class: "hint" }, place.kind))));
    if (found.length) input.setAttribute("aria-activedescendant", `found-${chosen}`);
    else input.removeAttribute("aria-activedescendant");
    list.hidden = !found.length;
  };
  input.addEventListener("input", () => ((chosen = 0), draw()));
  input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key], found = matching();
    if (event.key === "Enter" && found[chosen]) open(found[chosen]);
    if (!step || !found.length) return;
    event.preventDefault();
    chosen = (chosen + step + found.length) % found.length;
    draw();
  });
  dialog.addEventListener("close", () => (leaving.abort(), dialog.remove()));
  document.body.append(dialog);
  dialog.showModal();
  draw();
  for (const [kind, path, at] of [["model", "/models", "models"], ["dataset", "/datasets", "data"]]) void load(kind, path, at);

  /** @param {string} kind @param {string} path @param {string} at */
  async function load(kind, path, at) {
    for await (const page of pages(path, { query: kind === "model" ? { fields: "name", limit: 1000 } : { fields: "id,name" }, signal: leaving.signal, quiet: true })) {
      places.push(...page.map((/** @type {any} */ { name }) => ({ kind, name, address: `/console/${at}/${encodeURIComponent(name)}` })));
      draw();
    }
  }
}

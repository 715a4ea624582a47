/** The same request as a command line, as curl, as Python and as JavaScript. */

import { key } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { screenKey } from "./keyboard.js";

/** A word as a POSIX shell reads it. @param {string} word */
export const shell = (word) => (/^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

/** A value as a Python literal. @param {any} value @returns {string} */
export function python(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, each]) => `${python(name)}: ${python(each)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** The address of the service, as a command needs it. */
export const address = () => location.origin;

/**
 * A request as a command that can be run as it is; a key is taken from the variable of the command line.
 * @param {string} method @param {string} path @param {any} [json] @param {boolean} [withKey]
 */
export function curl(method, path, json, withKey = key.get() !== null) {
  const verb = method === "GET" || (method === "POST" && json !== undefined) ? "" : ` -X ${method}`;
  const secret = withKey ? ` -H "Authorization: Bearer $TRAINYARD_KEY"` : "";
  const type = json !== undefined && method !== "POST" ? ` -H "Content-Type: application/json"` : "";
  return `curl${verb}${secret}${type} ${shell(address() + path)}${json === undefined ? "" : ` -d ${shell(JSON.stringify(json))}`}`;
}

/** Put text on the clipboard, and say so. @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page of plain HTTP from another machine has no clipboard, but may copy what is selected.
    const place = document.querySelector("dialog[open]") ?? document.body, back = document.activeElement;
    const area = h("textarea", { class: "hidden", value: text, "aria-label": "What is copied" });
    place.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (back instanceof HTMLElement) back.focus();
    if (!copied) return void document.dispatchEvent(new CustomEvent("trainyard:uncopied"));
  }
  document.dispatchEvent(new CustomEvent("trainyard:copied", { detail: text }));
}

/**
 * A panel with tabs, one a language, whose texts follow `show`. `c` copies what is shown.
 * @param {string} title @param {string[]} languages @param {string} [hint]
 * @returns {{ panel: HTMLElement, show: (texts: Record<string, string>) => void }}
 */
export function commandPanel(title, languages, hint = "Follows every change.") {
  const id = newId(), tabs = h("div", { class: "tabs", role: "tablist", "aria-label": title });
  const code = h("pre", { tabIndex: 0, id: `${id}-code`, role: "tabpanel" }), idOf = (/** @type {string} */ name) => `${id}-${name}`;
  let chosen = languages[0];
  /** @type {Record<string, string>} */
  let texts = {};
  const choose = (/** @type {string} */ name) => ((chosen = name), draw());
  const tab = (/** @type {string} */ name) => {
    const selected = name === chosen;
    return h("button", { type: "button", role: "tab", id: idOf(name), "aria-selected": String(selected), "aria-controls": code.id, tabIndex: selected ? 0 : -1, onclick: () => choose(name) }, name);
  };
  const draw = () => {
    fill(tabs, languages.map(tab));
    code.setAttribute("aria-labelledby", idOf(chosen));
    code.textContent = texts[chosen] ?? "";
  };
  tabs.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    choose(languages[(languages.indexOf(chosen) + step + languages.length) % languages.length]);
    document.getElementById(idOf(chosen))?.focus();
  });
  const take = () => copy(texts[chosen] ?? "");
  screenKey("c", `Copy: ${title.toLowerCase()}`, take);
  const panel = h("section", { class: "panel commands", "aria-labelledby": id, "data-panel": "commands" },
    h("div", { class: "row" }, h("h2", { id }, title), h("span", { class: "grow" }), tabs),
    code,
    h("div", { class: "row below" },
      h("span", { class: "hint" }, hint),
      h("span", { class: "grow" }),
      h("button", { type: "button", onclick: take }, "Copy ", h("kbd", { "aria-hidden": "true" }, "c"))));
  draw();
  return { panel, show: (now) => ((texts = now), draw()) };
}

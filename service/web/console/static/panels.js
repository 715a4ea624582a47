/** What all screens are built of: panels with a heading, and tables that scroll inside them. */

import { h, newId } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * A panel with its heading in a row, beside which more may stand. `?hide=` names its `part`.
 * @param {string} title @param {string} part @param {Child[]} beside @param {...(Child | Child[])} content
 * @returns {HTMLElement}
 */
export function panel(title, part, beside, ...content) {
  const id = newId();
  return h("section", { class: "panel", "aria-labelledby": id, "data-panel": part }, h("div", { class: "row" }, h("h2", { id }, title), beside), ...content);
}

/**
 * A table that scrolls sideways on its own. A column is its heading: `#` before it means numbers, `(Word)` is for screen
 * readers alone.
 * @param {string} label @param {Record<string, any>} properties @param {(string | Node)[]} columns @param {...(Child | Child[])} bodies
 * @returns {HTMLElement}
 */
export function scrollingTable(label, properties, columns, ...bodies) {
  const head = columns.map((column) => {
    if (typeof column !== "string") return h("th", { scope: "col" }, column);
    const hidden = /^\((.*)\)$/.exec(column)?.[1], words = column.replace(/^#/, "");
    return h("th", { scope: "col", class: column.startsWith("#") ? "num" : "" }, hidden ? h("span", { class: "hidden" }, hidden) : h("span", { class: "name", title: words }, words));
  });
  return h("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": label }, h("table", properties, h("thead", null, h("tr", null, head)), ...bodies));
}

/** A choice among words, each with a value or being one. @param {string} label @param {(string | [string, string])[]} options @param {string} chosen @param {(value: string) => void} choose */
export function choice(label, options, chosen, choose) {
  const select = h("select", { "aria-label": label, onchange: () => choose(select.value) }, options.map((one) => {
    const [value, words] = typeof one === "string" ? [one, one] : one;
    return h("option", { value, selected: value === chosen }, words);
  }));
  return select;
}

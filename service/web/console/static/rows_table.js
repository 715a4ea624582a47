/** The rows of a dataset as they were read: the first ones, then page by page, or those with a value in a column. */

import { Refused, get } from "./api.js";
import { fill, h, newId, settled } from "./dom.js";
import { clearFaults, showFaults } from "./faults.js";
import { cell, count } from "./format.js";

const PAGE = 10;
/** Columns that are shown of a wide table until all are asked for. */
const WIDE = 40;

/** @typedef {{ data: { row: number, values: Record<string, any> }[], has_more: boolean, after: number }} Page */

/** @param {string} path  of the dataset @param {import("./plan_state.js").Column[]} columns @param {Page} first @param {AbortSignal} signal */
export function rowsPanel(path, columns, first, signal) {
  const names = columns.map(({ name }) => name), example = columns.find(({ levels }) => levels?.length);
  const id = newId(), table = h("table", { class: "rows" }), told = h("span", { class: "sub", role: "status" });
  const more = h("button", { type: "button", onclick: () => void next() }, "More rows"), all = h("button", { type: "button", onclick: () => ((wide = true), draw()) });
  const placeholder = example ? `${example.name}:${example.levels[0].value}` : "column:value";
  const where = h("input", { type: "text", id: `${id}-where`, placeholder, "data-pointer": "/where", oninput: settled(300, () => void again()) });
  let page = first, rows = first.data, wide = false;

  const draw = () => {
    const shown = wide ? names : names.slice(0, WIDE);
    const numeric = (/** @type {string} */ name) => rows.some(({ values }) => typeof values[name] === "number");
    const head = shown.map((name) => h("th", { title: name, scope: "col", class: numeric(name) ? "num" : "" }, name));
    const body = rows.map(({ row, values }) => h("tr", null, h("td", { class: "num hint" }, count(row)), shown.map((name) => valueOf(values[name]))));
    fill(table, h("thead", null, h("tr", null, h("th", { class: "num" }, "Row"), head)), h("tbody", null, body));
    told.textContent = rows.length ? "as they were read" : page.has_more ? "none yet: look further" : "no row has this value";
    more.hidden = !page.has_more;
    all.hidden = wide || names.length <= WIDE;
    all.textContent = `All ${count(names.length)} columns`;
  };
  const ask = (/** @type {number} */ after) => get(`${path}/rows`, { query: { limit: PAGE, after: after || undefined, where: where.value.trim() || undefined }, signal });
  const next = async () => {
    page = await ask(page.after);
    rows = [...rows, ...page.data];
    draw();
  };
  const again = async () => {
    const asked = where.value;
    clearFaults(panel);
    try {
      const found = await ask(0);
      if (asked === where.value) [page, rows] = [found, found.data];
      draw();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // A condition that is not written to its end is no error yet.
      if (asked.includes(":")) showFaults(panel, error.errors.map(({ detail }) => ({ pointer: "/where", detail })));
    }
  };
  const panel = h("section", { class: "panel", id: "rows", "data-panel": "rows", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "Rows"), told, h("span", { class: "grow" }), h("span", { "data-faults": "" }, h("label", { class: "sub", for: `${id}-where` }, "Only "), where)),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Values of rows" }, table),
    h("div", { class: "row below" }, more, all));
  draw();
  return panel;
}

/** @param {any} value */
function valueOf(value) {
  if (value === null || value === undefined) return h("td", null, h("i", { class: "missing" }, "missing"));
  return h("td", { class: typeof value === "number" ? "num" : "", title: String(value).length > 24 ? String(value) : null }, cell(value));
}

/** The rows of a cell of the confusion matrix; each can go into the form. */

import { h } from "./dom.js";
import { count, percent } from "./format.js";
import { inWords } from "./scales.js";

/** Columns that are shown of a row. */
const SHOWN = 6;

/**
 * @param {import("./model_state.js").Value} value @param {any} cell  of an evaluation @param {(values: any) => void} take
 */
export function wrongRows({ columns, sample, label }, cell, take) {
  const names = new Set(sample.telling.slice(0, SHOWN)), shown = columns.filter(({ name }) => names.has(name)), place = new Map(columns.map(({ name }, index) => [name, index]));
  if (!cell.count) return h("p", { class: "sub" }, `No row of ${cell.label} is taken for ${cell.predicted}.`);
  const valueOf = (/** @type {any} */ values, /** @type {string} */ name) => (Array.isArray(values) ? values[/** @type {number} */ (place.get(name))] : values[name]) ?? null;
  const number = (/** @type {any} */ column) => (column.type === "number" ? "num" : "");
  const name = (/** @type {any} */ whole, words = String(whole)) => h("span", { class: "name", title: String(whole) }, words);
  const line = (/** @type {any} */ one) => h("tr", { onclick: () => take(one.values) },
    h("td", { class: "num" }, h("button", { type: "button", class: "link", title: "Into the form", "aria-label": `Put row ${one.row} into the form` }, count(one.row))),
    shown.map((column) => h("td", { class: number(column) }, name(valueOf(one.values, column.name), inWords(column, valueOf(one.values, column.name))))),
    h("td", null, name(one.label)), h("td", { class: one.label === one.predicted ? "ok" : "bad" }, name(one.predicted, `${one.predicted} ${percent(one.probability, 0)}`)));
  const head = h("tr", null, h("th", { class: "num", scope: "col" }, "row"),
    shown.map((column) => h("th", { class: number(column), scope: "col" }, name(column.name))),
    [label && label.length < 24 ? label : "label", "prediction"].map((words) => h("th", { scope: "col" }, words)));
  return h("div", null,
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Rows of the cell" }, h("table", { class: "cell-rows" }, h("thead", null, head), h("tbody", null, cell.rows.map(line)))),
    h("p", { class: "hint" }, cell.rows.length < cell.count ? `The first ${count(cell.rows.length)} of ${count(cell.count)} rows. ` : "", "Click a row to put it into the form."));
}

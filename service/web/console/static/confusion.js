/** The confusion matrix: labels down, predictions across; of many classes the pairs that are mixed up most. */

import { h } from "./dom.js";
import { count } from "./format.js";
import { short } from "./probabilities.js";

/** Classes that a grid is drawn for, and pairs that are listed of more. */
const GRID = 20, PAIRS = 30;

/** A cell by the places of its classes. @typedef {[number, number]} Cell */

/** The pairs of classes that are mixed up, most often first. @param {number[][]} matrix @returns {Cell[]} */
export function mixedUp(matrix) {
  /** @type {Cell[]} */ const found = [];
  matrix.forEach((line, label) => line.forEach((rows, guess) => rows && label !== guess && found.push([label, guess])));
  return found.sort((a, b) => matrix[b[0]][b[1]] - matrix[a[0]][a[1]]);
}

/** @param {any[]} classes @param {number[][]} matrix @param {Cell | null} chosen @param {(cell: Cell) => void} choose */
export const confusion = (classes, matrix, chosen, choose) => (classes.length > GRID ? pairs(classes, matrix, chosen, choose) : grid(classes, matrix, chosen, choose));

const rowsOf = (/** @type {number} */ rows) => `${count(rows)} ${rows === 1 ? "row" : "rows"}`;

/** @param {any[]} classes @param {number[][]} matrix @param {Cell | null} chosen @param {(cell: Cell) => void} choose */
function grid(classes, matrix, chosen, choose) {
  const shown = chosen ?? [0, 0];
  const cell = (/** @type {number} */ label, /** @type {number} */ guess) => {
    const rows = matrix[label][guess], total = matrix[label].reduce((sum, each) => sum + each, 0) || 1, here = chosen?.[0] === label && chosen[1] === guess;
    const tint = rows ? Math.round(8 + 32 * (rows / total)) : 0;
    return h("button", {
      type: "button",
      id: `cell-${label}-${guess}`,
      class: rows ? "" : "none",
      "aria-label": `${rowsOf(rows)} of ${classes[label]} taken for ${classes[guess]}`,
      "aria-pressed": String(here),
      tabIndex: label === shown[0] && guess === shown[1] ? 0 : -1,
      style: { background: `color-mix(in srgb, var(${label === guess ? "--c2" : "--c1"}) ${tint}%, var(--raised))` },
      onclick: () => choose([label, guess]),
    }, count(rows));
  };
  const head = (/** @type {any} */ label, /** @type {string} */ kind) => h("span", { class: kind, title: String(label) }, String(label));
  const element = h("div", { class: classes.length > 6 ? "cm small" : "cm", role: "group", "aria-label": "Confusion matrix, label down, prediction across" },
    h("span"), classes.map((label) => head(label, "h")),
    classes.flatMap((label, place) => [head(label, "h v"), ...classes.map((_, guess) => cell(place, guess))]));
  element.style.gridTemplateColumns = `minmax(30px, 90px) repeat(${classes.length}, minmax(${classes.length > 6 ? 30 : 44}px, 1fr))`;
  element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const way = /** @type {Record<string, Cell>} */ ({ ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] })[event.key];
    const found = /^cell-(\d+)-(\d+)$/.exec(/** @type {HTMLElement} */ (event.target).id);
    if (!way || !found) return;
    event.preventDefault();
    document.getElementById(`cell-${Number(found[1]) + way[0]}-${Number(found[2]) + way[1]}`)?.focus();
  });
  return [h("div", { class: "scroll" }, element), h("p", { class: "hint" }, "Down: the label. Across: the prediction. Click a cell for its rows; arrow keys move between cells.")];
}

/** @param {any[]} classes @param {number[][]} matrix @param {Cell | null} chosen @param {(cell: Cell) => void} choose */
function pairs(classes, matrix, chosen, choose) {
  const found = mixedUp(matrix), wrong = found.reduce((sum, [label, guess]) => sum + matrix[label][guess], 0);
  const entry = (/** @type {Cell} */ [label, guess]) => {
    const properties = { type: "button", class: "link", id: `cell-${label}-${guess}`, "aria-pressed": String(chosen?.[0] === label && chosen[1] === guess), onclick: () => choose([label, guess]) };
    return h("li", null, h("button", properties, short(classes[label]), " taken for ", short(classes[guess]), `: ${rowsOf(matrix[label][guess])}`));
  };
  const all = `Of ${classes.length} classes, ${count(found.length)} pairs are mixed up in ${rowsOf(wrong)}. ${found.length > PAIRS ? `The ${PAIRS} most frequent:` : ""}`;
  return [h("p", { class: "hint" }, found.length ? all : "Every row is right."), h("ul", { class: "pairs" }, found.slice(0, PAIRS).map(entry))];
}

/** What a column looks like: a histogram, or shares of its values, as a drawing; and its values in words. */

import { classColour, h } from "./dom.js";
import { count, number, percent } from "./format.js";

/** @typedef {import("./plan_state.js").Column} Column */

const WIDE = 150, HIGH = 26;
/** Values whose shares are drawn one by one; the others are one share. */
const SHOWN = 8;
/** Numbers of so few different values are drawn as shares. */
const FEW = 6;
/** Signs of a value that are shown among others. */
const LONG = 18;

/** Values and how many rows have each, if there are few enough to be told one by one. @param {Column} column @returns {{ value: any, count: number }[] | null} */
export function valuesOf(column) {
  if (column.levels) return column.levels;
  return column.values && column.distinct <= FEW ? [...column.values].sort((a, b) => b.count - a.count) : null;
}

/** A drawing of the column's values; words beside it say the same. @param {Column} column @param {string[]} examples  of a text */
export function shapeOf(column, examples = []) {
  const values = valuesOf(column);
  if (values?.length) return sharesOf(values);
  if (column.histogram) return barsOf(column.histogram.counts);
  return examples.length ? h("span", { class: "examples", title: examples.join(" · ") }, examples.join(" · ")) : h("span", { class: "hint" }, "–");
}

/** @param {number[]} counts */
function barsOf(counts) {
  const most = Math.max(...counts, 1), step = WIDE / counts.length;
  // A bin with rows is never nothing, however high another one is.
  const top = (/** @type {number} */ rows) => (HIGH - Math.max(1.5, (HIGH * rows) / most)).toFixed(1);
  const bar = (/** @type {number} */ rows, /** @type {number} */ place) => (rows ? `M${(place * step).toFixed(1)} ${HIGH}V${top(rows)}h${(step - 1).toFixed(1)}V${HIGH}z` : "");
  return drawing(h("svg:path", { class: "bar", d: counts.map(bar).join("") }));
}

/** @param {{ count: number }[]} values */
function sharesOf(values) {
  const all = values.reduce((sum, each) => sum + each.count, 0) || 1;
  const parts = values.slice(0, SHOWN).map(({ count: rows }, place) => ({ rows, fill: `var(${classColour(place)})` }));
  const rest = all - parts.reduce((sum, { rows }) => sum + rows, 0);
  if (rest > 0) parts.push({ rows: rest, fill: "var(--line)" });
  let left = 0;
  return drawing(
    ...parts.map(({ rows, fill }) => {
      const width = (WIDE * rows) / all, part = h("svg:rect", { x: left.toFixed(1), y: 4, width: Math.max(width - 1, 0.5).toFixed(1), height: 18, style: { fill } });
      left += width;
      return part;
    }),
  );
}

/** @param {...SVGElement} shapes */
const drawing = (...shapes) => h("svg:svg", { class: "shape", viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH, "aria-hidden": "true" }, ...shapes);

/** The text of a value, cut if it is long. @param {any} value */
function text(value) {
  const written = typeof value === "number" ? number(value, 6) : String(value), signs = [...written];
  return signs.length > LONG ? `${signs.slice(0, LONG).join("")}…` : written;
}

/** Values in words, as in "0.2 … 73.4, median 29.5". @param {Column} column @param {boolean} [exact]  rows instead of shares */
export function wordsOf(column, exact = false) {
  const values = valuesOf(column);
  if (values?.length) {
    const all = values.reduce((sum, each) => sum + each.count, 0) || 1;
    const share = (/** @type {number} */ rows) => (exact ? count(rows) : percent(rows / all, rows / all < 0.1 ? 1 : 0).replace(" ", "\u00a0"));
    const told = values.slice(0, 3).map(({ value, count: rows }) => (exact ? `${text(value)}: ${share(rows)}` : `${text(value)} ${share(rows)}`));
    const more = column.distinct - told.length;
    return told.join(exact ? " · " : ", ") + (more > 0 ? `, ${count(more)} more` : "");
  }
  if (column.min === null || column.min === undefined) return column.distinct ? `${count(column.distinct)} different` : "no values";
  if (column.type === "datetime") return `${column.min} … ${column.max}`;
  return `${number(column.min)} … ${number(column.max)}, median ${number(column.quantiles[3])}`;
}

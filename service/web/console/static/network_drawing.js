/** The network that will be trained, drawn: a column of dots a layer, lines between them. */

import { h } from "./dom.js";
import { count } from "./format.js";

const WIDE = 380, HIGH = 74, MOST = 7;

/** The heights of the dots of a layer; null is a gap that stands for many. @param {number} units @returns {(number | null)[]} */
function dotsOf(units) {
  const shown = Math.min(units, MOST), step = Math.min(9, (HIGH - 20) / Math.max(shown - 1, 1)), first = HIGH / 2 - (step * (shown - 1)) / 2;
  return Array.from({ length: shown }, (_, place) => (units > MOST && place === (MOST - 1) / 2 ? null : first + step * place));
}

/**
 * @typedef {{ units: number | null, title: string, under?: string }} Layer  units are null if nobody knows them yet
 */

/** Draw layers, the inputs first, and say them in words below. @param {Layer[]} layers @param {number} [networks]  how many such networks there are */
export function networkDrawing(layers, networks = 1) {
  const columns = layers.map(({ units }, place) => ({ x: 30 + ((WIDE - 60) * place) / Math.max(layers.length - 1, 1), dots: dotsOf(units ?? MOST), known: units !== null }));
  let lines = "";
  for (let place = 1; place < columns.length; place += 1)
    for (const from of columns[place - 1].dots) for (const to of columns[place].dots)
      if (from !== null && to !== null) lines += `M${columns[place - 1].x.toFixed(0)} ${from.toFixed(1)}L${columns[place].x.toFixed(0)} ${to.toFixed(1)}`;
  const dot = (/** @type {number} */ cx, /** @type {number} */ cy, /** @type {string} */ name, r = 3) => h("svg:circle", { class: name, cx, cy, r });
  const gap = (/** @type {number} */ x) => [-3, 0, 3].map((off) => dot(x, HIGH / 2 + off, "many", 0.9));
  const dots = columns.flatMap(({ x, dots: heights, known }) => heights.flatMap((y) => (y === null ? gap(x) : dot(x, y, known ? "unit" : "unit unknown"))));
  const many = networks > 1 ? `${count(networks)} networks, the largest of ` : "Network of ";
  const words = layers.map(({ title }) => title).join(", then ");
  return h("figure", { class: "network" },
    h("svg:svg", { class: "net", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${many}${words}` }, h("svg:path", { class: "lines", d: lines }), ...dots),
    h("figcaption", { class: "hint" }, layers.map(({ title, under }) => h("span", { title: `${title} ${under ?? ""}`.trim() }, title, under && h("span", { class: "under" }, under)))));
}

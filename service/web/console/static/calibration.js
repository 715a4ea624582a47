/** Whether probabilities are right: of the rows that are answered with 80 %, 80 % should be. */

import { h } from "./dom.js";
import { count, number, percent } from "./format.js";

/** As the service's calibration error counts. */
const BINS = 15;
const SIZE = 250, EDGE = 38;

/** Rows by the probability of their answer. @param {{ probability: number, label: any, predicted: any }[]} rows */
export function reliability(rows) {
  const bins = Array.from({ length: BINS }, () => ({ rows: 0, right: 0, sum: 0 }));
  for (const { probability, label, predicted } of rows) {
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.ceil(probability * BINS) - 1))];
    bin.rows += 1;
    bin.right += Number(label === predicted);
    bin.sum += probability;
  }
  return bins.filter((bin) => bin.rows).map((bin) => ({ rows: bin.rows, right: bin.right / bin.rows, said: bin.sum / bin.rows }));
}

/** @param {{ probability: number, label: any, predicted: any }[]} rows @param {number} all  of which these are a sample @param {number} error  over all */
export function calibration(rows, all, error) {
  const points = reliability(rows), most = Math.max(...points.map((point) => point.rows)), at = (/** @type {number} */ share) => EDGE + share * (SIZE - EDGE - 20);
  const svg = (/** @type {string} */ tag, /** @type {Record<string, any>} */ properties, /** @type {any[]} */ ...children) => h(`svg:${tag}`, properties, ...children);
  const text = (/** @type {Record<string, any>} */ place, /** @type {number} */ share) => svg("text", place, percent(share, 0));
  const ticks = [0, 0.5, 1].flatMap((share) => [text({ x: at(share), y: SIZE - 20, "text-anchor": "middle" }, share), text({ x: EDGE - 5, y: SIZE - at(share) + 4, "text-anchor": "end" }, share)]);
  const curve = points.map(({ said, right }) => `${at(said)},${SIZE - at(right)}`).join(" ");
  const drawing = svg("svg", { class: "reliability", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": "Share of rows that are right by the probability of the answer" },
    svg("path", { class: "ideal", d: `M${at(0)} ${SIZE - at(0)}L${at(1)} ${SIZE - at(1)}` }), svg("polyline", { points: curve }), ...ticks,
    ...points.map(({ rows: held, said, right }) => svg("circle", { cx: at(said), cy: SIZE - at(right), r: 2.5 + 4 * Math.sqrt(held / most) },
      svg("title", {}, `${percent(said, 0)}: ${percent(right, 0)} right of ${held}`))));
  const lines = points.map(({ rows: held, said, right }) => h("tr", null, [percent(said, 1), percent(right, 1), count(held)].map((value) => h("td", { class: "num" }, value))));
  return h("div", { class: "calibration" },
    h("div", null, drawing, h("p", { class: "hint" }, "Across: the probability of the answer. Upwards: how many of these answers are right. On the line both are the same.")),
    h("div", null,
      h("output", null, "Expected calibration error ", h("b", null, number(error, 3)), ` over ${count(all)} rows${rows.length < all ? `; drawn are ${count(rows.length)} of them` : ""}.`),
      h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Calibration as a table" }, h("table", null,
        h("thead", null, h("tr", null, ["answered with", "right", "rows"].map((name) => h("th", { class: "num", scope: "col" }, name)))),
        h("tbody", null, lines)))));
}

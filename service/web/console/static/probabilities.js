/** Probabilities of classes as bars; of many classes the likeliest ones. */

import { classColour, h } from "./dom.js";
import { percent } from "./format.js";

const MOST = 6;

/** A class in bold, cut if it is long. @param {any} label */
export const short = (label) => h("b", { title: String(label) }, brief(label));

/** @param {any} label @param {number} [most]  signs */
export const brief = (label, most = 40) => (String(label).length > most ? `${String(label).slice(0, most)}…` : String(label));

/** A class with its colour. @param {any} label @param {number} place */
export const swatch = (label, place) => h("span", { class: "name", title: String(label) }, h("i", { class: "swatch", style: { background: `var(${classColour(place)})` } }), String(label));

/** @param {any[]} classes @param {number[]} probabilities */
export function bars(classes, probabilities) {
  const all = classes.map((label, place) => ({ label, place, share: probabilities[place] }));
  const shown = all.length > MOST + 1 ? all.sort((a, b) => b.share - a.share).slice(0, MOST) : all;
  const rest = 1 - shown.reduce((sum, { share }) => sum + share, 0);
  const bar = (/** @type {Node | string} */ name, /** @type {number} */ share, /** @type {string} */ colour) =>
    h("div", { class: "prob" }, name, h("div", { class: "meter" }, h("i", { style: { width: `${100 * share}%`, background: colour } })), h("output", { "aria-live": "off" }, percent(share)));
  const others = shown.length < all.length ? [bar(h("span", { class: "sub" }, `${all.length - shown.length} others`), Math.max(0, rest), "var(--muted)")] : [];
  return [...shown.map(({ label, place, share }) => bar(swatch(label, place), share, `var(${classColour(place)})`)), ...others];
}

/** What is worth knowing of a column before it is trained on, in words, with what to do about it. */

import { count, number, percent } from "./format.js";

/** @typedef {import("./plan_state.js").Column} Column */
/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {{ text: string, warns?: boolean, fix?: { label: string, to: string | Record<string, any> } }} Note  `fix` trains the column as something else */

/** So much about the label is seldom known before the label is. */
const SUSPICIOUS = 0.8;
/** Whole numbers of so few values may be names of something. */
const FEW = 10;
/** How far beyond nearly all values the largest one is if a column reaches far. */
const FAR = 4;

/** @param {Column} column @param {Plan} plan @param {number} rows @returns {Note | null} */
export function noteOf(column, plan, rows) {
  const type = plan.type(column), share = column.missing / Math.max(rows, 1);
  if (column.name === plan.label) return { text: "what shall be predicted" };
  if (column.name === plan.weight) return { text: "how much each row counts" };
  if (type === "ignore") return { text: column.use ? "left out" : `${column.reason}: left out` };
  if (!column.use) return { text: `used, although: ${column.reason}`, warns: true };
  if ((column.relation ?? 0) >= SUSPICIOUS) return { text: "says nearly all about the label: is it known beforehand?", warns: true, fix: { label: "leave out", to: "ignore" } };
  if (share > 0.5) return { text: `${percent(share, 0)} are missing`, warns: true };
  if (type === "number" && column.values && column.distinct > 2 && column.distinct <= FEW && column.values.every((/** @type {{ value: any }} */ { value }) => Number.isInteger(value)))
    return { text: `${column.distinct} whole numbers`, fix: { label: "as categories", to: "category" } };
  const far = reach(column);
  if (type === "number" && far && plan.network === "one" && !tamed(plan.feature(column.name)))
    return { text: far, fix: { label: "tame", to: { type: "number", scale: "robust_clip" } } };
  if (column.missing) return { text: type === "number" ? "gaps: filled with the median, and told" : "gaps: a value of their own" };
  if (type !== column.type) return { text: `read as ${column.type}` };
  if (type === "category" && column.distinct > 50) return { text: `${count(column.distinct)} values` };
  return null;
}

/** @param {any} feature */
const tamed = (feature) => Boolean(feature?.scale);

/** Words if the largest value lies far beyond nearly all others. @param {Column} column */
export function reach({ quantiles, type }) {
  if (type !== "number" || !quantiles?.length) return null;
  const [, low, , , , high, most] = quantiles;
  return high > low && most - high > FAR * (high - low) ? `reaches far: most are below ${number(high, 3)}, one is ${number(most, 4)}` : null;
}

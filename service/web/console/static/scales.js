/** The values of a column as places on a line: where they begin and end, how fine they are, and how they are written. */

import { number } from "./format.js";

/** @typedef {import("./model_state.js").Column} Column */
/**
 * Of numbers, and of times in milliseconds. `step` moves a slider, `fine` says how exactly a turning point is found.
 * @typedef {{ low: number, high: number, step: number, fine: number, whole: boolean }} Scale
 */

const DAY = 86_400_000;

/** Whether the values of a column have an order. @param {Column} column */
export const ordered = ({ type }) => type === "number" || type === "datetime";

/** The values of a column that has few, most frequent first if there are too many. @param {Column} column @param {number} most @returns {any[]} */
export function levelsOf({ type, levels, counts }, most = Infinity) {
  if (type === "boolean") return [false, true];
  const all = levels ?? [];
  if (all.length <= most) return all;
  const order = all.map((_, place) => place).sort((a, b) => (counts?.[b] ?? 0) - (counts?.[a] ?? 0)).slice(0, most);
  return order.sort((a, b) => a - b).map((place) => all[place]);
}

/** A time without a zone is one of UTC, as the service reads it. @param {any} text */
const milliseconds = (text) => (text === null || text === undefined ? NaN : Date.parse(/T.*(Z|[+-]\d\d:?\d\d)$/.test(text) || !String(text).includes("T") ? text : `${text}Z`));

/** A value as a number on the line; NaN if it is missing. @param {Column} column @param {any} value */
export const onLine = ({ type }, value) => (type === "datetime" ? milliseconds(value) : typeof value === "number" ? value : NaN);

/** What stands at a place of the line. @param {Column} column @param {number} place @returns {any} */
export const atPlace = ({ type }, place) => (type === "datetime" ? new Date(place).toISOString().slice(0, 19) : place);

/** @param {number} value @param {number} step */
export const snap = (value, step) => Number((Math.round(value / step) * step).toFixed(Math.max(0, Math.ceil(-Math.log10(step)))));

/** @param {number} value */
const decimals = (value) => (String(value).includes("e") ? 6 : Math.min(6, (String(value).split(".")[1] ?? "").length));

/** @param {Column} column @param {any[]} seen  some of its values */
export function scaleOf(column, seen) {
  const values = seen.map((value) => onLine(column, value)).filter(Number.isFinite);
  const end = (/** @type {any} */ known, /** @type {(...all: number[]) => number} */ of, /** @type {number} */ other) => {
    const place = onLine(column, known);
    return Number.isFinite(place) ? place : values.length ? of(...values) : other;
  };
  let low = end(column.min, Math.min, -1), high = end(column.max, Math.max, 1);
  if (column.type === "datetime") {
    const span = high - low, step = span > 60 * DAY ? DAY : span > 2 * DAY ? 3_600_000 : span > 3_600_000 ? 60_000 : 1000;
    return { low, high: Math.max(high, low + step), step, fine: step, whole: false };
  }
  const whole = values.length > 0 && values.every(Number.isInteger);
  if (!(low < high)) [low, high] = [low - 1, high + 1];
  const power = (/** @type {number} */ parts) => 10 ** Math.floor(Math.log10((high - low) / parts)), grain = values.length ? 10 ** -Math.max(...values.map(decimals)) : 0;
  const step = whole ? Math.max(1, power(100)) : Math.max(grain, power(100));
  return { low, high, step, fine: whole ? 1 : Math.min(step, power(200)), whole };
}

/**
 * Values along a column: all levels, or at most `most` places at equal distances.
 * @param {Column} column @param {Scale | undefined} scale  of numbers and times @param {number} most @param {number} [margin]  beyond both ends, as a share @returns {any[]}
 */
export function along(column, scale, most, margin = 0) {
  if (!scale) return levelsOf(column, most);
  const { low, high, whole } = scale;
  if (whole && !margin && high - low < most) return Array.from({ length: high - low + 1 }, (_, place) => low + place);
  const from = low - margin * (high - low), width = (high - low) * (1 + 2 * margin);
  return Array.from({ length: most }, (_, place) => atPlace(column, Number((from + (width * place) / (most - 1)).toPrecision(column.type === "number" ? 7 : 15))));
}

/** A value in words. @param {Column} column @param {any} value */
export function inWords({ type }, value) {
  if (value === null || value === undefined) return "missing";
  if (type === "number") return typeof value === "number" ? number(value, 6) : String(value);
  return type === "datetime" ? String(value).replace("T", " ").replace(" 00:00:00", "") : String(value);
}

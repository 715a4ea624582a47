/** The numbers of an axis: round ones, linear or logarithmic. */

/** Round numbers that divide low…high into about `count` steps. @param {number} low @param {number} high @param {number} count */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * (raw <= power ? 1 : raw <= 2 * power ? 2 : raw <= 5 * power ? 5 : 10);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) found.push(Number((index * step).toPrecision(12)));
  return found;
}

/**
 * The same for the logarithms of positive numbers: 1, 2 and 5 of each power of ten, or fewer of them, or round numbers if
 * the range is short. @param {number} low @param {number} high  themselves, not their logarithms @param {number} count
 */
export function logTicks(low, high, count) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), inside = (/** @type {number} */ value) => value >= low && value <= high;
  const decades = Math.max(1, Math.ceil((last - first) / (2 * count)));
  for (const factors of [[1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = first; power <= last; power += factors.length > 1 ? 1 : decades) for (const factor of factors) found.push(Number((factor * 10 ** power).toPrecision(3)));
    const shown = found.filter(inside);
    if (shown.length < 2) return ticks(low, high, count);
    if (shown.length <= 2 * count || factors.length === 1) return shown;
  }
  return [];
}

/** A number at an axis or under a cursor, short. @param {number} value */
export function short(value) {
  const size = Math.abs(value);
  return value === 0 ? "0" : size < 1e-3 || size >= 1e6 ? value.toExponential(1) : size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(4)));
}

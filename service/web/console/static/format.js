/** Numbers, times and sizes as people read them. */

const whole = new Intl.NumberFormat("en");

/** @param {number | null | undefined} value */
export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

/** Formatters by their significant digits: to make one takes longer than to use it. @type {Map<number, Intl.NumberFormat>} */
const formatters = new Map();

/** @param {number} digits */
function formatter(digits) {
  const known = formatters.get(digits) ?? new Intl.NumberFormat("en", { maximumSignificantDigits: digits });
  formatters.set(digits, known);
  return known;
}

/** A number in at most `digits` significant digits. @param {number | null | undefined} value */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e15) return value.toExponential(2);
  return formatter(Math.max(digits, Math.ceil(Math.log10(size + 1)))).format(value);
}

/** @param {number | null | undefined} share  0 to 1 */
export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);

/** @param {number} size  in bytes */
export function bytes(size) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

/** How long ago a time was. @param {string | null} time  RFC 3339 */
export function age(time) {
  if (!time) return "–";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  return seconds < 5 ? "just now" : `${seconds < 90 ? `${Math.floor(seconds)} s` : duration(seconds)} ago`;
}

/** A cell of a table as text; missing is null. @param {unknown} value */
export const cell = (value) => (value === null || value === undefined ? "missing" : typeof value === "number" ? number(value, 6) : String(value));

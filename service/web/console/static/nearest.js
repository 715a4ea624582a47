/** The row that is closest to the form's, by standardized distance. */

import { onLine, ordered } from "./scales.js";

/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {import("./sample.js").SampleRow} SampleRow */

/**
 * The closest of some rows. Numbers and times count by their standard deviations among these rows, levels by 1 if they
 * differ, and so does a missing value against one that is there. Texts do not count.
 * @param {Column[]} columns @param {SampleRow[]} rows @param {Record<string, any>} wanted
 * @returns {{ row: SampleRow, distance: number } | null}
 */
export function nearest(columns, rows, wanted) {
  const sums = new Float64Array(rows.length);
  for (const column of columns) {
    if (column.type === "text") continue;
    const own = wanted[column.name] ?? null;
    if (!ordered(column)) {
      rows.forEach(({ row }, place) => (sums[place] += row[column.name] === own ? 0 : 1));
      continue;
    }
    const values = rows.map(({ row }) => onLine(column, row[column.name])), there = values.filter(Number.isFinite), here = onLine(column, own);
    const mean = there.reduce((sum, value) => sum + value, 0) / there.length, deviation = Math.sqrt(there.reduce((sum, value) => sum + (value - mean) ** 2, 0) / there.length) || 1;
    values.forEach((value, place) => {
      const missing = Number(Number.isNaN(value)) + Number(Number.isNaN(here));
      sums[place] += missing ? missing % 2 : ((value - here) / deviation) ** 2;
    });
  }
  let best = -1;
  for (let place = 0; place < rows.length; place += 1) if (best < 0 || sums[place] < sums[best]) best = place;
  return best < 0 ? null : { row: rows[best], distance: Math.sqrt(sums[best]) };
}

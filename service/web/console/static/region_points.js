/** The job's rows as points of the map, with what is answered for each now. */

import { largest, listOf, predict, room } from "./questions.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {{ row: Record<string, any>, number: number, held: boolean, label: number, wrong: boolean }} Dot */

/**
 * Which of the sampled rows are answered wrongly. Rows that were held out in folds keep the answer of the networks that
 * did not train on them.
 * @param {ModelState} state @param {AbortSignal} signal @returns {Promise<Dot[]>}
 */
export async function dots(state, signal) {
  const { sample, columns, classes } = state.value, places = new Map(classes.map((label, place) => [String(label), place]));
  const asked = sample.rows.filter((one) => one.guess === undefined), most = room(state.value);
  /** @type {Map<import("./sample.js").SampleRow, number>} */ const guesses = new Map(sample.rows.filter((one) => one.guess !== undefined).map((one) => [one, places.get(String(one.guess)) ?? -1]));
  for (let start = 0; start < asked.length; start += most) {
    const piece = asked.slice(start, start + most), { probabilities } = await predict(state, piece.map(({ row }) => listOf(columns, row)), signal);
    piece.forEach((one, index) => guesses.set(one, largest(probabilities[index])));
  }
  return sample.rows.map((one) => {
    const label = places.get(String(one.label)) ?? -1;
    return { row: one.row, number: one.number, held: one.held, label, wrong: guesses.get(one) !== label };
  });
}

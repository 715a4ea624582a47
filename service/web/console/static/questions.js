/** Questions to what answers on the Model screen: of each kind one at a time, and at last the newest. */

import { Refused, post } from "./api.js";
import { question } from "./model_state.js";
import { notice } from "./notices.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Column} Column */

/** Values that a request may hold, and probabilities that an answer may: of wide models, fewer rows are asked about. */
const VALUES = 400_000, PROBABILITIES = 250_000;

/** How many rows may be asked about at once. @param {import("./model_state.js").Value} value */
export const room = ({ columns, classes }) => Math.max(1, Math.floor(Math.min(VALUES / Math.max(1, columns.length), PROBABILITIES / Math.max(1, classes.length))));

/** A row as a list in the order of the columns. @param {Column[]} columns @param {Record<string, any>} row */
export const listOf = (columns, row) => columns.map(({ name }) => row[name] ?? null);

/** The body of a request to `/predict` about whole rows. @param {import("./model_state.js").Value} value @param {any[][]} rows  each in the order of the columns */
export const body = (value, rows) => question(value, value.columns.map(({ name }) => name), rows);

/** @param {ModelState} state @param {any[][]} rows @param {AbortSignal} signal @returns {Promise<{ classes: any[], predictions: any[], probabilities: number[][] }>} */
export const predict = (state, rows, signal) => post("/predict", { json: body(state.value, rows), signal, quiet: true });

/** The place of the largest of some numbers. @param {number[]} values */
export function largest(values) {
  let place = 0;
  for (let index = 1; index < values.length; index += 1) if (values[index] > values[place]) place = index;
  return place;
}

/** What passes by itself: a service that is busy, and a checkpoint that is not there yet or not any more while its job runs. @param {unknown} error */
const passes = (error) => error instanceof Refused && (error.status === 503 || error.status === 429);
const gone = (/** @type {unknown} */ error) => error instanceof Refused && (error.code === "no_checkpoint" || (error.status === 404 && error.message.includes("ckpt_")));

/** @type {WeakMap<ModelState, { promise: Promise<any>, resolve: (value?: any) => void }>} */
const firsts = new WeakMap();

/** The form's first answer, for which all else waits. @param {ModelState} state */
export function firstAnswer(state) {
  const known = firsts.get(state) ?? Promise.withResolvers();
  firsts.set(state, known);
  return known;
}

/**
 * Work that follows changes. What is under way goes on to its end, so that a moving slider shows something, unless its
 * answer would mislead: then it is stopped. Returns what asks for the work.
 * @param {AbortSignal} signal @param {(signal: AbortSignal, newer: () => boolean) => Promise<void>} work
 */
export function following(signal, work) {
  let wanted = false, running = false, own = new AbortController();
  const run = async () => {
    running = true;
    // What else happens now, as when several panels begin, belongs to the same change.
    await null;
    while (wanted && !signal.aborted) {
      wanted = false;
      const { signal: mine } = (own = new AbortController());
      try {
        await work(AbortSignal.any([signal, mine]), () => wanted);
      } catch (error) {
        if (signal.aborted || mine.aborted || gone(error)) continue;
        if (!passes(error)) notice(error);
        else {
          wanted = true;
          await new Promise((done) => setTimeout(done, 1000));
        }
      }
    }
    running = false;
  };
  return (stop = false) => {
    wanted = true;
    if (stop) own.abort();
    if (!running) void run();
  };
}

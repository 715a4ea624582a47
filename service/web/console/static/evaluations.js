/** How what answers does on the rows that were held out, those trained on, or those of a dataset. */

import { post } from "./api.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Value} Value */

/** What `/evaluate` takes as `data`; null if there is none. @param {Value} value @returns {any} */
export function dataOf({ job, label, part }) {
  if (part.startsWith("dataset:")) return { dataset: part.slice(8), ...(label === null ? {} : { label }) };
  return job ? { job: job.id, part } : null;
}

/** @param {Value} value @param {AbortSignal} signal @param {Record<string, any>} [more] @returns {Promise<any>} */
export const evaluate = (value, signal, more = {}) => post("/evaluate", { json: { model: value.name, version: value.wanted, data: dataOf(value), ...more }, signal, quiet: "rows" in more });

/** @type {WeakMap<ModelState, { wanted: any, version: any, found: Map<string, Promise<any>> }>} */
const last = new WeakMap();

/**
 * The evaluation of the rows of a part. Who asks for the same gets the same.
 * @param {ModelState} state @param {Value} value  with the part that is meant
 */
export function evaluation(state, value) {
  const { wanted, job } = value, version = job?.version, data = JSON.stringify(dataOf(value));
  let known = last.get(state);
  if (!known || known.wanted !== wanted || known.version !== version) last.set(state, (known = { wanted, version, found: new Map() }));
  const all = known.found, found = all.get(data) ?? evaluate(value, state.signal);
  all.set(data, found);
  found.catch(() => all.delete(data));
  return found;
}

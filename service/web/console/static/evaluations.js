/** How what answers does on the rows that were held out, those trained on, or those of a dataset. */

import { post } from "./api.js";
import { ended } from "./model_state.js";

/**
 * Why the rows of a job cannot be asked for, empty if they can: it would be known only from a refusal.
 * @param {any} job @param {string} part
 */
export function whyNoRows(job, part) {
  const over = ended(job), { data, validation } = job.request;
  if (over && typeof data === "object" && !data.dataset) return "The rows came with the request, and were deleted when the job ended.";
  if (part !== "validation") return "";
  if (job.members.length) return job.held_out ? "" : `The held-out rows are predicted when the job ${over ? "succeeds" : "has ended"}.`;
  return validation ? "" : "This job has held out no rows.";
}

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

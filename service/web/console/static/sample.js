/** Some of the rows that a job held out and trained on, what they say about the columns, and which columns tell most. */

import { Refused, get, post } from "./api.js";
import { whyNoRows } from "./evaluations.js";
import { ended } from "./model_state.js";
import { firstAnswer, following, room } from "./questions.js";
import { ordered, scaleOf } from "./scales.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Value} Value */
/**
 * `guess` is the prediction by the networks that did not train on the row, if it was held out in folds.
 * @typedef {{ number: number, row: Record<string, any>, label: any, held: boolean, trained: boolean, guess?: any }} SampleRow
 */
/**
 * `telling` has the names of the columns, those that tell most about the label first, by `relations`, which are null
 * until they are known; `why` says why there are no rows.
 * @typedef {{ rows: SampleRow[], scales: Map<string, import("./scales.js").Scale>, telling: string[], relations: Map<string, number> | null, why: string }} Sample
 */

const MOST = 1000;
/** Jobs with more rows than these are not judged on those that they trained on just to draw some. */
const LARGE = 200_000;

/** A row as the form has it: the model's columns alone. @param {Value} value @param {any} values  an object or a list */
export function rowOf({ columns }, values) {
  return Object.fromEntries(columns.map(({ name, type }, place) => {
    const found = (Array.isArray(values) ? values[place] : values[name]) ?? null;
    return [name, type === "category" && found !== null ? String(found) : found];
  }));
}

/** @param {Value} value @param {SampleRow[]} rows @param {Map<string, number> | null} relations @returns {Sample} */
function described(value, rows, relations, why = "") {
  const telling = value.columns.map(({ name }) => name).sort((a, b) => (relations?.get(b) ?? 0) - (relations?.get(a) ?? 0));
  const scales = new Map(value.columns.filter(ordered).map((column) => [column.name, scaleOf(column, rows.map(({ row }) => row[column.name]))]));
  return { rows, scales, telling, relations, why };
}

/** @param {Value} value @param {AbortSignal} signal @returns {Promise<[SampleRow[], string]>} */
async function rowsOf(value, signal) {
  const { name, job, wanted } = value, limit = Math.min(MOST, room(value));
  if (!job) return [[], "This model was imported, so its training rows are not here."];
  let why = "";
  const ask = async (/** @type {"validation" | "training"} */ part) => {
    const none = whyNoRows(job, part);
    if (none) {
      why = none;
      return null;
    }
    try {
      const json = { model: name, version: wanted, data: { job: job.id, part }, rows: { limit: part === "training" ? limit : Math.ceil(limit / 2) } };
      return await post("/evaluate", { json, signal, quiet: true });
    } catch (error) {
      if (!(error instanceof Refused) || ![403, 404, 409, 422].includes(error.status)) throw error;
      if (error.status < 409) why = error.message;
      return null;
    }
  };
  const row = (/** @type {any} */ one) => ({ number: one.row, row: rowOf(value, one.values), label: one.label });
  const held = await ask("validation");
  if (held?.folds) return [held.cell.rows.map((/** @type {any} */ one) => ({ ...row(one), held: true, trained: true, guess: one.predicted })), why];
  const trained = (job.request.data?.rows ?? 0) > LARGE ? null : await ask("training");
  const marked = (/** @type {any} */ found, /** @type {boolean} */ is) => (found?.cell.rows ?? []).map((/** @type {any} */ one) => ({ ...row(one), held: is, trained: !is }));
  const all = [...marked(trained, false), ...marked(held, true)];
  return [all, all.length ? "" : why];
}

/** @param {Value} value @param {AbortSignal} signal */
async function relationsOf({ columns, dataset, label }, signal) {
  if (!dataset || columns.length < 2) return new Map();
  try {
    const profile = await get(`/datasets/${dataset}/profile`, { query: { label, listed: 0 }, signal, quiet: true });
    return new Map(profile.columns.map((/** @type {any} */ one) => [one.name, one.relation ?? 0]));
  } catch (error) {
    if (error instanceof Refused) return new Map();
    throw error;
  }
}

/** @type {WeakSet<ModelState>} */
const followed = new WeakSet();

/** Keep `sample` of a state up to date. @param {ModelState} state */
export function sampling(state) {
  if (followed.has(state)) return;
  followed.add(state);
  const begin = () => state.set({ sample: described(state.value, [], null) });
  const load = following(state.signal, async (signal) => {
    await firstAnswer(state).promise;
    const { value } = state, relations = await relationsOf(value, signal);
    if (value.columns === state.value.columns) state.set({ sample: described(value, state.value.sample.rows, relations) });
    if (value.wanted === null) return;
    const [rows, why] = await rowsOf(value, signal);
    if (value.columns === state.value.columns) state.set({ sample: described(value, rows, relations, why) });
  });
  const key = () => [state.value.job?.id, ended(state.value.job), state.value.wanted === null].join();
  let known = key();
  state.on("columns", () => (begin(), load(true)));
  state.on("job wanted", () => known !== (known = key()) && load(true));
  begin();
  load();
}

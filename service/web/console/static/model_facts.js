/** What the Model screen shows, as the service has it: a model, its versions, a job, checkpoints and columns. */

import { Refused, get, pages } from "./api.js";
import { bestKept } from "./job_actions.js";
import { ended } from "./model_state.js";
import { checkpointsOfSeries, seriesOf } from "./stepping.js";

/** @typedef {import("./model_state.js").Value} Value */
/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {import("./model_state.js").Chosen} Chosen */

/** A list as a whole, at most `most`. @param {string} path @param {AbortSignal} signal @param {Record<string, any>} [query] */
export async function whole(path, signal, query, most = 1000) {
  const found = [];
  for await (const page of pages(path, { query, signal, quiet: true, most })) found.push(...page);
  return found;
}

/** What is asked for, null if the service does not have it. @param {string} path @param {AbortSignal} signal */
async function maybe(path, signal) {
  try {
    return await get(path, { signal, quiet: true });
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

/** @param {string} name @param {AbortSignal} signal */
export const versionsOf = async (name, signal) => {
  const found = [];
  for (let after; ; after = found.at(-1).version) {
    const page = await get(`/models/${name}/versions`, { query: { limit: 100, after }, signal, quiet: true });
    found.push(...page.data);
    if (!page.has_more || found.length >= 1000) return found;
  }
};

/**
 * The kept checkpoints of a job, or of a model without jobs, by epoch; of two at one epoch the older one first. That of
 * the best epoch is written at the end and counts the epochs of its job, but holds the weights of the best one.
 * @param {string} name @param {any} job @param {AbortSignal} signal */
export async function checkpointsOf(name, job, signal) {
  const series = seriesOf(job),
    all = await whole(job && !series ? `/jobs/${job.id}/checkpoints` : `/models/${name}/checkpoints`, signal),
    found = series ? await checkpointsOfSeries(name, job, all, signal) : all;
  const { epoch, monitor, value } = job?.best ?? {};
  return found
    .reverse()
    .map((one) => (epoch && one.metrics[monitor] === value ? { ...one, epoch } : one))
    .sort((a, b) => a.epoch - b.epoch || a.step - b.step);
}

/** The data that a job trains on, if it is a dataset. @param {any} job */
const datasetOf = (job) => (typeof job?.request.data === "string" ? job.request.data : (job?.request.data?.dataset ?? null));

/**
 * The columns that a model reads, with what is known of each. @param {any} described  a model or version
 * @param {any} dataset  its training data; what the model has not learned yet is taken from there
 */
function columnsOf(described, dataset) {
  const listed = Array.isArray(described.features) ? described.features.filter((/** @type {any} */ one) => one.type !== "ignore") : null;
  const known = new Map((dataset?.columns ?? []).map((/** @type {any} */ one) => [one.name, one]));
  if (listed?.length) {
    return listed.map((/** @type {any} */ one) => {
      const seen = known.get(one.column) ?? {},
        levels = one.levels ?? (one.type === "category" ? seen.levels : undefined);
      return { ...one, name: one.column, min: one.min ?? seen.min ?? null, max: one.max ?? seen.max ?? null, levels, fill: one.fill ?? null };
    });
  }
  const inputs = described.inputs ?? dataset?.features?.length ?? 0,
    names = dataset?.features?.length === inputs ? dataset.features : Array.from({ length: inputs }, (_, index) => `input_${index + 1}`);
  return names.map((/** @type {string} */ name) => ({ name, type: "number", min: known.get(name)?.min ?? null, max: known.get(name)?.max ?? null, fill: null }));
}

/** A row to begin with: what is known, else typical values, as the baseline of reasons has them. @param {Column[]} columns @param {Record<string, any>} known */
function typical(columns, known) {
  return Object.fromEntries(
    columns.map(({ name, type, min, max, levels, counts, fill }) => {
      if (name in known) return [name, known[name]];
      if (type === "category") return [name, levels?.[counts ? counts.indexOf(Math.max(...counts)) : 0] ?? null];
      if (type === "number") return [name, fill ?? (typeof min === "number" && typeof max === "number" ? Number(((min + max) / 2).toPrecision(4)) : 0)];
      return [name, type === "text" ? "" : type === "boolean" ? (min ?? false) : (min ?? null)];
    }),
  );
}

/**
 * What follows from a version (or the newest definition, if none is published): columns, classes, the training data.
 * @param {any} model @param {any} version  null, or `GET /models/{name}/versions/{n}` @param {any} job @param {AbortSignal} signal
 * @param {Record<string, any>} [row]  the form's values, which stay
 */
export async function definitionFacts(model, version, job, signal, row = {}) {
  const dataset = datasetOf(job),
    held = dataset ? await maybe(`/datasets/${encodeURIComponent(dataset)}`, signal) : null;
  const described = version ? { ...version.definition, features: version.features ?? version.definition.features } : model;
  const columns = columnsOf(described, held);
  return {
    columns,
    row: typical(columns, row),
    definition: version?.definition ?? null,
    named: Array.isArray(described.features) || (described.features !== undefined && described.features !== "raw" && described.features !== null),
    classes: described.classes,
    label: described.label ?? held?.label ?? null,
    dataset: held?.id ?? null,
  };
}

/**
 * What answers at first: what the address asks for, else what the job made, else what is served.
 * @param {Pick<Value, "job" | "checkpoints" | "versions" | "model">} value @param {URLSearchParams} query @returns {Chosen | null}
 */
export function firstChosen({ job, checkpoints, versions, model }, query) {
  const wanted = query.get("checkpoint"),
    kept = checkpoints.find(({ id }) => id === wanted),
    number = Number(query.get("version"));
  if (kept) return { kind: "checkpoint", id: kept.id, epoch: kept.epoch };
  if (wanted === "best" && job) return { kind: "best" };
  if (versions.some(({ version }) => version === number)) return { kind: "version", number };
  const made = versions.find(({ version }) => version === job?.version);
  if (made) return { kind: "version", number: made.version };
  if (job && !ended(job) && (checkpoints.length || !model.default)) return { kind: "best" };
  const best = bestKept({ job, checkpoints }) ?? checkpoints.at(-1);
  if (job && best) return { kind: "checkpoint", id: best.id, epoch: best.epoch };
  return model.default ? { kind: "version", number: model.default } : null;
}

/**
 * All that the screen starts with. @param {string} name @param {URLSearchParams} query @param {AbortSignal} signal
 * @returns {Promise<Partial<Value>>}
 */
export async function factsOf(name, query, signal) {
  const quiet = { signal, quiet: true },
    [model, versions, jobs] = await Promise.all([get(`/models/${name}`, { signal }), versionsOf(name, signal), get("/jobs", { ...quiet, query: { model: name, limit: 100 } })]);
  const asked = query.get("job"),
    job = asked ? await get(`/jobs/${asked}`, quiet) : (jobs.data[0] ?? null);
  const made = job?.version ?? model.default;
  const [checkpoints, version] = await Promise.all([checkpointsOf(name, job, signal), made ? maybe(`/models/${name}/versions/${made}`, signal) : null]);
  const facts = await definitionFacts(model, version, job, signal);
  const value = { name, model, versions, job, jobs: jobs.data, checkpoints, ...facts };
  const chosen = firstChosen(value, query);
  return { ...value, chosen, following: !ended(job) && chosen?.kind === "version" && !query.has("version") };
}

/** Runs to compare, as `m=a@3,b@1` names them: what they were asked, how good they are, and where they differ. */

import { Refused, get } from "./api.js";

/**
 * A version of a model, and the job that made it (null if it was imported, or the job was deleted).
 * @typedef {{ label: string, name: string, version: any, job: any }} Run
 */

/** How many runs are shown. */
const MOST = 20;

/** The names in the address: a model, and a version or an alias if not the default. @param {URLSearchParams} query */
export const runNames = (query) => [...new Set((query.get("m") ?? "").split(",").map((one) => one.trim()).filter(Boolean))].slice(0, MOST);

/** @param {string} path @param {AbortSignal} signal */
async function maybe(path, signal) {
  try {
    return await get(path, { signal });
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

/** @param {string} named @param {AbortSignal} signal @returns {Promise<Run>} */
export async function readRun(named, signal) {
  const [name, wanted = "default"] = named.split("@"), path = `/models/${encodeURIComponent(name)}`;
  const number = /^\d+$/.test(wanted) ? wanted : (await get(`${path}/aliases/${encodeURIComponent(wanted)}`, { signal })).version;
  const version = await get(`${path}/versions/${number}`, { signal }), job = version.job && (await maybe(`/jobs/${version.job}`, signal));
  return { label: `${name}@${version.version}`, name, version, job };
}

/** A value's parts by their pointers: `/optimizer/type`. Lists of plain values stay whole. @param {any} value @returns {[string, any][]} */
function parts(value, place = "") {
  if (value === null || typeof value !== "object") return [[place, value]];
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) return [[place, value.join(", ")]];
  return Object.entries(value).flatMap(([name, each]) => parts(each, `${place}/${name}`));
}

/** Layers in a line, as people write them: `64 relu, 3 softmax`. @param {any} definition */
function network({ layers, network: several, hidden }) {
  if (several?.kinds) return several.kinds.map((/** @type {any} */ { name, layers: own }) => `${name}: ${inWords(own)}`).join("; ");
  return layers ? inWords(layers) : hidden ? hidden.join(", ") : "chosen by the data";
}

/** @param {any[]} layers */
function inWords(layers) {
  let words = "";
  for (const { type, units, rate } of layers) words += type === "dense" ? `${words && ", "}${units}` : ` ${type}${type === "dropout" ? ` ${rate}` : ""}`;
  return words;
}

/** Members of requests that say nothing about how a run differs. */
const LEFT_OUT = /^\/(model|metadata|checkpoint|dry_run)(\/|$)/;

/**
 * What differs between runs: a line a setting, with the value of each run.
 * @param {Run[]} runs @returns {{ name: string, values: any[] }[]}
 */
export function differences(runs) {
  const settings = runs.map(({ version: { definition, parameters }, job }) => {
    const columns = Array.isArray(definition.features) ? definition.features : [];
    const skipped = columns.filter((/** @type {any} */ one) => one.type === "ignore").map((/** @type {any} */ one) => one.column).join(", ");
    /** @type {Map<string, any>} */
    const found = new Map([["network", network(definition)], ["parameters", parameters], ["columns left out", skipped], ["classes", definition.classes?.join(", ")]]);
    for (const [place, value] of parts(job?.request ?? {})) if (!LEFT_OUT.test(place)) found.set(place.slice(1).replaceAll("/", "."), value);
    return found;
  });
  const names = [...new Set(settings.flatMap((one) => [...one.keys()]))];
  // What is not there, and what is there as nothing, is the same.
  const lines = names.map((name) => ({ name, values: settings.map((one) => one.get(name) || null) }));
  return lines.filter(({ values }) => values.some((value) => value !== values[0]));
}

/** @typedef {{ name: string, of: (run: Run) => number | null | undefined, better: 1 | -1 | 0, kind: "percent" | "number" | "count" | "seconds" }} Figure */

/** How good a run is, and what it took. @type {Figure[]} */
export const FIGURES = [
  { name: "right, held out", of: ({ job, version }) => job?.held_out?.accuracy ?? version.metrics?.validation_accuracy, better: 1, kind: "percent" },
  { name: "log loss, held out", of: ({ job, version }) => job?.held_out?.log_loss ?? version.metrics?.validation_log_loss ?? version.metrics?.validation_loss, better: -1, kind: "number" },
  { name: "right, training", of: ({ version }) => version.metrics?.accuracy, better: 0, kind: "percent" },
  { name: "loss, training", of: ({ version }) => version.metrics?.loss, better: 0, kind: "number" },
  { name: "best epoch", of: ({ job }) => job?.best?.epoch, better: 0, kind: "count" },
  { name: "epochs", of: ({ job }) => job?.progress.epoch, better: 0, kind: "count" },
  { name: "time", of: ({ job }) => (job?.finished_at && job.started_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null), better: 0, kind: "seconds" },
];

/** The best of the values, null if none is better than another. @param {(number | null | undefined)[]} values @param {1 | -1 | 0} better */
export function bestOf(values, better) {
  const known = values.filter((value) => typeof value === "number"), [low, high] = [Math.min(...known), Math.max(...known)];
  return better === 0 || known.length < 2 || low === high ? null : better === 1 ? high : low;
}

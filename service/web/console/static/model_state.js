/** What the Model screen shows: one observable value, which its panels read, change and follow. */

/** What answers: a published version, a kept checkpoint, or the best epoch so far of the job.
 * @typedef {{ kind: "version", number: number } | { kind: "checkpoint", id: string, epoch: number } | { kind: "best" }} Chosen */

/** What `/predict` and `/evaluate` take as `version`. @typedef {number | string | { job: string, checkpoint: string }} Wanted */

/**
 * A column that the model reads: of a version, what it has learned; before the first one, what its dataset says.
 * @typedef {object} Column
 * @property {string} name
 * @property {"number" | "category" | "boolean" | "datetime" | "text"} type
 * @property {number | string | null} [min]
 * @property {number | string | null} [max]
 * @property {string[]} [levels]
 * @property {number[]} [counts]  rows of each level
 * @property {number | null} [fill]  stands for a missing number
 */

/**
 * @typedef {object} Value
 * @property {string} name
 * @property {any} model  `GET /models/{name}`
 * @property {any[]} versions  newest first
 * @property {any} definition  of the version that the job made, or that is served; null before the first one
 * @property {any} job  the job whose training is shown; null if there is none
 * @property {any[]} jobs  of this model, newest first, at most 100
 * @property {any[]} checkpoints  the kept ones of the job (or all of an imported model), by epoch
 * @property {Chosen | null} chosen
 * @property {boolean} following  whether the best epoch so far shall answer as soon as one is kept: nobody has chosen
 * @property {Wanted | null} wanted  follows `chosen`, and is a new object at each better epoch; null if nothing answers yet
 * @property {Column[]} columns  in the order of the model's inputs
 * @property {boolean} named  whether rows have names; if not, `/predict` takes `inputs`
 * @property {(string | number | boolean)[]} classes
 * @property {string | null} label  the name of the label's column
 * @property {string | null} dataset  id or name of the training data, if they are a dataset
 * @property {Record<string, any>} row  the row of the form: column to value, null if missing
 * @property {{ probabilities: number[], row: Record<string, any> } | null} answer  to the form's row; null while there is none
 * @property {import("./sample.js").Sample} sample  some rows of the job, and what they say about the columns
 * @property {string} part  which rows the errors are of: `validation`, `training`, or a dataset's name behind `dataset:`
 */

/** @type {Value} */
const EMPTY = {
  ...{ name: "", model: null, versions: [], definition: null, job: null, jobs: [], checkpoints: [] },
  ...{ chosen: null, following: false, wanted: null, part: "validation" },
  ...{ columns: [], named: true, classes: [], label: null, dataset: null, row: {}, answer: null },
  sample: { rows: [], scales: new Map(), telling: [], relations: null, why: "" },
};

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** Whether a job's state is final. @param {any} job */
export const ended = (job) => !job || ENDED.has(job.state);

/** @param {Value} value @returns {Wanted | null} */
function wanted({ chosen, job, checkpoints }) {
  if (!chosen) return null;
  if (chosen.kind === "version") return chosen.number;
  if (chosen.kind === "checkpoint") return chosen.id;
  if (!job) return null;
  const { early_stopping, publish } = job.request, several = job.members.length > 0;
  if (several && !(checkpoints.length && job.members.some((/** @type {any} */ member) => member.state === "ended"))) return null;
  // What is kept before the first epoch is no state of the training.
  if (!several && !checkpoints.some(({ epoch }) => epoch > 0)) return null;
  const best = several || early_stopping || publish === "best";
  return { job: job.id, checkpoint: best ? "best" : "last" };
}

/** An observable value. Listeners hear of a change once, after all of it is made. */
export class ModelState {
  /** @type {{ names: Set<string>, listener: (value: Value) => void }[]} */
  #listeners = [];

  /** @param {Partial<Value>} [start] @param {AbortSignal} [signal]  after which nobody is told anything */
  constructor(start = {}, signal) {
    this.value = { ...EMPTY, ...start };
    this.value.wanted = wanted(this.value);
    this.signal = signal ?? new AbortController().signal;
    this.signal.addEventListener("abort", () => (this.#listeners = []));
  }

  /**
   * Change some members. `wanted` follows `chosen` by itself.
   * @param {Partial<Value>} changes
   */
  set(changes) {
    const before = this.value;
    const after = { ...before, ...changes };
    if ("chosen" in changes || "checkpoints" in changes || "job" in changes) {
      const now = wanted(after), best = after.chosen?.kind === "best" && before.chosen?.kind === "best";
      const same = JSON.stringify(now) === JSON.stringify(before.wanted) && !(best && changes.checkpoints);
      after.wanted = same ? before.wanted : now;
    }
    this.value = after;
    const changed = Object.keys(after).filter((name) => /** @type {any} */ (after)[name] !== /** @type {any} */ (before)[name]);
    for (const { names, listener } of [...this.#listeners]) if (changed.some((name) => names.has(name))) listener(this.value);
  }

  /**
   * Call `listener` after each change of a member in `names` (a list, or words with spaces).
   * @param {string | string[]} names @param {(value: Value) => void} listener
   * @returns {() => void}  to stop it
   */
  on(names, listener) {
    const entry = { names: new Set(typeof names === "string" ? names.split(" ") : names), listener };
    this.#listeners.push(entry);
    return () => void (this.#listeners = this.#listeners.filter((one) => one !== entry));
  }
}

/** What answers, in words: "version 3", "epoch 40", "the best epoch so far". @param {Value} value */
export function answering({ chosen, wanted: version, job }) {
  if (!chosen || version === null) return "nothing yet";
  if (chosen.kind === "version") return `version ${chosen.number}`;
  if (chosen.kind === "checkpoint") return job?.members.length ? `the networks after ${chosen.epoch.toLocaleString("en")} epochs` : `epoch ${chosen.epoch.toLocaleString("en")}`;
  if (job?.members.length) return "the networks that have ended";
  const what = typeof version === "object" && version.checkpoint === "best" ? "best" : "newest kept";
  return ended(job) ? `the ${what} epoch` : `the ${what} epoch so far`;
}

/**
 * The body of a request to `/predict` about rows, each a list in the order of `names`; add more members as needed. A
 * model without names gets all inputs in their order: columns that are left out have the form's values.
 * @param {Value} value @param {string[]} names @param {any[][]} rows
 */
export function question(value, names, rows) {
  const { name, columns, named, row } = value, version = value.wanted;
  if (named) return { model: name, version, columns: names, rows };
  const places = columns.map((column) => names.indexOf(column.name));
  return { model: name, version, inputs: rows.map((each) => columns.map((column, index) => (places[index] < 0 ? row[column.name] : each[places[index]]))) };
}

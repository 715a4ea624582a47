/**
 * The request of POST /train as an address, and back. All of it is pure: a request in, text out.
 *
 * What the plan has controls for are parameters of the address with short names; every other member of the request
 * stands in the parameter `request` as JSON, so that an address says the whole request and reading it gives an equal one.
 */

/** @typedef {Record<string, any>} Train  a body of POST /train; its `data` names a dataset */

/** Parameters of the address and the members of the request that they stand for; names of columns and models are text. */
export const PARAMETERS = /** @type {const} */ ([
  ["label", "data.label", "text"], ["model", "model", "text"], ["name", "model.name", "text"], ["hidden", "model.hidden", "list"], ["features", "model.features"],
  ["held_out", "validation.fraction"], ["epochs", "epochs"], ["patience", "early_stopping.patience"], ["batch_size", "batch_size"], ["seed", "seed"],
  ["optimizer", "optimizer.type", "text"], ["rate", "optimizer.learning_rate"], ["schedule", "optimizer.schedule.type", "text"], ["loss", "loss.type", "text"],
  ["smoothing", "loss.label_smoothing"], ["class_weights", "class_weights"], ["checkpoints", "checkpoint.every_epochs"], ["keep", "checkpoint.keep"],
  ["effort", "effort", "text"], ["seconds", "max_seconds"], ["publish", "publish"],
]);

/** Longest `request` in the query: the service reads the first line of a request up to some 4,000 characters. */
const LONG = 1500;

/** The member at a path such as `model.hidden`. @param {any} body @param {string} path */
export const at = (body, path) => path.split(".").reduce((place, name) => (place === null || typeof place !== "object" ? undefined : place[name]), body);

/**
 * A copy with another member at a path; undefined takes it out, and what is empty without it.
 * @param {any} body @param {string} path @param {any} value @returns {any}
 */
export function put(body, path, value) {
  const [name, ...rest] = path.split("."), copy = { ...(body ?? {}) };
  const inner = rest.length ? put(isObject(copy[name]) ? copy[name] : {}, rest.join("."), value) : value;
  if (inner === undefined || (rest.length && value === undefined && !Object.keys(inner).length)) delete copy[name];
  else copy[name] = inner;
  return copy;
}

/** @param {any} value */
export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** @param {string} text */
function fromJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A value as one word: text stays text, unless it reads as JSON. @param {any} value */
export const word = (value) => (typeof value === "string" && fromJson(value) === value ? value : JSON.stringify(value));

/** @param {any} value @param {string} [kind] */
function write(value, kind) {
  if (kind === "list") return Array.isArray(value) && value.every(Number.isInteger) ? value.join(",") || "none" : null;
  if (kind === "text") return typeof value === "string" && value ? value : null;
  return value === "" ? null : word(value);
}

/** @param {string} text @param {string} [kind] */
function read(text, kind) {
  if (kind === "list") return text === "none" ? [] : text.split(",").map(fromJson);
  return kind === "text" ? text : fromJson(text);
}

/** The parameters of a request's address; null are those that it does not have. @param {Train} request */
export function queryOf(request) {
  /** @type {Record<string, string | null>} */
  const query = {};
  let rest = put(request, "data.dataset", undefined);
  // A definition has its dataset's name unless it has another one.
  if (isObject(rest.model) && rest.model.name === request.data.dataset && Object.keys(rest.model).length > 1) rest = put(rest, "model.name", undefined);
  for (const [name, path, kind] of PARAMETERS) {
    const value = at(rest, path);
    query[name] = value === undefined ? null : write(value, kind);
    if (query[name] !== null) rest = put(rest, path, undefined);
  }
  query.request = Object.keys(rest).length ? JSON.stringify(rest) : null;
  return query;
}

/**
 * The request that an address stands for. Raises SyntaxError if `request` is no JSON object.
 * @param {URLSearchParams} query @param {string} dataset @returns {Train}
 */
export function requestOf(query, dataset) {
  let body = JSON.parse(query.get("request") ?? "{}");
  if (!isObject(body)) throw new SyntaxError("the parameter request of this address is no JSON object");
  for (const [name, path, kind] of PARAMETERS) {
    const text = query.get(name);
    if (text !== null) body = put(body, path, read(text, kind));
  }
  if (isObject(body.model) && body.model.name === undefined) body = put(body, "model.name", dataset);
  return { ...body, data: { ...body.data, dataset } };
}

/**
 * The request of a job, as it may be sent again: without what the service filled in as nothing, and with the definition
 * of its version if one is given. Null if its rows are no dataset.
 * @param {Train} request @param {any} [definition]
 */
export function repeatable(request, definition) {
  const data = typeof request.data === "string" ? { dataset: request.data } : { ...request.data };
  if (typeof data.dataset !== "string") return null;
  if (typeof data.rows === "number") delete data.rows;
  /** @type {Train} */
  const kept = { ...request, data };
  delete kept.dry_run;
  if (isObject(kept.validation) && typeof kept.validation.rows === "number") kept.validation = put(kept.validation, "rows", undefined);
  if (definition) kept.model = definition;
  for (const [name, value] of Object.entries(kept)) {
    const nothing = value === null || (name === "reinitialize" && !value.length) || (name === "metadata" && !Object.keys(value).length);
    if (nothing) delete kept[name];
  }
  return kept;
}

/**
 * The address of the plan that trains a job's request again, null if its rows are no dataset. Given the definition of
 * the job's version too, it holds although the model may be defined anew: the same seed then gives the same bits.
 * @param {Train} request @param {any} [definition]
 */
export function addressOf(request, definition) {
  const again = repeatable(request, definition);
  return again && `/console/data/${encodeURIComponent(again.data.dataset)}${tail(queryOf(again))}`;
}

/** Query and fragment; a long `request` goes into the fragment, which is not sent. @param {Record<string, string | null>} query */
export function tail(query) {
  const pairs = /** @type {[string, string][]} */ (Object.entries(query).filter(([, value]) => value !== null));
  const text = String(new URLSearchParams(pairs));
  if (text.length <= LONG) return text && `?${text}`;
  const inside = pairs.filter(([name, value]) => String(new URLSearchParams([[name, value]])).length > LONG / 4);
  const before = String(new URLSearchParams(pairs.filter((pair) => !inside.includes(pair))));
  return `${before && `?${before}`}#${new URLSearchParams(inside)}`;
}

/** The parameters of an address, in its query and fragment. @param {{ search: string, hash: string }} place */
export function parametersOf({ search, hash }) {
  const query = new URLSearchParams(search);
  for (const [name, value] of hash.includes("=") ? new URLSearchParams(hash.slice(1)) : []) query.set(name, value);
  return query;
}

/** Members of a request, and of a definition in it, that only a single network has. */
export const SINGLE = ["epochs", "batch_size", "optimizer", "loss", "early_stopping", "start_from", "shuffle", "publish"];
export const SINGLE_MODEL = ["hidden", "layers", "inputs", "optimizer", "loss"];

/** Whether a request says how a single network is trained, rather than leaving it to the data. @param {Train} request */
export const isSingle = (request) =>
  SINGLE.some((name) => name in request && !(name === "shuffle" && request.shuffle) && !(name === "publish" && request.publish !== "best")) ||
  (isObject(request.model) && SINGLE_MODEL.some((name) => name in request.model));

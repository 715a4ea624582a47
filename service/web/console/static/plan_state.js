/** What shall be trained on a dataset: a request of POST /train that controls change, and that the address keeps. */

import { PARAMETERS, at, isSingle, parametersOf, put, queryOf, requestOf, tail } from "./train_request.js";

/** @typedef {import("./train_request.js").Train} Train */
/** @typedef {{ name: string, type: string, use: boolean, reason?: string, missing: number, distinct: number, relation: number | null, [more: string]: any }} Column  as in a profile */

/** What one network has until something else is chosen. */
const ONE_NETWORK = { "model.hidden": [32, 32], "validation.fraction": 0.2, epochs: 200, "early_stopping.patience": 10, publish: "best" };
/** Members of a request that only a single network has, taken out when the data shall choose. */
const OF_ONE = [
  ...["model.hidden", "model.layers", "model.inputs", "model.optimizer", "model.loss", "model.dtype"],
  ...["epochs", "batch_size", "optimizer", "loss", "early_stopping", "start_from", "reinitialize", "shuffle", "publish"],
  ...["validation", "validate_every", "checkpoint"],
];
/** Members of a request that only networks chosen by the data have. */
const OF_MANY = ["effort", "model.network"];
/** Checkpoints that a job keeps, so that the page of the model has a course to move over; the bits do not depend on it. */
const KEPT = 24;

export const TYPES = ["number", "category", "boolean", "datetime", "text"];

/** A definition has a name, unless it says nothing else than the name that the model has anyway. @param {Train} body @param {string} name */
function named(body, name) {
  const said = Object.keys(body.model).filter((member) => member !== "name").length;
  if (said) return put(body, "model.name", body.model.name ?? name);
  return body.model.name === undefined || body.model.name === body.data.dataset ? put(body, "model", undefined) : body;
}

export class Plan {
  /** @param {any} dataset @param {Column[]} columns  of its profile @param {string} key  its name or id, as the address has it */
  constructor(dataset, columns, key) {
    this.dataset = dataset;
    this.columns = columns;
    /** The column that says how much each row counts. @type {string | undefined} */
    this.weight = dataset.features && dataset.columns?.find((/** @type {any} */ { name, use }) => use !== false && name !== dataset.label && !dataset.features.includes(name))?.name;
    /** @type {Train} */ this.request = { data: { dataset: key } };
    /** Whether a model of this name is there, so that leaving the name out would train it as it is defined. */
    this.known = false;
    /** @type {(() => void)[]} */ this.listeners = [];
    /** @type {Record<string, any>} */ this.before = ONE_NETWORK;
  }

  /** Take the request from the address of the page. */
  fromAddress() {
    this.request = requestOf(parametersOf(location), this.request.data.dataset);
  }

  /** @param {string} path */
  at(path) {
    return at(this.request, path);
  }

  /** Change members of the request by their paths; undefined takes one out. @param {Record<string, any>} changes */
  change(changes) {
    let body = this.request;
    for (const [path, value] of Object.entries(changes)) {
      // A model that is named is as it was defined; more said of it makes it a definition of that name.
      if (path.startsWith("model.") && typeof body.model === "string") body = { ...body, model: { name: body.model } };
      body = put(body, path, value);
    }
    if (typeof body.model === "object") body = named(body, this.name);
    if (at(body, "checkpoint.keep") === KEPT || (isSingle(body) && !body.checkpoint)) body = { ...body, checkpoint: { every_epochs: Math.max(1, Math.round((body.epochs ?? 100) / 20)), keep: KEPT } };
    this.replace(body);
  }

  /** @param {Train} request */
  replace(request) {
    this.request = request;
    this.keep();
    this.tell();
  }

  /** Write the request into the address. */
  keep() {
    const query = new URLSearchParams(location.search);
    for (const [name] of [...PARAMETERS, ["request"]]) query.delete(name);
    history.replaceState(history.state, "", location.pathname + tail({ ...Object.fromEntries(query), ...queryOf(this.request) }));
  }

  /** @param {() => void} listener  called after each change */
  on(listener) {
    this.listeners.push(listener);
  }

  tell() {
    for (const listener of this.listeners) listener();
  }

  /** The request that is sent: it names the model if there is one already, so that it is defined anew from the data. */
  get body() {
    return this.known && this.request.model === undefined ? { ...this.request, model: { name: this.name } } : this.request;
  }

  /** The name of the model that is trained. */
  get name() {
    const { model } = this.request;
    return typeof model === "string" ? model : (model?.name ?? this.dataset.name ?? this.dataset.id);
  }

  /** The column that is predicted, null if nobody has named one. */
  get label() {
    return this.at("data.label") ?? this.at("model.label") ?? this.dataset.label ?? null;
  }

  set label(name) {
    const features = name && Array.isArray(this.at("model.features")) ? this.at("model.features").filter((/** @type {any} */ each) => each.column !== name) : this.at("model.features");
    this.change({ "data.label": name === this.dataset.label ? undefined : (name ?? undefined), "model.label": undefined, "model.classes": undefined, "model.features": features });
  }

  /** Whether one network is trained, the data choose, or a model as it is. @returns {"one" | "data" | "model"} */
  get network() {
    return isSingle(this.request) ? "one" : typeof this.request.model === "string" ? "model" : "data";
  }

  set network(kind) {
    if (kind === this.network) return;
    const of = kind === "one" ? OF_MANY : OF_ONE;
    if (this.network === "one") this.before = Object.fromEntries(OF_ONE.map((path) => [path, this.at(path)]).filter(([, value]) => value !== undefined));
    const model = typeof this.request.model === "string" ? { model: { name: this.request.model } } : {};
    this.change({ ...model, ...Object.fromEntries(of.map((path) => [path, undefined])), ...(kind === "one" ? this.before : {}) });
  }

  /** What the request says of a column: a type, an object with further words, or undefined. @param {string} name */
  feature(name) {
    const features = this.at("model.features");
    if (Array.isArray(features)) return features.find((/** @type {any} */ each) => each.column === name) ?? { column: name, type: "ignore" };
    return features?.[name];
  }

  /** The type that a column is trained as, "ignore" if it is left out. @param {Column} column */
  type(column) {
    const feature = this.feature(column.name), said = typeof feature === "string" ? feature : feature?.type;
    return said ?? (column.use || feature !== undefined ? column.type : "ignore");
  }

  /** Train a column as another type; as the data has it if that is the same. @param {Column} column @param {string | Record<string, any>} to */
  setFeature(column, to) {
    const features = this.at("model.features"), same = to === (column.use ? column.type : "ignore");
    if (Array.isArray(features)) {
      const entry = { column: column.name, ...(typeof to === "string" ? { type: to } : to) };
      const others = features.filter((each) => each.column !== column.name);
      return this.change({ "model.features": [...others, entry] });
    }
    const rest = Object.fromEntries(Object.entries(features ?? {}).filter(([name]) => name !== column.name));
    const changed = same ? rest : { ...rest, [column.name]: to };
    this.change({ "model.features": Object.keys(changed).length ? changed : undefined });
  }

  /** The columns that the network reads. */
  get used() {
    const { label } = this;
    return this.columns.filter((column) => column.name !== label && column.name !== this.weight && this.type(column) !== "ignore");
  }

  /** How many rows each class has, the most frequent first; empty if the label has too many values to be listed. */
  get classes() {
    const column = this.columns.find(({ name }) => name === this.label);
    /** @type {{ value: any, count: number }[]} */
    const listed = column?.levels ?? column?.values ?? [];
    return [...listed].sort((a, b) => b.count - a.count);
  }
}

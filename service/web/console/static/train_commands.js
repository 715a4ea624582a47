/** The request of POST /train as a command line, as curl and as Python: each sends the same request. */

import { curl, python, shell } from "./commands.js";
import { SINGLE, SINGLE_MODEL, at, isObject, put, word } from "./train_request.js";

/** @typedef {import("./train_request.js").Train} Train */

/** Where the command and the client look for a service if nobody tells them. */
const LOCAL = "http://127.0.0.1:8000";

/** The command line that sends the same request. @param {Train} request @param {string} origin  of the service */
export function commandLine(request, origin) {
  const { dataset } = request.data;
  /** @type {string[]} */
  const words = [];
  let rest = put(request, "data.dataset", undefined);
  const option = (/** @type {string} */ name, /** @type {any} */ value) => words.push(`${name} ${shell(String(value))}`);
  const take = (/** @type {string} */ path, /** @type {string} */ name, fits = (/** @type {any} */ value) => Number.isFinite(value)) => {
    const value = at(rest, path);
    if (value === undefined || !fits(value)) return;
    option(name, Array.isArray(value) ? value.join(",") : value);
    rest = put(rest, path, undefined);
  };
  const isText = (/** @type {any} */ value) => typeof value === "string" && value !== "" && !value.startsWith("-");
  const held = request.validation, single = commandHoldsOut(request);
  take("data.label", "--label", isText);
  if (isObject(request.model) && !("start_from" in request)) {
    const skipped = Object.keys(request.model.features ?? {});
    const plain = skipped.length && isObject(request.model.features) && skipped.every((name) => /^[^,"\s-][^,"]*$/.test(name) && request.model.features[name] === "ignore");
    if (request.model.name !== dataset || Object.keys(request.model).length === 1) take("model.name", "--name", isText);
    else rest = put(rest, "model.name", undefined);
    if (plain) words.push(`--skip ${shell(skipped.join(","))}`);
    if (plain) rest = put(rest, "model.features", undefined);
    take("model.hidden", "--hidden", (value) => Array.isArray(value) && value.length > 0 && value.every(Number.isInteger));
  }
  take("validation.fraction", "--held-out");
  if (held === undefined && single) words.push("--held-out 0");
  if (single && at(request, "validation.fraction") !== undefined && request.publish === "best") rest = put(rest, "publish", undefined);
  take("epochs", "--epochs");
  take("early_stopping.patience", "--patience");
  take("start_from", "--from", isText);
  take("seed", "--seed");
  for (const [path, value] of leaves(rest)) words.push(`--set ${shell(`${path}=${word(value)}`)}`);
  const url = origin === LOCAL ? "" : ` --url ${shell(origin)}`;
  return [`trainyard${url} train ${shell(dataset)}`, ...words].join(" \\\n  ");
}

/** Whether the command line holds rows out of this request if it is not told. @param {Train} request */
const commandHoldsOut = (request) => !("folds" in request) && (SINGLE.some((name) => name in request) || (isObject(request.model) && SINGLE_MODEL.some((name) => name in request.model)));

/** Members with the paths that `--set` takes; an object with names that a path cannot have is one member. @param {any} body @param {string} [before] @returns {[string, any][]} */
function leaves(body, before = "") {
  return Object.entries(body).flatMap(([name, value]) => {
    const path = before + name;
    const inner = isObject(value) && Object.keys(value).length > 0 && Object.keys(value).every((each) => /^[a-z_0-9]+$/.test(each)) && !/(metadata|features)$/.test(path);
    return inner ? leaves(value, `${path}.`) : [/** @type {[string, any]} */ ([path, value])];
  });
}

/** Members of a definition that are arguments of the client's `train`, and of the data that it names. */
const ARGUMENTS = ["name", "hidden", "activation", "layers", "features", "network", "classes", "dtype"], DATA = ["dataset", "label"];

/** @param {any} value @param {string[]} names */
const only = (value, names) => Object.keys(value).every((name) => names.includes(name));

/** The arguments of the client's `train`, null if it has none for some member. @param {Train} request @returns {Record<string, any> | null} */
function argumentsOf({ data, model, validation, early_stopping: stopping, ...rest }) {
  if (!only(data, DATA) || (isObject(model) && !only(model, ARGUMENTS))) return null;
  const definition = isObject(model) ? { ...model } : { model };
  if (Object.keys(definition).length > 1 && definition.name === data.dataset) delete definition.name;
  const share = isObject(validation) && only(validation, ["fraction"]) ? { held_out: validation.fraction } : { validation };
  // The client holds rows out if it is told a patience and nothing else.
  const patience = isObject(stopping) && stopping.patience && only(stopping, ["patience"]) && (validation !== undefined || "folds" in rest);
  return { label: data.label, ...definition, ...share, ...(patience ? { patience: stopping.patience } : { early_stopping: stopping }), ...rest };
}

/** @param {Train} request @param {string} origin */
function program(request, origin) {
  const begin = `from trainyard import Trainyard\n\nty = Trainyard(${origin === LOCAL ? "" : python(origin)})\n`, found = argumentsOf(request);
  if (!found) {
    const members = Object.entries(request).map(([name, value]) => `    ${python(name)}: ${python(value)},\n`);
    return `${begin}job = ty.job(ty.request("POST", "/train", {\n${members.join("")}}).json()["id"])\nmodel = job.wait().model`;
  }
  const words = Object.entries(found).filter(([, value]) => value !== undefined).map(([name, value]) => `    ${name}=${python(value)},\n`);
  return `${begin}job = ty.train(${words.length ? `\n    ${python(request.data.dataset)},\n${words.join("")}` : python(request.data.dataset)})\nmodel = job.wait().model`;
}

/** The same request in every language that the page shows. @param {Train} request @param {string} origin  of the service */
export const commands = (request, origin) => ({ CLI: commandLine(request, origin), curl: curl("POST", "/train", request), Python: program(request, origin) });

/** A dataset: what is in it, whether to trust it, and what to train on it. */

import { download, get, pages } from "../api.js";
import { go } from "../address.js";
import { commandPanel } from "../commands.js";
import { fill, h } from "../dom.js";
import { age, bytes, count } from "../format.js";
import { notice } from "../notices.js";
import { Plan } from "../plan_state.js";
import { planPanel } from "../plan.js";
import { profilePanel } from "../profile.js";
import { rowsPanel } from "../rows_table.js";
import { commands } from "../train_commands.js";
import { removeLater } from "../undo.js";

/** Formats of a download: what `Accept` says, and the end of the file's name. */
const FORMATS = /** @type {const} */ ([["CSV", "text/csv", "csv"], ["Parquet", "application/vnd.apache.parquet", "parquet"], ["HDF5", "application/x-hdf5", "h5"]]);
/** @type {Record<string, string>} */
const SEPARATORS = { ",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "|": "bars" };
/** Values of a column that are counted one by one on this page. */
const LISTED = 50;
/** First values of a text that show what it is like. */
const EXAMPLES = 3;

/** @param {import("../app.js").Place} place */
export async function show({ main, params, signal }) {
  const path = `/datasets/${encodeURIComponent(params.name)}`;
  const read = (/** @type {string} */ what, /** @type {any} */ query) => get(path + what, { query, signal });
  const found = read("", {}), known = found.then(({ name, id }) => isKnown(name ?? id, signal));
  const [dataset, profile, rows, isThere] = await Promise.all([found, read("/profile", { listed: LISTED }), read("/rows", { limit: 10 }), known]);
  if (signal.aborted) return;
  const plan = new Plan(dataset, profile.columns, params.name);
  plan.known = isThere;
  try {
    plan.fromAddress();
  } catch (error) {
    notice(error);
  }
  const examples = Object.fromEntries(plan.columns.filter(({ type }) => type === "text").map(({ name }) => [name, examplesOf(rows.data, name)]));
  const columns = profilePanel(plan, examples, signal);
  const side = h("div", { class: "grid side" });
  const grid = h("div", { class: "grid with-plan" }, h("div", { class: "grid" }, columns.panel, rowsPanel(path, plan.columns, rows, signal)), side);
  fill(main, title(dataset, plan.columns.length), grid);
  const shown = commandPanel("The same as a command", ["CLI", "curl", "Python"]);
  shown.panel.dataset.panel = "commands";
  const follow = () => shown.show(commands(plan.body, location.origin));
  plan.on(follow);
  follow();
  side.append(planPanel(plan, grid, signal), shown.panel);
  let related = profile.label;
  const relate = async () => {
    const { label } = plan;
    if (label === related) return;
    related = label;
    const asked = label ? await read("/profile", { label, listed: 0 }) : { columns: [] };
    if (related !== label) return;
    const relations = new Map(asked.columns.map((/** @type {any} */ each) => [each.name, each.relation]));
    for (const column of plan.columns) column.relation = relations.get(column.name) ?? null;
    columns.related();
  };
  plan.on(() => void relate());
  void relate();
}

/** Whether there is a model of a name. @param {string} name @param {AbortSignal} signal */
async function isKnown(name, signal) {
  for await (const page of pages("/models", { query: { prefix: name, fields: "name" }, signal, quiet: true }))
    if (page.some((/** @type {{ name: string }} */ each) => each.name === name)) return true;
  return false;
}

/** @param {{ values: Record<string, any> }[]} rows @param {string} name */
const examplesOf = (rows, name) => rows.map(({ values }) => values[name]).filter((value) => value !== null).slice(0, EXAMPLES).map(String);

/** @param {any} dataset @param {number} columns */
function title(dataset, columns) {
  const path = `/datasets/${dataset.id}`, name = dataset.name ?? dataset.id, { format } = dataset;
  const separator = format?.delimiter && `separated by ${SEPARATORS[format.delimiter] ?? format.delimiter}`;
  const written = [format?.type?.toUpperCase(), format?.encoding, separator].filter(Boolean).join(", ");
  const told = [`${count(dataset.rows)} rows`, `${count(columns)} columns`, bytes(dataset.bytes), written, age(dataset.created_at)];
  const saved = (/** @type {string} */ type) => {
    const found = FORMATS.find(([, accept]) => accept === type);
    if (found) void download(`${path}/file`, `${name}.${found[2]}`, { headers: { Accept: found[1] } });
  };
  const choices = [h("option", { value: "" }, "Download"), FORMATS.map(([label, accept]) => h("option", { value: accept }, label))].flat();
  const formats = h("select", { "aria-label": "Download as", class: "button", onchange: () => (saved(formats.value), (formats.value = "")) }, choices);
  const address = location.pathname + location.search + location.hash;
  const leave = () => removeLater(`dataset ${name}`, path, { hide: () => go("/console/data"), back: () => go(address) });
  const remove = h("button", { type: "button", onclick: leave }, "Delete");
  return h("div", { class: "title" }, h("h1", { title: name }, name), h("span", { class: "sub" }, told.filter(Boolean).join(" · ")), h("span", { class: "grow" }), formats, remove);
}

/** The datasets: what files are there, and a place to drop another one. */

import { go } from "../address.js";
import { pages } from "../api.js";
import { chooseFile } from "../drop.js";
import { fill, h, settled } from "../dom.js";
import { age, bytes, count } from "../format.js";
import { screenKey } from "../keyboard.js";
import { isLeaving, removeLater } from "../undo.js";

/** Beside so many datasets a field to find one appears. */
const MANY = 8;
/** What is shown of a dataset: its columns may be a thousand, and are left out. */
const FIELDS = "id,name,rows,label,features,bytes,created_at";
const NUMBERS = ["Rows", "Columns used", "Size"];

/** @param {import("../app.js").Place} place */
export async function show({ main, query, signal }) {
  const body = h("tbody", null), told = h("span", { class: "sub", role: "status" }), prefix = query.get("prefix") ?? undefined;
  const find = h("input", { type: "text", "aria-label": "Find a dataset", placeholder: "find a dataset", hidden: true, oninput: settled(100, () => draw()) });
  const head = ["Name", "Rows", "Columns used", "Predicts", "Size", "Added"].map((name) => h("th", { class: NUMBERS.includes(name) ? "num" : "" }, name));
  const whole = h("table", { class: "datasets" }, h("thead", null, h("tr", null, head, h("th", null, h("span", { class: "hidden" }, "Actions")))), body);
  const table = h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Datasets", hidden: true }, whole);
  const empty = h("p", { class: "sub", hidden: true }, "There is no dataset yet. On a command line: ", h("code", null, `curl --data-binary @iris.csv ${location.origin}/datasets?name=iris`));
  /** @type {any[]} */
  const datasets = [];
  const left = () => datasets.filter(({ id }) => !isLeaving(`/datasets/${id}`));
  const draw = () => {
    const wanted = find.value.trim().toLowerCase(), all = left();
    body.replaceChildren(...all.filter(({ name, id }) => String(name ?? id).toLowerCase().includes(wanted)).map((dataset) => rowOf(dataset, draw)));
    told.textContent = all.length ? `${count(all.length)} ${all.length === 1 ? "dataset" : "datasets"}` : "";
    [find.hidden, table.hidden] = [all.length <= MANY, !all.length];
  };
  screenKey("n", "New: choose a file", chooseFile);
  fill(main, h("div", { class: "title" }, h("h1", null, "Data"), told, h("span", { class: "grow" }), find),
    h("div", { class: "drop" },
      h("b", null, "Drop a table here"), ", or anywhere on this page ", h("button", { type: "button", class: "primary", onclick: chooseFile }, "Choose a file"),
      h("div", { class: "hint" }, "CSV, TSV, Parquet, JSON or NDJSON, plain or compressed by gzip or zstd")),
    h("section", { class: "panel", "data-panel": "datasets" }, table, empty));
  for await (const page of pages("/datasets", { query: { prefix, fields: FIELDS }, signal })) {
    datasets.push(...page);
    draw();
  }
  empty.hidden = datasets.length > 0;
}

/** @param {any} dataset @param {() => void} draw */
function rowOf({ id, name, rows, label, features, bytes: size, created_at: made }, draw) {
  const shown = name ?? id, address = `/console/data/${encodeURIComponent(shown)}`;
  const leave = () => removeLater(`dataset ${shown}`, `/datasets/${id}`, { hide: draw, back: () => (location.pathname === "/console/data" ? draw() : go("/console/data")) });
  const figure = (/** @type {any} */ value) => h("td", { class: "num" }, value);
  return h("tr", null,
    h("th", { scope: "row", title: shown }, h("a", { href: address }, shown)), figure(count(rows)), figure(count(features.length)),
    h("td", { title: label ?? null }, label ?? h("span", { class: "hint" }, "not said yet")), figure(bytes(size)), h("td", { class: "sub", title: made }, age(made)),
    figure(h("button", { type: "button", "aria-label": `Delete ${shown}`, onclick: leave }, "Delete")));
}

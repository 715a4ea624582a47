/** Two runs on the same rows: where one is right and the other is wrong. */

import { get, post } from "./api.js";
import { fill, h } from "./dom.js";
import { cell, count, percent } from "./format.js";
import { datasetOf } from "./job_row.js";
import { notice } from "./notices.js";
import { choice, panel, scrollingTable } from "./panels.js";

/** @typedef {import("./compare_runs.js").Run} Run */
/** @typedef {{ row: number, values: any, label: any, first: any, second: any }} Both */

/** How many rows are asked for, and shown at a time. */
const [ASKED, SHOWN] = [1000, 20];

/** How likely a split at least as uneven is, if either is as likely to be right: McNemar's exact test. @param {number} one @param {number} other */
export function chance(one, other) {
  const tosses = one + other;
  let term = 0.5 ** tosses, sum = 0;
  for (let heads = 0; heads <= Math.min(one, other); heads += 1) [sum, term] = [sum + term, (term * (tosses - heads)) / (heads + 1)];
  return Math.min(1, 2 * sum);
}

/** The rows that can be asked for: those that a job held out, and datasets. @param {Run[]} runs @param {any[]} datasets */
function sources(runs, datasets) {
  // Rows of a request are deleted when its job ends.
  const held = runs.filter(({ job }) => job && datasetOf(job)).map(({ label, job }) => ({ name: `held out by ${label}`, data: { job: job.id, part: "validation" } }));
  return [...held, ...datasets.map((/** @type {any} */ { name, rows }) => ({ name: `${name}, all ${count(rows)} rows`, data: { dataset: name, label: /** @type {any} */ (null) } }))];
}

/** @param {Run[]} runs @param {AbortSignal} signal */
export async function sameRowsPanel(runs, signal) {
  const { data: datasets } = await get("/datasets", { query: { limit: 100 }, signal, quiet: true });
  const rows = sources(runs, datasets), answer = h("div", { "aria-live": "polite" });
  const numbered = (/** @type {string[]} */ names) => names.map((name, index) => /** @type {[string, string]} */ ([String(index), name]));
  const names = numbered(runs.map(({ label }) => label)), chosen = { first: 0, second: 1, rows: 0 };
  const pick = (/** @type {string} */ label, /** @type {[string, string][]} */ options, /** @type {"first" | "second" | "rows"} */ name) =>
    choice(label, options, String(chosen[name]), (value) => ((chosen[name] = Number(value)), void ask()));
  let asking = new AbortController();

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const stop = AbortSignal.any([signal, asking.signal]), pair = [runs[chosen.first], runs[chosen.second]], { data } = rows[chosen.rows];
    fill(answer, h("p", { class: "sub" }, "Asking both…"));
    try {
      const [one, other] = await Promise.all(pair.map((run) => evaluate(run, data, stop)));
      const found = new Map(other.cell.rows.map((/** @type {any} */ row) => [row.row, row.predicted]));
      const both = one.cell.rows.filter(({ row }) => found.has(row)).map((row) => ({ ...row, first: row.predicted, second: found.get(row.row) }));
      fill(answer, result(pair, [one, other], both));
    } catch (error) {
      if (stop.aborted) return;
      fill(answer, h("p", { class: "sub" }, "These two cannot be compared on these rows."));
      notice(error);
    }
  }

  if (rows.length) void ask();
  else fill(answer, h("p", { class: "sub" }, "There are no rows that could be asked for: the jobs of these versions and all datasets were deleted."));
  const words = (/** @type {string} */ text) => h("span", null, text);
  const sourceNames = numbered(rows.map(({ name }) => name));
  return panel("The same rows", "rows",
    [pick("First run", names, "first"), words("and"), pick("Second run", names, "second"), words("on the rows"), pick("Rows", sourceNames, "rows")], answer);
}

/** @param {Run} run @param {any} data @param {AbortSignal} signal @returns {Promise<{ accuracy: number, rows: number, trained_on: number | null, cell: { rows: any[] } }>} */
function evaluate({ name, version }, data, signal) {
  const { label } = version.definition, asked = data.dataset && label ? { ...data, label } : data;
  return post("/evaluate", { json: { model: name, version: version.version, data: asked, rows: { limit: ASKED } }, signal });
}

/** @param {Run[]} pair @param {any[]} answers @param {Both[]} both */
function result(pair, answers, both) {
  const [a, b] = pair.map(({ label }) => label), table = h("div");
  const those = (/** @type {boolean} */ one, /** @type {boolean} */ other) => both.filter(({ label, first, second }) => (first === label) === one && (second === label) === other);
  const groups = [
    { name: `only ${a} is right`, rows: those(true, false) },
    { name: `only ${b} is right`, rows: those(false, true) },
    { name: "both are right", rows: those(true, true) },
    { name: "both are wrong", rows: those(false, false) },
  ];
  const buttons = groups.map(({ name, rows }, index) => h("button", { type: "button", onclick: () => choose(index) }, h("strong", null, count(rows.length)), ` ${name}`));
  const choose = (/** @type {number} */ index) => {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
    fill(table, rowsTable(groups[index].rows, [a, b], pair[0].version.definition.label));
  };
  choose(Math.max(0, groups.findIndex(({ rows }) => rows.length)));
  const total = answers[0].rows;
  return [h("p", null, answers.map((answer, index) => `${howGood([a, b][index], answer)}. `), h("span", { class: "sub" }, difference(groups[0].rows.length, groups[1].rows.length))),
    both.length < total && h("p", { class: "hint" }, `${count(both.length)} of ${count(total)} rows are looked at, spread evenly.`),
    h("div", { class: "row picks" }, buttons), table];
}

/** @param {string} label @param {any} answer */
const howGood = (label, { accuracy, trained_on: seen, rows }) => `${label}: ${percent(accuracy)} right${seen ? `, but it was trained on ${count(seen)} of the ${count(rows)} rows` : ""}`;

/** @param {number} first  rows on which one alone is right @param {number} second */
function difference(first, second) {
  if (!first && !second) return "They are right and wrong on the same rows.";
  const p = chance(first, second);
  return `Of two that are equally good, ${percent(p, p < 0.01 ? 2 : 0)} differ as much or more${p < 0.05 ? "" : ": it may be chance"}.`;
}

/** @param {Both[]} rows @param {string[]} names @param {string | undefined} labelled  the column with the label, which is shown anyway */
function rowsTable(rows, [a, b], labelled) {
  if (!rows.length) return h("p", { class: "sub" }, "No row.");
  const columns = Array.isArray(rows[0].values) ? rows[0].values.map((_, index) => String(index + 1)) : Object.keys(rows[0].values).filter((name) => name !== labelled);
  const body = h("tbody"), more = h("button", { type: "button", onclick: () => add() }, "More");
  const text = (/** @type {any} */ value, kind = "") => h("td", null, h("span", { class: `name ${kind}`, title: cell(value) }, { ok: "✓ ", bad: "✕ " }[kind], cell(value)));
  const line = (/** @type {Both} */ { row, values, label, first, second }) => h("tr", null,
    h("td", { class: "num" }, count(row)), text(label), text(first, first === label ? "ok" : "bad"), text(second, second === label ? "ok" : "bad"),
    columns.map((/** @type {string} */ column, /** @type {number} */ index) => text(Array.isArray(values) ? values[index] : values[column])));
  const add = () => {
    body.append(...rows.slice(body.children.length, body.children.length + SHOWN).map(line));
    more.hidden = body.children.length >= rows.length;
  };
  add();
  return h("div", null, scrollingTable("Rows", {}, ["#row", "label", a, b, ...columns], body), more);
}

/** Which one: up to twenty runs beside each other, what differs between them, and two of them on the same rows. */

import { get } from "../api.js";
import { LineChart } from "../chart.js";
import { FIGURES, bestOf, differences, readRun, runNames } from "../compare_runs.js";
import { classColour, fill, h } from "../dom.js";
import { cell, count, duration, number, percent } from "../format.js";
import { notice } from "../notices.js";
import { choice, panel, scrollingTable } from "../panels.js";
import { sameRowsPanel } from "../same_rows.js";

/** @typedef {import("../compare_runs.js").Run} Run */

/** How many points of each curve are drawn. */
const POINTS = 400;
/** @type {[string, string][]} */
const CURVES = [["validation_log_loss", "held-out loss"], ["validation_accuracy", "held-out accuracy"], ["loss", "training loss"], ["accuracy", "training accuracy"]];
const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3]];
const WRITE = { percent: (/** @type {any} */ value) => percent(value), number: (/** @type {any} */ value) => number(value, 4), count, seconds: duration };

/** @param {import("../app.js").Place} place */
export async function show({ main, query, signal }) {
  const names = runNames(query);
  const title = (/** @type {any[]} */ ...more) => h("div", { class: "title" }, h("h1", null, "Compare"), more);
  if (names.length < 2) {
    const list = h("a", { href: "/console/" }, "models"), example = h("code", null, "/console/compare?m=iris@3,iris@1");
    return fill(main, title(), h("p", null, "Choose two or more in the list of ", list, " by their boxes, or name them in the address: ", example, "."));
  }
  const runs = await Promise.all(names.map((name) => readRun(name, signal)));
  fill(main, title(h("span", { class: "sub" }, `${count(runs.length)} runs`)), h("div", { class: "stack" }, table(runs), await curves(runs, signal)));
  sameRowsPanel(runs, signal).then((last) => main.querySelector(".stack")?.append(last), (error) => signal.aborted || notice(error));
}

/** The colour and the dashes of a run, which no other run has. @param {number} index */
const strokeOf = (index) => ({ color: classColour(index), dash: DASHES[Math.floor(index / 8) % DASHES.length] });

/** @param {Run[]} runs */
function table(runs) {
  const without = (/** @type {Run} */ run) => `/console/compare?m=${runs.filter((one) => one !== run).map(({ label }) => encodeURIComponent(label)).join(",")}`;
  const head = runs.map((run, index) => h("span", { class: "run" },
    h("i", { class: "swatch", style: { background: `var(${classColour(index)})` } }),
    h("a", { class: "name", title: run.label, href: `/console/models/${encodeURIComponent(run.name)}?version=${run.version.version}` }, run.label),
    runs.length > 2 && h("a", { href: without(run), "aria-label": `Without ${run.label}` }, "×")));
  const figures = FIGURES.map(({ name, of, better, kind }) => {
    const values = runs.map(of), best = bestOf(values, better), known = values.some((value) => typeof value === "number");
    const words = (/** @type {any} */ value) => (value === best && best !== null ? h("strong", null, WRITE[kind](value), h("span", { class: "ok" }, " ★ best")) : WRITE[kind](value));
    return known && line(name, values.map(words));
  });
  const clipped = (/** @type {any} */ value) => (value === null ? "–" : h("span", { class: "clip", title: String(value) }, cell(value)));
  const settings = differences(runs).map(({ name, values }) => line(name, values.map(clipped)));
  const group = (/** @type {string} */ words) => h("tr", { class: "group" }, h("th", { colSpan: runs.length + 1, scope: "colgroup" }, words));
  return panel("How good, and what differs", "runs", [],
    scrollingTable("Runs", { class: "compare" }, ["(What)", ...head],
      h("tbody", null, group("How good"), figures, group(settings.length ? "What differs" : "Nothing that was asked for differs"), settings)));
}

/** @param {string} name @param {(string | Node)[]} values */
const line = (name, values) => h("tr", null, h("th", { scope: "row" }, name), values.map((value) => h("td", null, value)));

/** The curves of all runs over each other. @param {Run[]} runs @param {AbortSignal} signal */
async function curves(runs, signal) {
  const histories = await Promise.all(runs.map(async ({ job }) => {
    if (!job) return [];
    return (await get(`/jobs/${job.id}/history`, { query: { points: POINTS, member: job.members.length ? 1 : null }, signal, quiet: true })).data;
  }));
  const chart = new LineChart(), epochs = [...new Set(histories.flat().map(({ epoch }) => epoch))].sort((one, other) => one - other);
  let [what, log] = ["validation_log_loss", false];
  const draw = () => {
    const series = runs.map(({ label, job }, index) => {
      const values = new Map(histories[index].map((/** @type {any} */ one) => [one.epoch, one[what] ?? (what === "validation_log_loss" ? one.validation_loss : null) ?? null]));
      return { name: job?.members.length ? `${label}, network 1 of ${job.members.length}` : label, ...strokeOf(index), values: epochs.map((epoch) => values.get(epoch) ?? null) };
    });
    chart.show(epochs, series.filter(({ values }) => values.some((value) => value !== null)), { log });
  };
  const choose = choice("Curve", CURVES, what, (value) => ((what = value), draw())), scale = choice("Scale", ["linear", "logarithmic"], "linear", (value) => ((log = value !== "linear"), draw()));
  chart.setAttribute("aria-label", "Curves of all runs by epoch");
  draw();
  const nothing = h("p", { class: "sub" }, "The jobs of these versions were deleted, or the versions imported: there are no curves.");
  return panel("Curves", "curves", [h("span", { class: "grow" }), choose, scale], epochs.length ? chart : nothing);
}

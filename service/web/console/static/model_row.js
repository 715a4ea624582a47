/** A model as a row of the list: how it learned, how good it is, what answers, how old it is. */

import { fill, h } from "./dom.js";
import { age, number, percent } from "./format.js";
import { progressBar, stateChip } from "./job_row.js";

export const ACTIVE = ["queued", "running", "paused"];

/** Members of a model's document that the list needs. */
export const FIELDS = "name,default,metrics,job,created_at";

/** @typedef {{ name: string, default: number | null, metrics: any, job: any, created_at: string }} Model */

/** The name of an element of a model's row. @param {string} what @param {Model} model */
const idOf = (what, { name }) => `${what}-${name}`;

/** The best figures that are known: of held-out rows if there are some. @param {any} metrics */
function figures(metrics) {
  const accuracy = metrics?.validation_accuracy ?? metrics?.accuracy, loss = metrics?.validation_log_loss ?? metrics?.validation_loss ?? metrics?.log_loss;
  return [h("td", { class: "num" }, accuracy === undefined ? "–" : percent(accuracy)), h("td", { class: "num" }, loss === undefined ? "–" : number(loss, 3))];
}

/** A table's row for a model; its curve is drawn later into the cell `.curve-place`. @param {Model} model @param {boolean} chosen */
export function modelRow(model, chosen) {
  const row = h("tr", { "data-name": model.name });
  fillRow(row, model, chosen);
  return row;
}

/** Show what has changed, but keep the curve. @param {HTMLElement} row @param {Model} model @param {boolean} chosen */
export function fillRow(row, model, chosen) {
  const { name, job } = model, running = job && ACTIVE.includes(job.state), when = job?.finished_at ?? model.created_at;
  const place = row.querySelector(".curve-place") ?? h("td", { class: "curve-place" });
  // Of several networks, the first stands for all.
  if (job?.members) place.setAttribute("data-member", "1");
  fill(row,
    h("td", null, h("input", { type: "checkbox", id: idOf("choose", model), "aria-label": `Compare ${name}`, checked: chosen })),
    h("td", null, h("a", { class: "name", id: idOf("model", model), href: `/console/models/${encodeURIComponent(name)}`, title: name }, name)),
    place,
    figures(model.metrics),
    h("td", null, model.default ? `version ${model.default}` : h("span", { class: "hint" }, "none")),
    h("td", null, running && job.state !== "queued" ? [stateChip(job.state), progressBar({ name, ...job })] : job ? stateChip(job.state) : h("span", { class: "hint" }, "imported")),
    h("td", { title: when }, running ? "now" : age(when)),
    h("td", { class: "actions" }, h("button", { type: "button", class: "quiet", id: idOf("delete", model), "aria-label": `Delete ${name}` }, "×")));
}

/** A job as a row of a table: what it trains, how far it is, what can be done with it. */

import { h } from "./dom.js";
import { whatToDo } from "./failures.js";
import { age, count, duration, number, percent } from "./format.js";

/** Signs beside the words of the states, since colour alone is not seen by all. */
const SIGNS = /** @type {Record<string, string>} */ ({ queued: "⋯", running: "▶", paused: "‖", succeeded: "✓", failed: "✕", cancelled: "–" });

/** @param {string} state */
export const stateChip = (state) => h("span", { class: `chip ${{ running: "accent", succeeded: "good", failed: "bad" }[state] ?? ""}` }, `${SIGNS[state] ?? ""} ${state}`);

/** @param {any} job  or what a model says of its newest job */
export function progressBar({ model, name, progress, state }) {
  const share = Math.round(100 * progress.fraction);
  const words = { role: "progressbar", "aria-label": `Progress of ${model ?? name}`, "aria-valuenow": share, "aria-valuemin": 0, "aria-valuemax": 100 };
  return h("div", { class: `meter ${state === "running" ? "live" : ""}`, ...words }, h("i", { style: { width: `${share}%` } }));
}

/** The dataset that a job trains on, null if its rows came with the request. @param {any} job @returns {string | null} */
export const datasetOf = ({ request }) => (typeof request.data === "string" ? request.data : (request.data?.dataset ?? null));

/** The figures that count: of rows that were held out, if there are some. @param {any} job */
export function figures({ metrics, held_out: held }) {
  const accuracy = held?.accuracy ?? metrics?.validation_accuracy, loss = held?.log_loss ?? metrics?.validation_log_loss ?? metrics?.validation_loss;
  if (typeof accuracy === "number") return [`${percent(accuracy)} right`, h("div", { class: "hint" }, `held out, log loss ${number(loss, 3)}`)];
  if (typeof metrics?.accuracy === "number") return [`${percent(metrics.accuracy)} right`, h("div", { class: "hint" }, `in training, loss ${number(metrics.loss, 3)}`)];
  return [];
}

/** @param {any} job @param {number} place  in the queue, from 1 */
function stateCell(job, place) {
  const { state, progress, error, members } = job;
  if (state === "queued") return [stateChip(state), h("span", { class: "hint" }, place === 1 ? " next in the queue" : ` number ${count(place)} in the queue`)];
  if (state === "failed") {
    const cause = h("div", { class: "cause" }, h("code", null, error?.code ?? ""), " ", error?.detail ?? "the cause is not known");
    return [stateChip(state), cause, h("div", { class: "hint" }, `What to do: ${whatToDo(error?.code ?? "")}`)];
  }
  const networks = members.length ? `, ${count(members.filter((/** @type {any} */ one) => one.state === "ended").length)} of ${count(members.length)} networks` : "";
  const epochs = `epoch ${count(progress.epoch)}${members.length ? "" : ` of ${count(progress.epochs)}`}${networks}`;
  if (state === "running" || state === "paused") {
    const left = state === "running" && progress.eta_seconds !== null ? ` · ${duration(progress.eta_seconds)} left` : "";
    return [stateChip(state), progressBar(job), h("span", { class: "hint" }, `${epochs}${left}`), error && h("div", { class: "bad hint" }, error.detail)];
  }
  return [stateChip(state), h("span", { class: "hint" }, ` ${epochs}${job.stopped_by === "early_stopping" ? ", stopped early" : ""}`)];
}

/** @typedef {{ cancel: (job: any) => void, pause: (job: any) => void, resume: (job: any) => void, remove: (job: any) => void }} Actions */

/** What can be done with a job in a state. @type {Record<string, [keyof Actions, string][]>} */
const CAN = {
  queued: [["pause", "Pause"], ["cancel", "Cancel"]],
  running: [["pause", "Pause"], ["cancel", "Stop"]],
  paused: [["resume", "Resume"], ["cancel", "Cancel"]],
};

/** @param {any} job @param {Actions} actions */
function buttons(job, actions) {
  const can = CAN[job.state] ?? /** @type {typeof CAN[string]} */ ([["remove", "Delete"]]);
  return can.map(([name, label]) => h("button", { type: "button", id: `${name}-${job.id}`, "aria-label": `${label} ${job.model}, ${job.id}`, onclick: () => actions[name](job) }, label));
}

/** The cells of a job's row. @param {any} job @param {number} place  in the queue @param {Actions} actions */
export function jobCells(job, place, actions) {
  const data = datasetOf(job), when = job.finished_at ?? job.started_at ?? job.created_at;
  const took = job.finished_at && job.started_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
  return [
    h("td", null, h("a", { class: "name", href: `/console/models/${encodeURIComponent(job.model)}?job=${job.id}`, title: `${job.model}: ${job.id}` }, job.model)),
    h("td", null, data ? h("a", { class: "name", href: `/console/data/${encodeURIComponent(data)}`, title: data }, data) : h("span", { class: "hint" }, "rows of the request")),
    h("td", { class: "wide" }, stateCell(job, place)),
    h("td", null, figures(job)),
    h("td", { title: when }, age(when), took !== null && h("div", { class: "hint" }, `took ${duration(took)}`)),
    h("td", { class: "actions" }, buttons(job, actions)),
  ];
}

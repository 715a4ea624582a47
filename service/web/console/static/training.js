/** The panel of a job's training: its curves, which of them, and what it waits for or why it has failed. */

import { go, setQuery } from "./address.js";
import { get } from "./api.js";
import { curves, lowest } from "./curves.js";
import { fill, h, newId } from "./dom.js";
import { whatToDo } from "./failures.js";
import { age, count } from "./format.js";
import { memberChoice, membersTable } from "./members.js";
import { ended } from "./model_state.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./run_history.js").RunHistory} RunHistory */

/** What the job waits for, in words. @param {any} job */
async function waitingFor(job) {
  const quiet = { quiet: true },
    [ready, queued, running] = await Promise.all([
      get("/health/ready", quiet),
      get("/jobs", { ...quiet, query: { state: "queued", limit: 100 } }),
      get("/jobs", { ...quiet, query: { state: "running", limit: 100 } }),
    ]);
  if (ready.trainer !== "ok") return "It waits for a trainer: none is running. It starts with the service, or by “trainyard trainer”.";
  const before = queued.data.filter((/** @type {any} */ one) => one.id < job.id).length,
    names = running.data.slice(0, 3).map((/** @type {any} */ one) => one.model).join(", ");
  if (!running.data.length) return "It starts now.";
  const queue = before ? `, and ${count(before)} ${before > 1 ? "jobs are" : "job is"} before it in the queue` : "";
  return `It waits for its turn: ${names}${running.data.length > 3 ? " and others" : ""} ${running.data.length > 1 ? "are" : "is"} training${queue}.`;
}

/** @param {any} job @param {string[]} troubles */
function words(job, troubles) {
  const lines = [];
  if (!job) lines.push(h("p", null, "This model was imported: there is no job, so there are no curves. All else on this page works."));
  else if (job.state === "failed")
    lines.push(
      h("p", { class: "bad" }, h("b", null, `It failed: ${job.error?.code ?? "unknown"}. `), job.error?.detail ?? ""),
      h("p", null, h("b", null, "What to do: "), whatToDo(job.error?.code ?? "")),
    );
  else if (job.error) lines.push(h("p", { class: "warn" }, `Its last checkpoint was not saved: ${job.error.detail} `, whatToDo(job.error.code)));
  if (job?.attempt > 1 && !troubles.length) lines.push(h("p", { class: "hint" }, `Attempt ${job.attempt}: it went on from its last saved state.`));
  lines.push(...troubles.slice(-3).map((line) => h("p", { class: "hint" }, line)));
  return lines;
}

/**
 * @param {ModelState} state @param {RunHistory} history @param {HTMLElement} below  what stands under the curves
 * @param {URLSearchParams} query
 */
export function trainingPanel(state, history, below, query) {
  const id = newId(),
    smoothId = newId(),
    { loss, accuracy, show } = curves(history),
    notes = h("div", { class: "training-notes" }),
    waits = h("p", { class: "hint", hidden: true }),
    numbers = h("div");
  /** @type {string[]} */ let troubles = [];
  let log = query.has("log"),
    smoothing = Math.min(0.99, Math.max(0, Number(query.get("smooth")) || 0));

  const scales = ["linear", "log"].map((name) => h("button", { type: "button", "aria-pressed": String((name === "log") === log), onclick: () => scale(name === "log") }, name));
  const scale = (/** @type {boolean} */ now) => {
    log = now;
    scales.forEach((button, index) => button.setAttribute("aria-pressed", String((index === 1) === log)));
    setQuery({ log: log ? "1" : null });
    draw();
  };
  const smoother = h("input", {
    type: "range",
    id: smoothId,
    min: 0,
    max: 0.95,
    step: 0.05,
    value: smoothing,
    oninput: () => ((smoothing = Number(smoother.value)), setQuery({ smooth: smoothing ? String(smoothing) : null }), draw()),
  });
  const members = memberChoice(state, query, () => draw());
  const jobs = h("select", { "aria-label": "Job", onchange: () => go(`/console/models/${state.value.name}?job=${jobs.value}`) });

  const drawJobs = () => {
    const { jobs: listed, job } = state.value,
      all = !job || listed.some((one) => one.id === job.id) ? listed : [job, ...listed];
    jobs.hidden = all.length < 2;
    fill(
      jobs,
      all.map((one) => h("option", { value: one.id, selected: one.id === job?.id }, `${one.state}, ${age(one.created_at)}${one.version ? `, version ${one.version}` : ""}`)),
    );
  };

  const mark = () => {
    const { job, versions } = state.value,
      chosen = members.chosen();
    if (chosen) {
      const best = chosen.length === 1 ? job.members.find((/** @type {any} */ one) => one.member === chosen[0])?.best : null;
      return best ? { x: best.epoch, name: "best" } : null;
    }
    if (job?.best) return { x: job.best.epoch, name: !ended(job) ? "best so far" : versions.some(({ version }) => version === job.version) ? "best, published" : "best" };
    const x = lowest(history.run);
    return x === null ? null : { x, name: "lowest" };
  };

  const draw = () => {
    const { job, checkpoints } = state.value,
      none = !job || (history.empty && ended(job));
    for (const chart of [loss, accuracy]) chart.hidden = none;
    controls.hidden = none;
    show({ members: members.chosen(), log, smoothing, mark: mark(), kept: job?.members.length ? [] : checkpoints.map(({ epoch }) => epoch) });
  };

  const drawWords = () => {
    const { job } = state.value;
    fill(notes, words(job, troubles));
    fill(numbers, job?.held_out ? membersTable(job) : "");
    waits.hidden = job?.state !== "queued";
    if (job?.state === "queued")
      waitingFor(job)
        .then((text) => (waits.textContent = text))
        .catch(() => (waits.textContent = ""));
  };

  const choose = (/** @type {Event} */ event) => {
    const x = /** @type {CustomEvent} */ (event).detail,
      near = state.value.checkpoints.reduce((best, one) => (best && Math.abs(best.epoch - x) <= Math.abs(one.epoch - x) ? best : one), /** @type {any} */ (null));
    if (near && !state.value.job?.members.length) state.set({ chosen: { kind: "checkpoint", id: near.id, epoch: near.epoch }, following: false });
  };
  loss.addEventListener("choose", choose);
  accuracy.addEventListener("choose", choose);

  const controls = h(
    "div",
    { class: "row training-controls" },
    members.element,
    h("label", { for: smoothId, class: "hint" }, "Smooth"),
    smoother,
    h("div", { class: "tabs", role: "group", "aria-label": "Scale of the loss" }, scales),
  );
  const panel = h(
    "section",
    { class: "panel", "data-panel": "training", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "Training"), jobs, h("span", { class: "grow" }), controls),
    notes,
    waits,
    loss,
    accuracy,
    numbers,
    below,
  );
  state.on("job versions checkpoints", () => (members.draw(), drawWords(), draw()));
  state.on("jobs job", drawJobs);
  drawJobs();
  drawWords();
  draw();
  return { panel, /** The history has changed. */ changed: (/** @type {string[]} */ now) => (now.length === troubles.length || ((troubles = [...now]), drawWords()), draw()) };
}

/**
 * Training by hand, for teaching: `?step` in the address gives a button for one epoch more. Each press trains the same
 * request with the same seed from the start, for one epoch more than before: the epochs before are the same to the bit.
 */

import { setQuery } from "./address.js";
import { get, post } from "./api.js";
import { h } from "./dom.js";
import { screenKey } from "./keyboard.js";
import { ended } from "./model_state.js";
import { notice } from "./notices.js";
import { repeatable } from "./train_request.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */

/** The mark of the jobs that one series of presses has made. @param {any} job @returns {string | undefined} */
export const seriesOf = (job) => job?.request.metadata?.step;

/** The request of a step. @param {any} job  the step before @param {any} definition @param {number} epochs */
export function stepRequest(job, definition, epochs) {
  const body = repeatable(job.request, definition ?? undefined);
  if (!body) return null;
  for (const name of ["early_stopping", "max_seconds", "start_from"]) delete body[name];
  return { ...body, epochs, publish: false, checkpoint: {}, metadata: { ...body.metadata, step: epochs ? (seriesOf(job) ?? job.id) : String(Date.now()) } };
}

/**
 * Buttons that train on. `follow` shows another job in the place of the present one.
 * @param {ModelState} state @param {(job: any) => Promise<void>} follow
 */
export function stepButtons(state, follow) {
  const press = async (/** @type {(epoch: number) => number} */ next) => {
    const { job, definition } = state.value;
    if (!job || !ended(job)) return;
    const body = stepRequest(job, definition, next(job.progress.epoch));
    if (!body) return notice(new Error("The rows of this job are no dataset, so it cannot be trained again from here."));
    draw(true);
    try {
      const made = await post("/train", { json: body, once: true });
      setQuery({ job: made.id, checkpoint: null, version: null });
      await follow(made);
    } catch (error) {
      notice(error);
    } finally {
      draw();
    }
  };
  const one = h(
    "button",
    {
      type: "button",
      class: "primary",
      id: "do-step",
      title: "The same request and seed, for one epoch more: the epochs before stay the same to the bit.",
      onclick: () => void press((epoch) => epoch + 1),
    },
    "One epoch ",
    h("kbd", null, "e"),
  );
  const ten = h("button", { type: "button", onclick: () => void press((epoch) => epoch + 10) }, "Ten"),
    over = h("button", { type: "button", onclick: () => void press(() => 0) }, "Start over");
  const draw = (busy = !ended(state.value.job)) => [one, ten, over].forEach((button) => (button.disabled = busy || !state.value.job || state.value.job.members.length > 0));
  screenKey("e", "Train one epoch", () => one.click());
  state.on("job", () => draw());
  draw();
  return h("div", { class: "row stepping", role: "group", "aria-label": "Step by step" }, one, ten, over);
}

/** What the jobs of a series have kept, one checkpoint for each epoch. @param {string} name @param {any} job @param {any[]} kept  all of the model @param {AbortSignal} signal */
export async function checkpointsOfSeries(name, job, kept, signal) {
  const { data } = await get("/jobs", { query: { model: name, limit: 100 }, signal, quiet: true });
  const ids = new Set(data.filter((/** @type {any} */ one) => seriesOf(one) === seriesOf(job)).map((/** @type {any} */ one) => one.id));
  const byEpoch = new Map(kept.filter((one) => ids.has(one.job) && one.epoch <= job.progress.epochs).map((one) => [one.epoch, one]));
  return [...byEpoch.values()];
}

/** What the Model screen does to a job and to what it has kept: pause, resume, stop, publish, download. */

import { download as save, get, post } from "./api.js";
import { notice, toast } from "./notices.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Value} Value */

/** Do something to the state's job, and show its document. @param {ModelState} state @param {"pause" | "resume" | "cancel"} action */
async function act(state, action) {
  const { job } = state.value;
  try {
    await post(`/jobs/${job.id}/${action}`);
    state.set({ job: await get(`/jobs/${job.id}`, { quiet: true }) });
  } catch (error) {
    notice(error);
  }
}

/** Pause a job that waits or trains, or resume one that is paused. @param {ModelState} state */
export const pauseOrResume = (state) => act(state, state.value.job.state === "paused" ? "resume" : "pause");

/** End a job after its current batch; what it has kept stays. @param {ModelState} state */
export async function stop(state) {
  await act(state, "cancel");
  toast("Stopped. Its kept checkpoints stay: publish one of them under Kept.", { seconds: 6 });
}

/** Of the kept checkpoints, the best by what the job looks for; null if no epoch is measured. @param {Pick<Value, "job" | "checkpoints">} value */
export function bestKept({ job, checkpoints }) {
  const monitor = job?.best?.monitor ?? job?.request.early_stopping?.monitor ?? (checkpoints.some(({ metrics }) => metrics.validation_loss != null) ? "validation_loss" : "loss");
  const sign = monitor.endsWith("accuracy") ? -1 : 1,
    measured = checkpoints.filter(({ metrics }) => metrics[monitor] != null);
  return measured.reduce((best, one) => (best && sign * best.metrics[monitor] <= sign * one.metrics[monitor] ? best : one), /** @type {any} */ (null));
}

/** Publish a kept checkpoint as the model's next version. @param {ModelState} state @param {any} checkpoint */
export async function publish(state, checkpoint) {
  const { name } = state.value;
  try {
    const version = await post(`/models/${name}/versions`, { json: { checkpoint: checkpoint.id } });
    toast(`Published epoch ${checkpoint.epoch} as version ${version.version}`);
    const model = await get(`/models/${name}`, { quiet: true });
    state.set({ model, versions: [version, ...state.value.versions.filter((one) => one.version !== version.version)] });
    return version;
  } catch (error) {
    notice(error, () => void publish(state, checkpoint));
  }
}

/** The id of the checkpoint that answers now. @param {Value} value @returns {string | null} */
export function answeringCheckpoint({ chosen, versions, checkpoints, job }) {
  if (chosen?.kind === "version") return versions.find(({ version }) => version === chosen.number)?.checkpoint ?? null;
  if (chosen?.kind === "checkpoint") return chosen.id;
  return bestKept({ job, checkpoints })?.id ?? checkpoints.at(-1)?.id ?? null;
}

/** Download a checkpoint's file. @param {string} name  of the model @param {string} id @param {string | number} what  for the file's name */
export async function downloadCheckpoint(name, id, what) {
  try {
    await save(`/checkpoints/${id}/file`, `${name}-${what}.h5`);
  } catch (error) {
    notice(error);
  }
}

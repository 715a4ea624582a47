/** The head of the Model screen: what is served, how the training stands, and what to do with it. */

import { go } from "./address.js";
import { fill, h } from "./dom.js";
import { count, duration, number, percent } from "./format.js";
import { answeringCheckpoint, bestKept, downloadCheckpoint, pauseOrResume, publish, stop } from "./job_actions.js";
import { screenKey } from "./keyboard.js";
import { ended } from "./model_state.js";
import { addressOf } from "./train_request.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Value} Value */

const WORDS = /** @type {Record<string, string>} */ ({
  validation_loss: "held-out loss",
  validation_log_loss: "held-out log loss",
  validation_accuracy: "held-out accuracy",
  loss: "loss",
  accuracy: "accuracy",
});

/** A metric's name in words. @param {string} name */
export const metricWords = (name) => WORDS[name] ?? name;

/** @param {any} job */
const seconds = (job) => (job.started_at ? ((job.finished_at ? Date.parse(job.finished_at) : Date.now()) - Date.parse(job.started_at)) / 1000 : null);

/** How far a job is, as in "epoch 60 of 400". @param {any} job @param {number} [seen]  the newest epoch of the stream */
function place({ members, progress: { epoch, epochs } }, seen = 0) {
  if (!members.length) return `epoch ${count(Math.max(epoch, seen))} of ${count(epochs)}`;
  return `${members.filter((/** @type {any} */ member) => member.state === "ended").length} of ${members.length} networks`;
}

/** The state of a job in words. @param {any} job @param {number} [seen] */
function stateWords(job, seen) {
  const { state, progress } = job,
    left = progress.eta_seconds === null || !progress.epoch ? "" : ` · ${duration(progress.eta_seconds)} left`;
  if (state === "queued") return "queued";
  if (state === "running") return `training · ${place(job, seen)}${left}`;
  if (state === "paused") return `paused · ${place(job)}`;
  const time = seconds(job);
  return `${state === "cancelled" ? "stopped" : state} · ${place(job)}${time === null ? "" : ` · ${duration(time)}`}`;
}

/** What is best, in words. @param {Value} value */
function bestWords({ job, model, versions }) {
  if (!job) {
    const made = versions.find(({ version }) => version === model.default)?.metrics ?? {},
      names = ["validation_accuracy", "validation_log_loss", "accuracy", "loss"].filter((name) => made[name] != null);
    return names
      .slice(0, 2)
      .map((name) => `${metricWords(name)} ${number(made[name], 3)}`)
      .join(" · ");
  }
  const { best, held_out, stopped_by, metrics } = job,
    why = { early_stopping: " · stopped early", max_seconds: " · out of time" }[/** @type {string} */ (stopped_by)] ?? "";
  if (held_out) {
    const { accuracy, rows, to_beat, log_loss } = held_out, commonest = percent(to_beat?.majority?.accuracy);
    return `${percent(accuracy)} right on ${count(rows)} held-out rows (commonest class: ${commonest}) · log loss ${number(log_loss, 3)}${why}`;
  }
  if (best) return `best epoch ${ended(job) ? "" : "so far "}${count(best.epoch)}: ${metricWords(best.monitor)} ${number(best.value, 3)}${why}`;
  const shown = ["validation_accuracy", "validation_loss", "accuracy", "loss"].find((name) => metrics[name] != null);
  return shown ? `${metricWords(shown)} ${number(metrics[shown], 3)}${why}` : "";
}

/** @param {ModelState} state @param {import("./run_history.js").RunHistory} history */
export function modelHeader(state, history) {
  const title = h("h1", { class: "name", title: state.value.name }, state.value.name),
    served = h("span", { class: "chip" }),
    live = h("span", { class: "chip", role: "status", "aria-live": "off" });
  const bar = h("i"),
    meter = h("div", { class: "meter progress", role: "progressbar", "aria-label": "Training", "aria-valuemin": 0, "aria-valuemax": 100 }, bar),
    best = h("span", { class: "sub" }),
    buttons = h("div", { class: "row" });
  const head = h("div", { class: "title model-title" }, title, served, live, meter, best, buttons);
  const dot = h("i", { class: "dot live" });
  let shown = "";

  const compare = () => {
    const { name, chosen, model } = state.value,
      version = chosen?.kind === "version" ? chosen.number : model.default;
    go(`/console/compare?m=${name}${version ? `@${version}` : ""}`);
  };
  const pause = () => void (ended(state.value.job) || pauseOrResume(state));
  const getFile = () => {
    const { name, chosen } = state.value,
      id = answeringCheckpoint(state.value);
    if (id) void downloadCheckpoint(name, id, chosen?.kind === "version" ? chosen.number : id);
  };

  /** Draw the buttons that the state allows, only if they are others than before. */
  const drawButtons = () => {
    const { job, model, versions, definition, checkpoints } = state.value,
      running = job && !ended(job),
      kept = bestKept(state.value);
    const again = job && addressOf(job.request, job.version ? definition : undefined);
    const key = JSON.stringify([job?.id, running ? job.state : "", model.default, versions.length > 0, checkpoints.length > 0, Boolean(kept)]);
    if (key === shown) return;
    shown = key;
    const press = (/** @type {string} */ label, /** @type {() => void} */ run, /** @type {string} */ keys = "", /** @type {any} */ more = {}) =>
      h("button", { type: "button", id: `do-${label.split(" ")[0].toLowerCase()}`, onclick: run, ...more }, label, keys && " ", keys && h("kbd", null, keys));
    fill(
      buttons,
      running
        ? [
            press(job.state === "paused" ? "Resume" : "Pause", pause, "p", { id: "do-pause" }),
            press("Stop here", () => void stop(state)),
            press("Publish best so far", () => void publish(state, bestKept(state.value)), "", {
              disabled: !kept,
              title: kept ? `of the kept checkpoints: epoch ${kept.epoch}` : "no checkpoint with an epoch is kept yet",
            }),
          ]
        : [
            again &&
              h(
                "a",
                {
                  class: "button",
                  id: "do-again",
                  href: again,
                  title: `The same request with the same seed (${job.request.seed}) gives the same weights to the bit. Change what you like first.`,
                },
                "Train again",
              ),
            press("Compare", compare, "x", { disabled: !model.default }),
            press("Versions", () => document.getElementById("kept")?.focus()),
            press("Download .h5", getFile, "", { disabled: !versions.length && !checkpoints.length }),
          ],
    );
  };

  const draw = () => {
    const { job, model } = state.value,
      running = job && !ended(job);
    served.className = model.default ? "chip good" : "chip";
    served.hidden = running && !model.default;
    fill(served, model.default ? `✓ version ${model.default}, served as default` : "no version yet");
    live.hidden = !job;
    meter.hidden = !running || job.state === "queued";
    fill(best, bestWords(state.value));
    drawButtons();
    if (!job) return;
    live.className = `chip ${job.state === "failed" ? "bad" : job.state === "paused" ? "warn" : ""}`;
    progress();
  };

  /** Draw what moves with each epoch. */
  const progress = () => {
    const { job } = state.value;
    if (!job) return;
    const newest = history.run.x.at(-1) ?? 0,
      seen = newest > job.progress.epochs ? 0 : newest,
      share = Math.max(job.progress.fraction, job.members.length ? 0 : seen / (job.progress.epochs || 1)),
      said = stateWords(job, seen);
    fill(live, job.state === "running" && dot, said);
    bar.style.width = `${100 * Math.min(share, 1)}%`;
    meter.setAttribute("aria-valuenow", String(Math.round(100 * Math.min(share, 1))));
    meter.setAttribute("aria-valuetext", said);
  };
  state.on("job model versions checkpoints", draw);
  screenKey("p", "Pause or resume the training", pause);
  screenKey("x", "Compare", compare);
  draw();
  return { head, progress };
}

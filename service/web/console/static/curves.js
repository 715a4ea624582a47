/** Two charts, loss and accuracy by epoch: of one network, of a member, or the mean of several with each one faint. */

import "./chart.js";
import { h } from "./dom.js";
import { mean, newest, smooth } from "./run_history.js";

/** @typedef {import("./chart.js").LineChart} LineChart */
/** @typedef {import("./run_history.js").Run} Run */
/** @typedef {import("./run_history.js").Metric} Metric */
/** @typedef {import("./chart.js").Series} Series */
/**
 * What is shown: `members` are numbers, null for a job of one network.
 * @typedef {{ members: number[] | null, log: boolean, smoothing: number, mark: { x: number, name: string } | null, kept: number[] }} Shown
 */

const DASH = [5, 3];

/** @param {Run} run @param {Metric} metric @param {string} name @param {string} color @param {number[] | undefined} dash @param {number} smoothing @returns {Series[]} */
function drawn(run, metric, name, color, dash, smoothing) {
  const values = run.columns[metric];
  if (newest(run, metric) === null) return [];
  return smoothing
    ? [
        { name, color, values, faint: true },
        { name, color, dash, values: smooth(values, smoothing) },
      ]
    : [{ name, color, dash, values }];
}

/** The values of a member at the epochs of the mean. @param {Run} run @param {number[]} x @param {Metric} metric */
function aligned({ x: own, columns }, x, metric) {
  const values = columns[metric];
  let at = 0;
  return x.map((epoch) => {
    while (at < own.length && own[at] < epoch) at += 1;
    return own[at] === epoch ? (values[at] ?? null) : null;
  });
}

/** @param {import("./run_history.js").RunHistory} history */
export function curves(history) {
  /** @type {LineChart} */ const loss = h("line-chart", { "aria-label": "Loss by epoch" });
  /** @type {LineChart} */ const accuracy = h("line-chart", { "aria-label": "Accuracy by epoch" });
  for (const [one, other] of [
    [loss, accuracy],
    [accuracy, loss],
  ])
    one.addEventListener("cursor", (event) => other.point(/** @type {CustomEvent} */ (event).detail));

  /** Draw what the history holds now. @param {Shown} shown */
  const show = ({ members, log, smoothing, mark, kept }) => {
    const runs = members?.flatMap((member) => history.members.get(member) ?? []),
      run = !runs ? history.run : runs.length === 1 ? runs[0] : mean(runs);
    const faint = (/** @type {Metric} */ metric) =>
      runs && runs.length > 1 ? runs.map((each) => ({ name: "", color: "--c1", faint: true, values: aligned(each, run.x, metric) })) : [];
    const pair = (/** @type {Metric} */ trained, /** @type {Metric} */ held, /** @type {string} */ name) => [
      ...faint(held),
      ...drawn(run, trained, name, "--c0", undefined, smoothing),
      ...drawn(run, held, "held out", "--c1", DASH, smoothing),
    ];
    loss.show(run.x, pair("loss", "validation_loss", "loss"), { log, marks: mark ? [mark] : [], dots: kept });
    accuracy.show(run.x, pair("accuracy", "validation_accuracy", "accuracy"), { marks: mark ? [{ ...mark, name: "" }] : [], dots: kept });
  };
  return { loss, accuracy, show };
}

/** The epoch with the lowest held-out loss (or loss), null if there is none. @param {Run} run */
export function lowest({ x, columns }) {
  const values = columns.validation_loss.some((value) => value !== null) ? columns.validation_loss : columns.loss;
  let best = -1;
  values.forEach((value, index) => {
    if (value !== null && (best < 0 || value < /** @type {number} */ (values[best]))) best = index;
  });
  return best < 0 ? null : x[best];
}

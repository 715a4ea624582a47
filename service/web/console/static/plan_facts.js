/** What a plan comes to, from its dry run: the network drawn, its size, its time, and the accuracy to beat. */

import { h } from "./dom.js";
import { count, duration, percent } from "./format.js";
import { networkDrawing } from "./network_drawing.js";

/** @typedef {import("./plan_state.js").Plan} Plan */

/** The share of the most frequent class among the rows that have one. @param {Plan} plan */
export function toBeat(plan) {
  const [first] = plan.classes, column = plan.columns.find(({ name }) => name === plan.label);
  if (!first || !column) return null;
  return { value: first.value, share: first.count / Math.max(plan.dataset.rows - column.missing, 1) };
}

/** Units of the hidden layers of a definition. @param {{ type: string, units: number }[]} layers */
const unitsOf = (layers) => layers.filter(({ type }) => type === "dense").slice(0, -1).map(({ units }) => units);

/** @param {Plan} plan @param {any} [run]  the answer of a dry run */
export function drawPlan(plan, run) {
  if (!plan.label) return null;
  const columns = plan.used.length, classes = run?.classes ?? (plan.columns.find(({ name }) => name === plan.label)?.distinct || null);
  const hidden = [run?.hidden ?? plan.at("model.hidden") ?? unitsOf(plan.at("model.layers") ?? [])].flat().filter(Number.isInteger);
  const known = run?.hidden ?? plan.at("model.hidden") ?? plan.at("model.layers");
  const told = plan.classes.slice(0, 2).map(({ value }) => value), inputs = run?.inputs;
  const layers = [
    { units: inputs ?? null, title: inputs === undefined ? `${count(columns)} columns` : `${count(inputs)} inputs`, under: inputs === undefined ? undefined : `of ${count(columns)} columns` },
    ...(known ? hidden.map((/** @type {number} */ units) => ({ units, title: count(units), under: "units" })) : [{ units: null, title: "…" }]),
    { units: classes, title: plan.label, under: told.length === 2 && classes === 2 ? told.join(" or ") : classes ? `${count(classes)} classes` : undefined },
  ];
  return networkDrawing(layers, run?.members);
}

/** @param {Plan} plan @param {any} [run] */
export function factsOf(plan, run) {
  const beat = plan.label ? toBeat(plan) : null;
  const fact = (/** @type {any} */ name, /** @type {any} */ value) => [h("dt", null, name), h("dd", null, value)];
  const seconds = run?.estimate.seconds;
  return [
    plan.label && fact("Model", plan.name),
    run && run.members > 1 && fact("Networks", count(run.members)),
    run && fact("Parameters", count(run.parameters)),
    run && fact("Rows", run.rows.validation ? `${count(run.rows.training)}, and ${count(run.rows.validation)} held out` : count(run.rows.training)),
    run && fact("Time", seconds === null ? "not known" : `at most about ${duration(seconds)}`),
    beat && fact(["To beat: always “", h("span", { class: "class", title: String(beat.value) }, String(beat.value)), "”"], `${percent(beat.share)} right`),
  ].flat();
}

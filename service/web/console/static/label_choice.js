/** Which column shall be predicted: asked for if the dataset does not say so. Likely ones come first; none is taken. */

import { h } from "./dom.js";
import { count } from "./format.js";

/** @typedef {import("./plan_state.js").Column} Column */
/** @typedef {import("./plan_state.js").Plan} Plan */

/** Columns that are offered as buttons, and how many classes a likely label has at most. */
const OFFERED = 3, CLASSES = 30;
const NAMES = /^(label|labels|class|classes|target|y|outcome|result|category|species|type|survived|churn|diagnosis|quality)$/i;

/** How likely a column is what somebody wants predicted; 0: not at all. @param {Column} column @param {boolean} last */
function likelihood(column, last) {
  const whole = column.values?.every((/** @type {any} */ { value }) => Number.isInteger(value));
  if (column.distinct < 2 || column.distinct > CLASSES || !(column.levels || whole)) return 0;
  return 1 + (NAMES.test(column.name) ? 4 : 0) + (last ? 2 : 0) + (column.levels ? 1 : 0) + (column.distinct <= 10 ? 1 : 0) - (column.missing ? 1 : 0);
}

/** The columns that are most likely meant. @param {Column[]} columns */
export function likelyLabels(columns) {
  const rated = columns.map((column, place) => ({ column, rate: likelihood(column, place === columns.length - 1) }));
  return rated.filter(({ rate }) => rate > 0).sort((a, b) => b.rate - a.rate).slice(0, OFFERED).map(({ column }) => column);
}

/** The question, with a button for each likely answer. @param {Plan} plan @param {HTMLSelectElement} select  of all columns */
export function labelQuestion(plan, select) {
  const offered = likelyLabels(plan.columns);
  const button = (/** @type {Column} */ { name, distinct }) =>
    h("button", { type: "button", title: name, onclick: () => (plan.label = name) }, h("b", null, name), h("span", { class: "hint" }, ` ${count(distinct)} classes`));
  return h("div", { class: "question", role: "group", "aria-labelledby": "question" },
    h("p", { id: "question" }, h("b", null, "What shall be predicted? "), h("span", { class: "sub" }, "Then each column shows how much it tells about it.")),
    h("div", { class: "row" }, offered.map(button), h("button", { type: "button", onclick: () => select.focus() }, offered.length ? "another column" : "choose a column")));
}

/** The select `Predict`. @param {Plan} plan @param {string} id */
export function labelSelect(plan, id) {
  const select = h("select", { id, onchange: () => (plan.label = select.value || null), "data-pointer": "/data/label" },
    h("option", { value: "" }, "choose…"), plan.columns.map(({ name }) => h("option", { value: name }, name)));
  const follow = () => {
    select.value = plan.label ?? "";
    select.options[0].disabled = Boolean(plan.label);
  };
  plan.on(follow);
  follow();
  return select;
}

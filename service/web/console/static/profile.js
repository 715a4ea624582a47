/** The columns of a dataset: a line each, with its use, type, look, values, gaps, and what it tells about the label. */

import { noteOf } from "./column_notes.js";
import { fill, h, newId, settled } from "./dom.js";
import { part } from "./faults.js";
import { count, percent } from "./format.js";
import { shapeOf, wordsOf } from "./histogram.js";
import { labelQuestion, labelSelect } from "./label_choice.js";
import { TYPES } from "./plan_state.js";

/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {import("./plan_state.js").Column} Column */
/** @typedef {{ column: Column, element: HTMLElement, follow: () => void }} Line */

/** Lines that are drawn at once; the others follow in pieces, so that a wide table is there as soon as a narrow one. */
const FIRST = 40, PIECE = 60;
/** Columns beside which a field to find one appears. */
const MANY = 25;
/** Missing values that are worth a warning. */
const SPARSE = 0.5;

/** The pointer of a column's part of a request. @param {string} name */
export const pointerOf = (name) => `/model/features/${part(name)}`;

/** @param {Plan} plan @param {Record<string, string[]>} examples  first values of texts @param {AbortSignal} signal */
export function profilePanel(plan, examples, signal) {
  const id = newId(), body = h("tbody", null), told = h("span", { class: "sub", role: "status" }), select = labelSelect(plan, `${id}-label`);
  const question = h("div", { hidden: true }, labelQuestion(plan, select)), heading = h("button", { type: "button", class: "order" });
  /** @type {Map<string, Line>} */
  const lines = new Map();
  let sorted = false, wanted = "", drawing = 0;

  const line = (/** @type {Column} */ column) => lines.get(column.name) ?? lines.set(column.name, lineOf(plan, column, examples[column.name])).get(column.name);
  const chosen = () => {
    const found = plan.columns.filter(({ name }) => name.toLowerCase().includes(wanted));
    const first = (/** @type {Column} */ { name, relation }) => (name === plan.label ? 2 : (relation ?? -1));
    return sorted ? [...found].sort((a, b) => first(b) - first(a)) : found;
  };
  const draw = () => {
    const columns = chosen(), mine = (drawing += 1);
    body.replaceChildren(...columns.slice(0, FIRST).map((column) => /** @type {Line} */ (line(column)).element));
    const more = (/** @type {number} */ from) => {
      if (from >= columns.length || mine !== drawing || signal.aborted) return;
      body.append(...columns.slice(from, from + PIECE).map((column) => /** @type {Line} */ (line(column)).element));
      setTimeout(more, 0, from + PIECE);
    };
    setTimeout(more, 0, FIRST);
  };
  const follow = () => {
    const all = plan.columns.length - (plan.label ? 1 : 0) - (plan.weight ? 1 : 0);
    told.textContent = `${count(plan.used.length)} of ${count(all)} columns will be used`;
    question.hidden = Boolean(plan.label);
    fill(heading, "Tells about it", sorted ? " ↓" : "");
    heading.title = plan.label ? `How much a column alone says about ${plan.label}, from 0 to 100 %. Press to sort.` : "Choose first what shall be predicted";
    heading.disabled = !plan.label;
    for (const { follow: each } of lines.values()) each();
  };
  heading.addEventListener("click", () => ((sorted = !sorted), follow(), draw()));
  const find = h("input", { type: "text", "aria-label": "Find a column", placeholder: "find a column", oninput: settled(100, () => ((wanted = find.value.trim().toLowerCase()), draw())) });
  plan.on(follow);
  follow();
  draw();
  const unseen = (/** @type {string} */ name) => h("th", null, h("span", { class: "hidden" }, name));
  const names = ["Column", "Type", "Looks like", "Values"].map((name) => h("th", null, name));
  const head = h("tr", null, unseen("Use"), names, h("th", { class: "num" }, "Missing"), h("th", null, heading), unseen("Note"));
  const predict = [h("label", { class: "sub predict", for: `${id}-label` }, "Predict "), select];
  const panel = h("section", { class: "panel", "data-panel": "columns", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "What is in it"), told, h("span", { class: "grow" }), plan.columns.length > MANY && find, predict),
    question,
    h("div", { class: plan.columns.length > MANY ? "scroll tall" : "scroll", tabIndex: 0, role: "region", "aria-label": "Columns" }, h("table", { class: "columns" }, h("thead", null, head), body)));
  /** Draw anew after relations have come. */
  const related = () => (follow(), sorted && draw());
  return { panel, related };
}

/** @param {Plan} plan @param {Column} column @param {string[]} [examples] @returns {Line} */
function lineOf(plan, column, examples) {
  const { name } = column, gaps = column.missing / Math.max(plan.dataset.rows, 1), pointer = pointerOf(name);
  const box = h("input", { type: "checkbox", "aria-label": `Use ${name}`, onchange: () => plan.setFeature(column, box.checked ? column.type : "ignore") });
  const choose = () => (type.value === "label" ? (plan.label = name) : plan.setFeature(column, type.value));
  const type = h("select", { "aria-label": `Type of ${name}`, "data-pointer": pointer, onchange: choose }, [...TYPES, "ignore", "label"].map((each) => h("option", { value: each }, each)));
  const mark = h("td", null), note = h("td", { class: "note" }), meter = h("td", { class: "meter-of" }), values = h("td", { class: "values" });
  const first = [mark, h("th", { scope: "row", title: name }, name), h("td", { class: "type" }, type), h("td", null, shapeOf(column, examples)), values];
  const element = h("tr", null, first,
    h("td", { class: gaps > SPARSE ? "num warn" : "num", title: `${count(column.missing)} rows` }, column.missing ? percent(gaps, gaps < 0.01 ? 2 : 0) : "–"), meter, note);
  const shown = { label: /** @type {boolean | null} */ (null), relation: /** @type {any} */ ("") };
  const follow = () => {
    const is = plan.type(column), label = name === plan.label, weight = name === plan.weight;
    // What has not changed stays, and keeps the focus.
    if (column.relation !== shown.relation || label !== shown.label) fill(meter, label || column.relation === null ? "" : meterOf(column.relation));
    if (label !== shown.label) {
      fill(mark, label ? h("span", { class: "star", title: "what shall be predicted" }, "★") : weight ? "" : box);
      fill(values, wordsOf(column, label));
    }
    [shown.label, shown.relation] = [label, column.relation];
    element.className = label ? "label" : weight || is === "ignore" ? "out" : "";
    [box.checked, type.value, type.disabled] = [is !== "ignore", label ? "label" : is, label || weight];
    const found = noteOf(column, plan, plan.dataset.rows), { fix } = found ?? {};
    const words = found && h("span", { class: found.warns ? "warn" : "" }, found.warns && "▲ ", found.text, fix && " ");
    fill(note, words, fix && h("button", { type: "button", class: "link", title: `${fix.label}: ${name}`, onclick: () => plan.setFeature(column, fix.to) }, fix.label));
  };
  follow();
  return { column, element, follow };
}

/** @param {number} share */
function meterOf(share) {
  const width = `${Math.max(100 * share, share > 0 ? 2 : 0).toFixed(0)}%`;
  return [h("span", { class: "signal", "aria-hidden": "true" }, h("i", { style: { width } })), h("span", { class: "hint" }, ` ${percent(share, share < 0.1 && share >= 0.0005 ? 1 : 0)}`)];
}

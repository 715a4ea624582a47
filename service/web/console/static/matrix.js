/** The panel that shows where a model is wrong: the confusion matrix, the rows of its cells, each class, calibration. */

import { setQuery } from "./address.js";
import { Refused } from "./api.js";
import { calibration } from "./calibration.js";
import { confusion, mixedUp } from "./confusion.js";
import { fill, h, newId } from "./dom.js";
import { evaluate, evaluation, whyNoRows } from "./evaluations.js";
import { count, number } from "./format.js";
import { otherRows } from "./other_rows.js";
import { swatch } from "./probabilities.js";
import { firstAnswer, following } from "./questions.js";
import { rowOf, sampling } from "./sample.js";
import { wrongRows } from "./wrong_rows.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */

const ROWS = 50;

/** Buttons of which one is pressed. @param {string} name @param {Record<string, string>} choices  words by value @param {(value: string) => void} choose */
function oneOf(name, choices, choose) {
  const buttons = Object.entries(choices).map(([value, words]) => h("button", { type: "button", value, onclick: () => choose(value) }, words));
  const press = (/** @type {string} */ value) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === value)));
  return { element: h("div", { class: "tabs", role: "group", "aria-label": name }, buttons), press };
}

/** What the measures say, in a line. @param {any} found @param {string} part */
function summary(found, part) {
  const often = found.per_class.reduce((/** @type {any} */ best, /** @type {any} */ each) => (each.support > best.support ? each : best));
  const held = found.folds ? `rows, each held out in one of ${found.folds} folds` : "held-out rows";
  const which = `${count(found.rows)} ${part === "validation" ? held : part === "training" ? "training rows" : "rows"}`;
  const known = part.startsWith("dataset:") && found.trained_on ? ` · ${count(found.trained_on)} of them were trained on` : "";
  const name = h("span", { class: "name", title: String(often.class) }, String(often.class));
  return [`${which}: accuracy `, h("b", null, found.accuracy.toFixed(3)), ` · log loss ${number(found.log_loss, 3)} · always “`, name, `” ${(often.support / found.rows).toFixed(3)}${known}`];
}

/** @param {any} found */
function classes(found) {
  const line = (/** @type {any} */ { class: label, precision, recall, f1, support }, /** @type {number} */ place) =>
    h("tr", null, h("th", { scope: "row" }, swatch(label, place)), [...[precision, recall, f1].map((value) => value.toFixed(3)), count(support)].map((value) => h("td", { class: "num" }, value)));
  const head = h("tr", null, h("th", { scope: "col" }, "class"), ["precision", "recall", "F1", "rows"].map((name) => h("th", { class: "num", scope: "col" }, name)));
  return h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Each class" }, h("table", null, h("thead", null, head), h("tbody", null, found.per_class.map(line))));
}

/** @param {ModelState} state */
export function wrongPanel(state) {
  sampling(state);
  const id = newId(), query = new URLSearchParams(location.search), line = h("span", { class: "sub summary", role: "status" }), left = h("div"), right = h("div", { class: "seen" });
  const parts = oneOf("Rows that are judged", { validation: "held out", training: "training", other: "another file…" }, (value) => (value === "other" ? unfold() : part(value)));
  const views = oneOf("What is shown of them", { rows: "rows of the cell", classes: "each class", calibration: "calibration" }, (value) => {
    view = value;
    setQuery({ view: value === "rows" ? null : value });
    look(true);
  });
  const other = otherRows((name) => part(`dataset:${name}`), state.signal);
  const content = h("div", { class: "grid errors" }, left, h("div", null, h("div", { class: "row" }, views.element), right));
  const panel = h("section", { class: "panel wrong wide", "data-panel": "wrong", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "Where it is wrong"), line, h("span", { class: "grow" }), parts.element),
    other.element, content);
  let view = query.get("view") ?? "rows", cell = /** @type {import("./confusion.js").Cell | null} */ (null), found = /** @type {any} */ (null), picked = false;
  other.element.hidden = true;

  const part = (/** @type {string} */ value) => {
    if (!value.startsWith("dataset:")) other.element.hidden = true;
    setQuery({ part: value === "validation" ? null : value });
    picked = false;
    state.set({ part: value });
  };
  const unfold = () => {
    other.element.hidden = false;
    parts.press("other");
    void other.show(state.value.part.startsWith("dataset:") ? state.value.part.slice(8) : "").catch(() => {});
  };
  const drawMatrix = () => {
    if (!found.confusion_matrix) return fill(left, h("p", { class: "sub" }, "A matrix of more than 1,000 classes is not computed."));
    fill(left, confusion(found.classes, found.confusion_matrix, cell, (now) => {
      [cell, picked, view] = [now, true, "rows"];
      drawMatrix();
      look(true);
    }));
  };

  const judge = following(state.signal, async () => {
    await firstAnswer(state).promise;
    const { value } = state;
    parts.press(value.part.startsWith("dataset:") ? "other" : value.part);
    if (value.wanted === null) return fail("Nothing answers yet.");
    if (!value.job && !value.part.startsWith("dataset:")) {
      unfold();
      return fail("This model was imported: choose labelled rows to judge it on.");
    }
    const why = value.part.startsWith("dataset:") ? "" : whyNoRows(value.job, value.part);
    if (why) return fail(why);
    try {
      found = await evaluation(state, value);
    } catch (error) {
      if (!(error instanceof Refused && [403, 404, 409, 422].includes(error.status)) || error.message.includes("ckpt_")) throw error;
      return fail(value.part === "validation" && error.status === 422 ? "This job has held out no rows, or they are predicted when it has ended." : error.message);
    }
    if (state.value.part !== value.part || state.value.wanted !== value.wanted) return;
    content.hidden = false;
    content.classList.toggle("many", found.classes.length > 6 && found.classes.length <= 20);
    fill(line, summary(found, value.part));
    const worst = found.confusion_matrix ? mixedUp(found.confusion_matrix)[0] : null;
    if (!picked || (cell && Math.max(...cell) >= found.classes.length)) cell = worst ?? (found.confusion_matrix ? [0, 0] : null);
    drawMatrix();
    look();
  });
  const fail = (/** @type {string} */ why) => {
    found = null;
    content.hidden = true;
    line.textContent = why[0].toUpperCase() + why.slice(1);
  };

  const look = following(state.signal, async (signal) => {
    const { value } = state, now = found;
    if (!now || value.wanted === null) return;
    views.press(view);
    if (view === "classes") return fill(right, classes(now));
    if (view === "calibration") {
      const { cell: all } = await evaluate(value, signal, { rows: { limit: 1000 } });
      return fill(right, calibration(all.rows, now.rows, now.calibration_error));
    }
    if (!cell) return fill(right);
    const [label, predicted] = cell.map((place) => now.classes[place]);
    const answer = await evaluate(value, signal, { rows: { label, predicted, limit: ROWS } });
    fill(right, wrongRows(value, answer.cell, (values) => state.set({ row: rowOf(state.value, values) })));
  });

  const asked = query.get("part");
  if (asked) state.set({ part: asked });
  state.on("part wanted job", ({ part: now, job }) => {
    const key = [now, job?.id, job?.version].join();
    if (key !== known || state.value.wanted !== wanted) [known, wanted] = [key, state.value.wanted], judge();
  });
  let known = "", wanted = state.value.wanted;
  if (state.value.part.startsWith("dataset:")) unfold();
  judge();
  return panel;
}

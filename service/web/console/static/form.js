/** The panel that asks the model: a control for each column, the answer, what would change it, and the same as a program. */

import { setQuery } from "./address.js";
import { Refused, post } from "./api.js";
import { commandPanel } from "./commands.js";
import { control } from "./control.js";
import { fill, h, newId, settled } from "./dom.js";
import { clearFaults, showFaults } from "./faults.js";
import { count, number, percent } from "./format.js";
import { screenKey } from "./keyboard.js";
import { nearest } from "./nearest.js";
import { LANGUAGES, programs } from "./predict_code.js";
import { bars, short } from "./probabilities.js";
import { body, firstAnswer, following, largest, listOf } from "./questions.js";
import { sampling } from "./sample.js";
import { along, inWords, snap } from "./scales.js";
import { strips, turns } from "./strips.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {import("./sample.js").SampleRow} SampleRow */

/** Of a model with so many columns, those that tell most have controls at first. */
const WIDE = 17, FEW = 12;
/** Lines about what would change the answer. */
const TURNS = 5;

/** What the answer's report says, in words. @param {Column[]} columns @param {Record<string, any>} row @param {any} report */
function remarks(columns, row, report) {
  const known = new Map(columns.map((column) => [column.name, column]));
  const of = (/** @type {string} */ name) => /** @type {Column} */ (known.get(name) ?? { name, type: "text" });
  const limits = (/** @type {Column} */ column) => `${inWords(column, column.min)} to ${inWords(column, column.max)}`;
  const lines = [
    ...(report?.out_of_range ?? []).map((/** @type {string} */ name) => `${name} ${inWords(of(name), row[name])} is outside the range of the training rows (${limits(of(name))})`),
    ...(report?.unseen ?? []).map((/** @type {string} */ name) => `${name} “${row[name]}” was in no training row`),
    ...(report?.missing ?? []).map((/** @type {string} */ name) => `${name} is missing${typeof of(name).fill === "number" ? `: ${inWords(of(name), of(name).fill)} stands for it` : ""}`),
  ];
  const within = report ? (report.out_of_range.length ? "" : "inside the range of the training rows") : "";
  if (report?.unusual) lines.push(`Unlike the training rows as a whole: at distance ${number(report.distance, 3)}, where 1 is that of the farthest 1 in 100`);
  return { lines: lines.length > 6 ? [...lines.slice(0, 5), `and ${count(lines.length - 5)} remarks more`] : lines, within };
}

/** @param {ModelState} state */
export function tryPanel(state) {
  sampling(state);
  const id = newId(), controls = h("div", { class: "controls" }), answered = h("div", { class: "answer" }), told = h("p", { class: "hint" });
  const notes = h("ul", { class: "notes" }), spoken = h("output", { class: "hidden" });
  const all = h("button", { type: "button", class: "quiet", "aria-expanded": "false", onclick: () => ((unfolded = !unfolded), build()) });
  const random = h("button", { type: "button", onclick: () => take(anyRow(state)) }, "Random row ", h("kbd", null, "r"));
  const code = commandPanel("From your code", LANGUAGES), initial = rounded(state.value.row);
  code.panel.dataset.panel = "code";
  const panel = h("section", { class: "panel try", "data-panel": "try", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "Try it"), h("span", { class: "grow" }), random),
    controls, all, answered, spoken, told, notes, code.panel);
  /** @type {Map<string, import("./control.js").Control>} */ let made = new Map();
  /** @type {Column[]} */ let shown = [];
  /** @type {{ text: any[], row: Record<string, any> } | null} */ let origin = null;
  /** @type {import("./strips.js").Turn[]} */ let changes = [];
  let unfolded = false, fitted = "", report = /** @type {any} */ (null);

  const take = (/** @type {SampleRow | { row: Record<string, any>, label?: undefined }} */ found) => {
    if ("number" in found) {
      const how = found.held === found.trained ? "" : found.held ? ", held out" : ", trained on";
      origin = { text: [`Row ${count(found.number)} of the data${how}; its label: `, short(found.label)], row: found.row };
    }
    state.set({ row: found.row });
  };
  const build = () => {
    const { columns, sample, named } = state.value, wide = columns.length >= WIDE;
    const order = new Map(columns.map((column) => [column.name, column]));
    shown = wide && !unfolded ? sample.telling.slice(0, FEW).map((name) => /** @type {Column} */ (order.get(name))).filter(Boolean) : columns;
    const old = made;
    made = new Map(shown.map((column) => {
      const place = columns.indexOf(column), change = (/** @type {any} */ value) => state.set({ row: { ...state.value.row, [column.name]: value } });
      return [column.name, old.get(column.name) ?? control(column, `/${named ? "rows" : "inputs"}/0/${place}`, change)];
    }));
    fill(controls, [...made.values()].map(({ element }) => element));
    controls.classList.toggle("all", wide && unfolded);
    all.hidden = !wide;
    all.textContent = unfolded ? "Only the columns that tell most" : `All ${count(columns.length)} columns`;
    all.setAttribute("aria-expanded", String(unfolded));
    fit();
  };
  const fit = () => {
    for (const column of shown) {
      const scale = state.value.sample.scales.get(column.name), one = made.get(column.name);
      if (scale) one?.fit(scale);
      one?.show(state.value.row[column.name] ?? null);
    }
    const now = JSON.stringify(shown.map(({ name }) => [name, state.value.sample.scales.get(name)]));
    if (now !== fitted) paint();
    fitted = now;
  };
  const drawNotes = () => {
    const { columns, classes, row, sample, answer } = state.value, lines = report && answer ? remarks(columns, row, report).lines : [];
    const note = (/** @type {string} */ mark, /** @type {string} */ kind, /** @type {any} */ text, action = h("span")) =>
      h("li", null, h("span", { class: kind, "aria-hidden": "true" }, mark), h("span", null, text), action);
    const turn = (/** @type {import("./strips.js").Turn} */ { column, value, top, up }) =>
      note("↔", "i", ["It would be ", short(classes[top]), up === null ? ` with ${column.name} ` : ` from ${column.name} `, inWords(column, value), up === null ? "" : up ? " up" : " down"]);
    const trained = sample.rows.filter((one) => one.trained);
    const pool = trained.length ? trained : sample.rows, close = nearest(columns, pool, row);
    const show = close && h("button", { type: "button", class: "link", id: `${id}-close`, "aria-label": "Show the closest row in the form", onclick: () => take(close.row) }, "show");
    const which = `Closest ${trained.length ? "training" : "held-out"} row: `, of = pool.length >= 1000 ? ` (of ${count(pool.length)} that were looked at)` : "";
    fill(notes, origin?.row === row && note("●", "i", origin.text), lines.map((line) => note("!", "w", line)), answer && changes.slice(0, TURNS).map(turn),
      close && note("≈", "i", [`${which}${count(close.row.number)}, `, short(close.row.label), of], show),
      !pool.length && sample.why && note("≈", "i", sample.why[0].toUpperCase() + sample.why.slice(1)));
  };
  const drawCode = () => code.show(programs(state.value));
  const speak = settled(600, () => {
    const { answer, classes } = state.value, top = answer ? largest(answer.probabilities) : -1;
    spoken.textContent = answer ? `${classes[top]}, ${percent(answer.probabilities[top])}` : "";
  });

  const ask = following(state.signal, async (signal) => {
    const { value } = state, begin = performance.now();
    if (value.wanted === null) {
      report = null;
      fill(answered, h("p", { class: "sub" }, value.job && !value.versions.length ? "Nothing answers yet: no checkpoint is kept so far." : "Nothing answers yet."));
      firstAnswer(state).resolve();
      return state.set({ answer: null });
    }
    try {
      const found = await post("/predict", { json: { ...body(value, [listOf(value.columns, value.row)]), ...(value.named ? { report: true } : {}) }, signal });
      clearFaults(controls);
      report = found.report?.[0] ?? null;
      const { within } = remarks(value.columns, value.row, report);
      fill(answered, bars(found.classes, found.probabilities[0]));
      told.textContent = [`Answered in ${number(performance.now() - begin, 2)} ms`, within].filter(Boolean).join(" · ");
      state.set({ answer: { probabilities: found.probabilities[0], row: value.row } });
      speak();
    } catch (error) {
      if (!(error instanceof Refused && error.status === 422)) throw error;
      const left = showFaults(controls, error.errors);
      [told.textContent, report, changes] = ["", null, []];
      fill(answered, h("p", { class: "sub" }, "This row has no answer."), left.map(({ detail }) => h("p", { class: "fault" }, detail)));
      state.set({ answer: null });
    } finally {
      firstAnswer(state).resolve();
    }
    drawNotes();
  });
  const paint = following(state.signal, async (signal, newer) => {
    const { value } = state;
    if (value.wanted === null || !value.answer) return;
    const lines = await strips(state, shown, signal);
    for (const { column, points } of lines) made.get(column.name)?.paint(points);
    if (newer()) return;
    const top = largest(value.answer.probabilities), found = await turns(state, lines, top, signal);
    if (state.value.row !== value.row || state.value.wanted !== value.wanted) return;
    changes = found;
    drawNotes();
  });
  const remember = settled(400, () => {
    const changed = Object.entries(state.value.row).filter(([name, value]) => value !== initial[name]), text = JSON.stringify(Object.fromEntries(changed));
    if (!state.signal.aborted) setQuery({ row: changed.length && text.length < 1500 ? text : null });
  });

  state.on("columns", () => ((made = new Map()), build()));
  state.on("sample", () => (state.value.columns.length >= WIDE && !unfolded ? build() : fit(), drawNotes()));
  state.on("row", () => {
    for (const [name, one] of made) one.show(state.value.row[name] ?? null);
    remember();
  });
  state.on("row wanted columns", () => ((changes = []), drawCode(), ask()));
  state.on("answer", () => paint());
  state.on("model", drawCode);
  screenKey("r", "Put a random row into the form", () => random.click());
  state.set({ row: { ...initial, ...Object.fromEntries(Object.entries(rowInAddress() ?? {}).filter(([name]) => name in initial)) } });
  build();
  return panel;
}

/** Typical values in few digits. @param {Record<string, any>} row */
const rounded = (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(3)) : value]));

/** The values that the address has for the form. @returns {Record<string, any> | null} */
function rowInAddress() {
  try {
    return JSON.parse(new URLSearchParams(location.search).get("row") ?? "null");
  } catch {
    return null;
  }
}

/** A row of the job, or values within the ranges if there are none. @param {ModelState} state @returns {SampleRow | { row: Record<string, any> }} */
function anyRow({ value: { columns, sample } }) {
  if (sample.rows.length) return sample.rows[Math.floor(Math.random() * sample.rows.length)];
  const any = (/** @type {Column} */ column) => {
    const scale = sample.scales.get(column.name);
    if (scale && column.type === "number") return snap(scale.low + Math.random() * (scale.high - scale.low), scale.step);
    const values = column.type === "text" ? [""] : along(column, scale, 100);
    return values[Math.floor(Math.random() * values.length)] ?? null;
  };
  return { row: Object.fromEntries(columns.map((column) => [column.name, any(column)])) };
}

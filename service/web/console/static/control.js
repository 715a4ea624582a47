/** A control for a column: a slider with a number, a choice of levels, a time or a text, and what would be answered along it. */

import { classColour, h, newId } from "./dom.js";
import { part } from "./faults.js";
import { number } from "./format.js";
import { brief } from "./probabilities.js";
import { atPlace, levelsOf, onLine, ordered, snap } from "./scales.js";

/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {import("./scales.js").Scale} Scale */
/** @typedef {{ element: HTMLElement, show: (value: any) => void, fit: (scale: Scale) => void, paint: (points: import("./strips.js").Point[]) => void }} Control */

/** @param {Column} column @param {string} pointer  of its value in a request @param {(value: any) => void} changed @returns {Control} */
export function control(column, pointer, changed) {
  const id = newId(), label = h("label", { for: id, class: "name", title: column.name }, column.name), strip = h("div", { class: "strip", title: "What would be answered along this column" });
  const makers = { number: slider, datetime: time, text, category: choice, boolean: choice }, found = makers[column.type](column, id, changed);
  found.main.setAttribute("data-pointer", pointer);
  const element = h("div", { class: `ask ${column.type}`, "data-faults": "", "data-column": part(column.name) }, label, found.parts, column.type === "text" ? null : strip);
  return { element, show: found.show, fit: found.fit, paint: (points) => void (strip.style.background = gradient(points, ordered(column))) };
}

/** The colour of a class at a point, paler where it is less sure. @param {import("./strips.js").Point} point */
const shade = ({ top, share }) => `color-mix(in srgb, var(${classColour(top)}) ${Math.round(100 * share)}%, var(--panel))`;

/** @param {import("./strips.js").Point[]} points @param {boolean} smooth  between levels there is nothing */
function gradient(points, smooth) {
  const share = (/** @type {number} */ place) => `${(100 * place) / points.length}%`;
  const stops = points.map((point, place) => (smooth ? shade(point) : `${shade(point)} ${share(place)} ${share(place + 1)}`));
  return `linear-gradient(90deg, ${stops.join(", ")}${stops.length === 1 ? `, ${shade(points[0])}` : ""})`;
}

/** @typedef {{ main: HTMLElement, parts: HTMLElement[], show: (value: any) => void, fit: (scale: Scale) => void }} Parts */

/** @param {Column} column @param {string} id @param {(value: any) => void} changed @returns {Parts} */
function slider(column, id, changed) {
  let scale = { low: 0, high: 1, step: 0.01, fine: 0.01, whole: false };
  const range = h("input", { type: "range", id, oninput: () => changed(snap(Number(range.value), scale.step)) });
  const refused = /** @type {any} */ (column).missing === "refuse";
  const type = () => typed.validity.badInput || changed(typed.value === "" ? null : Number(typed.value));
  const hint = refused ? {} : { placeholder: "missing", title: "Empty: missing" };
  const typed = h("input", { type: "number", step: "any", "aria-label": `${column.name} as a number`, ...hint, oninput: type });
  const show = (/** @type {any} */ value) => {
    range.value = String(value ?? column.fill ?? (scale.low + scale.high) / 2);
    range.classList.toggle("missing", value === null);
    range.setAttribute("aria-valuetext", value === null ? "missing" : number(value, 6));
    if (typed !== document.activeElement || Number(typed.value) !== value) typed.value = value === null ? "" : String(value);
  };
  const fit = (/** @type {Scale} */ now) => {
    const shown = typed.value;
    scale = now;
    const least = snap(Math.floor(now.low / now.step + 1e-9) * now.step, now.step);
    Object.assign(range, { min: String(least), max: String(snap(Math.ceil(now.high / now.step - 1e-9) * now.step, now.step)), step: String(now.step) });
    if (shown !== "") range.value = shown;
  };
  return { main: typed, parts: [range, typed], show, fit };
}

/** @param {Column} column @param {string} id @param {(value: any) => void} changed @returns {Parts} */
function choice(column, id, changed) {
  const select = h("select", { id, class: "wide", onchange: () => changed(read(select.value)) }), known = levelsOf(column);
  const read = (/** @type {string} */ chosen) => (chosen === "" ? null : chosen === "other" ? other : known[Number(chosen)]);
  let other = /** @type {any} */ (null);
  const extra = h("option", { value: "other", hidden: true });
  select.append(h("option", { value: "" }, "missing"), ...known.map((level, place) => h("option", { value: String(place) }, level === "" ? "(empty)" : brief(level))), extra);
  const show = (/** @type {any} */ value) => {
    const place = known.indexOf(value);
    extra.hidden = value === null || place >= 0;
    if (!extra.hidden) [other, extra.textContent] = [value, `${value} (never seen)`];
    select.value = value === null ? "" : place < 0 ? "other" : String(place);
    select.title = String(value ?? "missing");
  };
  return { main: select, parts: [select], show, fit: () => {} };
}

/** @param {Column} column @param {string} id @param {(value: any) => void} changed @returns {Parts} */
function time(column, id, changed) {
  const input = h("input", { type: "datetime-local", step: 1, id, class: "wide", onchange: () => changed(input.value === "" ? null : atPlace(column, onLine(column, input.value))) });
  const show = (/** @type {any} */ value) => {
    const place = onLine(column, value);
    input.value = Number.isFinite(place) ? atPlace(column, place) : "";
  };
  return { main: input, parts: [input], show, fit: () => {} };
}

/** @param {Column} _ @param {string} id @param {(value: any) => void} changed @returns {Parts} */
function text(_, id, changed) {
  const input = h("input", { type: "text", id, class: "wide", oninput: () => changed(input.value === "" ? null : input.value) });
  return { main: input, parts: [input], show: (value) => void (input === document.activeElement && input.value === value || (input.value = value ?? "")), fit: () => {} };
}

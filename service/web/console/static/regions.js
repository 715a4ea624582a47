/** The panel that shows what is decided where: regions over two columns, the others as the form has them. */

import { setQuery } from "./address.js";
import { Refused } from "./api.js";
import { fill, h, newId, settled } from "./dom.js";
import { evaluation, whyNoRows } from "./evaluations.js";
import { percent } from "./format.js";
import { brief, swatch } from "./probabilities.js";
import { firstAnswer, following, largest, listOf, predict, room } from "./questions.js";
import { RegionMap, axisOf, shareOf, valueAt } from "./region_map.js";
import { dots } from "./region_points.js";
import { sampling } from "./sample.js";
import { atPlace, inWords, ordered, snap } from "./scales.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Column} Column */

/** Points of the grid, and milliseconds that an answer may take while something moves. */
const [ACROSS, UP, PATIENCE] = [90, 76, 120];

/** The columns that may be an axis. @param {Column[]} columns */
const possible = (columns) => columns.filter((column) => column.type !== "text" && (ordered(column) || column.type === "boolean" || (column.levels ?? []).length > 0));

/** The two columns that tell most; numbers unless others tell more than twice as much. @param {import("./model_state.js").Value} value */
function bestTwo({ columns, sample }) {
  // Of times, a network may read the hour or the weekday: such stripes say little in a map.
  const factor = (/** @type {Column} */ { type }) => (type === "number" ? 2 : type === "datetime" ? 1e-6 : 1);
  const weight = (/** @type {Column} */ column) => factor(column) * ((sample.relations?.get(column.name) ?? 0) + 1e-9);
  return possible(columns).sort((a, b) => weight(b) - weight(a)).slice(0, 2).map(({ name }) => name);
}

/** @param {ModelState} state */
export function regionsPanel(state) {
  sampling(state);
  const id = newId(), query = new URLSearchParams(location.search), canvas = h("canvas", { "aria-hidden": "true" }), right = h("span", { class: "hint" });
  const words = h("output", { class: "hint" }), legend = h("div", { class: "row hint legend" }), empty = h("p", { class: "sub" });
  const chosen = { x: query.get("x") ?? "", y: query.get("y") ?? "" };
  const choice = (/** @type {"x" | "y"} */ way, /** @type {string} */ name) => h("select", { class: way, "aria-label": name, onchange: (/** @type {any} */ event) => turn(way, event.target.value) });
  const selects = { x: choice("x", "Column across"), y: choice("y", "Column upwards") };
  const field = h("div", { class: "map", tabIndex: 0, role: "application", "aria-label": "Map of decisions; arrow keys move the cross", "aria-describedby": `${id}-words` }, canvas);
  const drawing = h("div", { class: "axis" }, selects.y, field, h("span"), selects.x);
  words.id = `${id}-words`;
  const hint = h("p", { class: "hint" }, "Click to ask there: the form takes over the point. Arrow keys move the cross.");
  const panel = h("section", { class: "panel regions", "data-panel": "regions", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "What it decides where"), h("span", { class: "grow" }), right),
    empty, drawing, legend, words, hint);

  const columnOf = (/** @type {string} */ name) => state.value.columns.find((column) => column.name === name);
  const map = new RegionMap(canvas, (grid) => [grid.x, grid.y].map((axis) => shareOf(axis, state.value.row[axis.column.name])));
  let asked = "", moved = 0, pace = 0;

  const axes = () => {
    const { columns } = state.value, names = possible(columns).map(({ name }) => name), best = bestTwo(state.value);
    for (const way of /** @type {const} */ (["x", "y"])) {
      const other = way === "x" ? chosen.y : chosen.x;
      const now = names.includes(chosen[way]) ? chosen[way] : (best.find((name) => name !== other || names.length === 1) ?? "");
      fill(selects[way], names.map((name) => h("option", { value: name, selected: name === now }, name)));
      selects[way].title = now;
      if (way === "x") x = now;
      else y = now === x && names.length > 1 ? (best.find((name) => name !== x) ?? now) : now;
    }
    selects.y.value = y;
    drawing.hidden = legend.hidden = hint.hidden = state.value.wanted === null || names.length < 1;
    empty.hidden = !drawing.hidden;
    empty.textContent = names.length ? "Nothing answers yet." : "The model reads no column that could be an axis.";
  };
  let x = "", y = "";
  const turn = (/** @type {"x" | "y"} */ way, /** @type {string} */ name) => {
    const [before, other] = way === "x" ? [x, y] : [y, x];
    Object.assign(chosen, { x, y, [way]: name }, name === other ? { [way === "x" ? "y" : "x"]: before } : {});
    setQuery({ x: chosen.x, y: chosen.y });
    axes();
    ask(true);
  };

  const ask = following(state.signal, async (signal, newer) => {
    const { value } = state, across = columnOf(x), up = columnOf(y);
    if (value.wanted === null || !value.sample.relations || !across || !up) return;
    const moving = performance.now() - moved < 250, full = Math.min(ACROSS * UP, room(value));
    const cells = moving && pace ? Math.max(300, Math.min(full, PATIENCE / pace)) : full, part = Math.sqrt(cells / (ACROSS * UP));
    const others = listOf(value.columns, { ...value.row, [x]: 0, [y]: 0 }), key = JSON.stringify([value.wanted, x, y, others, [x, y].map((name) => value.sample.scales.get(name))]);
    if (key + cells === asked || (key === asked.slice(0, key.length) && cells < Number(asked.slice(key.length)))) return map.draw();
    const [ax, ay] = /** @type {[Column, number][]} */ ([[across, ACROSS], [up, UP]]).map(([column, most]) =>
      axisOf(column, value.sample.scales.get(column.name), Math.max(2, Math.round(most * part))));
    const [px, py] = [value.columns.indexOf(across), value.columns.indexOf(up)];
    const rows = ay.values.flatMap((high) => ax.values.map((wide) => others.map((held, place) => (place === py ? high : place === px ? wide : held))));
    const begin = performance.now(), { probabilities } = await predict(state, rows, signal), tops = new Uint16Array(rows.length), shares = new Float32Array(rows.length);
    pace = (performance.now() - begin) / rows.length;
    probabilities.forEach((found, place) => (tops[place] = largest(found), shares[place] = found[tops[place]]));
    asked = key + cells;
    map.show({ x: ax, y: ay, tops, shares, classes: value.classes.length });
    describe();
    if (cells < full && !newer()) refine();
  });
  const refine = settled(300, () => ask());

  const describe = settled(250, () => {
    const { grid } = map, { classes, answer, row } = state.value;
    if (!grid || state.signal.aborted) return;
    const counts = new Map();
    for (const top of grid.tops) counts.set(top, (counts.get(top) ?? 0) + 1);
    const order = [...counts].sort((a, b) => b[1] - a[1]), part = (/** @type {number} */ number) => percent(number / grid.tops.length, 0);
    const place = [grid.x, grid.y].map(({ column }) => `${brief(column.name)} ${brief(inWords(column, row[column.name] ?? null))}`).join(", "), top = answer ? largest(answer.probabilities) : -1;
    const here = answer && answer.row === row ? `At ${place}: ${brief(classes[top])}, ${percent(answer.probabilities[top])}. ` : "";
    const shown = order.slice(0, 6).map(([which, number]) => `${brief(classes[which])} ${part(number)}`).join(", ");
    words.textContent = `${here}Of the map: ${shown}${order.length > 6 ? ` and ${order.length - 6} other classes` : ""}.`;
    fill(legend, order.slice(0, 8).sort((a, b) => a[0] - b[0]).map(([which]) => swatch(classes[which], which)), h("span", { class: "marks" }, "● training  ○ held out  ✕ wrong"));
  });

  const points = following(state.signal, async (signal) => {
    await firstAnswer(state).promise;
    if (state.value.wanted === null) return;
    map.dots = await dots(state, signal);
    map.draw();
  });
  const judge = following(state.signal, async () => {
    await firstAnswer(state).promise;
    const { value } = state;
    right.textContent = "";
    if (value.wanted === null || !value.job || whyNoRows(value.job, "validation")) return;
    try {
      const { accuracy } = await evaluation(state, { ...value, part: "validation" });
      right.textContent = `${percent(accuracy, 0)} of the held-out rows right`;
    } catch (error) {
      if (!(error instanceof Refused && [403, 404, 409, 422].includes(error.status))) throw error;
    }
  });

  /** @param {number} across @param {number} up  shares */
  const go = (across, up) => {
    const { grid } = map;
    if (!grid) return;
    const put = (/** @type {import("./region_map.js").Axis} */ axis, /** @type {number} */ share) => {
      const scale = state.value.sample.scales.get(axis.column.name), value = valueAt(axis, Math.min(1, Math.max(0, share)));
      return scale ? atPlace(axis.column, snap(value, scale.step)) : value;
    };
    state.set({ row: { ...state.value.row, [grid.x.column.name]: put(grid.x, across), ...(grid.y.column === grid.x.column ? {} : { [grid.y.column.name]: put(grid.y, up) }) } });
  };
  const point = (/** @type {PointerEvent} */ event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    if (event.type === "pointerdown") field.setPointerCapture(event.pointerId);
    go((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
  };
  field.addEventListener("pointerdown", point);
  field.addEventListener("pointermove", point);
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const way = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] })[event.key], { grid } = map;
    if (!way || !grid || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [across, up] = map.cross(grid).map((share) => (Number.isFinite(share) ? share : 0.5));
    const step = (/** @type {import("./region_map.js").Axis} */ { column, values, low, high }) => {
      const scale = state.value.sample.scales.get(column.name);
      return scale ? Math.max(scale.step / (high - low), (event.shiftKey ? 0.1 : 0.02)) : 1 / values.length;
    };
    go(across + way[0] * step(grid.x), up + way[1] * step(grid.y));
  });
  document.addEventListener("trainyard:theme", () => map.paint(), { signal: state.signal });

  state.on("columns sample", () => (axes(), ask(), points()));
  state.on("wanted", () => (axes(), ask(true), points(true), judge()));
  state.on("job", () => judge());
  state.on("row", () => {
    moved = performance.now();
    map.draw();
    ask();
  });
  state.on("answer", () => describe());
  axes();
  ask();
  points();
  judge();
  return panel;
}

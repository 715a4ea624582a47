/** What would be answered along each column, the others held; and where the answer changes. */

import { largest, listOf, predict, room } from "./questions.js";
import { along, atPlace, onLine, ordered, snap } from "./scales.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {{ value: any, top: number, share: number }} Point  the likeliest class at a value, and its probability */
/** @typedef {{ column: Column, value: any, top: number, up: boolean | null, far: number }} Turn  from `value` on, upwards or downwards, the answer is another; of levels `up` is null */

const POINTS = 40;

/**
 * The answers if one column has other values, for several columns in one request.
 * @param {ModelState} state @param {{ column: Column, values: any[] }[]} asked @param {AbortSignal} signal @returns {Promise<Point[][]>}
 */
async function answers(state, asked, signal) {
  const { columns, row } = state.value, base = listOf(columns, row);
  const rows = asked.flatMap(({ column, values }) => values.map((value) => base.map((held, place) => (columns[place] === column ? value : held))));
  if (!rows.length) return asked.map(() => []);
  const { probabilities } = await predict(state, rows, signal);
  let next = 0;
  return asked.map(({ values }) => values.map((value) => {
    const found = probabilities[next++], top = largest(found);
    return { value, top, share: found[top] };
  }));
}

/** Points along each of some columns, in their order; of a wide model only of the first ones. @param {ModelState} state @param {Column[]} shown @param {AbortSignal} signal */
export async function strips(state, shown, signal) {
  const { sample } = state.value, some = shown.filter(({ type }) => type !== "text").slice(0, Math.max(1, Math.floor(room(state.value) / POINTS)));
  const asked = some.map((column) => ({ column, values: along(column, sample.scales.get(column.name), POINTS) }));
  const found = await answers(state, asked, signal);
  return asked.map(({ column }, index) => ({ column, points: found[index] }));
}

/** Where the answer changes first if one goes from a place over points in their order. @param {Column} column @param {Point[]} points @param {number} place @param {number} top */
function first(column, points, place, top) {
  let before = place;
  for (const point of points) {
    const here = onLine(column, point.value);
    if (point.top !== top) return { from: before, to: here };
    before = here;
  }
  return null;
}

/**
 * The nearest change of the answer along each column. Between two points it is looked for at round values, so that the
 * answer at the value found is another, and at the round value before it is not.
 * @param {ModelState} state @param {{ column: Column, points: Point[] }[]} lines @param {number} top  the present answer @param {AbortSignal} signal @returns {Promise<Turn[]>}
 */
export async function turns(state, lines, top, signal) {
  const { row, sample } = state.value;
  /** @type {Turn[]} */ const found = [];
  /** @type {{ column: Column, values: any[], up: boolean, place: number, span: number }[]} */ const open = [];
  for (const { column, points } of lines) {
    if (!ordered(column)) {
      const other = points.filter((point) => point.top !== top && point.value !== row[column.name]).sort((a, b) => b.share - a.share)[0];
      if (other) found.push({ column, value: other.value, top: other.top, up: null, far: 0.5 });
      continue;
    }
    const place = onLine(column, row[column.name]), scale = sample.scales.get(column.name);
    if (!scale || !Number.isFinite(place)) continue;
    const beyond = points.filter(({ value }) => onLine(column, value) > place), below = points.filter(({ value }) => onLine(column, value) < place).reverse();
    const ways = [first(column, beyond, place, top), first(column, below, place, top)].filter((way) => way !== null);
    const way = ways.sort((a, b) => Math.abs(a.to - place) - Math.abs(b.to - place))[0];
    if (way) open.push({ column, values: between(column, way, scale.fine), up: way.to > place, place, span: scale.high - scale.low });
  }
  const looked = await answers(state, open, signal);
  open.forEach(({ column, up, place, span }, index) => {
    const turn = looked[index].find((point) => point.top !== top);
    if (turn) found.push({ column, value: turn.value, top: turn.top, up, far: Math.abs(onLine(column, turn.value) - place) / span });
  });
  return found.sort((a, b) => a.far - b.far);
}

/** Round values behind one place up to the first one at or behind another. @param {Column} column @param {{ from: number, to: number }} way @param {number} fine */
function between(column, { from, to }, fine) {
  const sign = Math.sign(to - from), values = [];
  for (let next = snap(sign > 0 ? Math.floor(from / fine + 1e-9) * fine : Math.ceil(from / fine - 1e-9) * fine, fine) + sign * fine; values.length < 1000; next += sign * fine) {
    const round = snap(next, fine);
    values.push(atPlace(column, round));
    if (sign * (round - to) >= 0) break;
  }
  return values;
}

/** The drawing of decision regions: a grid of answers, rows as points, and a cross where the form is. */

import { classColour, colour } from "./dom.js";
import { brief } from "./probabilities.js";
import { along, atPlace, inWords, levelsOf, onLine, ordered } from "./scales.js";

/** @typedef {import("./model_state.js").Column} Column */
/** @typedef {import("./region_points.js").Dot} Dot */
/**
 * An axis: a column, and the values that the grid asks about, ascending. Levels and whole numbers are `width` apart, as a share.
 * @typedef {{ column: Column, values: any[], low: number, high: number, ends: number[], width: number }} Axis
 */
/** @typedef {{ x: Axis, y: Axis, tops: Uint16Array, shares: Float32Array, classes: number }} Grid  by rows, from the lowest */

/** How many levels of a category have a band. */
export const BANDS = 24;

/** Where a value lies on an axis, 0 to 1; NaN if it is missing or has no band. @param {Axis} axis @param {any} value */
export function shareOf({ column, values, low, high }, value) {
  if (ordered(column)) return (onLine(column, value) - low) / (high - low);
  const place = values.indexOf(value);
  return place < 0 ? NaN : (place + 0.5) / values.length;
}

/** The value at a share of an axis. @param {Axis} axis @param {number} share @returns {any} */
export function valueAt({ column, values, low, high }, share) {
  if (ordered(column)) return low + share * (high - low);
  return values[Math.min(values.length - 1, Math.max(0, Math.floor(share * values.length)))];
}

/** A number from 0 to 1 that a row always has: rows of one band are spread by it. @param {number} row @param {number} way */
const spread = (row, way) => ((row * (way ? 0.7548776662 : 0.5698402909)) % 1) * 0.8 - 0.4;

export class RegionMap {
  /** @type {Grid | null} */ grid = null;
  /** @type {Dot[]} */ dots = [];
  /** @type {OffscreenCanvas | null} */ #painted = null;
  /** @type {string[]} */ #colours = [];

  /** @param {HTMLCanvasElement} canvas @param {(grid: Grid) => number[]} cross  its place, as shares */
  constructor(canvas, cross) {
    this.canvas = canvas;
    this.cross = cross;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** @param {Grid} grid */
  show(grid) {
    this.grid = grid;
    this.paint();
  }

  /** Paint the grid anew, as after a change of the theme. */
  paint() {
    if (!this.grid) return;
    const { x, y, tops, shares, classes } = this.grid, [wide, high] = [x.values.length, y.values.length];
    this.#painted = new OffscreenCanvas(wide, high);
    const g = /** @type {OffscreenCanvasRenderingContext2D} */ (this.#painted.getContext("2d"));
    this.#colours = [...Array(8).keys()].map((place) => colour(classColour(place)));
    tops.forEach((top, place) => {
      // From an even draw to certainty.
      g.globalAlpha = 0.1 + 0.42 * Math.max(0, (shares[place] - 1 / classes) / (1 - 1 / classes));
      g.fillStyle = this.#colours[top % 8];
      g.fillRect(place % wide, high - 1 - Math.floor(place / wide), 1, 1);
    });
    this.draw();
  }

  draw() {
    const { canvas } = this, { clientWidth: wide, clientHeight: high } = canvas, ratio = devicePixelRatio || 1;
    const g = canvas.getContext("2d");
    if (!g || !wide) return;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) [canvas.width, canvas.height] = [Math.round(wide * ratio), Math.round(high * ratio)];
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.globalAlpha = 1;
    g.fillStyle = colour("--panel");
    g.fillRect(0, 0, wide, high);
    if (!this.#painted || !this.grid) return;
    const { x, y } = this.grid;
    g.imageSmoothingEnabled = ordered(x.column) && ordered(y.column);
    g.drawImage(this.#painted, 0, 0, wide, high);
    const inside = colour("--panel");
    for (const dot of this.dots) this.#dot(g, dot, wide, high, inside);
    this.#names(g, wide, high);
    this.#cross(g, wide, high);
  }

  /** @param {CanvasRenderingContext2D} g @param {Dot} dot @param {number} wide @param {number} high @param {string} inside  of hollow ones */
  #dot(g, { row, number, held, label, wrong }, wide, high, inside) {
    const { x, y } = /** @type {Grid} */ (this.grid);
    const place = (/** @type {Axis} */ axis, /** @type {number} */ way) => shareOf(axis, row[axis.column.name]) + spread(number, way) * axis.width;
    const left = place(x, 0) * wide, top = (1 - place(y, 1)) * high, size = this.dots.length > 400 ? 2.6 : 3.6;
    if (!Number.isFinite(left + top)) return;
    g.fillStyle = g.strokeStyle = this.#colours[Math.max(0, label) % 8];
    g.beginPath();
    if (wrong) {
      for (const sign of [1, -1]) [g.moveTo(left - size, top - sign * size), g.lineTo(left + size, top + sign * size)];
      g.lineWidth = 2.4;
      return g.stroke();
    }
    g.arc(left, top, size, 0, 7);
    g.lineWidth = 1.6;
    if (held) g.fillStyle = inside;
    g.fill();
    if (held) g.stroke();
  }

  // The levels of an axis at their bands, or both ends of a range.
  /** @param {CanvasRenderingContext2D} g @param {number} wide @param {number} high */
  #names(g, wide, high) {
    const { x, y } = /** @type {Grid} */ (this.grid);
    [g.font, g.lineWidth, g.lineJoin] = [`11px ${getComputedStyle(this.canvas).fontFamily}`, 3, "round"];
    [g.strokeStyle, g.fillStyle] = [colour("--panel"), colour("--ink")];
    const write = (/** @type {string} */ words, /** @type {number} */ left, /** @type {number} */ top) => [g.strokeText(words, left, top), g.fillText(words, left, top)];
    const end = (/** @type {Column} */ column, /** @type {number} */ place) => (column.type === "number" ? Number(place.toPrecision(4)) : atPlace(column, place).slice(0, 10));
    const marks = (/** @type {Axis} */ { column, values, ends }) => (ordered(column) ? ends.map((place) => end(column, place)) : values);
    for (const [place, value] of marks(x).entries()) {
      g.textAlign = x.ends.length ? (place ? "right" : "left") : "center";
      write(brief(inWords(x.column, value), 14), shareOf(x, value) * wide, high - 5);
    }
    for (const value of marks(y)) {
      g.textAlign = "left";
      write(brief(inWords(y.column, value), 14), 4, (1 - shareOf(y, value)) * high + 4);
    }
  }

  /** @param {CanvasRenderingContext2D} g @param {number} wide @param {number} high */
  #cross(g, wide, high) {
    const [across, up] = this.cross(/** @type {Grid} */ (this.grid)), left = across * wide, top = (1 - up) * high;
    g.strokeStyle = colour("--ink");
    g.lineWidth = 1.5;
    g.setLineDash([2, 3]);
    g.beginPath();
    if (Number.isFinite(left)) [g.moveTo(left, 0), g.lineTo(left, high)];
    if (Number.isFinite(top)) [g.moveTo(0, top), g.lineTo(wide, top)];
    g.stroke();
    g.setLineDash([]);
    if (!Number.isFinite(left + top)) return;
    g.beginPath();
    g.arc(left, top, 6, 0, 7);
    g.stroke();
  }
}

/** An axis over a column. @param {Column} column @param {import("./scales.js").Scale | undefined} scale @param {number} most  values @returns {Axis} */
export function axisOf(column, scale, most) {
  if (!scale) {
    const values = levelsOf(column, BANDS);
    return { column, values, low: 0, high: 1, ends: [], width: 1 / values.length };
  }
  const span = scale.high - scale.low, margin = scale.whole && span < BANDS ? 0.5 / span : 0.06, low = scale.low - margin * span, high = scale.high + margin * span;
  return { column, values: along(column, scale, most, margin), low, high, ends: [scale.low, scale.high], width: scale.whole ? 1 / (high - low) : 0 };
}

/** `<line-chart>`: series over epochs on a canvas, live, with a cursor for mouse and keyboard, and its values in words. */

import { logTicks, short, ticks } from "./axis.js";
import { colour, fill, h } from "./dom.js";

/**
 * `values` has one number for each x; null leaves a point out. `color` is a colour of the theme, as in `--c0`.
 * @typedef {{ name: string, color: string, dash?: number[], faint?: boolean, values: ArrayLike<number | null> }} Series
 */
/** `marks` are named lines; `dots` are places at the axis, as of kept checkpoints. @typedef {{ log?: boolean, marks?: { x: number, name: string }[], dots?: number[], unit?: string }} View */
/** @typedef {{ left: number, top: number, width: number, height: number }} Box */
/** @typedef {(value: number) => number} Place */

const usable = (/** @type {number | null | undefined} */ value, /** @type {boolean} */ log) => value !== null && value !== undefined && Number.isFinite(value) && (!log || value > 0);

/** Events: `cursor` (detail: x, or null), and `choose` (detail: x) at a click or Enter. */
export class LineChart extends HTMLElement {
  #x = /** @type {ArrayLike<number>} */ ([]);
  #series = /** @type {Series[]} */ ([]);
  #view = /** @type {View} */ ({});
  #cursor = /** @type {number | null} */ (null);
  #frame = 0;
  #box = /** @type {Box} */ ({ left: 46, top: 8, width: 1, height: 1 });
  #canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { "aria-hidden": "true" }));
  #words = /** @type {HTMLElement} */ (h("output", { "aria-live": "off" }));
  #resized = new ResizeObserver(() => this.redraw());
  #redraw = () => this.redraw();

  constructor() {
    super();
    this.addEventListener("pointermove", (event) => event.target === this.#canvas && this.#move(this.#nearest(event.offsetX)));
    this.addEventListener("pointerleave", () => this.#move(null));
    this.addEventListener("click", (event) => event.target === this.#canvas && this.#choose(this.#nearest(event.offsetX)));
    this.addEventListener("blur", () => this.#move(null));
    this.addEventListener("keydown", (event) => this.#key(event));
  }

  connectedCallback() {
    this.tabIndex = 0;
    if (!this.hasAttribute("role")) this.setAttribute("role", "figure");
    this.replaceChildren(this.#canvas, this.#words);
    this.#resized.observe(this);
    document.addEventListener("trainyard:theme", this.#redraw);
  }

  disconnectedCallback() {
    this.#resized.disconnect();
    document.removeEventListener("trainyard:theme", this.#redraw);
  }

  /** Show series over the ascending numbers x. @param {ArrayLike<number>} x @param {Series[]} series @param {View} [view] */
  show(x, series, view = {}) {
    [this.#x, this.#series, this.#view] = [x, series, view];
    if (this.#cursor !== null && this.#cursor >= x.length) this.#cursor = null;
    this.redraw();
  }

  /** Put the cursor at the point nearest to x, or take it away. @param {number | null} x */
  point(x) {
    const cursor = x === null ? null : this.#index(x);
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    this.redraw();
  }

  /** Draw at the next frame. */
  redraw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => ((this.#frame = 0), this.draw()));
  }

  /** Draw now. */
  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas, ratio = devicePixelRatio || 1, g = this.#canvas.getContext("2d");
    if (!width || !height || !g) return;
    [this.#canvas.width, this.#canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    g.scale(ratio, ratio);
    const box = (this.#box = { left: 46, top: 8, width: width - 58, height: height - 34 }), { log = false, marks = [], dots = [] } = this.#view;
    const scale = log ? Math.log10 : (/** @type {number} */ value) => value, [low, high] = this.#range(scale, log), [from, to] = this.#ends();
    const px = (/** @type {number} */ x) => box.left + ((x - from) / (to - from || 1)) * box.width;
    const py = (/** @type {number} */ value) => box.top + (1 - (scale(value) - low) / (high - low)) * box.height;
    this.#axes(g, low, high, px, py);
    for (const mark of marks) this.#mark(g, px(Math.min(Math.max(mark.x, from), to)), mark.name);
    for (const each of this.#series) this.#line(g, each, px, py, log);
    g.fillStyle = colour("--muted");
    for (const x of dots) if (x >= from && x <= to) g.fillRect(px(x) - 1, box.top + box.height - 2, 2, 5);
    this.#readout(g, px, py, log);
  }

  #ends() {
    const first = this.#x[0] ?? 0, last = this.#x[this.#x.length - 1] ?? 1;
    return first === last ? [first - 1, last + 1] : [first, last];
  }

  /** @param {Place} scale @param {boolean} log */
  #range(scale, log) {
    let low = Infinity, high = -Infinity;
    for (const { values } of this.#series)
      for (let index = 0; index < values.length; index += 1) {
        const value = /** @type {number} */ (values[index]);
        if (!usable(value, log)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    if (low > high) return [0, 1];
    [low, high] = [scale(low), scale(high)];
    const room = low < high ? (high - low) * 0.05 : Math.abs(low) * 0.1 || 0.5;
    return [low - room, high + room];
  }

  /** The place in x that is nearest to a number. @param {number} wanted */
  #index(wanted) {
    const x = this.#x;
    let low = 0, high = x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && wanted - x[low - 1] < x[low] - wanted) low -= 1;
    return x.length ? low : null;
  }

  /** @param {number} offset  in pixels */
  #nearest(offset) {
    const { left, width } = this.#box, [from, to] = this.#ends();
    return this.#index(from + ((offset - left) / width) * (to - from));
  }

  /** @param {number | null} cursor */
  #move(cursor) {
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    this.redraw();
    this.dispatchEvent(new CustomEvent("cursor", { detail: cursor === null ? null : this.#x[cursor] }));
  }

  /** @param {number | null} cursor */
  #choose(cursor) {
    if (cursor !== null) this.dispatchEvent(new CustomEvent("choose", { detail: this.#x[cursor] }));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const last = this.#x.length - 1, step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey || last < 0 || (step === undefined && event.key !== "Enter")) return;
    event.preventDefault();
    if (step === undefined) this.#choose(this.#cursor);
    else this.#move(Math.min(Math.max((this.#cursor ?? last) + step, 0), last));
  }

  /** @param {CanvasRenderingContext2D} g @param {number} low @param {number} high @param {Place} px @param {Place} py */
  #axes(g, low, high, px, py) {
    const { left, top, width, height } = this.#box, [from, to] = this.#ends(), count = Math.max(2, height / 32);
    g.font = `11px ${getComputedStyle(this).fontFamily || "sans-serif"}`;
    [g.fillStyle, g.strokeStyle, g.lineWidth, g.textBaseline, g.textAlign] = [colour("--muted"), colour("--line"), 1, "middle", "right"];
    for (const tick of this.#view.log ? logTicks(10 ** low, 10 ** high, count) : ticks(low, high, count)) {
      const y = Math.round(py(tick)) + 0.5;
      g.beginPath();
      g.moveTo(left, y);
      g.lineTo(left + width, y);
      g.stroke();
      g.fillText(short(tick), left - 6, y);
    }
    g.textAlign = "center";
    for (const tick of ticks(from, to, Math.max(2, width / 90)).filter((each) => Number.isInteger(each) && each >= 0)) {
      const half = g.measureText(short(tick)).width / 2;
      g.fillText(short(tick), Math.min(px(tick), left + width + 10 - half), top + height + 14);
    }
  }

  /** @param {CanvasRenderingContext2D} g @param {number} x @param {string} name */
  #mark(g, x, name) {
    const { left, top, width, height } = this.#box;
    g.strokeStyle = g.fillStyle = colour("--muted");
    g.setLineDash([2, 3]);
    g.beginPath();
    g.moveTo(x, top);
    g.lineTo(x, top + height);
    g.stroke();
    g.setLineDash([]);
    g.textAlign = x > left + width / 2 ? "right" : "left";
    g.fillText(name, x + (g.textAlign === "right" ? -4 : 4), top + 6);
  }

  // Where several points fall on one pixel column, only its first, lowest and highest are drawn.
  /** @param {CanvasRenderingContext2D} g @param {Series} series @param {Place} px @param {Place} py @param {boolean} log */
  #line(g, { color, dash = [], faint = false, values }, px, py, log) {
    let column = NaN, least = 0, most = 0, points = 0, x = 0, y = 0;
    g.strokeStyle = g.fillStyle = colour(color) || color;
    [g.lineWidth, g.lineJoin, g.globalAlpha] = [faint ? 1 : 1.75, "round", faint ? 0.3 : 1];
    g.setLineDash(dash);
    g.beginPath();
    for (let index = 0; index < values.length; index += 1) {
      const value = /** @type {number} */ (values[index]);
      if (!usable(value, log)) continue;
      [x, y] = [px(this.#x[index]), py(value)];
      if (Math.round(x) === column) {
        [least, most] = [Math.min(least, y), Math.max(most, y)];
        continue;
      }
      if (least !== most) g.lineTo(column, least), g.lineTo(column, most);
      points ? g.lineTo(x, y) : g.moveTo(x, y);
      [column, least, most, points] = [Math.round(x), y, y, points + 1];
    }
    if (least !== most) g.lineTo(column, least), g.lineTo(column, most);
    g.stroke();
    g.setLineDash([]);
    if (points === 1) g.fillRect(x - 2, y - 2, 4, 4);
    g.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} g @param {Place} px @param {Place} py @param {boolean} log */
  #readout(g, px, py, log) {
    const at = this.#cursor ?? this.#x.length - 1, { top, height } = this.#box, parts = [h("b", null, `${this.#view.unit ?? "epoch"} ${this.#x.length ? short(this.#x[at]) : "–"}`)];
    for (const { name, color, dash, faint, values } of this.#series) {
      if (faint) continue;
      let last = Math.min(at, values.length - 1);
      while (last >= 0 && !usable(values[last], false)) last -= 1;
      const value = last < 0 ? null : /** @type {number} */ (values[last]), key = h("i", { class: dash?.length ? "key dashed" : "key", style: { "--key": `var(${color})` } });
      parts.push(h("span", { title: name }, key, h("span", { class: "name" }, name), " ", h("b", null, value === null ? "–" : short(value))));
      if (this.#cursor === null || value === null || !usable(value, log)) continue;
      g.fillStyle = colour(color) || color;
      g.beginPath();
      g.arc(px(this.#x[last]), py(value), 3.5, 0, 7);
      g.fill();
    }
    this.#words.setAttribute("aria-live", this.#cursor !== null && document.activeElement === this ? "polite" : "off");
    fill(this.#words, parts.flatMap((part) => [part, " "]));
    if (this.#cursor === null) return;
    g.strokeStyle = colour("--muted");
    g.beginPath();
    g.moveTo(px(this.#x[at]), top);
    g.lineTo(px(this.#x[at]), top + height);
    g.stroke();
  }
}

customElements.define("line-chart", LineChart);

/** A curve as small as a word, drawn for the rows that are seen. */

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { number } from "./format.js";

const [WIDTH, HEIGHT] = [110, 26];
/** How many points a curve has, at most. */
const POINTS = 40;
/** How many curves are asked for at a time. */
const AT_ONCE = 4;

/** The held-out loss by epoch, or that of training if nothing is held out. @param {any[]} epochs @returns {[string, number[]]} */
function lossOf(epochs) {
  for (const [name, words] of [["validation_log_loss", "held-out loss"], ["validation_loss", "held-out loss"], ["loss", "loss"]]) {
    const values = epochs.map((one) => one[name]).filter((value) => typeof value === "number");
    if (values.length > 1) return [words, values];
  }
  return ["", []];
}

/** A drawing of a job's history. @param {any[]} epochs */
export function spark(epochs) {
  const [words, values] = lossOf(epochs);
  if (!values.length) return h("span", { class: "hint" }, "–");
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const place = (/** @type {number} */ value, /** @type {number} */ index) => [(index / (values.length - 1)) * WIDTH, HEIGHT - 2 - ((value - low) / span) * (HEIGHT - 4)];
  const points = values.map((value, index) => place(value, index).map((one) => one.toFixed(1)).join(","));
  const label = `${words} from ${number(values[0], 3)} to ${number(values.at(-1), 3)}, lowest ${number(low, 3)}`;
  const drawing = { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label };
  return h("svg:svg", drawing, h("svg:title", null, label), h("svg:polyline", { points: points.join(" ") }));
}

/**
 * Draws the curves of jobs into elements when these come into view, a few at a time.
 * @param {AbortSignal} signal
 */
export function sparks(signal) {
  /** @type {Map<Element, string>} */
  const jobs = new Map();
  /** @type {Element[]} */
  let waiting = [];
  let busy = 0;

  async function next() {
    const place = busy < AT_ONCE ? waiting.shift() : undefined, job = place && jobs.get(place);
    if (!place || !job || signal.aborted) return;
    busy += 1;
    try {
      const { data } = await get(`/jobs/${job}/history`, { query: { points: POINTS, member: place.getAttribute("data-member") }, signal, quiet: true });
      fill(place, spark(data));
    } finally {
      busy -= 1;
      void next();
    }
  }
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      waiting = waiting.filter((one) => one !== target);
      if (isIntersecting) (waiting.push(target), watch.unobserve(target));
    }
    for (let free = busy; free < AT_ONCE; free += 1) void next();
  }, { rootMargin: "100px" });
  signal.addEventListener("abort", () => watch.disconnect());
  return {
    /** Draw the curve of a job, or draw it anew. @param {Element} place @param {string} job */
    draw: (place, job) => (jobs.set(place, job), watch.unobserve(place), watch.observe(place)),
  };
}

/** Three small tables to begin with: two are generated here, the third is a file of the console. */

import { go } from "./address.js";
import { post } from "./api.js";
import { freeName } from "./drop.js";
import { notice } from "./notices.js";

/** Numbers in 0…1, the same ones at each visit. @param {number} seed */
function generator(seed) {
  let state = seed;
  // Mulberry32, by Tommy Ettinger; public domain.
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Numbers of the normal distribution, by Box and Muller. @param {() => number} random */
const normal = (random) => () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** Three arms of 100 points each, that no straight line divides. */
export function spiral() {
  const draw = normal(generator(1)), rows = ["x,y,arm"];
  ["red", "green", "blue"].forEach((arm, index) => {
    for (let point = 0; point < 100; point += 1) {
      const radius = (point + 1) / 100, angle = 2.5 * (4 * index + 4 * radius + 0.2 * draw());
      rows.push(`${(radius * Math.sin(angle)).toFixed(4)},${(radius * Math.cos(angle)).toFixed(4)},${arm}`);
    }
  });
  return rows.join("\n");
}

/** Means and standard deviations of Fisher's irises: sepal length and width, petal length and width, in cm. */
const FLOWERS = /** @type {const} */ ({
  setosa: [[5.006, 0.352], [3.428, 0.379], [1.462, 0.174], [0.246, 0.105]],
  versicolor: [[5.936, 0.516], [2.77, 0.314], [4.26, 0.47], [1.326, 0.198]],
  virginica: [[6.588, 0.636], [2.974, 0.322], [5.552, 0.552], [2.026, 0.275]],
});

/** Fifty flowers of each of three kinds; a large one is large in every measure. */
export function flowers() {
  const draw = normal(generator(2)), rows = ["sepal_length,sepal_width,petal_length,petal_width,kind"];
  for (const [kind, measures] of Object.entries(FLOWERS)) {
    for (let flower = 0; flower < 50; flower += 1) {
      const size = draw();
      rows.push([...measures.map(([mean, spread]) => Math.max(0.1, mean + spread * (0.7 * size + 0.714 * draw())).toFixed(1)), kind].join(","));
    }
  }
  return rows.join("\n");
}

const digits = async () => (await fetch("/console/static/samples/digits.csv")).text();

/** How all samples are trained: one network, whose checkpoints can be looked at one after the other. */
const TRAINING = { validation: { fraction: 0.2 }, early_stopping: { patience: 40 }, publish: "best" };
const adam = { type: "adam", learning_rate: 0.01 };

/**
 * @typedef {{ name: string, about: string, label: string, rows: () => string | Promise<string>, plan: Record<string, any> }} Sample
 * @type {Sample[]}
 */
export const SAMPLES = [
  { name: "spiral", about: "300 points in three arms: what a network is for", label: "arm", rows: spiral, plan: { hidden: [48, 48], epochs: 200, optimizer: adam } },
  { name: "flowers", about: "150 flowers of three kinds by four measures, as in Fisher's irises", label: "kind", rows: flowers, plan: { hidden: [16], epochs: 150, optimizer: adam } },
  { name: "digits", about: "360 handwritten digits of 8 × 8 pixels", label: "digit", rows: digits, plan: { hidden: [64], epochs: 60, optimizer: { type: "adam", learning_rate: 0.003 } } },
];

/** Upload a sample, train a network on it, and show it training. @param {Sample} sample */
export async function trainSample({ name, label, rows, plan: { hidden, epochs, optimizer } }) {
  try {
    const free = await freeName(name);
    await post("/datasets", { query: { name: free, label }, file: new Blob([await rows()]), headers: { "Content-Type": "text/csv" }, once: true });
    const checkpoint = { every_epochs: Math.ceil(epochs / 20), keep: 24 };
    const job = await post("/train", { json: { model: { name: free, hidden }, data: { dataset: free }, epochs, optimizer, checkpoint, ...TRAINING }, once: true });
    go(`/console/models/${free}?job=${job.id}`);
  } catch (error) {
    notice(error, () => void trainSample({ name, label, rows, about: "", plan: { hidden, epochs, optimizer } }));
  }
}

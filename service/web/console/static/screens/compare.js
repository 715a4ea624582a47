import { fill, h } from "../dom.js";

/** @param {import("../app.js").Place} place */
export async function show({ main }) {
  fill(main, h("h1", null, "compare"));
}

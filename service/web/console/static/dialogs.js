/** Questions that the page waits for, and what is shown above it. */

import { h, newId } from "./dom.js";

/**
 * Show a dialog; resolves to what it was closed with, or to null for Esc.
 * @template T
 * @param {string} title @param {(close: (answer?: T) => void) => any[]} content
 * @returns {Promise<T | null>}
 */
export function dialog(title, content) {
  return new Promise((done) => {
    const id = newId(), close = (/** @type {T | undefined} */ given) => ((answer = given ?? null), box.close());
    let answer = /** @type {T | null} */ (null);
    const box = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), content(close));
    box.addEventListener("close", () => (box.remove(), done(answer)));
    document.body.append(box);
    box.showModal();
  });
}

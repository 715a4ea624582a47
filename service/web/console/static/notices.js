/** Errors that belong to no control, and short confirmations. */

import { Refused, Unreachable } from "./api.js";
import { copy } from "./commands.js";
import { h } from "./dom.js";

/** Show an error in a bar: its sentence, code and request id. @param {unknown} error @param {() => void} [again] */
export function notice(error, again) {
  const place = document.getElementById("notices");
  if (!place) return;
  const refused = error instanceof Refused ? error : null;
  const faults = refused?.errors.filter(({ detail }) => !refused.message.includes(detail)).map(({ pointer, detail }) => `${pointer}: ${detail}`) ?? [];
  const detail = error instanceof Error ? error.message : String(error);
  const words = [detail, ...faults].join("; "), ids = refused ? `${refused.code} · ${refused.requestId}` : "";
  const bar = h("div", { class: error instanceof Unreachable ? "notice soft" : "notice", role: "alert" },
    h("span", null, words), ids && h("span", { class: "hint" }, ids), h("span", { class: "grow" }),
    again && h("button", { type: "button", onclick: () => (bar.remove(), again()) }, "Try again"),
    h("button", { type: "button", onclick: () => copy(`${refused?.call ?? ""} ${words} ${ids}`.trim()) }, "Copy"),
    h("button", { type: "button", "aria-label": "Close", onclick: () => bar.remove() }, "×"));
  place.replaceChildren(bar);
}

/**
 * Show a confirmation for a few seconds, with an action if it has a label. Returns it, so that it can be removed before.
 * @param {string} text @param {{ label?: string, run?: () => void, seconds?: number }} [action]
 * @returns {HTMLElement}
 */
export function toast(text, { label, run, seconds = 3 } = {}) {
  const box = h("div", { class: "toast" }, h("span", null, text), label && h("button", { type: "button", onclick: () => (box.remove(), run?.()) }, label));
  document.getElementById("toasts")?.append(box);
  setTimeout(() => box.remove(), 1000 * seconds);
  return box;
}

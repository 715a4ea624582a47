/** What is worth knowing before a plan is trained, with what to do about it. */

import { h } from "./dom.js";
import { percent } from "./format.js";
import { pointerOf } from "./profile.js";

/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {{ text: string, warns?: boolean, fix?: { label: string, run: () => void } }} PlanNote */

/** Of so many classes, one is told to be rare if it has less than this part of an even share. */
const CLASSES = 50, RARE = 0.75;

/** Notes as elements of a list. @param {Plan} plan @param {any} run @param {import("./faults.js").Fault[]} refused */
export function notesOf(plan, run, refused) {
  /** @type {PlanNote[]} */
  const faults = refused.map(({ pointer, detail }) => ({ text: pointer ? `${pointer}: ${detail}` : detail, warns: true }));
  return [...faults, ...balance(plan), ...warnings(plan, run)].map(({ text, warns, fix }) =>
    h("li", null,
      h("span", { class: warns ? "w" : "i", "aria-hidden": "true" }, warns ? "▲" : "●"),
      h("span", null, warns && h("span", { class: "hidden" }, "Warning: "), text),
      fix ? h("button", { type: "button", class: "link", onclick: fix.run }, fix.label) : h("span", null)));
}

/** @param {Plan} plan @returns {PlanNote[]} */
function balance(plan) {
  const weigh = (/** @type {string} */ label, /** @type {any} */ weights) => ({ label, run: () => plan.change({ class_weights: weights }) });
  if (plan.at("class_weights") === "balanced") return [{ text: "Rare classes count as much as frequent ones.", fix: weigh("undo", undefined) }];
  const classes = plan.classes, rare = classes.at(-1), share = (rare?.count ?? 0) / classes.reduce((sum, each) => sum + each.count, 0);
  if (!rare || classes.length < 2 || classes.length > CLASSES || share >= RARE / classes.length || plan.at("class_weights") !== undefined) return [];
  return [{ text: `Class ${rare.value} is ${percent(share, share < 0.1 ? 1 : 0)} of the rows.`, warns: true, fix: weigh("balance", "balanced") }];
}

/** Warnings of the dry run, or of the upload as long as there is none. @param {Plan} plan @param {any} run @returns {PlanNote[]} */
function warnings(plan, run) {
  /** @type {{ code: string, detail: string, column?: string }[]} */
  const found = run?.warnings ?? plan.dataset.warnings ?? [];
  return found.filter(({ code }) => code !== "column_set_aside").map(({ code, detail, column }) => {
    const place = column === undefined ? null : document.querySelector(`[data-pointer=${CSS.escape(pointerOf(column))}]`);
    const show = place instanceof HTMLElement && column !== plan.label ? { label: "show", run: () => (place.scrollIntoView({ block: "center" }), place.focus()) } : undefined;
    return { text: column === undefined || detail.includes(column) ? detail : `${column}: ${detail}`, warns: code !== "not_measured", fix: show };
  });
}

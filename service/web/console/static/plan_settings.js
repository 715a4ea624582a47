/** Controls of a plan: each changes one member of the request, and follows it. */

import { h, newId } from "./dom.js";
import { queryOf, requestOf } from "./train_request.js";

/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {{ element: HTMLElement, follow: () => void, of?: "one" | "data" }} Setting  `of` says which networks have it */
/** @typedef {{ unit?: string, hint?: string, of?: "one" | "data", placeholder?: string | (() => string) }} More */

/** Whether somebody writes in a control, which then is left alone. @param {Element} control */
const busy = (control) => document.activeElement === control;

/** A line with a label, a control and a unit or value. @param {string} label @param {any} control @param {string} path @param {Node | null} [end] */
function line(label, control, path, end = null) {
  control.id = newId();
  control.setAttribute("data-pointer", `/${path.replaceAll(".", "/")}`);
  if (!end) control.classList.add("wide");
  return h("div", { class: "setting", "data-faults": "" }, h("label", { for: control.id }, label), control, end);
}

/** @param {Plan} plan @param {string} label @param {string} path @param {More} [more] @returns {Setting} */
export function numberSetting(plan, label, path, { unit, of, placeholder = "" } = {}) {
  const control = h("input", { type: "number", step: "any", oninput: () => plan.change({ [path]: Number.isFinite(control.valueAsNumber) ? control.valueAsNumber : undefined }) });
  const element = line(label, control, path, unit ? h("output", null, unit) : null);
  const follow = () => {
    control.placeholder = typeof placeholder === "string" ? placeholder : placeholder();
    if (!busy(control)) control.value = plan.at(path) ?? "";
  };
  return { element, follow, of };
}

/** @param {Plan} plan @param {string} label @param {string} path @param {(text: string) => any} read @param {(value: any) => string} write @param {More} [more] @returns {Setting} */
export function textSetting(plan, label, path, read, write, { of, placeholder = "" } = {}) {
  const control = h("input", { type: "text", spellcheck: false, autocomplete: "off", oninput: () => plan.change({ [path]: read(control.value) }) });
  const follow = () => {
    control.placeholder = typeof placeholder === "string" ? placeholder : placeholder();
    if (!busy(control)) control.value = plan.at(path) === undefined ? "" : write(plan.at(path));
  };
  return { element: line(label, control, path), follow, of };
}

/**
 * A choice of values; one that is not listed is shown as JSON.
 * @param {Plan} plan @param {string} label @param {string} path
 * @param {[any, string][]} choices  values with their words; undefined leaves the member out
 * @param {More & { changes?: (value: any) => Record<string, any> }} [more] @returns {Setting}
 */
export function choiceSetting(plan, label, path, choices, { of, changes } = {}) {
  const choose = () => {
    const value = control.value === "" ? undefined : JSON.parse(control.value);
    plan.change(changes ? changes(value) : { [path]: value });
  };
  const control = h("select", { onchange: choose });
  const follow = () => {
    const value = plan.at(path), text = value === undefined ? "" : JSON.stringify(value);
    const listed = choices.some(([each]) => (each === undefined ? "" : JSON.stringify(each)) === text) ? choices : [...choices, [value, text]];
    control.replaceChildren(...listed.map(([each, words]) => h("option", { value: each === undefined ? "" : JSON.stringify(each) }, words)));
    control.value = text;
  };
  return { element: line(label, control, path), follow, of };
}

/** The share of rows that are held out. @param {Plan} plan @returns {Setting} */
export function shareSetting(plan) {
  const path = "validation.fraction", output = h("output", null);
  const control = h("input", { type: "range", min: 0, max: 50, step: 5, oninput: () => plan.change({ [path]: Number(control.value) / 100 || undefined }) });
  const follow = () => {
    const share = plan.at(path), other = plan.at("validation") !== undefined && share === undefined;
    control.value = String(100 * (share ?? 0));
    control.disabled = other;
    output.textContent = other ? "as below" : share ? `${+(100 * share).toFixed(1)} %` : "none";
    control.setAttribute("aria-valuetext", output.textContent ?? "");
  };
  return { element: line("Held out", control, path, output), follow, of: "one" };
}

/** Sizes of hidden layers, as in "32, 32". @param {Plan} plan @returns {Setting} */
export function hiddenSetting(plan) {
  const sizes = (/** @type {string} */ text) => {
    if (/^(none|0)$/i.test(text)) return [];
    return text ? text.split(/[\s,;]+/).filter(Boolean).map((each) => (/^\d+$/.test(each) ? Number(each) : each)) : undefined;
  };
  const take = () => plan.change({ "model.hidden": sizes(control.value.trim()), "model.layers": undefined, "model.inputs": undefined });
  const control = h("input", { type: "text", spellcheck: false, autocomplete: "off", oninput: take });
  const follow = () => {
    const hidden = plan.at("model.hidden");
    control.placeholder = plan.at("model.layers") ? "as the layers below" : typeof plan.request.model === "string" ? `as ${plan.name} has them` : "128";
    if (!busy(control)) control.value = hidden === undefined ? "" : [hidden].flat().join(", ") || "none";
  };
  return { element: line("Hidden layers", control, "model.hidden"), follow, of: "one" };
}

/** All members of the request that have no control, as JSON. @param {Plan} plan @returns {Setting} */
export function otherSetting(plan) {
  const control = h("textarea", { rows: 3, spellcheck: false, placeholder: '{"metadata": {"course": "B"}}' });
  const fault = h("span", { class: "fault", role: "alert" });
  control.addEventListener("input", () => {
    fault.textContent = "";
    try {
      const { request: _, ...controlled } = queryOf(plan.request);
      const kept = /** @type {[string, string][]} */ (Object.entries(controlled).filter(([, value]) => value !== null));
      const written = control.value.trim() ? [["request", control.value]] : [];
      plan.replace(requestOf(new URLSearchParams([...kept, ...written]), plan.request.data.dataset));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      fault.textContent = "this is no JSON object yet";
    }
  });
  const follow = () => {
    if (busy(control)) return;
    const text = queryOf(plan.request).request;
    control.value = text === null ? "" : JSON.stringify(JSON.parse(text), null, 1);
  };
  control.id = newId();
  return { element: h("div", { class: "other" }, h("label", { for: control.id }, "Other members of the request, as JSON"), control, fault), follow };
}

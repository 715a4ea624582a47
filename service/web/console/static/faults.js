/** Faults of a request, shown at the controls that their pointers name. */

import { h, newId } from "./dom.js";

/** @typedef {{ pointer: string, detail: string, column?: string | number }} Fault */

/** A name as a part of a JSON pointer. @param {string} name */
export const part = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** Take away what `showFaults` has shown. @param {Element} root */
export function clearFaults(root) {
  for (const shown of root.querySelectorAll(".fault.placed")) shown.remove();
  for (const control of root.querySelectorAll("[data-pointer][aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-describedby");
  }
}

/**
 * Show each fault at the control whose `data-pointer` is its pointer or the nearest member around it; a fault of a
 * column of the data at that column. Returns the faults that belong to no control.
 * @param {Element} root @param {Fault[]} faults @param {(column: string) => string} [pointerOfColumn]
 */
export function showFaults(root, faults, pointerOfColumn) {
  clearFaults(root);
  const controls = [...root.querySelectorAll("[data-pointer]")];
  return faults.filter(({ pointer, detail, column }) => {
    const wanted = typeof column === "string" && pointerOfColumn ? pointerOfColumn(column) : pointer;
    const reach = (/** @type {Element} */ control) => {
      const own = control.getAttribute("data-pointer") ?? "";
      return wanted === own || wanted.startsWith(`${own}/`) ? own.length : 0;
    };
    const control = controls.reduce((best, each) => (reach(each) > (best ? reach(best) : 0) ? each : best), /** @type {Element | null} */ (null));
    if (!control) return true;
    const text = h("span", { class: "fault placed", id: newId(), role: "alert" }, detail);
    (control.closest("[data-faults]") ?? control.parentElement ?? root).append(text);
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", text.id);
    const folded = control.closest("details");
    if (folded) folded.open = true;
    return false;
  });
}

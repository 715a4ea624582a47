/** The key of a service with keys: asked for once, kept for the session of this tab, sent as a header. */

import { key } from "./api.js";
import { h } from "./dom.js";

let open = false;

/** Ask for a key; then do `next`. @param {string} problem  why the present one is refused @param {() => void} next */
export function askForKey(problem, next) {
  if (open) return;
  open = true;
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true, placeholder: "ty_…" });
  const take = (/** @type {Event} */ event) => {
    event.preventDefault();
    key.set(input.value.trim());
    dialog.close();
    next();
  };
  const dialog = h("dialog", { "aria-labelledby": "key-title" },
    h("form", { onsubmit: take },
      h("h2", { id: "key-title" }, "This service needs a key"),
      h("p", { class: "sub" }, "It stays in this tab and is forgotten when you close it. ", h("code", null, "trainyard keys create NAME"), " makes one."),
      problem && h("p", { class: "fault", role: "alert" }, problem),
      h("label", { for: "key" }, "Key "), input, " ", h("button", { class: "primary", type: "submit" }, "Use this key")));
  dialog.addEventListener("close", () => (dialog.remove(), (open = false)));
  document.body.append(dialog);
  dialog.showModal();
}

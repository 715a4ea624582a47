/** The key of a service with keys: asked for once, kept for the session of this tab, sent as a header. */

import { access, get, key } from "./api.js";
import { dialog } from "./dialogs.js";
import { h } from "./dom.js";

/** @type {Promise<boolean> | null} */
let asking = null;

/** The console's own requests wait for this one dialog. */
export function startAccess() {
  access.ask = (problem) => (asking ??= askForKey(problem).finally(() => (asking = null)));
}

/** Ask for a key; resolves to whether one is given. @param {string} problem  why the present one is refused @returns {Promise<boolean>} */
async function askForKey(problem) {
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true, placeholder: "ty_…", spellcheck: false });
  const given = await dialog("This service needs a key", (close) => [
    h("form", { onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), key.set(input.value.trim()), close(true)) },
      h("p", { class: "sub" }, "It stays in this tab and is forgotten when you close it. ", h("code", null, "trainyard keys create NAME"), " makes one."),
      problem && h("p", { class: "fault", role: "alert", id: "key-problem" }, problem),
      h("p", { class: "row" }, h("label", { for: "key" }, "Key"), input,
        h("button", { class: "primary", type: "submit" }, "Use this key"), h("button", { type: "button", onclick: () => close() }, "Not now")))]);
  return given === true;
}

/** The button that shows what the key in use may do, and forgets it. */
export function keyButton() {
  const button = h("button", { type: "button", hidden: true, onclick: () => void showKey() }, "Key");
  const follow = () => (button.hidden = !key.get());
  document.addEventListener("trainyard:key", follow);
  follow();
  return button;
}

async function showKey() {
  const own = await get("/key", { quiet: true });
  const facts = { "Belongs to": own.owner, "May": own.scopes.join(", "), "Models": own.models?.join(", ") ?? "all", "Until": own.expires_at ?? "it is revoked" };
  await dialog("Your key", (close) => [
    h("dl", { class: "facts" }, Object.entries(facts).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
    h("p", { class: "row" },
      h("button", { type: "button", onclick: () => (key.set(null), close(), location.reload()) }, "Forget it"),
      h("span", { class: "grow" }),
      h("button", { type: "button", onclick: () => close() }, "Close"))]);
}

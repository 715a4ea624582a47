/** The list of all keys. */

import { h } from "./dom.js";
import { shortcuts } from "./keyboard.js";

/** Show the keys that hold now. */
export function showHelp() {
  const close = () => dialog.close();
  const rows = shortcuts().map(({ keys, label }) => [h("dt", null, keys.split(" ").map((one) => h("kbd", null, one))), h("dd", null, label)]);
  const dialog = h("dialog", { "aria-labelledby": "keys-title" }, h("h2", { id: "keys-title" }, "Keys"), h("dl", { class: "facts" }, rows.flat()), h("p", null, h("button", { type: "button", onclick: close }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** The list of all keys. */

import { dialog } from "./dialogs.js";
import { h } from "./dom.js";
import { lettersOn, setLetters, shortcuts } from "./keyboard.js";

/** Show the keys that hold now. */
export function showHelp() {
  const rows = shortcuts().map(({ keys, label }) => [h("dt", null, label), h("dd", null, keys.split(" ").map((one) => [h("kbd", null, one.replace("Enter", "⏎")), " "]).flat())]);
  const letters = h("input", { type: "checkbox", id: "letters", checked: lettersOn(), onchange: () => setLetters(letters.checked) });
  void dialog("Keys", (close) => [
    h("dl", { class: "facts keys" }, rows.flat()),
    h("p", { class: "row" }, letters, h("label", { for: "letters" }, "Keys of one letter are on"), h("span", { class: "grow" }),
      h("button", { type: "button", autofocus: true, onclick: () => close() }, "Close"))]);
}

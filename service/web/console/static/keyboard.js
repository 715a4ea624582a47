/** Keys of the whole console and of its screens. */

/** @typedef {{ keys: string, label: string, run: () => void }} Shortcut */

/** @type {Shortcut[]} */
const everywhere = [];
/** @type {Shortcut[]} */
let ofScreen = [];
let typed = "";

/** Keys that hold on all screens, as in `g m`. @param {string} keys @param {string} label @param {() => void} run */
export const everywhereKey = (keys, label, run) => void everywhere.push({ keys, label, run });

/** Keys that hold until another screen is shown. @param {string} keys @param {string} label @param {() => void} run */
export const screenKey = (keys, label, run) => void ofScreen.push({ keys, label, run });

export const clearScreenKeys = () => void (ofScreen = []);

/** All keys that hold now. */
export const shortcuts = () => [...ofScreen, ...everywhere];

/** @param {KeyboardEvent} event */
function press(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const typing = target.matches("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio], [type=button])");
  const name = (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
  if (event.defaultPrevented || event.altKey || (typing && !name.startsWith("Ctrl+")) || target.closest("dialog")) return;
  typed = `${typed} ${name}`.trim().split(" ").slice(-2).join(" ");
  const found = shortcuts().find(({ keys }) => keys === typed || keys === name);
  if (!found) return;
  event.preventDefault();
  typed = "";
  found.run();
}

addEventListener("keydown", press);

/** Keys of the whole console and of its screens. */

/** @typedef {{ keys: string, label: string, run: () => void }} Shortcut */

const STORED = "trainyard.keys";
/** Milliseconds within which the second key of a pair must follow. */
const PAIR = 1500;

/** @type {Shortcut[]} */
const everywhere = [];
/** @type {Shortcut[]} */
let ofScreen = [];
let first = { name: "", at: -PAIR };

/** Keys that hold on all screens, as in `g m`. @param {string} keys @param {string} label @param {() => void} run */
export const everywhereKey = (keys, label, run) => void everywhere.push({ keys, label, run });

/** Keys that hold until another screen is shown. @param {string} keys @param {string} label @param {() => void} run */
export const screenKey = (keys, label, run) => void ofScreen.push({ keys, label, run });

export const clearScreenKeys = () => void (ofScreen = []);

/** All keys that hold now. */
export const shortcuts = () => [...ofScreen, ...everywhere];

/** Whether single letters do something: who dictates to a computer wants them off. */
export const lettersOn = () => localStorage.getItem(STORED) !== "off";

/** @param {boolean} on */
export const setLetters = (on) => (on ? localStorage.removeItem(STORED) : localStorage.setItem(STORED, "off"));

/** @param {KeyboardEvent} event */
function press(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const typing = target.matches("textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio], [type=button])");
  const control = event.ctrlKey || event.metaKey, name = (control ? "Ctrl+" : "") + event.key;
  if (event.defaultPrevented || event.altKey || ["Control", "Shift", "Meta"].includes(event.key) || target.closest("dialog")) return;
  if (!control && (typing || !lettersOn())) return;
  const pair = event.timeStamp - first.at < PAIR ? `${first.name} ${name}` : "";
  first = { name, at: event.timeStamp };
  const found = shortcuts().find(({ keys }) => keys === pair) ?? shortcuts().find(({ keys }) => keys === name);
  if (!found) return;
  event.preventDefault();
  first = { name: "", at: -PAIR };
  found.run();
}

addEventListener("keydown", press);

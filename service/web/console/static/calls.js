/** The calls that this page has made, the newest first: each as curl, to copy. */

import { service } from "./api.js";
import { address, copy, curl, shell } from "./commands.js";
import { fill, h } from "./dom.js";
import { duration } from "./format.js";

/** How many are kept. */
const KEPT = 60;

/** @type {import("./api.js").Call[]} */
let calls = [];
/** @type {HTMLElement | null} */
let drawer = null;

service.addEventListener("call", (event) => {
  calls = [/** @type {CustomEvent} */ (event).detail, ...calls].slice(0, KEPT);
  draw();
});

/** A call as a command. @param {import("./api.js").Call} call */
export function commandOf({ method, path, body, file, type }) {
  if (file === undefined) return curl(method, path, body);
  return `${curl("POST", path, undefined).replace(" -X POST", "")} -H ${shell(`Content-Type: ${type}`)} --data-binary ${shell(`@${file}`)}`;
}

/** Show the drawer, or close it. */
export function toggleCalls() {
  if (drawer) return close();
  const opened = h("aside", { class: "drawer", "aria-label": "Calls", onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && close() });
  document.body.append(opened);
  drawer = opened;
  draw();
  opened.querySelector("button").focus();
}

function close() {
  drawer?.remove();
  drawer = null;
}

function draw() {
  if (!drawer) return;
  const entry = (/** @type {import("./api.js").Call} */ call) => {
    const command = commandOf(call);
    return h("li", null,
      h("div", { class: "row" },
        h("code", { class: "path", title: call.path }, `${call.method} ${call.path}`),
        h("span", { class: "grow" }),
        h("span", { class: call.status < 400 ? "hint" : "bad" }, `${call.status} · ${duration(call.milliseconds / 1000)}`),
        h("button", { type: "button", "aria-label": `Copy ${call.method} ${call.path} as curl`, onclick: () => copy(command) }, "Copy")),
      h("pre", { tabIndex: 0, "aria-label": "As curl" }, command.length > 2000 ? `${command.slice(0, 2000)}…` : command));
  };
  const top = drawer.scrollTop;
  fill(drawer,
    h("div", { class: "row" },
      h("h2", null, "Calls"),
      h("span", { class: "hint" }, "All that this page does goes through the API."),
      h("span", { class: "grow" }),
      h("button", { type: "button", id: "close-calls", onclick: close }, "Close ", h("kbd", { "aria-hidden": "true" }, "a"))),
    calls.length ? h("ol", { reversed: true, tabIndex: -1 }, calls.map(entry)) : h("p", null, `None yet. The service is at ${address()}.`));
  drawer.scrollTop = top;
}

/** Light or dark: the system's choice until the button is pressed. */

import { h } from "./dom.js";

const STORED = "trainyard.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => localStorage.getItem(STORED) ?? (dark.matches ? "dark" : "light");

function apply() {
  document.documentElement.dataset.theme = chosen();
  document.dispatchEvent(new Event("trainyard:theme"));
}

/** The button that changes the theme; canvases draw anew at the event `trainyard:theme` of the document. */
export function themeButton() {
  const press = () => {
    localStorage.setItem(STORED, chosen() === "dark" ? "light" : "dark");
    apply();
  };
  return h("button", { type: "button", "aria-label": "Light or dark", title: "Light or dark", onclick: press }, "◐");
}

dark.addEventListener("change", apply);
apply();

/** The shell: which screen an address shows, the header, errors that belong to no control. */

import { Refused, get, isAway, service } from "./api.js";
import { askForKey } from "./access.js";
import { fill, h } from "./dom.js";
import { clearScreenKeys, everywhereKey } from "./keyboard.js";
import { showHelp } from "./help.js";
import { notice, toast } from "./notices.js";
import { startDrop } from "./drop.js";
import { themeButton } from "./theme.js";

/**
 * What a screen gets: `main` to fill, the parts of its address, the query, and a signal that is aborted when another
 * screen is shown. A screen's `show` returns when it is drawn.
 * @typedef {{ main: HTMLElement, params: Record<string, string>, query: URLSearchParams, signal: AbortSignal }} Place
 */

/** Addresses and the modules that show them. */
const SCREENS = [
  { pattern: /^\/console\/?$/, nav: "models", title: "Models", load: () => import("./screens/models.js") },
  { pattern: /^\/console\/models\/(?<name>[^/]+)$/, nav: "models", title: "Model", load: () => import("./screens/model.js") },
  { pattern: /^\/console\/data\/?$/, nav: "data", title: "Data", load: () => import("./screens/datasets.js") },
  { pattern: /^\/console\/data\/(?<name>[^/]+)$/, nav: "data", title: "Data", load: () => import("./screens/data.js") },
  { pattern: /^\/console\/compare$/, nav: "models", title: "Compare", load: () => import("./screens/compare.js") },
  { pattern: /^\/console\/jobs$/, nav: "jobs", title: "Jobs", load: () => import("./screens/jobs.js") },
];

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
let leaving = new AbortController();

/** Show the screen of the present address. */
async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving, path = location.pathname;
  clearScreenKeys();
  const screen = SCREENS.find(({ pattern }) => pattern.test(path));
  for (const link of document.querySelectorAll("header nav a")) link.toggleAttribute("aria-current", link.getAttribute("data-screen") === screen?.nav);
  document.querySelector("header nav a[aria-current]")?.setAttribute("aria-current", "page");
  fill(document.getElementById("notices") ?? main);
  if (!screen) return fill(main, h("h1", null, "There is nothing here"), h("p", null, h("a", { href: "/console/" }, "All models")));
  const found = screen.pattern.exec(path)?.groups ?? {};
  const params = Object.fromEntries(Object.entries(found).map(([name, value]) => [name, decodeURIComponent(value)]));
  document.title = `${params.name ?? screen.title} · Trainyard`;
  try {
    const module = await screen.load();
    if (!signal.aborted) await module.show({ main, params, query: new URLSearchParams(location.search), signal });
  } catch (error) {
    if (signal.aborted) return;
    notice(error, () => void show());
    if (error instanceof Refused && error.status === 404) fill(main, h("h1", null, "Not found"), h("p", null, error.message), h("p", null, h("a", { href: "/console/" }, "All models")));
  }
}

/** Show another address. @param {string} address */
export function go(address) {
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  scrollTo(0, 0);
  void show();
}

/** Change the query of the present address without showing the screen anew. @param {Record<string, string | null>} changes */
export function setQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) value === null || value === "" ? query.delete(name) : query.set(name, value);
  const text = query.toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.origin !== location.origin || !link.pathname.startsWith("/console") || link.target || link.download || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
addEventListener("popstate", () => void show());
addEventListener("unhandledrejection", ({ reason }) => reason?.name === "AbortError" || notice(reason));
document.addEventListener("trainyard:copied", () => toast("Copied"));
document.addEventListener("trainyard:go", (event) => go(/** @type {CustomEvent} */ (event).detail));

const state = h("span", { role: "status" });

async function lookAtService() {
  try {
    const ready = await get("/health/ready", { quiet: true });
    const ok = ready.trainer === "ok";
    fill(state, h("i", { class: ok ? "dot" : "dot absent" }), ok ? "trainer ready" : "no trainer: jobs wait");
    state.title = `database ${ready.database}, storage ${ready.storage}, trainer ${ready.trainer}`;
  } catch {
    fill(state, h("i", { class: "dot down" }), isAway() ? "no service: trying again" : "service not ready");
  }
  setTimeout(lookAtService, isAway() ? 1000 : 15_000);
}

service.addEventListener("down", () => document.body.classList.add("away"));
service.addEventListener("up", () => document.body.classList.remove("away"));
service.addEventListener("key", (event) => askForKey(/** @type {CustomEvent} */ (event).detail, () => void show()));

everywhereKey("g m", "All models", () => go("/console/"));
everywhereKey("g d", "All data", () => go("/console/data"));
everywhereKey("g j", "Jobs", () => go("/console/jobs"));
everywhereKey("?", "Show all keys", showHelp);
fill(/** @type {Element} */ (document.getElementById("end")), h("button", { type: "button", onclick: showHelp }, "Keys ", h("kbd", null, "?")), state, themeButton());
startDrop();
void lookAtService();
void show();

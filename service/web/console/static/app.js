/** The shell: which screen an address shows, the header, and errors that belong to no control. */

import { keyButton, startAccess } from "./access.js";
import { followLink, go, hidePanels, setQuery } from "./address.js";
import { Refused, get, isAway, service } from "./api.js";
import { toggleCalls } from "./calls.js";
import { fill, h } from "./dom.js";
import { chooseFile, startDrop } from "./drop.js";
import { showFinder } from "./find.js";
import { showHelp } from "./help.js";
import { clearScreenKeys, everywhereKey } from "./keyboard.js";
import { notice, toast } from "./notices.js";
import { themeButton } from "./theme.js";

export { go, setQuery };

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
const notices = /** @type {HTMLElement} */ (document.getElementById("notices"));
let leaving = new AbortController();

/**
 * Show the screen of the present address.
 * @param {{ focus?: boolean, scroll?: number }} [how]  whether to move the focus to the heading, and how far to scroll
 */
async function show({ focus = true, scroll = 0 } = {}) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving, [screen, params] = screenOf(location.pathname);
  clearScreenKeys();
  hidePanels();
  fill(notices);
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.getAttribute("data-screen") === screen?.nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${params.name ?? screen?.title ?? "Nothing here"} · Trainyard`;
  try {
    if (!screen) return nothing("There is nothing here", location.pathname);
    const module = await screen.load();
    if (!signal.aborted) await module.show({ main, params, query: new URLSearchParams(location.search), signal });
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Refused && error.status === 404) nothing("Not found", error.message);
    else notice(error, () => void show());
  }
  if (signal.aborted) return;
  scrollTo(0, scroll);
  if (focus) focusHeading();
}

/** @param {string} path @returns {[typeof SCREENS[number] | undefined, Record<string, string>]} */
function screenOf(path) {
  const screen = SCREENS.find(({ pattern }) => pattern.test(path));
  try {
    const found = Object.entries(screen?.pattern.exec(path)?.groups ?? {});
    return [screen, Object.fromEntries(found.map(([name, value]) => [name, decodeURIComponent(value)]))];
  } catch {
    return [undefined, {}];
  }
}

/** @param {string} title @param {string} words */
const nothing = (title, words) => fill(main, h("h1", null, title), h("p", null, words), h("p", null, h("a", { href: "/console/" }, "All models")));

/** A screen reader reads the heading of a new screen, and the keyboard goes on from it. */
function focusHeading() {
  const heading = main.querySelector("h1") ?? main;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

const state = h("span", { role: "status", class: "state" });
let looking = 0;

/** Ask whether the service and its trainer work: every quarter of a minute, and every second while it is away. */
async function lookAtService() {
  clearTimeout(looking);
  /** @type {[string, string]} */
  let [kind, words] = ["dot", "trainer ready"];
  try {
    const ready = await get("/health/ready", { quiet: true, again: false });
    if (ready.trainer !== "ok") [kind, words] = ["dot absent", "no trainer: jobs wait"];
    state.title = `database ${ready.database}, storage ${ready.storage}, trainer ${ready.trainer}`;
  } catch {
    [kind, words] = ["dot down", isAway() ? "no service: trying again" : "service not ready"];
  }
  if (state.textContent !== words) fill(state, h("i", { class: kind }), h("span", null, words));
  clearTimeout(looking);
  looking = setTimeout(lookAtService, isAway() ? 1000 : 15_000);
}

const away = h("div", { class: "notice soft", role: "alert" }, "The service does not answer. What you typed stays; trying again every second…");
service.addEventListener("down", () => (document.body.classList.add("away"), notices.before(away), void lookAtService()));
service.addEventListener("up", () => (document.body.classList.remove("away"), away.remove(), void lookAtService()));

history.scrollRestoration = "manual";
document.addEventListener("click", followLink);
addEventListener("popstate", ({ state: kept }) => void show({ scroll: kept?.scroll ?? 0 }));
addEventListener("unhandledrejection", (event) => {
  // What a screen had asked for when it was left, is no error.
  if (event.reason?.name === "AbortError") event.preventDefault();
  else notice(event.reason);
});
document.addEventListener("trainyard:show", () => void show());
document.addEventListener("trainyard:copied", () => toast("Copied"));
document.addEventListener("trainyard:uncopied", () => toast("The browser does not let this page copy: select the text, then Ctrl+C"));

everywhereKey("g m", "All models", () => go("/console/"));
everywhereKey("g d", "All data", () => go("/console/data"));
everywhereKey("g j", "Jobs", () => go("/console/jobs"));
everywhereKey("n", "New: choose a file", chooseFile);
everywhereKey("/", "Find a model or a dataset", showFinder);
everywhereKey("a", "The calls that this page has made", toggleCalls);
everywhereKey("?", "Show all keys", showHelp);

/** @param {string} label @param {string} keys @param {() => void} run */
const button = (label, keys, run) => h("button", { type: "button", class: "quiet", "aria-label": label, onclick: run }, h("span", null, label), " ", h("kbd", { "aria-hidden": "true" }, keys));

fill(/** @type {Element} */ (document.getElementById("end")), button("Find", "/", showFinder), button("Calls", "a", toggleCalls), button("Keys", "?", showHelp), state, keyButton(), themeButton());
startAccess();
startDrop();
void lookAtService();
void show({ focus: false });

/** The address of a page: what is shown is in it, so that a link or the button "back" shows the same again. */

/** What stays in the address on every screen: panels to hide, and the prefix of the names to list. */
const KEPT = ["hide", "prefix"];

/** Show another address. @param {string} address */
export function go(address) {
  const url = new URL(address, location.href), query = new URLSearchParams(location.search);
  for (const name of KEPT) if (query.has(name) && !url.searchParams.has(name)) url.searchParams.set(name, query.get(name) ?? "");
  const path = url.pathname + url.search + url.hash;
  if (path !== location.pathname + location.search + location.hash) {
    history.replaceState({ scroll: scrollY }, "");
    history.pushState(null, "", path);
  }
  document.dispatchEvent(new Event("trainyard:show"));
}

/** Change the query of the present address without showing the screen anew. @param {Record<string, string | null>} changes */
export function setQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) value === null || value === "" ? query.delete(name) : query.set(name, value);
  const text = query.toString();
  history.replaceState(history.state, "", location.pathname + (text ? `?${text}` : "") + location.hash);
}

const sheet = new CSSStyleSheet();
document.adoptedStyleSheets.push(sheet);

/** Hide the panels that `?hide=plan,versions` names: those with one of these names in `data-panel`. */
export function hidePanels() {
  const names = (new URLSearchParams(location.search).get("hide") ?? "").split(",").filter(Boolean);
  sheet.replaceSync(names.map((name) => `[data-panel~="${CSS.escape(name)}"] { display: none !important; }`).join("\n"));
}

/** Follow links between screens without loading the page anew. @param {MouseEvent} event */
export function followLink(event) {
  const link = /** @type {Element} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.origin !== location.origin || !/^\/console(\/|$)/.test(link.pathname) || link.target || link.download) return;
  if (link.hash && link.pathname + link.search === location.pathname + location.search) return;
  event.preventDefault();
  go(link.pathname + link.search + link.hash);
}

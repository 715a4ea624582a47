/** What a person has: a row a model, running ones first, kept up to date by one stream; without any, where to begin. */

import { go, setQuery } from "../address.js";
import { Refused, get, pages } from "../api.js";
import { beginning } from "../beginning.js";
import { fill, h } from "../dom.js";
import { chooseFile } from "../drop.js";
import { count } from "../format.js";
import { screenKey } from "../keyboard.js";
import { followJobs, newestEvent } from "../live_jobs.js";
import { ACTIVE, FIELDS, fillRow, modelRow } from "../model_row.js";
import { notice, toast } from "../notices.js";
import { scrollingTable } from "../panels.js";
import { sparks } from "../spark.js";
import { isLeaving, removeLater } from "../undo.js";

/** @typedef {import("../model_row.js").Model} Model */

const COLUMNS = ["(Compare)", "Model", "Held-out curve", "#Right", "#Log loss", "Served", "Training", "Age", "(Delete)"];
/** How many models can be compared. */
const COMPARED = 20;
/** Milliseconds between two drawings of a growing curve. */
const REDRAWN = 2000;

/** @param {import("../app.js").Place} place */
export async function show({ main, query, signal }) {
  const prefix = query.get("prefix"), curves = sparks(signal), last = await newestEvent(signal);
  /** @type {Map<string, { model: Model, row: HTMLElement, drawn: number }>} */
  const listed = new Map();
  /** @type {Set<string>} */
  const chosen = new Set();
  let filtered = false;
  const active = h("tbody"), rest = h("tbody"), counted = h("span", { class: "sub", role: "status" });
  const compare = h("button", { type: "button", disabled: true, onclick: compareChosen }, "Compare ", h("kbd", { "aria-hidden": "true" }, "x"));
  const find = h("input", { type: "text", id: "filter", "aria-label": "Only names with", placeholder: "Only names with…", value: query.get("find") ?? "", autocomplete: "off", spellcheck: false });
  find.addEventListener("input", () => (setQuery({ find: find.value }), filter()));

  /** @param {Model} model @param {boolean} [first]  before the others @returns {HTMLElement | null} a new row */
  function take(model, first = false) {
    const found = listed.get(model.name);
    if (isLeaving(pathOf(model))) return null;
    const row = found?.row ?? modelRow(model, false), body = model.job && ACTIVE.includes(model.job.state) ? active : rest;
    if (found) fillRow(row, model, chosen.has(model.name));
    listed.set(model.name, { model, row, drawn: found?.drawn ?? 0 });
    if (found && row.parentElement !== body) body.prepend(row);
    if (!found) first ? body.prepend(row) : body.append(row);
    const entry = listed.get(model.name), now = performance.now();
    if (entry && model.job && (!found || now - entry.drawn > REDRAWN || !ACTIVE.includes(model.job.state))) {
      entry.drawn = now;
      curves.draw(/** @type {Element} */ (row.querySelector(".curve-place")), model.job.id);
    }
    return row;
  }

  function filter() {
    const wanted = find.value.trim().toLowerCase();
    let shown = listed.size;
    if (wanted || filtered) for (const [name, { row }] of listed) shown -= Number((row.hidden = !name.includes(wanted)));
    filtered = wanted !== "";
    counted.textContent = filtered ? `${count(shown)} of ${count(listed.size)}` : count(shown);
  }

  function compareChosen() {
    if (chosen.size < 2) return void toast("Choose two or more models by their boxes");
    const runs = [...chosen].map((name) => (listed.get(name)?.model.default ? `${name}@${listed.get(name)?.model.default}` : name));
    go(`/console/compare?m=${runs.map(encodeURIComponent).join(",")}`);
  }

  /** @param {Event} event */
  function choose({ target }) {
    if (!(target instanceof HTMLInputElement)) return;
    const name = target.closest("tr")?.dataset.name ?? "";
    target.checked ? chosen.add(name) : chosen.delete(name);
    if (chosen.size > COMPARED) (chosen.delete(name), (target.checked = false), toast(`At most ${COMPARED} models can be compared`));
    compare.disabled = chosen.size < 2;
  }

  /** @param {MouseEvent} event */
  function press({ target }) {
    const row = /** @type {HTMLElement} */ (target).closest("button") && /** @type {HTMLElement} */ (target).closest("tr"), entry = listed.get(row?.dataset.name ?? "");
    if (!row || !entry) return;
    const { model } = entry, next = row.nextElementSibling, body = /** @type {Element} */ (row.parentElement);
    const hide = () => (row.remove(), listed.delete(model.name), chosen.delete(model.name), filter(), listed.size || empty());
    const back = () => (listed.set(model.name, entry), listed.size === 1 && full(), body.insertBefore(row, next?.parentElement === body ? next : null), filter());
    removeLater(`the model ${model.name}`, pathOf(model), { hide, back });
    /** @type {HTMLElement | null} */ (next?.querySelector("a") ?? main.querySelector("h1"))?.focus();
  }

  const title = () => h("div", { class: "title" }, h("h1", null, "Models"), counted,
    prefix && h("span", { class: "chip" }, `names with ${prefix}…  `, h("a", { href: "/console/?prefix=", "aria-label": "All names" }, "×")), h("span", { class: "grow" }), find, compare,
    h("button", { type: "button", class: "primary small", onclick: chooseFile }, "New: a file… ", h("kbd", { "aria-hidden": "true" }, "n")));
  const none = prefix && h("span", { class: "sub" }, `No name begins with ${prefix}. `, h("a", { href: "/console/?prefix=" }, "All names"));
  const empty = () => fill(main, h("div", { class: "title" }, h("h1", null, "Models"), none), beginning());
  const full = () => fill(main, title(),
    h("section", { class: "panel", "aria-label": "Models" }, scrollingTable("Models", { class: "models", onchange: choose, onclick: press }, COLUMNS, active, rest)));

  /** Show the first page at once, and the others as they come. */
  async function list(/** @type {() => void} */ first) {
    for await (const page of pages("/models", { query: { prefix, fields: FIELDS, limit: 1000 }, signal })) {
      page.forEach((/** @type {Model} */ model) => take(model));
      if (listed.size === page.length) (listed.size ? full() : empty(), first());
      filter();
    }
  }

  screenKey("x", "Compare the models that are chosen", compareChosen);
  await /** @type {Promise<void>} */ (new Promise((done, fail) => list(done).catch(listed.size ? notice : fail)));

  followJobs(last, signal, async (_, job) => {
    const found = job && listed.get(job.model);
    if (!job || (prefix && !job.model.startsWith(prefix))) return;
    const model = found && found.model.job?.id === job.id && ACTIVE.includes(job.state) ? { ...found.model, job: { ...job, members: job.members.length } } : await modelOf(job.model);
    if (!model) return;
    if (!listed.size) full();
    take(model, true);
    filter();
  }).catch(notice);

  /** @param {string} name @returns {Promise<Model | null>} */
  async function modelOf(name) {
    try {
      return await get(`/models/${encodeURIComponent(name)}`, { query: { fields: FIELDS }, signal, quiet: true });
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
  }
}

/** @param {Model} model */
const pathOf = ({ name }) => `/models/${encodeURIComponent(name)}`;

/** What the machine is doing: running jobs, the queue in order, and what has ended, kept up to date by one stream. */

import { get, pages, post } from "../api.js";
import { setQuery } from "../address.js";
import { fill, h } from "../dom.js";
import { FINAL } from "../events.js";
import { count } from "../format.js";
import { jobCells } from "../job_row.js";
import { followJobs, newestEvent } from "../live_jobs.js";
import { notice } from "../notices.js";
import { choice, panel, scrollingTable } from "../panels.js";
import { isLeaving, removeLater } from "../undo.js";

/** How many ended jobs are shown at first, and added by "more". */
const ENDED = 50;
const COLUMNS = ["Model", "Data", "State", "How good", "When", "(Actions)"];

/** By a time, the oldest first. @param {string} name */
const by = (name) => (/** @type {any} */ one, /** @type {any} */ other) => (one[name] ?? "").localeCompare(other[name] ?? "");
const oldest = by("created_at"), last = by("finished_at"), paused = (/** @type {any} */ { state }) => Number(state === "paused");

/** @type {Record<string, { title: string, empty: string, has: (job: any) => boolean, before: (one: any, other: any) => number }>} */
const SECTIONS = {
  running: { title: "Running", empty: "Nothing is training.", has: ({ state }) => state === "running", before: by("started_at") },
  waiting: { title: "Waiting", empty: "The queue is empty.", has: ({ state }) => state === "queued" || state === "paused", before: (one, other) => paused(one) - paused(other) || oldest(one, other) },
  ended: { title: "Ended", empty: "No job has ended.", has: ({ state }) => FINAL.includes(state), before: (one, other) => last(other, one) },
};

/** @param {import("../app.js").Place} place */
export async function show({ main, query, signal }) {
  const model = query.get("model");
  let wanted = query.get("state") ?? "";
  /** @type {Map<string, any>} */
  const jobs = new Map();
  /** @type {Map<string, HTMLElement>} */
  const rows = new Map();
  /** @type {string | null} The oldest job that is listed, behind which there are more. */
  let after = null;
  const newest = await newestEvent(signal);
  const bodies = Object.fromEntries(Object.keys(SECTIONS).map((name) => [name, h("tbody")]));
  const heads = Object.fromEntries(Object.keys(SECTIONS).map((name) => [name, h("span", { class: "hint" })]));
  const more = h("button", { type: "button", hidden: true, onclick: () => void listEnded().then(draw, notice) }, "More");

  const actions = {
    cancel: (/** @type {any} */ job) => act(job, "cancel"),
    pause: (/** @type {any} */ job) => act(job, "pause"),
    resume: (/** @type {any} */ job) => act(job, "resume"),
    remove: (/** @type {any} */ job) =>
      removeLater(`the job ${job.id} of ${job.model}`, `/jobs/${job.id}`, { hide: () => (jobs.delete(job.id), draw()), back: () => (jobs.set(job.id, job), draw()) }),
  };

  /** @param {any} job @param {string} action */
  async function act(job, action) {
    try {
      take(await post(`/jobs/${job.id}/${action}`));
    } catch (error) {
      notice(error);
    }
    draw();
  }

  const take = (/** @type {any} */ job) => void (isLeaving(`/jobs/${job.id}`) || (model && job.model !== model) || jobs.set(job.id, job));

  async function listEnded() {
    const page = await get("/jobs", { query: { model, after, limit: ENDED, state: FINAL.includes(wanted) ? wanted : null }, signal });
    page.data.forEach(take);
    after = page.has_more ? page.data.at(-1).id : null;
    more.hidden = after === null;
  }

  async function listActive() {
    await Promise.all(["running", "queued", "paused"].map(async (state) => {
      for await (const page of pages("/jobs", { query: { state, model }, signal })) page.forEach(take);
    }));
  }

  function draw() {
    for (const [name, { empty, has, before }] of Object.entries(SECTIONS)) {
      const own = [...jobs.values()].filter((job) => has(job) && (name !== "ended" || !FINAL.includes(wanted) || job.state === wanted)).sort(before);
      heads[name].textContent = count(own.length) + (name === "ended" && after ? " newest" : "");
      const drawn = own.map((job, index) => {
        const row = rows.get(job.id) ?? h("tr");
        rows.set(job.id, row);
        fill(row, jobCells(job, index + 1, actions));
        return row;
      });
      fill(bodies[name], drawn.length ? drawn : h("tr", null, h("td", { colSpan: COLUMNS.length, class: "sub" }, empty)));
    }
  }

  const choose = choice("Which ended jobs", [["", "all"], ...FINAL], wanted, async (state) => {
    wanted = state;
    setQuery({ state });
    for (const [id, job] of jobs) if (FINAL.includes(job.state)) jobs.delete(id);
    after = null;
    await listEnded().catch(notice);
    draw();
  });
  const sections = Object.entries(SECTIONS).map(([name, { title }]) => panel(title, name, [heads[name], ...(name === "ended" ? [h("span", { class: "grow" }), choose] : [])],
    scrollingTable(title, { class: "jobs" }, COLUMNS, bodies[name]),
    name === "ended" && h("div", { class: "row below" }, more)));
  await Promise.all([listActive(), listEnded()]);
  draw();
  const words = model ? ["of the model ", h("strong", null, model), " · ", h("a", { href: "/console/jobs" }, "all jobs")] : ["Jobs start in this order; a job that stops keeps its checkpoints."];
  fill(main, h("div", { class: "title" }, h("h1", null, "Jobs"), h("span", { class: "sub" }, words)), h("div", { class: "stack" }, sections));

  let frame = 0;
  const changed = (/** @type {string} */ id, /** @type {any} */ job) => {
    job ? take(job) : jobs.delete(id);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  };
  followJobs(newest, signal, changed).catch(notice);
  const ticking = setInterval(draw, 20_000);
  signal.addEventListener("abort", () => clearInterval(ticking));
}

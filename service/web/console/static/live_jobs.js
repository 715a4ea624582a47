/** Jobs as they change: one stream of events for all of them. */

import { Refused, get } from "./api.js";
import { events } from "./events.js";

/** Milliseconds between two looks at a job that trains. */
const LOOK = 300;

/** The id of the newest event: what is listed after this is asked, has all events up to it. @param {AbortSignal} signal */
export async function newestEvent(signal) {
  const { data } = await get("/events", { query: { limit: 1 }, signal, quiet: true });
  return String(data[0]?.id ?? 0);
}

/**
 * Call `changed` with the document of each job to which something happens after the event `lastId`; at most three times
 * a second for one job, and at once when its state changes. A job that was deleted is null.
 * @param {string} lastId @param {AbortSignal} signal @param {(id: string, job: any) => void} changed
 */
export async function followJobs(lastId, signal, changed) {
  /** Jobs with a look that is due or under way; `again` if more has happened since. @type {Map<string, { timer: number, busy: boolean, again: boolean }>} */
  const looks = new Map();
  const plan = (/** @type {string} */ id, /** @type {boolean} */ now) => {
    const found = looks.get(id);
    if (found?.busy) return void (found.again = true);
    if (found && !now) return;
    clearTimeout(found?.timer);
    looks.set(id, { timer: setTimeout(() => void look(id), now ? 0 : LOOK), busy: false, again: false });
  };
  const look = async (/** @type {string} */ id) => {
    const own = looks.get(id);
    if (!own || signal.aborted) return;
    own.busy = true;
    const job = await get(`/jobs/${id}`, { signal, quiet: true }).catch((error) => {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    });
    looks.delete(id);
    if (own.again) plan(id, false);
    changed(id, job);
  };
  for await (const { type, data } of events("/events", { signal, lastId, endless: true })) plan(data.job, type === "state");
}

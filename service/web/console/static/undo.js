/** Deleting without asking: for ten seconds it can be undone, and only then the service is told. */

import { Refused, remove } from "./api.js";
import { notice, toast } from "./notices.js";

const SECONDS = 10;

/** What waits to be deleted, by its path. @type {Map<string, () => void>} */
const waiting = new Map();

/** Whether something waits to be deleted, so that lists leave it out. @param {string} path */
export const isLeaving = (path) => waiting.has(path);

/**
 * Delete in ten seconds, or not at all. `hide` is called now, `back` if it is undone or refused.
 * @param {string} what  as in "model iris" @param {string} path @param {{ hide?: () => void, back?: () => void, query?: Record<string, any> }} [steps]
 */
export function removeLater(what, path, { hide, back, query } = {}) {
  if (waiting.has(path)) return;
  const undo = () => {
    clearTimeout(timer);
    waiting.delete(path);
    back?.();
  };
  // Until the service has answered, lists leave it out.
  const send = async (/** @type {boolean} */ keepalive) => {
    clearTimeout(timer);
    try {
      await remove(path, { query, keepalive, again: !keepalive });
      waiting.delete(path);
    } catch (error) {
      waiting.delete(path);
      if (error instanceof Refused && error.status === 404) return;
      notice(error);
      back?.();
    }
  };
  const timer = setTimeout(() => void send(false), 1000 * SECONDS);
  waiting.set(path, () => void send(true));
  hide?.();
  toast(`Deleted ${what}`, { label: "Undo", run: undo, seconds: SECONDS });
}

// Who leaves has not undone it.
addEventListener("pagehide", () => waiting.forEach((send) => send()));

/** Event streams by `fetch`, since `EventSource` sends no key. */

import { Refused, Unreachable, send } from "./api.js";

/** @typedef {{ id: string, type: string, data: any }} ServiceEvent */

/** States in which a job stays. */
export const FINAL = ["succeeded", "failed", "cancelled"];
/** Milliseconds after which a page that is not seen gives its connection back: a browser has six for a service. */
const UNSEEN = 10_000;

/**
 * Events of a stream, in order; after a lost connection it goes on behind the last one. Ends if the service ends the
 * stream after a final state, or when `signal` is aborted.
 * @param {string} path @param {{ signal: AbortSignal, lastId?: string, endless?: boolean }} options
 * @returns {AsyncGenerator<ServiceEvent, void>}
 */
export async function* events(path, { signal, lastId = "", endless = false }) {
  let pause = 250;
  while (!signal.aborted) {
    const connection = new AbortController(), stop = () => connection.abort(), watch = whileUnseen(stop);
    signal.addEventListener("abort", stop);
    try {
      const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
      const response = await send("GET", path, { headers, signal: connection.signal, quiet: true });
      for await (const { id, type, data } of parsed(response)) {
        pause = 250;
        if (id) lastId = id;
        if (!data) continue;
        const event = { id, type, data: JSON.parse(data) };
        yield event;
        if (!endless && type === "state" && FINAL.includes(event.data.state)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const lost = connection.signal.aborted || error instanceof TypeError || error instanceof Unreachable || (error instanceof Refused && error.status === 503);
      if (!lost) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      watch.end();
      connection.abort();
    }
    await seen(signal);
    await later(pause, signal);
    pause = Math.min(2 * pause, 5000);
  }
}

/** Call `stop` when the page has not been seen for a while. @param {() => void} stop */
function whileUnseen(stop) {
  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(stop, UNSEEN);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return { end: () => (clearTimeout(timer), document.removeEventListener("visibilitychange", look)) };
}

/** Wait until the page can be seen. @param {AbortSignal} signal */
const seen = (signal) =>
  new Promise((done) => {
    const look = () => (document.hidden && !signal.aborted) || (document.removeEventListener("visibilitychange", look), done(undefined));
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
    look();
  });

/** @param {number} milliseconds @param {AbortSignal} signal */
const later = (milliseconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), done(undefined)), { once: true });
  });

/** Events as the HTML standard's "Server-sent events" defines them; one without data has an id alone. @param {Response} response */
async function* parsed(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      /** @type {Record<string, string>} */
      const fields = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
      }
      yield { id: fields.id ?? "", type: fields.event ?? "message", data: fields.data ?? "" };
    }
  }
}

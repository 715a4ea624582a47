/** Event streams by `fetch`, since `EventSource` sends no key. */

import { Refused, Unreachable, send } from "./api.js";

/** @typedef {{ id: string, type: string, data: any }} ServiceEvent */

/**
 * Events of a stream, in order; after a lost connection it goes on behind the last one. Ends if the service ends the
 * stream after a final state, or when `signal` is aborted.
 * @param {string} path @param {{ signal: AbortSignal, lastId?: string, endless?: boolean }} options
 * @returns {AsyncGenerator<ServiceEvent, void>}
 */
export async function* events(path, { signal, lastId = "", endless = false }) {
  let pause = 250;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
      const response = await send("GET", path, { headers, signal, quiet: true });
      for await (const event of parsed(response)) {
        pause = 250;
        if (event.id) lastId = event.id;
        yield event;
        if (!endless && event.type === "state" && ["succeeded", "failed", "cancelled"].includes(event.data.state)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const lost = error instanceof TypeError || error instanceof Unreachable || (error instanceof Refused && error.status === 503);
      if (!lost) throw error;
    }
    await later(pause, signal);
    pause = Math.min(2 * pause, 5000);
  }
}

/** @param {number} milliseconds @param {AbortSignal} signal */
const later = (milliseconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), done(undefined)), { once: true });
  });

/** Events as the HTML standard's "Server-sent events" defines them. @param {Response} response */
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
      if (fields.data) yield { id: fields.id ?? "", type: fields.event ?? "message", data: JSON.parse(fields.data) };
    }
  }
}

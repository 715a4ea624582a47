/** Requests to the service. The console has no other way to it, and every call can be shown (`calls`). */

const KEY = "trainyard.key";

/** A refusal: the problem document of the service, with the place of each fault. */
export class Refused extends Error {
  /** @param {number} status @param {any} problem @param {string} call */
  constructor(status, problem, call) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    [this.status, this.problem, this.call] = [status, problem, call];
    /** @type {string} */ this.code = problem.code ?? "";
    /** @type {{pointer: string, detail: string, row?: number, line?: number, column?: string}[]} */ this.errors = problem.errors ?? [];
    /** @type {string} */ this.requestId = problem.request_id ?? "";
  }
}

/** The service did not answer. */
export class Unreachable extends Error {}

/** Events `up`, `down`, `key` (one is needed) and `call` (a request was made; its detail is a `Call`). */
export const service = new EventTarget();
/** @typedef {{ method: string, path: string, body?: any, status: number, milliseconds: number }} Call */

export const key = {
  get: () => sessionStorage.getItem(KEY),
  /** @param {string | null} value */
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

let away = false;

/** @param {boolean} now */
function setAway(now) {
  if (now === away) return;
  away = now;
  service.dispatchEvent(new Event(now ? "down" : "up"));
}

/** Whether the service did not answer the last request. */
export const isAway = () => away;

/** @param {Record<string, any> | undefined} query */
export function withQuery(path, query) {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return pairs.length ? `${path}?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}` : path;
}

/**
 * @typedef {object} Options
 * @property {Record<string, any>} [query]
 * @property {any} [json]  a body that becomes JSON
 * @property {Blob} [file]  a body as it is
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [quiet]  a call of the page's own that `calls` need not show
 */

/**
 * Send a request; returns the response. Raises Refused, Unreachable, or AbortError if `signal` is aborted.
 * @param {string} method @param {string} path @param {Options} [options]
 */
export async function send(method, path, { query, json, file, headers, signal, quiet } = {}) {
  const target = withQuery(path, query), begin = performance.now(), secret = key.get();
  /** @type {Record<string, string>} */
  const fields = { Accept: "application/json", ...headers };
  if (json !== undefined) fields["Content-Type"] = "application/json";
  if (secret) fields.Authorization = `Bearer ${secret}`;
  let response;
  try {
    response = await fetch(target, { method, headers: fields, body: json === undefined ? file : JSON.stringify(json), signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    setAway(true);
    throw new Unreachable(`the service does not answer: ${method} ${target}`);
  }
  setAway(false);
  if (!quiet) {
    const detail = { method, path: target, body: json, status: response.status, milliseconds: performance.now() - begin };
    service.dispatchEvent(new CustomEvent("call", { detail }));
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) service.dispatchEvent(new CustomEvent("key", { detail: secret ? problem.detail : "" }));
  throw new Refused(response.status, problem, `${method} ${target}`);
}

/** @param {string} method */
const asking = (method) => async (/** @type {string} */ path, /** @type {Options} */ options = {}) => {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
};

export const get = asking("GET");
export const put = asking("PUT");
export const remove = asking("DELETE");

/** A POST. With `once`, the service does it once however often it is sent. @param {string} path @param {Options & {once?: boolean}} [options] */
export function post(path, { once, ...options } = {}) {
  const headers = once ? { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` } : {};
  return asking("POST")(path, { ...options, headers: { ...headers, ...options.headers } });
}

/**
 * All entries of a list, page by page, at most `most`.
 * @param {string} path @param {Options & {most?: number}} [options]
 */
export async function* pages(path, { query, most = Infinity, ...options } = {}) {
  let after;
  for (let seen = 0; seen < most; ) {
    const page = await get(path, { ...options, query: { limit: 100, ...query, after } });
    yield page.data;
    seen += page.data.length;
    if (!page.has_more || !page.data.length) return;
    after = page.after ?? page.data.at(-1).id ?? page.data.at(-1).name ?? page.data.at(-1).number;
  }
}

/** Start a download in the browser. @param {string} path @param {string} name @param {Options} [options] */
export async function download(path, name, options) {
  const content = await (await send("GET", path, options)).blob();
  const link = document.createElement("a");
  [link.href, link.download] = [URL.createObjectURL(content), name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

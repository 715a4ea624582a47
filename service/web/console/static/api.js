/**
 * Requests to the service. The console has no other way to it, and every call can be shown (`calls.js`). If a key is
 * needed, a request waits for one; if the service is away, what may safely be sent again waits until it is back. So
 * nothing that is typed is lost.
 */

const KEY = "trainyard.key";

/** A refusal: the problem document of the service, with the place of each fault. */
export class Refused extends Error {
  /** @param {number} status @param {any} problem @param {string} call */
  constructor(status, problem, call) {
    super(problem.detail ?? problem.title ?? `status ${status}`);
    this.status = status;
    this.call = call;
    /** @type {string} */ this.code = problem.code ?? "";
    /** @type {{pointer: string, detail: string, row?: number, line?: number, column?: string}[]} */ this.errors = problem.errors ?? [];
    /** @type {string} */ this.requestId = problem.request_id ?? "";
  }
}

/** The service did not answer. */
export class Unreachable extends Error {}

/** Events `up`, `down` and `call` (a request was made; its detail is a `Call`). */
export const service = new EventTarget();
/** @typedef {{ method: string, path: string, body?: any, file?: string, type?: string, status: number, milliseconds: number }} Call */

export const key = {
  get: () => sessionStorage.getItem(KEY),
  /** @param {string | null} value */
  set(value) {
    value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY);
    document.dispatchEvent(new Event("trainyard:key"));
  },
};

/** How a key is asked for; resolves to whether there is a new one. @type {{ ask: (problem: string) => Promise<boolean> }} */
export const access = { ask: async () => false };

/** Requests that compute an answer and store nothing. */
const PURE = ["/predict", "/evaluate"];

let away = false;

/** @param {boolean} now */
function setAway(now) {
  if (now === away) return;
  away = now;
  service.dispatchEvent(new Event(now ? "down" : "up"));
}

/** Whether the service did not answer the last request. */
export const isAway = () => away;

/** Wait until the service answers. @param {AbortSignal} [signal] */
const back = (signal) =>
  new Promise((done, fail) => {
    signal?.throwIfAborted();
    const stop = () => (service.removeEventListener("up", go), fail(signal?.reason));
    const go = () => (signal?.removeEventListener("abort", stop), done(undefined));
    service.addEventListener("up", go, { once: true });
    signal?.addEventListener("abort", stop, { once: true });
  });

/** @param {string} path @param {Record<string, any>} [query] */
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
 * @property {boolean} [again]  wait and send it again if the service does not answer; else `Unreachable` is raised
 * @property {boolean} [keepalive]  let it end after the page
 */

/**
 * Send a request; returns the response. Raises Refused, Unreachable, or AbortError if `signal` is aborted.
 * @param {string} method @param {string} path @param {Options} [options]
 * @returns {Promise<Response>}
 */
export async function send(method, path, options = {}) {
  const { signal, again = method === "GET" || PURE.includes(path) } = options;
  for (let left = 5; ; left -= 1) {
    const secret = key.get();
    try {
      const response = await attempt(method, path, options, secret);
      if (response.ok) return response;
      const problem = await response.json().catch(() => ({}));
      const renewed = response.status === 401 && (key.get() !== secret || (await access.ask(secret ? problem.detail : "")));
      if (!renewed) throw new Refused(response.status, problem, `${method} ${withQuery(path, options.query)}`);
    } catch (error) {
      // A connection that ends five times while the service is there, has another reason.
      if (!(error instanceof Unreachable && again && left)) throw error;
      await back(signal);
    }
  }
}

/** @param {string} method @param {string} path @param {Options} options @param {string | null} secret */
async function attempt(method, path, { query, json, file, headers, signal, quiet, keepalive }, secret) {
  const target = withQuery(path, query), begin = performance.now(), body = json === undefined ? file : JSON.stringify(json);
  /** @type {Record<string, string>} */
  const fields = { Accept: "application/json", ...headers };
  if (json !== undefined) fields["Content-Type"] = "application/json";
  if (secret) fields.Authorization = `Bearer ${secret}`;
  let response;
  try {
    response = await fetch(target, { method, headers: fields, body, signal, keepalive, cache: "no-store" });
    // So says what stands before the service if that is away.
    if ([502, 504].includes(response.status)) throw new TypeError(`status ${response.status}`);
  } catch (error) {
    if (signal?.aborted) throw error;
    setAway(true);
    throw new Unreachable(`The service does not answer: ${method} ${target}`);
  }
  setAway(false);
  if (!quiet) {
    const name = file && "name" in file ? String(file.name) : undefined;
    const milliseconds = performance.now() - begin, type = fields["Content-Type"];
    service.dispatchEvent(new CustomEvent("call", { detail: { method, path: target, body: json, file: name, type, status: response.status, milliseconds } }));
  }
  return response;
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
  /** @type {Record<string, string>} */
  const headers = once ? { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` } : {};
  return asking("POST")(path, { ...(once ? { again: true } : {}), ...options, headers: { ...headers, ...options.headers } });
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
    const last = page.data.at(-1);
    after = last.id ?? last.version ?? last.name;
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

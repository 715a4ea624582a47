/** Follows a job while it runs: its epochs, kept checkpoints and state; and what it has published when it has ended. */

import { Refused, Unreachable, get, service } from "./api.js";
import { events } from "./events.js";
import { checkpointsOf, definitionFacts, firstChosen, versionsOf } from "./model_facts.js";
import { ended } from "./model_state.js";
import { notice } from "./notices.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./run_history.js").RunHistory} RunHistory */

/** Seconds between two looks at a running job's progress. */
const LOOK = 1;
/** Epochs of a network that its curves are drawn of at first; those to come are all drawn. */
const POINTS = 2000;

/** Whether an error says that the service is away, or too busy: it is asked again. @param {unknown} error */
const passing = (error) => error instanceof Unreachable || (error instanceof Refused && (error.status === 503 || error.status === 429));

export class Follower {
  /** @type {string[]} */ troubles = [];
  /** @type {Promise<void> | null} */ #looking = null;
  #again = false;

  /** @param {ModelState} state @param {RunHistory} history @param {() => void} drawn  called if the history or `troubles` have changed @param {AbortSignal} signal */
  constructor(state, history, drawn, signal) {
    this.state = state;
    this.history = history;
    this.drawn = drawn;
    this.signal = signal;
  }

  /** Follow the state's job to its end. */
  async run() {
    const { job } = this.state.value,
      { signal } = this;
    if (!job) return;
    const timer = setInterval(() => void this.look(), 1000 * LOOK);
    const up = () => void this.look();
    service.addEventListener("up", up, { signal });
    signal.addEventListener("abort", () => clearInterval(timer));
    try {
      const { data, event } = await get(`/jobs/${job.id}/history`, { query: { points: POINTS }, signal, quiet: true });
      for (const epoch of data) this.history.add(epoch);
      this.drawn();
      // What has happened before the history was read, is not in the stream that goes on behind it.
      await this.look();
      if (ended(this.state.value.job)) return;
      for await (const each of events(`/jobs/${job.id}/events`, { signal, lastId: String(event) })) this.#take(each);
      await this.look();
    } catch (error) {
      if (!signal.aborted) notice(error, () => void this.run());
    } finally {
      clearInterval(timer);
      service.removeEventListener("up", up);
    }
  }

  /** @param {import("./events.js").ServiceEvent} event */
  #take({ type, data }) {
    if (type === "epoch") this.history.add(data);
    else if (type === "checkpoint" || type === "state") void this.look();
    else if (type === "log") this.troubles.push(data.message);
    this.drawn();
  }

  /** Look at the job, at most once at a time; what happens meanwhile is looked at afterwards. */
  look() {
    this.#again = true;
    this.#looking ??= this.#lookAgain().finally(() => (this.#looking = null));
    return this.#looking;
  }

  async #lookAgain() {
    try {
      while (this.#again && !this.signal.aborted) {
        this.#again = false;
        await this.#see();
      }
    } catch (error) {
      if (!this.signal.aborted && !passing(error)) notice(error);
    }
  }

  async #see() {
    const { state, signal } = this,
      { name, job: before, checkpoints: kept } = state.value;
    if (ended(before)) return;
    const job = await get(`/jobs/${before.id}`, { signal, quiet: true }),
      checkpoints = await checkpointsOf(name, job, signal);
    const same = checkpoints.length === kept.length && checkpoints.every(({ id, epoch }, index) => id === kept[index].id && epoch === kept[index].epoch);
    const changes = { job, ...(same ? {} : { checkpoints }) };
    if (!ended(job)) return this.#follow(changes);
    const [model, versions] = await Promise.all([get(`/models/${name}`, { signal, quiet: true }), versionsOf(name, signal)]);
    const made = job.version ? await get(`/models/${name}/versions/${job.version}`, { signal, quiet: true }) : null;
    const facts = made ? await definitionFacts(model, made, job, signal, state.value.row) : {};
    this.#follow({ ...changes, model, versions, ...facts });
  }

  // What was chosen by nobody moves on: from what is served to the best epoch so far, and from that to the version made.
  /** @param {Partial<import("./model_state.js").Value>} changes */
  #follow(changes) {
    const { state } = this,
      now = { ...state.value, ...changes },
      { chosen, job } = now;
    if (chosen?.kind === "best" && ended(job)) return state.set({ ...changes, chosen: firstChosen(now, new URLSearchParams()) });
    if (state.value.following && changes.checkpoints?.length) return state.set({ ...changes, chosen: { kind: "best" }, following: false });
    state.set(changes);
  }
}

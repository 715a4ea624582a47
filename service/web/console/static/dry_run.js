/** What a request to train would take, asked as somebody changes it: nothing is stored. */

import { Refused, post } from "./api.js";
import { clearFaults, showFaults } from "./faults.js";
import { settled } from "./dom.js";
import { pointerOf } from "./profile.js";

/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {{ answer: any, milliseconds: number }} Run */

/** Milliseconds without a change after which the service is asked. */
const SETTLED = 200;

/**
 * A function that asks after the last change; what is asked no more is aborted. `asking` is called before, and `show` gets
 * the answer, or what could not be placed at a control. Called with a refusal, it shows that one instead of asking.
 * @param {Plan} plan @param {HTMLElement} screen @param {AbortSignal} signal
 * @param {{ asking: () => void, show: (run: Run | null, refused: import("./faults.js").Fault[]) => void }} then
 */
export function askDryRun(plan, screen, signal, { asking: begins, show }) {
  let asking = new AbortController(), last = "";
  signal.addEventListener("abort", () => asking.abort(), { once: true });
  const refuse = (/** @type {Refused} */ error) => {
    const left = showFaults(screen, error.errors, pointerOf);
    show(null, error.errors.length ? left : [{ pointer: "", detail: error.message }]);
  };
  const ask = async () => {
    asking = new AbortController();
    const begin = performance.now(), mine = asking.signal;
    try {
      const answer = await post("/train", { json: { ...plan.body, dry_run: true }, signal: mine, quiet: true, again: true });
      if (mine.aborted) return;
      clearFaults(screen);
      show({ answer, milliseconds: performance.now() - begin }, []);
    } catch (error) {
      if (mine.aborted) return;
      if (!(error instanceof Refused)) throw error;
      refuse(error);
    }
  };
  const soon = settled(SETTLED, () => void (signal.aborted || ask()));
  return (/** @type {Refused | undefined} */ refusal = undefined) => {
    if (refusal) return refuse(refusal);
    const now = JSON.stringify(plan.body);
    if (now === last) return;
    const first = !last;
    last = now;
    asking.abort();
    clearFaults(screen);
    if (first || !plan.label) show(null, []);
    if (!plan.label) return;
    begins();
    soon();
  };
}

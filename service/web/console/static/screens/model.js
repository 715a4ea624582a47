/** The screen of a model: how it was trained, what it decides, where it is wrong, and what is kept of it. */

import { get } from "../api.js";
import { checkpointSlider } from "../checkpoints.js";
import { fill, h } from "../dom.js";
import { Follower } from "../follow.js";
import { tryPanel } from "../form.js";
import { keptPanel } from "../kept.js";
import { wrongPanel } from "../matrix.js";
import { definitionFacts, factsOf } from "../model_facts.js";
import { modelHeader } from "../model_header.js";
import { ModelState } from "../model_state.js";
import { notice } from "../notices.js";
import { regionsPanel } from "../regions.js";
import { RunHistory } from "../run_history.js";
import { stepButtons } from "../stepping.js";
import { trainingPanel } from "../training.js";

/**
 * Versions may have different definitions: what the panels know of columns and classes is of the one that answers.
 * @param {ModelState} state
 */
function followDefinition(state) {
  let known = state.value.definition;
  state.on("chosen", async ({ name, model, chosen, job, definition }) => {
    const number = chosen?.kind === "version" ? chosen.number : job?.version;
    if (definition !== known) known = definition;
    if (!number) return;
    try {
      const version = await get(`/models/${name}/versions/${number}`, { signal: state.signal, quiet: true });
      if (state.value.chosen !== chosen || JSON.stringify(version.definition) === JSON.stringify(known)) return;
      known = version.definition;
      state.set(await definitionFacts(model, version, job, state.signal, state.value.row));
    } catch (error) {
      if (!state.signal.aborted) notice(error);
    }
  });
}

/** @param {import("../app.js").Place} place */
export async function show({ main, params, query, signal }) {
  const state = new ModelState(await factsOf(params.name, query, signal), signal), history = new RunHistory();
  if (signal.aborted) return;
  const training = trainingPanel(state, history, checkpointSlider(state), query), { head, progress } = modelHeader(state, history);
  const follow = (/** @type {RunHistory} */ into) => {
    const follower = new Follower(state, into, () => (progress(), training.changed(follower.troubles)), signal);
    return follower.run();
  };
  // The epochs of the step before stay in sight until those of the next one are all there.
  const step = async (/** @type {any} */ job) => {
    const next = new RunHistory();
    state.set({ job });
    await follow(next);
    history.run = next.run;
    training.changed([]);
    const last = state.value.checkpoints.at(-1);
    if (last) state.set({ chosen: { kind: "checkpoint", id: last.id, epoch: last.epoch }, following: false });
  };
  followDefinition(state);
  if (query.has("step")) head.append(stepButtons(state, step));
  fill(main, head, h("div", { class: "grid model" }, training.panel, regionsPanel(state), h("div", { class: "stack" }, tryPanel(state), keptPanel(state)), wrongPanel(state)));
  void follow(history);
}

/** The slider over what a job has kept: all else on the page answers from the place that is chosen. */

import { setQuery } from "./address.js";
import { fill, h, newId, settled } from "./dom.js";
import { count } from "./format.js";
import { answering, ended } from "./model_state.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Value} Value */
/** @typedef {import("./model_state.js").Chosen} Chosen */
/** A place of the slider: what answers there, and its name. @typedef {{ chosen: Chosen, id: string, words: string }} Place */

/** Put what is chosen into the address. @param {Chosen | null} chosen @param {Value} value */
function keep(chosen, { job }) {
  if (chosen?.kind === "checkpoint") setQuery({ checkpoint: chosen.id, version: null });
  else if (chosen?.kind === "version" && chosen.number !== job?.version) setQuery({ checkpoint: null, version: String(chosen.number) });
  else setQuery({ checkpoint: null, version: null });
}

/** The places of the slider, by epoch: of two checkpoints at one epoch the published one. @param {Value} value @returns {Place[]} */
export function placesOf({ job, checkpoints, versions }) {
  const made = new Map(versions.map((/** @type {any} */ one) => [one.checkpoint, one.version])),
    best = job?.best?.epoch,
    several = job?.members.length > 0;
  /** @type {Map<number, any>} */ const byEpoch = new Map();
  for (const one of checkpoints) {
    const before = byEpoch.get(one.epoch);
    if (!before || !made.has(before.id)) byEpoch.set(one.epoch, one);
  }
  const places = [...byEpoch.values()].map(({ id, epoch }) => {
    const version = made.get(id),
      notes = [epoch === 0 && !several ? "before training" : "", epoch === best ? (ended(job) ? "best" : "best so far") : "", version ? `version ${version}` : ""]
        .filter(Boolean)
        .join(", ");
    const at = several ? `after ${count(epoch)} epochs` : `epoch ${count(epoch)}`;
    return { chosen: /** @type {Chosen} */ (version ? { kind: "version", number: version } : { kind: "checkpoint", id, epoch }), id, words: notes ? `${at} (${notes})` : at };
  });
  if (job && !ended(job)) places.push({ chosen: { kind: "best" }, id: "best", words: "best so far" });
  return places;
}

/** The place of what is chosen, -1 if it is not among them. @param {Place[]} places @param {Chosen | null} chosen */
const indexOf = (places, chosen) =>
  places.findIndex((place) =>
    chosen?.kind === "checkpoint"
      ? place.id === chosen.id
      : place.chosen.kind === chosen?.kind && (chosen?.kind === "best" || (chosen?.kind === "version" && place.chosen.kind === "version" && place.chosen.number === chosen.number)),
  );

/** @param {ModelState} state */
export function checkpointSlider(state) {
  const id = newId(),
    listId = newId();
  /** @type {Place[]} */ let places = [];
  const slider = h("input", { type: "range", id, min: 0, step: 1, oninput: () => move() });
  slider.setAttribute("list", listId);
  const list = h("datalist", { id: listId }),
    output = h("output", { for: id, class: "name" }),
    hint = h("p", { class: "hint" });
  const keepSoon = settled(200, () => state.signal.aborted || keep(state.value.chosen, state.value));

  const move = () => {
    const place = places[Number(slider.value)];
    if (place) state.set({ chosen: place.chosen, following: false });
  };

  const draw = () => {
    const { value } = state,
      before = places.length;
    places = placesOf(value);
    const at = indexOf(places, value.chosen);
    if (places.length !== before)
      fill(
        list,
        places.map((_, index) => h("option", { value: index })),
      );
    slider.max = String(Math.max(0, places.length - 1));
    slider.value = String(at < 0 ? places.length - 1 : at);
    slider.disabled = !places.length;
    const words = at >= 0 && value.wanted !== null ? places[at].words : answering(value);
    output.value = output.title = words;
    slider.setAttribute("aria-valuetext", words);
    const few = places.length < 3 && value.job && ended(value.job) ? " To move over the whole course, train with more kept checkpoints." : "";
    const how = value.job?.members.length ? ". Epochs are those of all networks." : ", or by a click in a curve. ← → move the cursor in a curve.";
    const none = value.job ? "Nothing is kept yet." : "No checkpoints are kept beside the versions.";
    hint.textContent = (places.length ? `Everything on this page answers from the checkpoint that is chosen here${how}` : none) + few;
  };
  state.on("chosen checkpoints versions job", draw);
  state.on("chosen", keepSoon);
  draw();
  return h("div", { class: "checkpoint", "data-panel": "checkpoints" }, h("div", { class: "setting" }, h("label", { for: id }, "Checkpoint"), slider, output), list, hint);
}

/** What will be trained: the plan's controls, its network, what it takes, what is worth knowing, and the button. */

import { Refused, post } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { clearFaults } from "./faults.js";
import { askDryRun } from "./dry_run.js";
import { go } from "./address.js";
import { screenKey } from "./keyboard.js";
import { notice } from "./notices.js";
import { notesOf } from "./plan_notes.js";
import { choiceSetting, hiddenSetting, numberSetting, otherSetting, shareSetting, textSetting } from "./plan_settings.js";
import { drawPlan, factsOf } from "./plan_facts.js";

/** @typedef {import("./plan_state.js").Plan} Plan */
/** @typedef {import("./plan_settings.js").Setting} Setting */

/** @typedef {[any, string]} Choice  a value of a member, undefined to leave it out, and its words */

/** @type {Choice[]} */
const PATIENCE = [[undefined, "never"], ...[5, 10, 20, 50].map((epochs) => /** @type {Choice} */ ([epochs, `${epochs} epochs without progress`]))];
/** @type {Choice[]} */
const EFFORTS = [[undefined, "default"], ["quick", "quick: fewer networks"], ["thorough", "thorough: more networks"]];
/** @type {Choice[]} */
const OPTIMIZERS = [[undefined, "adam, or the model's own"], ...["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "nadam", "lion"].map((name) => /** @type {Choice} */ ([name, name]))];
/** @type {Choice[]} */
const SCHEDULES = [[undefined, "constant"], ["polynomial", "polynomial"], ["cosine", "cosine"], ["one_cycle", "one cycle"], ["reduce_on_plateau", "reduce on plateau"]];
/** @type {Choice[]} */
const LOSSES = [[undefined, "cross-entropy"], ["focal", "focal"], ["categorical_crossentropy", "cross-entropy, stated"]];
/** @type {Choice[]} */
const WEIGHTS = [[undefined, "all the same"], ["balanced", "balanced: rare ones count more"]];
/** @type {Choice[]} */
const PUBLISHED = [["best", "publish the best epoch"], [true, "publish the last epoch"], [false, "publish nothing"]];

/** @param {Plan} plan @returns {Setting[]} */
const mainSettings = (plan) => [
  hiddenSetting(plan),
  shareSetting(plan),
  numberSetting(plan, "At most", "epochs", { unit: "epochs", of: "one", placeholder: () => (plan.at("model.hidden") || plan.at("model.layers") ? "100" : "as the rows need") }),
  choiceSetting(plan, "Stop early", "early_stopping.patience", PATIENCE, { of: "one" }),
  choiceSetting(plan, "Effort", "effort", EFFORTS, { of: "data" }),
];

/** @param {Plan} plan @returns {Setting[]} */
const furtherSettings = (plan) => [
  textSetting(plan, "Model", "model.name", (text) => text.trim() || undefined, String, { placeholder: () => plan.name }),
  choiceSetting(plan, "Optimizer", "optimizer.type", OPTIMIZERS, { of: "one", changes: (type) => ({ optimizer: type && { type } }) }),
  numberSetting(plan, "Learning rate", "optimizer.learning_rate", { of: "one", placeholder: "as the optimizer has it" }),
  choiceSetting(plan, "Schedule", "optimizer.schedule.type", SCHEDULES, { of: "one", changes: (type) => ({ "optimizer.schedule": type && { type } }) }),
  textSetting(plan, "Batch", "batch_size", (text) => (/^\d+$/.test(text.trim()) ? Number(text) : text.trim() || undefined), String, { of: "one", placeholder: "32 rows, or full" }),
  choiceSetting(plan, "Loss", "loss.type", LOSSES, { of: "one", changes: (type) => ({ loss: type && { type } }) }),
  numberSetting(plan, "Label smoothing", "loss.label_smoothing", { of: "one", placeholder: "0" }),
  choiceSetting(plan, "Class weights", "class_weights", WEIGHTS),
  numberSetting(plan, "Time limit", "max_seconds", { unit: "seconds", placeholder: "none" }),
  numberSetting(plan, "Seed", "seed", { placeholder: "0" }),
  otherSetting(plan),
];

/** What goes along with a change of one member: an optimizer or a loss has a type. @param {Plan} plan */
function completed(plan) {
  if ((plan.at("optimizer.learning_rate") ?? plan.at("optimizer.schedule")) !== undefined && plan.at("optimizer.type") === undefined) plan.change({ "optimizer.type": "adam" });
  if (plan.at("loss.label_smoothing") !== undefined && plan.at("loss.type") === undefined) plan.change({ "loss.type": "categorical_crossentropy" });
}

/** @param {Plan} plan @param {HTMLElement} screen  where faults of columns are shown @param {AbortSignal} signal */
export function planPanel(plan, screen, signal) {
  const id = newId(), chip = h("span", { class: "chip", hidden: true }), other = h("span", { class: "hint" });
  const drawing = h("div", null), facts = h("dl", { class: "facts" }), notes = h("ul", { class: "notes" });
  const main = mainSettings(plan), further = furtherSettings(plan), settings = [...main, ...further];
  const radio = (/** @type {"one" | "data" | "model"} */ kind, /** @type {any[]} */ ...words) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: `${id}-network`, value: kind, onchange: () => (plan.network = kind) }), h("span", null, words));
  const same = radio("model", h("b", null, "as the model is"), h("span", { class: "hint" }, " its newest definition"));
  const kinds = h("fieldset", { class: "choices" }, h("legend", null, "Networks"),
    radio("data", h("b", null, "chosen by the data"), h("span", { class: "hint" }, " several, checked on rows held out in turn: recommended")),
    radio("one", h("b", null, "one network"), h("span", { class: "hint" }, " of your own")),
    same);
  const publish = h("select", { "aria-label": "Publish", "data-pointer": "/publish", onchange: () => plan.change({ publish: JSON.parse(publish.value) }) },
    PUBLISHED.map(([value, words]) => h("option", { value: JSON.stringify(value) }, words)));
  const button = h("button", { type: "button", class: "primary", onclick: () => void train() }, "Train");
  const asked = askDryRun(plan, screen, signal, {
    asking: () => (fill(chip, "dry run …"), (chip.hidden = false)),
    show: (run, refused) => {
      fill(chip, run ? `dry run ${Math.round(run.milliseconds)} ms` : "");
      chip.hidden = !run;
      fill(drawing, drawPlan(plan, run?.answer));
      fill(facts, factsOf(plan, run?.answer));
      fill(notes, notesOf(plan, run?.answer, refused));
    },
  });
  const follow = () => {
    const kind = plan.network;
    completed(plan);
    for (const { element, follow: each, of } of settings) each(), (element.hidden = of !== undefined && of !== kind);
    for (const each of kinds.querySelectorAll("input")) each.checked = each.value === kind;
    same.hidden = kind !== "model";
    publish.hidden = kind !== "one";
    publish.value = JSON.stringify(plan.request.publish ?? true);
    button.disabled = !plan.label;
    button.title = plan.label ? "" : "Choose first what shall be predicted";
    other.textContent = kind === "one" ? "optimizer, schedule, batch, loss, weights of classes, seed" : "name of the model, weights of classes, seed";
    asked();
  };
  const train = async () => {
    if (!plan.label) return /** @type {HTMLElement | null} */ (screen.querySelector("select[data-pointer='/data/label']"))?.focus();
    if (button.disabled) return;
    button.disabled = true;
    clearFaults(screen);
    try {
      const job = await post("/train", { json: plan.body, once: true, signal });
      go(`/console/models/${encodeURIComponent(job.model)}?job=${job.id}`);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.errors.length) asked(error);
      else notice(error, () => void train());
    } finally {
      button.disabled = !plan.label;
    }
  };
  screenKey("Ctrl+Enter", "Train", () => void train());
  plan.on(follow);
  follow();
  return h("section", { class: "panel plan", "data-panel": "plan", "aria-labelledby": id },
    h("div", { class: "row" }, h("h2", { id }, "What will be trained"), h("span", { class: "grow" }), chip),
    drawing, kinds, h("div", null, main.map(({ element }) => element)),
    h("details", null, h("summary", { class: "hint" }, "Everything else: ", other), further.map(({ element }) => element)),
    facts, notes, h("div", { class: "row go" }, button, h("kbd", null, "Ctrl ⏎"), h("span", { class: "grow" }), publish));
}

/** The panel of what is kept: versions and the checkpoints of the job, served, published, downloaded and deleted here. */

import { go } from "./address.js";
import { aliasForm, aliasesOf, removeAlias, setAlias } from "./aliases.js";
import { fill, h } from "./dom.js";
import { age, bytes, count, number, percent } from "./format.js";
import { downloadCheckpoint, publish } from "./job_actions.js";
import { notice } from "./notices.js";
import { removeLater } from "./undo.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */
/** @typedef {import("./model_state.js").Chosen} Chosen */

/** Rows of a table before "all" is asked for. */
const FEW = 8;

/** What a version or checkpoint is judged by. @param {Record<string, number | null>} metrics */
const loss = (metrics) => metrics.validation_log_loss ?? metrics.validation_loss ?? metrics.loss;
const right = (/** @type {Record<string, number | null>} */ metrics) => metrics.validation_accuracy ?? metrics.accuracy;

/** @param {string} label @param {() => void} run @param {Record<string, any>} [more] */
const link = (label, run, more) => h("button", { type: "button", class: "link", onclick: run, ...more }, label);

/**
 * A table of which the first rows are shown, and all if that is asked for.
 * @param {string} label @param {string[]} heads
 */
function foldedTable(label, heads) {
  const id = `all-${label.toLowerCase()}`;
  let all = false,
    chosen = -1,
    rows = /** @type {(() => any)[]} */ ([]);
  const table = h("div", { class: "scroll", role: "group", tabIndex: 0, "aria-label": label });
  const draw = () => {
    const shown = rows.filter((_, index) => all || index < FEW || index === chosen),
      more = rows.length > shown.length;
    fill(
      table,
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            heads.map((name, index) => h("th", { scope: "col", class: index && name && index < 3 ? "num" : null }, name || h("span", { class: "hidden" }, "What to do"))),
          ),
        ),
        h(
          "tbody",
          null,
          shown.map((row) => row()),
        ),
      ),
      more && h("button", { type: "button", class: "link", id, onclick: () => ((all = true), draw()) }, `All ${count(rows.length)}`),
    );
  };
  /** @param {(() => any)[]} now @param {number} at  the row that is shown in any case */
  const show = (now, at) => {
    [rows, chosen, table.hidden] = [now, at, !now.length];
    draw();
  };
  return { table, show };
}

/** @param {ModelState} state */
export function keptPanel(state) {
  const versions = foldedTable("Versions", ["version", "log loss", "right", "names", ""]),
    checkpoints = foldedTable("Checkpoints", ["checkpoint", "log loss", "right", ""]);
  const { name } = state.value,
    none = h("p", { class: "hint" }, "Nothing is kept yet.");
  /** @type {Map<number, string[]>} */ let aliases = new Map();

  const choose = (/** @type {Chosen} */ chosen) => state.set({ chosen, following: false });
  const learn = async () => {
    try {
      aliases = await aliasesOf(name, state.signal);
      draw();
    } catch (error) {
      if (!state.signal.aborted) notice(error);
    }
  };

  const versionRow = (/** @type {any} */ one) => {
    const { chosen, model } = state.value,
      here = chosen?.kind === "version" && chosen.number === one.version,
      served = model.default === one.version;
    const chips = (aliases.get(one.version) ?? []).map((alias) =>
      h(
        "span",
        { class: "chip", title: alias },
        h("span", { class: "name" }, alias),
        " ",
        link("×", () => void removeAlias(state, alias, learn), { "aria-label": `Delete the name ${alias}` }),
      ),
    );
    return h(
      "tr",
      { class: here ? "label" : null },
      h(
        "td",
        null,
        link(`version ${one.version}`, () => choose({ kind: "version", number: one.version }), {
          id: `version-${one.version}`,
          "aria-pressed": String(here),
          title: one.job ? `made by ${one.job}, ${age(one.created_at)}` : `imported ${age(one.created_at)}`,
        }),
      ),
      h("td", { class: "num" }, number(loss(one.metrics), 3)),
      h("td", { class: "num" }, percent(right(one.metrics))),
      h(
        "td",
        null,
        h(
          "div",
          { class: "chips" },
          served
            ? h("span", { class: "chip good" }, "✓ served")
            : link("serve", () => void setAlias(state, "default", one.version, learn), { id: `serve-${one.version}`, "aria-label": `Serve version ${one.version} by default` }),
          chips,
        ),
      ),
      h(
        "td",
        null,
        link(".h5", () => void downloadCheckpoint(name, one.checkpoint, one.version), { id: `file-${one.version}`, "aria-label": `Download version ${one.version}` }),
      ),
    );
  };

  const checkpointRow = (/** @type {any} */ one, /** @type {Map<string, number>} */ made) => {
    const { chosen, job } = state.value,
      version = made.get(one.id),
      here = chosen?.kind === "checkpoint" && chosen.id === one.id;
    return h(
      "tr",
      { class: here ? "label" : null },
      h(
        "td",
        null,
        link(
          `${job?.members.length ? "after " : "epoch "}${count(one.epoch)}`,
          () => choose(version ? { kind: "version", number: version } : { kind: "checkpoint", id: one.id, epoch: one.epoch }),
          { id: one.id, "aria-pressed": String(here), title: `${one.id}, ${bytes(one.bytes)}, step ${count(one.step)}${one.fault ? `, ${one.fault}` : ""}` },
        ),
        one.fault && h("span", { class: "bad" }, ` ${one.fault}`),
      ),
      h("td", { class: "num" }, number(loss(one.metrics), 3)),
      h("td", { class: "num" }, percent(right(one.metrics))),
      h(
        "td",
        null,
        h(
          "div",
          { class: "chips" },
          version
            ? h("span", { class: "chip good" }, `version ${version}`)
            : link("publish", () => void publish(state, one), { id: `publish-${one.id}`, "aria-label": `Publish epoch ${one.epoch}` }),
          link(".h5", () => void downloadCheckpoint(name, one.id, one.id), { id: `file-${one.id}`, "aria-label": `Download epoch ${one.epoch}` }),
        ),
      ),
    );
  };

  const form = aliasForm(state, learn);
  const draw = () => {
    const { value } = state,
      made = new Map(value.versions.map((one) => [one.checkpoint, one.version]));
    const { chosen } = value,
      kept = [...value.checkpoints].reverse();
    versions.show(
      value.versions.map((one) => () => versionRow(one)),
      value.versions.findIndex(({ version }) => chosen?.kind === "version" && version === chosen.number),
    );
    checkpoints.show(
      kept.map((one) => () => checkpointRow(one, made)),
      kept.findIndex(({ id }) => chosen?.kind === "checkpoint" && id === chosen.id),
    );
    none.hidden = value.versions.length + value.checkpoints.length > 0;
    form.hidden = !value.versions.length;
  };
  const drop = () => removeLater(`model ${name}`, `/models/${name}`, { query: { force: true }, hide: () => go("/console/") });
  const panel = h(
    "section",
    { class: "panel kept", "data-panel": "versions", "aria-labelledby": "kept" },
    h("div", { class: "row" }, h("h2", { id: "kept", tabIndex: -1 }, "Kept"), h("span", { class: "grow" }), h("span", { class: "hint" }, "every file plain HDF5")),
    none,
    versions.table,
    form,
    checkpoints.table,
    h("div", { class: "row below" }, h("span", { class: "grow" }), h("button", { type: "button", class: "quiet", onclick: drop }, "Delete the model")),
  );
  state.on("versions checkpoints chosen model", draw);
  state.on("versions", () => void learn());
  draw();
  void learn();
  return panel;
}

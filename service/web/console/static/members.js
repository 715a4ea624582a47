/** The networks of a job that trains several, or the trials of a sweep: which curves to show, and how good each kind is. */

import { setQuery } from "./address.js";
import { fill, h } from "./dom.js";
import { number, percent } from "./format.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */

/** @param {any} member */
function memberName({ member, kind, fold, values, state, error }) {
  const what = values
    ? Object.entries(values)
        .map(([pointer, value]) => `${pointer.split("/").at(-1)} ${typeof value === "object" ? JSON.stringify(value) : value}`)
        .join(", ")
    : [kind, fold && `fold ${fold}`].filter(Boolean).join(", ");
  return `${member}: ${what || "network"}${error || state === "failed" ? " (failed)" : state === "running" ? " (running)" : state === "waiting" ? " (waits)" : ""}`;
}

/**
 * A select of the mean of all, the mean of a kind, or one of them; hidden for a job of one network.
 * @param {ModelState} state @param {URLSearchParams} query @param {() => void} changed
 */
export function memberChoice(state, query, changed) {
  let wanted = query.get("member") ?? "all";
  const choose = () => {
    wanted = element.value;
    setQuery({ member: wanted === "all" ? null : wanted });
    changed();
  };
  const element = h("select", { id: "member", "aria-label": "Networks whose curves are shown", onchange: choose });
  let drawn = "";

  const draw = () => {
    /** @type {any[]} */ const members = state.value.job?.members ?? [];
    const names = members.map(memberName),
      kinds = [...new Set(members.flatMap(({ kind }) => kind ?? []))],
      key = JSON.stringify(names);
    element.hidden = !members.length;
    if (key === drawn) return;
    drawn = key;
    const option = (/** @type {string} */ value, /** @type {string} */ text) => h("option", { value, selected: value === wanted }, text);
    fill(
      element,
      option("all", `mean of all ${members.length}`),
      kinds.length > 1 && kinds.map((kind) => option(`kind:${kind}`, `${kind}: mean of ${members.filter((member) => member.kind === kind).length}`)),
      h(
        "optgroup",
        { label: "One of them" },
        members.map(({ member }, index) => option(String(member), names[index])),
      ),
    );
    wanted = element.value;
  };

  /** The numbers of the members to show, null for a job of one network. @returns {number[] | null} */
  const chosen = () => {
    /** @type {any[]} */ const members = state.value.job?.members ?? [];
    if (!members.length) return null;
    return members.filter(({ member, kind }) => wanted === "all" || wanted === `kind:${kind}` || wanted === String(member)).map(({ member }) => member);
  };
  draw();
  return { element, draw, chosen };
}

/** What each kind of network reaches on rows that it did not train on, beside simpler answers. @param {any} job */
export function membersTable({ held_out: { kinds = [], to_beat = {}, accuracy, log_loss } }) {
  const row = (/** @type {string} */ name, /** @type {any} */ one, /** @type {string} */ share = "") =>
    one &&
    h(
      "tr",
      null,
      h("th", { scope: "row" }, name),
      h("td", { class: "num" }, share),
      h("td", { class: "num" }, percent(one.accuracy)),
      h("td", { class: "num" }, number(one.log_loss, 3)),
    );
  return h(
    "div",
    { class: "scroll", tabIndex: 0, role: "group", "aria-label": "Networks on rows held out" },
    h(
      "table",
      { class: "members" },
      h(
        "thead",
        null,
        h("tr", null, h("th", { scope: "col" }, "on rows held out"), ...["share", "right", "log loss"].map((name) => h("th", { class: "num", scope: "col" }, name))),
      ),
      h(
        "tbody",
        null,
        row("all together", { accuracy, log_loss }),
        kinds.map((/** @type {any} */ one) => row(one.kind, one, percent(one.weight, 0))),
        row("simpler: linear", to_beat.linear),
        row("simpler: the commonest class", to_beat.majority),
      ),
    ),
  );
}

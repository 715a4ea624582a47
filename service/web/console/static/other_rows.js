/** The choice of other labelled rows to judge a model on: a dataset that is there, or a file. */

import { pages, post } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { freeName, nameOf } from "./drop.js";
import { notice } from "./notices.js";

/** @param {(dataset: string) => void} choose @param {AbortSignal} signal */
export function otherRows(choose, signal) {
  const id = newId(), list = h("select", { id, onchange: () => list.value && choose(list.value) }), told = h("span", { class: "hint", role: "status" });
  const file = h("input", { type: "file", class: "hidden", id: `${id}-file`, onchange: () => file.files?.[0] && void upload(file.files[0]) });
  const upload = async (/** @type {File} */ given) => {
    told.textContent = `Uploading ${given.name} …`;
    try {
      const made = await post("/datasets", { query: { name: await freeName(nameOf(given.name)) }, file: given, headers: { "Content-Type": given.type || "application/octet-stream" }, signal });
      choose(made.name);
    } catch (error) {
      if (!signal.aborted) notice(error);
    }
    told.textContent = file.value = "";
  };
  const element = h("div", { class: "row other" }, h("label", { for: id }, "Dataset"), list, h("label", { class: "button", for: `${id}-file` }, "Upload a file…"), file, told);
  const show = async (/** @type {string} */ chosen) => {
    const found = [];
    for await (const page of pages("/datasets", { signal, quiet: true, most: 1000 })) found.push(...page);
    fill(list, h("option", { value: "" }, "choose…"), found.map(({ name }) => h("option", { value: name, selected: name === chosen }, name)));
    list.value = chosen;
  };
  return { element, show };
}

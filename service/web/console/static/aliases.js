/** Names for versions, as `production`: list, set, delete. */

import { Refused, get, put, remove } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { clearFaults, showFaults } from "./faults.js";
import { notice, toast } from "./notices.js";

/** @typedef {import("./model_state.js").ModelState} ModelState */

/** The names that every model has, which mean what they always mean. */
const BUILT_IN = ["default", "latest"];

/** The names of each version. @param {string} name @param {AbortSignal} signal @returns {Promise<Map<number, string[]>>} */
export async function aliasesOf(name, signal) {
  /** @type {Map<number, string[]>} */ const found = new Map();
  for (let after; ;) {
    const page = await get(`/models/${name}/aliases`, { query: { limit: 100, after }, signal, quiet: true });
    for (const { alias, version } of page.data) if (!BUILT_IN.includes(alias)) found.set(version, [...(found.get(version) ?? []), alias]);
    if (!page.has_more) return found;
    after = page.data.at(-1).alias;
  }
}

/**
 * Give a version a name; `default` means that it is served.
 * @param {ModelState} state @param {string} alias @param {number} version @param {() => Promise<void>} changed @param {Element} [form]  whose controls show faults
 */
export async function setAlias(state, alias, version, changed, form) {
  const { name } = state.value;
  try {
    await put(`/models/${name}/aliases/${encodeURIComponent(alias)}`, { json: { version } });
    toast(alias === "default" ? `Version ${version} is served` : `${alias} is version ${version}`);
    if (alias === "default") state.set({ model: await get(`/models/${name}`, { quiet: true }) });
    await changed();
    return true;
  } catch (error) {
    const faults = error instanceof Refused && form ? showFaults(form, error.errors.map((fault) => ({ ...fault, pointer: fault.pointer || "/alias" }))) : null;
    if (!faults || faults.length || !(/** @type {Refused} */ (error).errors.length)) notice(error);
    return false;
  }
}

/** Delete a name; it can be set again. @param {ModelState} state @param {string} alias @param {() => Promise<void>} changed */
export async function removeAlias(state, alias, changed) {
  const path = `/models/${state.value.name}/aliases/${encodeURIComponent(alias)}`;
  try {
    const { version } = await get(path, { quiet: true });
    await remove(path);
    await changed();
    toast(`Deleted the name ${alias}`, { label: "Undo", run: () => void setAlias(state, alias, version, changed), seconds: 10 });
  } catch (error) {
    notice(error);
  }
}

/** The form that names a version. @param {ModelState} state @param {() => Promise<void>} changed */
export function aliasForm(state, changed) {
  const id = newId(),
    alias = h("input", { type: "text", id: `${id}-name`, placeholder: "production", autocomplete: "off", spellcheck: false, required: true, "data-pointer": "/alias" }),
    version = h("select", { id: `${id}-version`, "data-pointer": "/version" });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    clearFaults(form);
    if (await setAlias(state, alias.value.trim(), Number(version.value), changed, form)) alias.value = "";
  };
  const draw = () => {
    const before = version.value;
    fill(
      version,
      state.value.versions.map((one) => h("option", { value: one.version }, `version ${one.version}`)),
    );
    if (before) version.value = before;
  };
  const form = h(
    "form",
    { class: "row alias", onsubmit: submit },
    h("label", { for: `${id}-name` }, "Name"),
    h("span", { "data-faults": "" }, alias),
    h("label", { class: "hidden", for: `${id}-version` }, "Version to name"),
    version,
    h("button", { type: "submit" }, "Set"),
  );
  state.on("versions", draw);
  draw();
  return form;
}

/** A file dropped anywhere, or chosen: a table becomes a dataset, a checkpoint a version. */

import { go } from "./address.js";
import { pages, post } from "./api.js";
import { dialog } from "./dialogs.js";
import { h } from "./dom.js";
import { bytes } from "./format.js";
import { notice, toast } from "./notices.js";

/** Endings of the files that the service reads. */
const ENDINGS = ".csv,.tsv,.txt,.json,.ndjson,.jsonl,.parquet,.h5,.gz,.zst";

/** A name that the service takes, made of a file's. @param {string} file */
export function nameOf(file) {
  const short = file.replace(/(\.(csv|tsv|txt|json|ndjson|jsonl|parquet|h5|gz|zst))+$/i, "").toLowerCase();
  return short.replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 63) || "data";
}

/** The name, or with a number behind it if a dataset has it. @param {string} name */
export async function freeName(name) {
  const short = name.slice(0, 58), taken = new Set(await namesOf("/datasets", short));
  if (!taken.has(name)) return name;
  for (let number = 2; ; number += 1) if (!taken.has(`${short}-${number}`)) return `${short}-${number}`;
}

/** All names of a list. @param {"/models" | "/datasets"} path @param {string} [prefix] */
async function namesOf(path, prefix) {
  /** @type {string[]} */
  const names = [];
  for await (const page of pages(path, { query: { fields: path === "/models" ? "name" : "id,name", prefix }, quiet: true })) {
    names.push(...page.map((/** @type {any} */ { name }) => name));
  }
  return names;
}

/** Make a checkpoint the next version of the model whose page is shown, or whose name the file has. @param {File} file */
async function importCheckpoint(file) {
  const shown = /^\/console\/models\/([^/]+)/.exec(location.pathname)?.[1], names = shown ? [] : await namesOf("/models");
  const named = names.filter((name) => nameOf(file.name).startsWith(name)).sort((one, other) => other.length - one.length)[0];
  const model = shown ? decodeURIComponent(shown) : (named ?? (await askForModel(file, names)));
  if (!model) return;
  const version = await post(`/models/${encodeURIComponent(model)}/checkpoints`, { file, headers: { "Content-Type": "application/x-hdf5" } });
  toast(`${file.name} is version ${version.version} of ${model}`);
  go(`/console/models/${encodeURIComponent(model)}?version=${version.version}`);
}

/** @param {File} file @param {string[]} names @returns {Promise<string | null>} */
function askForModel(file, names) {
  if (!names.length) throw new Error(`${file.name} is a checkpoint: it becomes a version of a model with the same network, and there is no model yet`);
  const select = h("select", { id: "import-into" }, names.map((name) => h("option", null, name)));
  return dialog(`Whose checkpoint is ${file.name}?`, (close) => [
    h("p", { class: "sub" }, "It becomes the next version of a model with the same network."),
    h("p", { class: "row" }, h("label", { for: "import-into" }, "Model"), select, h("button", { type: "button", class: "primary", onclick: () => close(select.value) }, "Import"))]);
}

/** Upload a file and show what came of it. @param {File} file */
export async function upload(file) {
  const told = toast(`Reading ${file.name}, ${bytes(file.size)}…`, { seconds: 600 });
  try {
    if (/\.h5$/i.test(file.name)) return await importCheckpoint(file);
    // Its content says what it is, not its name or the type that a browser gives it.
    const dataset = await post("/datasets", { query: { name: await freeName(nameOf(file.name)) }, file, headers: { "Content-Type": "application/octet-stream" }, once: true });
    go(`/console/data/${dataset.name}`);
  } catch (error) {
    notice(error, () => void upload(file));
  } finally {
    told.remove();
  }
}

/** The input of files that all buttons and keys open. */
const chooser = h("input", { type: "file", id: "file", hidden: true, accept: ENDINGS, onchange: () => (uploadAll(chooser.files), (chooser.value = "")) });

/** Let a person choose a file, which is then uploaded. */
export const chooseFile = () => chooser.click();

/** @param {FileList | null | undefined} files */
function uploadAll(files) {
  if (files && files.length > 1) toast("One file at a time: the first one is uploaded");
  if (files?.[0]) void upload(files[0]);
}

/** Take files that are dropped anywhere on the page. */
export function startDrop() {
  document.body.append(chooser);
  const over = (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
  };
  for (const name of ["dragover", "dragleave"]) addEventListener(name, /** @type {any} */ (over));
  addEventListener("drop", (event) => {
    over(event);
    document.body.classList.remove("dropping");
    uploadAll(event.dataTransfer?.files);
  });
}

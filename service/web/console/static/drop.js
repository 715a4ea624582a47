/** A file dropped anywhere, or chosen: a table becomes a dataset, a checkpoint a version. */

import { go } from "./app.js";
import { post } from "./api.js";
import { notice, toast } from "./notices.js";

/** A name that the service takes, made of a file's. @param {string} file */
export const nameOf = (file) => file.replace(/(\.(csv|tsv|txt|json|ndjson|jsonl|parquet|h5|gz|zst))+$/i, "").toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 63) || "data";

/** Upload a file and show what came of it. @param {File} file */
export async function upload(file) {
  try {
    if (/\.h5$/i.test(file.name)) {
      const model = nameOf(file.name);
      await post(`/models/${model}/checkpoints`, { file });
      return go(`/console/models/${model}`);
    }
    const dataset = await post("/datasets", { query: { name: nameOf(file.name) }, file, headers: { "Content-Type": file.type || "application/octet-stream" }, once: true });
    go(`/console/data/${dataset.name}`);
  } catch (error) {
    notice(error, () => void upload(file));
  }
}

/** Take files that are dropped anywhere on the page. */
export function startDrop() {
  const over = (/** @type {DragEvent} */ event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
  };
  for (const name of ["dragover", "dragleave"]) addEventListener(name, /** @type {any} */ (over));
  addEventListener("drop", (event) => {
    over(event);
    document.body.classList.remove("dropping");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 1) toast("One file at a time: the first one is uploaded");
    if (files[0]) void upload(files[0]);
  });
}

/** Where to begin if there is no model: a file, a sample, or the command line. */

import { get } from "./api.js";
import { commandOf } from "./calls.js";
import { address, commandPanel, curl, shell } from "./commands.js";
import { fill, h } from "./dom.js";
import { chooseFile } from "./drop.js";
import { count } from "./format.js";
import { SAMPLES, trainSample } from "./samples.js";

/** A panel to drop a file on, samples that train in one click, and commands for those who prefer them. */
export function beginning() {
  const { panel, show } = commandPanel("The same as a command", ["Trainyard", "curl"], "For a file of yours, from its folder.");
  const server = location.port === "8000" && ["127.0.0.1", "localhost"].includes(location.hostname) ? "" : ` --url ${shell(address())}`;
  show({
    Trainyard: `trainyard${server} train iris.csv --label species`,
    curl: `${commandOf({ method: "POST", path: "/datasets?name=iris&label=species", file: "iris.csv", type: "text/csv", status: 0, milliseconds: 0 })}\n${curl("POST", "/train", { data: "iris" })}`,
  });
  const known = h("p", { class: "sub" });
  void get("/datasets", { query: { limit: 100 }, quiet: true }).then(({ data, has_more: more }) => {
    const words = `${count(data.length)}${more ? " or more" : ""} ${data.length === 1 ? "dataset is" : "datasets are"} here already`;
    if (data.length) fill(known, h("a", { href: "/console/data" }, words), ": train on one of them.");
  });
  const sample = (/** @type {import("./samples.js").Sample} */ one) =>
    h("li", null, h("button", { type: "button", onclick: (/** @type {Event} */ event) => void once(event, one) }, `Train ${one.name}`), " ", h("span", { class: "sub" }, one.about));
  return h("div", { class: "stack" },
    h("section", { class: "panel beginning", "aria-label": "Begin" },
      h("p", { class: "big" }, "Drop a table anywhere on this page."),
      h("p", { class: "sub" }, "CSV, Parquet or JSON: it is read, and you see what is in it before anything is trained."),
      h("p", null, h("button", { type: "button", class: "primary", onclick: chooseFile }, "Choose a file… ", h("kbd", { "aria-hidden": "true" }, "n"))), known),
    h("section", { class: "panel", "aria-labelledby": "samples", "data-panel": "samples" },
      h("div", { class: "row" }, h("h2", { id: "samples" }, "Or begin with a sample"), h("span", { class: "hint" }, "one click uploads it and trains a network")),
      h("ul", { class: "samples" }, SAMPLES.map(sample))),
    panel);
}

/** @param {Event} event @param {import("./samples.js").Sample} sample */
async function once({ currentTarget }, sample) {
  const button = /** @type {HTMLButtonElement} */ (currentTarget);
  button.disabled = true;
  await trainSample(sample);
  button.disabled = false;
}

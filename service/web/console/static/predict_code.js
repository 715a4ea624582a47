/** The form's question as a program: curl, Python, JavaScript, and the command line. */

import { key } from "./api.js";
import { address, curl, python, shell } from "./commands.js";
import { listOf } from "./questions.js";

/** @typedef {import("./model_state.js").Value} Value */

export const LANGUAGES = ["curl", "Python", "JavaScript", "CLI"];

/** The request as somebody writes it: by names, and without the version that answers anyway. @param {Value} value */
export function request({ name, model, wanted, columns, named, row }) {
  const version = wanted === null || wanted === model?.default ? {} : { version: wanted };
  if (!named) return { model: name, inputs: [listOf(columns, row)], ...version };
  const given = columns.map((column) => [column.name, row[column.name] ?? null]).filter(([, one]) => one !== null);
  return { model: name, rows: [Object.fromEntries(given)], ...version };
}

/** @param {Value} value */
export function programs(value) {
  const json = request(value), place = `${address()}/predict`, secret = key.get() !== null;
  const secretOf = (/** @type {string} */ words) => (secret ? words : "");
  return {
    curl: curl("POST", "/predict", json),
    Python: [
      `import json${secretOf(", os")}, urllib.request`, "",
      `question = ${python(json)}`,
      `headers = {"Content-Type": "application/json"${secretOf(', "Authorization": "Bearer " + os.environ["TRAINYARD_KEY"]')}}`,
      `request = urllib.request.Request(${python(place)}, json.dumps(question).encode(), headers)`,
      "answer = json.load(urllib.request.urlopen(request))",
      'print(answer["predictions"], answer["probabilities"])',
    ].join("\n"),
    JavaScript: [
      `const question = ${JSON.stringify(json)};`,
      `const headers = {"Content-Type": "application/json"${secretOf(", Authorization: `Bearer ${process.env.TRAINYARD_KEY}`")}};`,
      `const response = await fetch(${JSON.stringify(place)}, {method: "POST", headers, body: JSON.stringify(question)});`,
      "const answer = await response.json();",
      "console.log(answer.predictions, answer.probabilities);",
    ].join("\n"),
    CLI: command(value, json),
  };
}

/** A value as the command reads it: what would be read as JSON stands in quotes. @param {any} value */
function written(value) {
  if (typeof value !== "string") return String(value);
  try {
    JSON.parse(value);
  } catch {
    return value;
  }
  return JSON.stringify(value);
}

/** @param {Value} value @param {ReturnType<typeof request>} json */
function command({ name, columns, named, row }, json) {
  const given = columns.filter((column) => (row[column.name] ?? null) !== null);
  if (!named) return "# The command takes values by column, and the columns of this model have no names.";
  if (typeof json.version === "object") return "# The command asks published versions and kept checkpoints: choose one.";
  if (!given.length || given.some((column) => column.name.includes("="))) return "# The command cannot write this row.";
  const version = json.version === undefined ? [] : ["--version", String(json.version)];
  const words = ["trainyard", "--url", address(), "predict", name, ...version, ...(given.some((column) => column.name.startsWith("-")) ? ["--"] : [])];
  return [...words, ...given.map((column) => `${column.name}=${written(row[column.name])}`)].map(shell).join(" ");
}

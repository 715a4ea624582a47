// Asks with the fetch that Node has: raw tensors both ways, JSON, and TensorFlow Serving's form. Prints what it gets.
const base = process.argv[2];
const rows = new Float32Array([-1, 0.25, 1, 0.75]);

async function binary() {
  const head = JSON.stringify({
    inputs: [{name: "inputs", shape: [2, 2], datatype: "FP32", parameters: {binary_data_size: rows.byteLength}}],
    outputs: [{name: "probabilities", parameters: {binary_data: true}}],
  });
  const answer = await fetch(`${base}/v2/models/tour/infer`, {
    method: "POST",
    headers: {"inference-header-content-length": String(Buffer.byteLength(head))},
    body: Buffer.concat([Buffer.from(head), Buffer.from(rows.buffer)]),
  });
  const body = await answer.arrayBuffer();
  const length = Number(answer.headers.get("inference-header-content-length"));
  const {outputs: [output]} = JSON.parse(new TextDecoder().decode(body.slice(0, length)));
  return {shape: output.shape, data: [...new Float32Array(body.slice(length))]};
}

async function json(path, document) {
  const headers = {"content-type": "application/json"};
  const answer = await fetch(base + path, {method: "POST", headers, body: JSON.stringify(document)});
  return answer.json();
}

console.log(JSON.stringify({
  binary: await binary(),
  json: await json("/v2/models/tour/infer", {
    inputs: [{name: "inputs", shape: [2, 2], datatype: "FP32", data: [...rows]}],
  }),
  instances: await json("/v1/models/tour:predict", {instances: [[-1, 0.25], [1, 0.75]]}),
}));

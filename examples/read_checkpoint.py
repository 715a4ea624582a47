"""Show the content of a checkpoint and predict with it, using only h5py and NumPy."""

import json
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "r") as file:
    print(f"{file.attrs['format']} {file.attrs['format_version']}, made {file.attrs['created_at']}")
    file.visititems(
        lambda name, item: print(f"  /{name} {item.dtype} {item.shape}") if hasattr(item, "shape") else None
    )
    losses = file["history/loss"][()]
    print(f"loss: {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last")
    definition = json.loads(file.attrs["definition"])
    classes = json.loads(file.attrs["classes"])
    parameters = {name: {key: array[()] for key, array in group.items()} for name, group in file["parameters"].items()}

x = np.full((1, definition["inputs"]), 0.1, definition["dtype"])
for index, layer in enumerate(definition["layers"]):
    if layer["type"] == "dense":
        values = parameters[f"{index}_dense"]
        x = x @ values["weights"] + values["bias"]
    elif layer["type"] == "relu":
        x = np.maximum(x, 0)
    elif layer["type"] == "softmax":
        x = np.exp(x - x.max())
        x /= x.sum()
print("a row of 0.1:", {label: round(float(p), 4) for label, p in zip(classes, x[0], strict=True)})

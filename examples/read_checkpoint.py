"""Show the content of a checkpoint and predict with it, using only h5py and NumPy."""

import json
import sys

import h5py
import numpy as np


def arrays_of(group):
    """The arrays below a group by name."""
    arrays = {}
    group.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return arrays


def served(group, member):
    """The parameters that a network predicts with: those of a member's best epoch, a moving average, or the present."""
    if member and "best" in group and group["best"].attrs["epoch"]:
        return arrays_of(group["best/parameters"])
    return arrays_of(group["optimizer/average"] if "average" in group["optimizer"] else group["parameters"])


def predict(layers, arrays, x):
    """Probabilities (rows, classes) of a network for x (rows, inputs)."""
    for index, layer in enumerate(layers):
        if layer["type"] == "dense":
            x = x @ arrays[f"{index}_dense/weights"] + arrays[f"{index}_dense/bias"]
        elif layer["type"] == "relu":
            x = np.maximum(x, 0)
        elif layer["type"] == "silu":
            x = x / (1 + np.exp(-x))
        elif layer["type"] == "softmax":
            x = np.exp(x - x.max(axis=1, keepdims=True))
            x /= x.sum(axis=1, keepdims=True)
    return x


with h5py.File(sys.argv[1], "r") as file:
    print(f"{file.attrs['format']} {file.attrs['format_version']}, made {file.attrs['created_at']}")
    file.visititems(
        lambda name, item: print(f"  /{name} {item.dtype} {item.shape}") if hasattr(item, "shape") else None
    )
    definition = json.loads(file.attrs["definition"])
    classes = json.loads(file.attrs["classes"])
    # A file of format 1 is one network; one of format 2 holds members, which answer together.
    if file.attrs["format_version"] == 1:
        weights, temperature = {"": 1.0}, 1.0
        networks = [("", definition["layers"], file)]
    else:
        weights, temperature = json.loads(file["mixture"].attrs["weights"]), file["mixture"].attrs["temperature"]
        layers = {kind["name"]: kind["layers"] for kind in definition["network"]["kinds"]}
        ended = [member for member in file["members"].values() if member.attrs["ended"]]
        networks = [(member.attrs["kind"], layers[member.attrs["kind"]], member) for member in ended]
    x = np.full((1, definition["inputs"]), 0.1, definition["dtype"])
    found = {kind: [] for kind in weights}
    for kind, layers, group in networks:
        losses = group["history/loss"][()]
        print(f"{kind} loss: {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last".lstrip())
        if kind in weights:  # a baseline does not answer
            found[kind].append(predict(layers, served(group, group is not file), x))

mixture = sum(weights[kind] * np.mean(each, axis=0) for kind, each in found.items() if each) ** (1 / temperature)
mixture /= mixture.sum()
print("a row of 0.1:", {label: round(float(p), 4) for label, p in zip(classes, mixture[0], strict=True)})

"""Invalid checkpoint files of several members, made by hand, each with the place of the expected error.

All are for one small model, ``MEMBERS_MODEL``: a kind that reads bins, one that does not, and a baseline, each with a
member for either of two folds. Each is ``GOOD_MEMBERS`` with one change.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from testing.bad_files import COLUMNS, HOST_FILE, Bad
from testing.samples import CLASSES

__all__ = [
    "BAD_MEMBERS",
    "GOOD_MEMBERS",
    "MEMBERS_DATA",
    "MEMBERS_MODEL",
    "MEMBERS_ROWS",
    "members_file",
    "minimal_members",
]

_LAST: list[Any] = [{"type": "dense", "units": 3}, {"type": "softmax"}]
_NORMED: list[Any] = [{"type": "dense", "units": 4}, {"type": "batch_norm"}, {"type": "relu"}, *_LAST]
_NARROW: list[Any] = [{"type": "dense", "units": 2}, {"type": "silu"}, *_LAST]
_RULES: dict[str, Any] = {
    "optimizer": {"type": "adamw", "learning_rate": 0.02, "average": 0.9},
    "batch_size": 8,
    "epochs": 4,
    "early_stopping": {"monitor": "validation_log_loss", "patience": 3},
}
MEMBERS_MODEL: dict[str, Any] = {
    "name": "members-target",
    "classes": CLASSES,
    "features": [
        {"column": "height", "type": "number", "scale": "robust_bins"},
        {"column": "sex", "type": "category"},
    ],
    "network": {
        "folds": 2,
        "kinds": [
            {"name": "binned", "layers": _NORMED, **_RULES},
            {
                "name": "plain",
                "bins": False,
                "layers": [{"type": "dense", "units": 2}, {"type": "silu"}, *_LAST],
                **_RULES,
            },
            {"name": "linear", "baseline": True, "layers": _LAST, **_RULES},
        ],
    },
}
#: What the features have learned: a number, its three bins and its gaps; two levels.
_LEARNED: dict[str, Any] = {
    "0_height/range": np.array([0.0, 4.0]),
    "0_height/fill": np.array([1.0]),
    "0_height/gaps": np.array([1], np.uint8),
    "0_height/center": np.array([1.0]),
    "0_height/scale": np.array([0.5]),
    "0_height/edges": np.array([0.0, 1.0, 2.0, 4.0]),
    "1_sex/levels": np.frombuffer(b'["female", "male"]', np.uint8),
    "1_sex/counts": np.array([3, 4]),
    "1_sex/rare": np.array([0], np.uint8),
    "1_sex/gaps": np.array([0], np.uint8),
}
_INPUTS, _BINS = 5 + 2, 3
_DENSE = {"0_dense/weights": (_INPUTS, 4), "0_dense/bias": (4,), "1_batch_norm/gamma": (4,), "1_batch_norm/beta": (4,)}
#: By kind: the shapes of parameters, and of statistics.
_NETWORKS: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]] = {
    "binned": (
        {**_DENSE, "3_dense/weights": (4, 3), "3_dense/bias": (3,)},
        {"1_batch_norm/running_mean": (4,), "1_batch_norm/running_variance": (4,)},
    ),
    "plain": (
        {
            "0_dense/weights": (_INPUTS - _BINS, 2),
            "0_dense/bias": (2,),
            "2_dense/weights": (2, 3),
            "2_dense/bias": (3,),
        },
        {},
    ),
    "linear": ({"0_dense/weights": (_INPUTS, 3), "0_dense/bias": (3,)}, {}),
}
_HELD_OUT = 12
_PLAIN_INPUTS = _INPUTS - _BINS
#: Rows for predictions: usual ones, and ones that are missing, unseen or far away.
MEMBERS_ROWS: list[dict[str, Any]] = [{"height": 1.5, "sex": "male"}, {"sex": "unseen"}, {"height": 1e300}]
#: Rows to train the model on, with gaps; the height decides the label.
MEMBERS_DATA: dict[str, Any] = {
    "rows": [
        {
            "height": None if number % 11 == 5 else number * 7 % 23 / 6,
            "sex": ["female", "male"][number % 2],
            "colour": CLASSES[number * 7 % 23 // 8],
        }
        for number in range(42)
    ],
    "label": "colour",
}


def _network(group: h5py.Group, kind: str, generator: np.random.Generator) -> None:
    parameters, statistics = _NETWORKS[kind]
    for name, shape in parameters.items():
        group[f"parameters/{name}"] = generator.normal(size=shape).astype("f4")
    for name, shape in statistics.items():
        group[f"statistics/{name}"] = generator.random(shape).astype("f4")


def _member(group: h5py.Group, kind: str, fold: int, generator: np.random.Generator) -> None:
    """The documented layout of a member, with everything that is optional."""
    group.attrs["kind"], group.attrs["fold"], group.attrs["ended"] = kind, fold, "early_stopping"
    _network(group, kind, generator)
    best = group.create_group("best")
    best.attrs["monitor"], best.attrs["min_delta"], best.attrs["value"] = "validation_log_loss", 1e-5, 0.7
    for name, count in (("epoch", 2), ("step", 4), ("waited", 1), ("waited_steps", 2)):
        best.attrs[name] = count
    _network(best, kind, generator)
    parameters, statistics = _NETWORKS[kind]
    for vector in ("gradient_sum", "square_sum", "average"):
        for name, shape in parameters.items():
            group[f"optimizer/{vector}/{name}"] = generator.random(shape).astype("f4")
    for name, shape in statistics.items():
        group[f"averaged_statistics/{name}"] = generator.random(shape).astype("f4")
    optimizer = group["optimizer"].attrs
    hyperparameters = {name: value for name, value in _RULES["optimizer"].items() if name != "type"}
    optimizer["type"], optimizer["hyperparameters"] = "adamw", json.dumps(hyperparameters)
    optimizer["iterations"] = 6
    training = group.create_group("training").attrs
    training["epoch"], training["step"] = 3, 6
    for column in COLUMNS:
        group[f"history/{column}"] = np.arange(1, 4) if column == "epoch" else generator.random(3)


def _trust() -> dict[str, Any]:
    """Arrays as ``models.trust`` fits them; the directions are those of the inputs."""
    return {
        "calibration": np.array([0.2, 0.1]),
        "sets/scores": np.tile(np.linspace(0.1, 0.9, _HELD_OUT // 3, dtype="f4"), 3),
        "sets/starts": np.arange(4) * (_HELD_OUT // 3),
        "distance/mean": np.zeros(_PLAIN_INPUTS, "f4"),
        "distance/scale": np.ones(_PLAIN_INPUTS, "f4"),
        "distance/directions": np.eye(_PLAIN_INPUTS, dtype="f4"),
        "distance/weights": np.full(_PLAIN_INPUTS, 0.5, "f4"),
        "distance/rest": np.zeros(1, "f4"),
    }


def _filled(file: h5py.File) -> None:
    file.attrs["format"], file.attrs["format_version"] = "trainyard-checkpoint", 2
    file.attrs["definition"], file.attrs["classes"] = json.dumps(MEMBERS_MODEL), json.dumps(CLASSES)
    generator = np.random.default_rng(0)
    for name, array in _LEARNED.items():
        file[f"features/{name}"] = array
    for number, kind in enumerate([kind for kind in _NETWORKS for _ in range(2)]):
        _member(file.create_group(f"members/{number + 1}"), kind, number % 2, generator)
    file.create_group("training").attrs["seconds"] = 1.5
    mixture = file.create_group("mixture").attrs
    mixture["weights"], mixture["temperature"] = json.dumps({"binned": 0.75, "plain": 0.25}), 1.25
    odds = generator.random((_HELD_OUT, 3)) + 0.1
    file["held_out/rows"] = np.arange(_HELD_OUT) * 2
    file["held_out/codes"] = np.arange(_HELD_OUT, dtype="i4") % 3
    file["held_out/folds"] = np.arange(_HELD_OUT, dtype="i4") % 2
    file["held_out/probabilities"] = (odds / odds.sum(axis=1, keepdims=True)).astype("f4")
    for name, array in _trust().items():
        file[f"trust/{name}"] = array


def _good() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _filled(file)
    return buffer.getvalue()


GOOD_MEMBERS = _good()


def members_file(*changes: Callable[[h5py.File], None]) -> bytes:
    """The bytes of the good file with changes."""
    buffer = io.BytesIO(GOOD_MEMBERS)
    with h5py.File(buffer, "r+") as file:
        for change in changes:
            change(file)
    return buffer.getvalue()


def minimal_members(file: h5py.File) -> None:
    """Remove everything that is optional, and all members but one of each kind that answers."""
    for name in ("training", "held_out", "trust"):
        del file[name]
    for number in (2, 4, 5, 6):
        del file[f"members/{number}"]
    for number in (1, 3):
        for name in ("optimizer", "averaged_statistics", "training", "history", "best"):
            file[f"members/{number}"].pop(name, None)
    for name in ("definition", "classes"):
        del file.attrs[name]


BAD_MEMBERS: dict[str, Bad] = {}


def _bad(name: str, pointer: str, change: Callable[[h5py.File], None]) -> None:
    BAD_MEMBERS[name] = Bad(lambda: members_file(change), pointer)


def _attribute(place: str, key: str, value: Any, pointer: str | None = None) -> None:
    """Register another value of an attribute; None for no value."""

    def change(file: h5py.File) -> None:
        del file[place].attrs[key]
        if value is not None:
            file[place].attrs[key] = value

    _bad(f"{place} {key}: {str(value)[:60]}", pointer or place, change)


def _instead(place: str, value: Any, pointer: str | None = None) -> None:
    """Register another object at a place."""

    def change(file: h5py.File) -> None:
        del file[place]
        file[place] = value

    shown = f"{value.dtype} of {value.shape}, {value.ravel()[:3]}" if isinstance(value, np.ndarray) else value
    _bad(f"{place}: {shown}", pointer or f"/{place}", change)


def _without(place: str, pointer: str | None = None) -> None:
    def change(file: h5py.File) -> None:
        del file[place]

    _bad(f"no {place}", pointer or f"/{place}", change)


def _beside(place: str, pointer: str | None = None) -> None:
    def change(file: h5py.File) -> None:
        file[place] = np.zeros(3, "f4")

    _bad(f"also {place}", pointer or "/" + place.rpartition("/")[0], change)


def _put(place: str, index: Any, value: float) -> None:
    """Register another value in an array."""

    def change(file: h5py.File) -> None:
        file[place][index] = value

    _bad(f"{place} at {index}: {value}", f"/{place}", change)


# The definition.


def _network_with(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(json.dumps(MEMBERS_MODEL))
    change(document["network"])
    return json.dumps(document)


def _definition(name: str, pointer: str, change: Callable[[dict[str, Any]], object]) -> None:
    def written(file: h5py.File) -> None:
        file.attrs["definition"] = _network_with(change)

    _bad(f"definition: {name}", f"/definition/{pointer}", written)


def _units(network: dict[str, Any]) -> None:
    network["kinds"][1]["layers"][0]["units"] = 3


_attribute("/", "format_version", 1)
_definition("more folds", "network/folds", lambda network: network.update(folds=3))
_definition("fewer kinds", "network/kinds", lambda network: network["kinds"].pop())
_definition("another name", "network/kinds/0/name", lambda network: network["kinds"][0].update(name="other"))
_definition("bins for all", "network/kinds/1/bins", lambda network: network["kinds"][1].update(bins=True))
_definition("no baseline", "network/kinds/2/baseline", lambda network: network["kinds"][2].update(baseline=False))
_definition("other units", "network/kinds/1/layers/0/units", _units)
_definition("no kinds", "network/kinds", lambda network: network.pop("kinds"))


def _open_network(file: h5py.File) -> None:
    file.attrs["definition"] = json.dumps({**MEMBERS_MODEL, "network": "auto"})


_bad("definition: open", "/definition/network", _open_network)

# Members.

for _key, _values in {
    "kind": (None, "plain", "none", 3),
    "fold": (None, 1, -1, 0.0),
    "ended": (None, "never", 1),
}.items():
    for _value in _values:
        _attribute("/members/1", _key, _value)
for _key, _values in {
    "monitor": (None, "none", ""),
    "value": (np.nan, np.inf, 1),
    "min_delta": (-1.0, np.nan, "0"),
    "epoch": (4, -1, 2**60),
    "waited": (-1,),
}.items():
    for _value in _values:
        _attribute("/members/3/best", _key, _value)
_beside("members/7")
_beside("members/0")
_beside("members/first")
_beside("members/01")
_beside("members/1/parameters/other")
_beside("members/3/best/parameters/0_dense/other")
_beside("members/3/best/statistics/0_dense")
_beside("members/3/optimizer/other")
_without("members", "/mixture")
_without("members/1/parameters/0_dense/weights")
_without("members/1/statistics", "/members/1/statistics/1_batch_norm/running_mean")
_without("members/1/best/statistics", "/members/1/best/statistics/1_batch_norm/running_mean")
_without("members/3/optimizer/average", "/members/3/optimizer/average/0_dense/weights")
_without("members/3/best/parameters/2_dense/bias")
_without("members/6/history/loss")
_instead("members/3/parameters/0_dense/weights", np.zeros((_INPUTS, 2), "f4"))
_instead("members/1/parameters/0_dense/weights", np.zeros((_PLAIN_INPUTS, 4), "f4"))
_instead("members/2/parameters/0_dense/weights", np.zeros((_INPUTS, 4), "f8"))
_instead("members/2/parameters", h5py.SoftLink("/members/1/parameters"))
_instead("members/2", h5py.SoftLink("/members/1"))
_instead("members", h5py.ExternalLink(HOST_FILE, "/members"))
_put("members/4/parameters/2_dense/bias", 0, np.nan)
_put("members/4/best/parameters/2_dense/bias", 0, np.inf)
_put("members/4/history/loss", 1, np.nan)
_attribute("/members/3/optimizer", "type", "none", "/members/3/optimizer/type")
_attribute("/members/3/optimizer", "iterations", -1)
_attribute("/members/3/training", "step", -1)
_attribute("/training", "seconds", -1.0)
_attribute("/training", "seconds", np.nan)


def _one_for_all(file: h5py.File) -> None:
    """The same histories by many names: more than the file holds."""
    for column in COLUMNS:
        long = np.zeros(60_000, "i8" if column == "epoch" else "f8")
        for number in range(1, 7):
            del file[f"members/{number}/history/{column}"]
            file[f"members/{number}/history/{column}"] = long if number == 1 else file[f"members/1/history/{column}"]


def _ring(file: h5py.File) -> None:
    file["members/1/parameters/again"] = file["members"]


def _unfinished(file: h5py.File) -> None:
    for number in (3, 4):
        file[f"members/{number}"].attrs["ended"] = ""


_bad("one history for all", "/", _one_for_all)
_bad("members in a ring", "/members/1/parameters", _ring)
_bad("a kind with a weight has not ended", "/mixture", _unfinished)

# The mixture.

_without("mixture")
for _value in (
    *(None, "[]", "{", "3", '{"binned": 1}', '{"binned": 0.5, "plain": 0.5, "linear": 0}'),
    *('{"binned": 1.5, "plain": -0.5}', '{"binned": 0.75, "plain": 0.2}', '{"binned": "1", "plain": 0}'),
    *('{"binned": NaN, "plain": 0.2}', '{"binned": true, "plain": 0}', 0.75),
):
    _attribute("/mixture", "weights", _value)
for _value in (None, 0.0, -1.0, np.nan, np.inf, 0.2, 4.6, 1, "1.25"):
    _attribute("/mixture", "temperature", _value)

# Held-out rows.

for _place in ("rows", "codes", "folds", "probabilities"):
    _without(f"held_out/{_place}")
_beside("held_out/other")
_instead("held_out", np.zeros(3), "/held_out")
_instead("held_out/rows", np.arange(_HELD_OUT)[::-1].copy())
_instead("held_out/rows", np.arange(_HELD_OUT) - 1)
_instead("held_out/rows", np.zeros(_HELD_OUT, "i8"))
_instead("held_out/codes", np.full(_HELD_OUT, 3, "i4"))
_instead("held_out/codes", np.full(_HELD_OUT, -1, "i4"))
_instead("held_out/codes", np.zeros(_HELD_OUT, "i8"))
_instead("held_out/codes", np.zeros(_HELD_OUT - 1, "i4"))
_instead("held_out/folds", np.full(_HELD_OUT, 2, "i4"))
_instead("held_out/probabilities", np.zeros((_HELD_OUT, 3), "f4"))
_instead("held_out/probabilities", np.tile(np.array([2, -1, 0], "f4"), (_HELD_OUT, 1)))
_instead("held_out/probabilities", np.full((_HELD_OUT, 2), 0.5, "f4"))
_put("held_out/probabilities", (0, 0), np.nan)

# Trust.

for _place in _trust():
    _without(f"trust/{_place}")
_beside("trust/other", "/trust")
_beside("trust/sets/other", "/trust/sets")
_odd_trust: Mapping[str, tuple[Any, ...]] = {
    "calibration": (np.array([0.1, 1.5]), np.array([-0.1, 0.5])),
    "sets/scores": (np.linspace(0.9, 0.1, _HELD_OUT, dtype="f4"), np.full(_HELD_OUT, 2, "f4"), np.zeros((2, 6), "f4")),
    "sets/starts": (np.array([0, 8, 4, 12]), np.array([1, 4, 8, 12]), np.array([0, 4, 8, 11]), np.array([0, 6, 12])),
    "distance/mean": (np.zeros(_INPUTS, "f4"), np.zeros(_PLAIN_INPUTS), np.full(_PLAIN_INPUTS, np.inf, "f4")),
    "distance/scale": (np.full(_PLAIN_INPUTS, -1, "f4"),),
    "distance/directions": (np.zeros((_PLAIN_INPUTS, 2), "f4"),),
    "distance/rest": (np.array([-1], "f4"),),
}
for _place, _values in _odd_trust.items():
    for _value in _values:
        _instead(f"trust/{_place}", _value)

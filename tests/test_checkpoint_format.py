"""docs/checkpoint-format.md: its code, with h5py and NumPy alone, does on a real checkpoint what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.features.features import feature_type
from testing.bad_members import MEMBERS_DATA, MEMBERS_MODEL
from testing.features import CASES
from testing.harness import ROOT, Client, Server
from testing.samples import CLASSES, DATA, ROWS, a_training, fresh

PAGE = (ROOT / "docs" / "checkpoint-format.md").read_text()
SERVED, READ_ONE, PREDICT, FEATURES, MOMENTS, MEMBERS, WRITE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
READ = f"{SERVED}\n{READ_ONE}"
LAYERS: list[dict[str, Any]] = [
    {"type": "dense", "units": 6},
    {"type": "batch_norm"},
    {"type": "relu"},
    {"type": "dropout", "rate": 0.2},
    {"type": "dense", "units": 5, "use_bias": False},
    {"type": "relu"},
    {"type": "dense", "units": 3},
    {"type": "softmax"},
]


def run(folder: Path, code: str) -> Any:
    """What a script prints as JSON; it runs without this project's modules."""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.processes
def test_no_project_module_is_within_reach(tmp_path: Path) -> None:
    code = "import importlib.util as u, json; print(json.dumps([u.find_spec(n) is None for n in ('models', 'nncore')]))"
    assert run(tmp_path, code) == [True, True]


def trained(client: Client, name: str, folder: Path, **optimizer: Any) -> Path:
    client.define(
        {"name": name, "inputs": 2, "classes": CLASSES, "layers": LAYERS, "optimizer": {"type": "adam", **optimizer}}
    )
    job = client.run(a_training(name, validation=DATA))
    path = folder / "downloaded.h5"
    path.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
    return path


@pytest.mark.parametrize("average", [None, 0.7])
def test_reading_as_the_page_does_predicts_what_the_service_predicts(
    client: Client, tmp_path: Path, average: float | None
) -> None:
    name = fresh("page")
    path = trained(client, name, tmp_path, average=average)
    report = "print(json.dumps([predict_proba(rows).tolist(), classes, definition['name'], history['epoch'].tolist()]))"
    code = f"path, rows = {str(path)!r}, {ROWS!r}\n{READ}\n{PREDICT}\n{report}"
    probabilities, classes, model, epochs = run(tmp_path, code)
    served = client.post("/predict", {"model": name, "inputs": ROWS}).json
    assert np.allclose(probabilities, served["probabilities"], rtol=1e-5, atol=1e-7)
    assert (classes, model, epochs) == (CLASSES, name, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"size": {"scale": "robust_bins"}, "a wood": {"min_count": 2}, "even": {"signed": True}},
        {
            "size": {"scale": "robust_clip"},
            "number": {"scale": "robust_bins", "bins": 3},
            "same": {"scale": "robust_clip"},
        },
    ],
)
def test_the_features_of_a_table_as_the_page_computes_them_predict_what_the_service_predicts(
    client: Client, tmp_path: Path, features: dict[str, Any]
) -> None:
    name = fresh("page")
    sizes = [1.5, None, 40.0, 7.25, None, 3.0, 12.0, 30.5]
    words = ["ash", "oak", None, "ash", "elm", "oak", "ash", None]
    rows = [
        {"size": size, "a wood": word, "note": "x", "even": "lr"[place % 2], "number": place**2 / 7, "same": 5}
        for place, (size, word) in enumerate(zip(sizes, words, strict=True))
    ]
    kinds = {"even": "category", "number": "number", "same": "number", **features}
    data = {"rows": [{**row, "kind": "ab"[place % 2]} for place, row in enumerate(rows)], "label": "kind"}
    model = {"name": name, "features": kinds, "layers": [*LAYERS[:-2], {"type": "dense"}, LAYERS[-1]]}
    job = client.run({"model": model, "data": data})
    path = tmp_path / "table.h5"
    path.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
    asked = [*rows, {"size": 1e3, "a wood": "unseen"}, {}]
    report = "print(json.dumps(predict_proba(inputs_of(rows)[0]).tolist()))"
    probabilities = run(tmp_path, f"path, rows = {str(path)!r}, {asked!r}\n{READ}\n{PREDICT}\n{FEATURES}\n{report}")
    served = client.post("/predict", {"model": name, "rows": asked}).json
    assert np.allclose(probabilities, served["probabilities"], rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def members(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A model of several networks, and its file."""
    name, path = fresh("page"), tmp_path_factory.mktemp("members") / "members.h5"
    job = server.client.run({"model": {**MEMBERS_MODEL, "name": name}, "data": MEMBERS_DATA})
    path.write_bytes(server.client.get(f"/checkpoints/{job['checkpoint']}/file").body)
    return name, path


def test_members_as_the_page_reads_them_predict_what_the_service_predicts(
    client: Client, members: tuple[str, Path], tmp_path: Path
) -> None:
    name, path = members
    asked = [{"height": 1.3, "sex": "male"}, {"sex": "female"}, {"height": 1e3, "sex": "unseen"}, {"height": -4.0}]
    report = "print(json.dumps(predict_together(*inputs_of(rows)).tolist()))"
    code = f"path, rows = {str(path)!r}, {asked!r}\n{SERVED}\n{PREDICT}\n{FEATURES}\n{MEMBERS}\n{report}"
    probabilities = run(tmp_path, code)
    shown = client.post("/predict", {"model": name, "rows": asked}).json
    assert np.allclose(probabilities, shown["probabilities"], rtol=1e-5, atol=1e-7)


def test_the_example_reads_both_formats(client: Client, members: tuple[str, Path], tmp_path: Path) -> None:
    """It prints what the service predicts for inputs of 0.1."""
    name = fresh("page")
    client.define({"name": name, "inputs": 2, "classes": CLASSES, "hidden": [4]})
    kinds = [{**kind, "bins": True} for kind in MEMBERS_MODEL["network"]["kinds"]]
    kinds[0] = {**kinds[0], "layers": [{"type": "dense", "units": 4}, "relu", *kinds[0]["layers"][-2:]]}
    model = {"name": fresh("page"), "inputs": 2, "classes": CLASSES, "network": {"folds": 2, "kinds": kinds}}
    jobs = [client.run(a_training(name)), client.run({"model": model, "data": DATA})]
    for job in jobs:
        path = tmp_path / "shown.h5"
        path.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
        command = [sys.executable, "-I", ROOT / "examples/read_checkpoint.py", path]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        shown = dict(re.findall(r"'(\w+)': ([\d.e-]+)", done.stdout.rpartition("a row of 0.1:")[2]))
        answer = client.post("/predict", {"model": job["model"], "inputs": [[0.1, 0.1]]}).json
        found = [float(shown[label]) for label in CLASSES]
        assert np.allclose(found, answer["probabilities"][0], atol=1e-4)


def test_the_moments_are_those_of_the_equations(client: Client, tmp_path: Path) -> None:
    """After one update of Adam, θ has moved by η m̂ ⊘ √(ŝ + ε)."""
    name = fresh("page")
    client.define({"name": name, "inputs": 2, "classes": CLASSES, "hidden": [], "dtype": "float64"})
    job = client.run(a_training(name, epochs=1, batch_size="full"))
    first, last = (
        client.get(f"/checkpoints/{each['id']}/file").body
        for each in reversed(client.get(f"/jobs/{job['id']}/checkpoints").json["data"])
    )
    paths = [tmp_path / "first.h5", tmp_path / "last.h5"]
    for path, content in zip(paths, (first, last), strict=True):
        path.write_bytes(content)
    head = f"import json, h5py, numpy as np\npath = {str(paths[1])!r}\n"
    m, s, beta1, beta2, iterations = run(
        tmp_path,
        f"{head}{MOMENTS}\nprint(json.dumps([m.tolist(), s.tolist(), adam['beta1'], adam['beta2'], int(iterations)]))",
    )
    assert iterations == 1
    with h5py.File(paths[0]) as before, h5py.File(paths[1]) as after:
        moved = before["parameters/0_dense/weights"][()] - after["parameters/0_dense/weights"][()]
    step = 0.001 * (np.array(m) / (1 - beta1)) / np.sqrt(np.array(s) / (1 - beta2) + 1e-7)
    assert np.abs(moved).max() > 1e-6
    assert np.allclose(moved, step, rtol=1e-6)


def test_a_file_written_as_the_page_does_is_imported_and_predicts_what_its_maker_did(
    client: Client, tmp_path: Path
) -> None:
    source, name = fresh("page"), fresh("elsewhere")
    path = trained(client, source, tmp_path)
    client.define({"name": name, "inputs": 2, "classes": CLASSES, "layers": LAYERS})
    code = f"path, rows = {str(path)!r}, {ROWS!r}\n{READ}\n{PREDICT}\nweights = arrays\n{WRITE}"
    probabilities = run(tmp_path, f"{code}\nprint(json.dumps(predict_proba(rows).tolist()))")
    content = (tmp_path / "made-elsewhere.h5").read_bytes()
    answer = client.post(f"/models/{name}/checkpoints", content, headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer
    served = client.post("/predict", {"model": name, "inputs": ROWS}).json
    assert served["version"] == 1
    assert np.allclose(probabilities, served["probabilities"], rtol=1e-5, atol=1e-7)


def test_the_table_names_every_group_of_a_file_and_every_attribute(client: Client, tmp_path: Path) -> None:
    path = trained(client, fresh("page"), tmp_path, average=0.7, accumulate=2)
    rows = dict(re.findall(r"^\| `(/[^`]*)` \| (.*) \|$", PAGE, re.MULTILINE))
    known = {place.strip("/").partition("/")[0] for place in rows}
    arrays = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for case in CASES.values():
        named = arrays[feature_type(case.feature)]
        assert [name for name in case.feature.forms() if f"`{name}`" not in named] == []
    with h5py.File(path) as file:
        assert set(file) < known
        for place in ("/", "/optimizer", "/training"):
            assert [name for name in file[place].attrs if f"`{name}`" not in rows[place]] == []
        for group in ("training", "history"):
            assert [name for name in file[group] if f"`{name}`" not in rows[f"/{group}"]] == []
        vectors = (ROOT / "docs" / "optimizers.md").read_text() + "".join(rows)
        assert [name for name in file["optimizer"] if f"`{name}`" not in vectors and f"/{name}/" not in vectors] == []


def test_the_table_of_members_names_every_group_and_attribute(members: tuple[str, Path]) -> None:
    rows = dict(re.findall(r"^\| `(/[^`]*)`[^|]* \| (.*) \|$", PAGE, re.MULTILINE)[::-1])
    every = " ".join(rows.values())
    section = PAGE.partition("\n## Several members\n")[2]
    rows |= dict(re.findall(r"^\| `(/[^`]*)`[^|]* \| (.*) \|$", section, re.MULTILINE))
    with h5py.File(members[1]) as file:
        assert set(file) == {"features", "members", "training", "mixture", "held_out", "trust"}
        assert [name for name in file["members/1"].attrs if f"`{name}`" not in rows["/members/N"]] == []
        assert [name for name in file["members/1"] if f"`{name}`" not in rows["/members/N/…"] + "`held_out`"] == []
        for place in ("mixture", "held_out", "trust", "trust/sets", "trust/distance"):
            names = [*file[place].attrs, *(name for name in file[place] if isinstance(file[place][name], h5py.Dataset))]
            assert [name for name in names if f"`{name}`" not in rows[f"/{place}"]] == []
        for name in file["members/1/best"].attrs:
            assert f"`{name}`" in every

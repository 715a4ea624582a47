"""What a model shows of its columns: ranges, levels and widths as pandas finds them in the training rows."""

from __future__ import annotations

from typing import Any

import h5py
import pytest

from testing.harness import Client, Server
from testing.samples import a_model, fresh
from tests.service.conftest import Trained
from tests.service.web.test_evaluated_parts import passengers

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def model(server: Server) -> dict[str, Any]:
    name, client = fresh("fitted"), server.client
    rows = passengers(200, 11)
    defined = client.define({"name": name, "classes": ["no", "yes"], "hidden": [4]})
    assert (defined["inputs"], defined["parameters"]) == (None, None)
    job = client.run({"model": name, "data": {"rows": rows, "label": "survived"}, "validation": 0.3, "epochs": 1})
    return {"name": name, "rows": rows, "job": job}


def test_ranges_and_levels_are_those_of_the_training_rows(
    client: Client, server: Server, model: dict[str, Any]
) -> None:
    pandas = pytest.importorskip("pandas")
    with h5py.File(server.data / "checkpoints" / f"{model['job']['checkpoint']}.h5") as file:
        frame = pandas.DataFrame(model["rows"]).iloc[file["training/rows"][()]]
        parameters = sum(
            file[f"parameters/{layer}/{name}"].size for layer in ("0_dense", "2_dense") for name in ("weights", "bias")
        )
        inputs = file["parameters/0_dense/weights"].shape[0]
    for shown in (client.get(f"/models/{model['name']}").json, client.get(f"/models/{model['name']}/versions/1").json):
        features = {feature["column"]: feature for feature in shown["features"]}
        age, sex = features["age"], features["sex"]
        assert (age["min"], age["max"]) == (frame["age"].min(), frame["age"].max())
        assert age["fill"] == pytest.approx(frame["age"].median())
        assert (age["scale"], age["missing"], age["width"]) == ("standardize", "median", 2)
        counts = frame["sex"].value_counts()
        assert dict(zip(sex["levels"], sex["counts"], strict=True)) == counts.to_dict()
        assert sum(feature["width"] for feature in features.values()) == shown["inputs"] == inputs
        assert shown["parameters"] == parameters


def test_lists_are_plain(client: Client, model: dict[str, Any]) -> None:
    found = next(each for each in client.pages("/models", 100) if each["name"] == model["name"])
    assert (found["inputs"], found["parameters"]) == (None, None)
    assert "width" not in str(found["features"])


def test_other_features_are_not_those_of_the_version(client: Client) -> None:
    name, rows = fresh("changed"), passengers(60, 3)
    client.run({"model": {"name": name, "hidden": [4]}, "data": {"rows": rows, "label": "survived"}, "epochs": 1})
    features = [{"column": "age", "type": "number", "scale": "robust"}]
    client.post("/models", {"name": name, "classes": ["no", "yes"], "hidden": [4], "features": features})
    shown = client.get(f"/models/{name}").json
    assert (shown["inputs"], [feature["column"] for feature in shown["features"]]) == (None, ["age"])
    served = client.get(f"/models/{name}/versions/default").json
    assert [feature["column"] for feature in served["features"]] == ["sex", "age", "deck", "alone"]


def test_a_model_of_plain_inputs_is_as_before(client: Client, trained: Trained) -> None:
    shown = client.get(f"/models/{trained.name}").json
    assert (shown["inputs"], shown["parameters"], "features" in shown) == (2, 51, False)
    version = client.get(f"/models/{trained.name}/versions/2").json
    assert not version.keys() & {"inputs", "parameters", "features"}
    assert client.define(a_model(fresh("plain")))["parameters"] == 51

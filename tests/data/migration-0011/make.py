"""Makes ``data.tar.gz`` and ``answers.json`` with migration 0011: ``python make.py CHECKOUT``, a tree of 51a1844."""

import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from earlier_states import More, record_state  # noqa: E402 - the folder's place must be set first


def plant(chance: random.Random) -> dict[str, Any]:
    """A row with two numbers and a level; height and soil decide the label."""
    height, soil = round(chance.uniform(1, 9), 1), chance.choice(("clay", "loam", "sand"))
    return {
        "height": height,
        "soil": soil,
        "leaf": round(chance.random(), 2),
        "kept": int(height > 5 or soil == "sand"),
    }


PLANTS = [plant(chance) for chance in [random.Random(11)] for _ in range(48)]
ASKED = [{name: value for name, value in row.items() if name != "kept"} for row in PLANTS[:5]]
NETWORK = {"name": "folded", "hidden": [4]}


def folded(seed: int, **more: Any) -> dict[str, Any]:
    """A run of three members."""
    return {"model": NETWORK, "data": "plants", "folds": 3, "epochs": 5, "seed": seed, **more}


def work(client: Any, samples: Any) -> None:
    """A table; a model of members with conformal sets; a sweep; and a job with more epochs than histories keep now."""
    assert client.post("/datasets", {"name": "plants", "rows": PLANTS, "label": "kept"}).status == 201
    client.run(folded(41))
    train = {"model": {"name": "swept", "hidden": [3]}, "data": "plants", "epochs": 4, "seed": 42}
    answer = client.post("/sweeps", {"train": train, "search": {"type": "grid"}, "over": {"/batch_size": [8, 16]}})
    assert answer.status == 202, answer
    assert client.wait(answer.json["id"])["state"] == "succeeded"
    small = {"inputs": [[0, 1], [1, 0]], "labels": [0, 1]}
    model = {"name": "long", "inputs": 2, "classes": 2, "hidden": [2]}
    client.run({"model": model, "data": small, "epochs": 1_500, "seed": 43})


def queue(client: Any, samples: Any) -> list[str]:
    """A sweep, and a job of members."""
    train = {"model": {"name": "swept", "hidden": [3]}, "data": "plants", "epochs": 3, "seed": 44}
    sweep = client.post("/sweeps", {"train": train, "search": {"type": "grid"}, "over": {"/batch_size": [8, 16]}})
    assert sweep.status == 202, sweep
    return [sweep.json["id"], client.train(folded(45))["id"]]


def questions(client: Any, samples: Any) -> list[tuple[str, str, Any]]:
    """Predictions of each version, with what members can say, the sweep's trials and the long history."""
    asked: list[tuple[str, str, Any]] = []
    for model in ("folded", "swept"):
        said = {"coverage": 0.8, "uncertainty": True} if model == "folded" else {}
        asked += [
            ("GET", f"/models/{model}/versions/1", None),
            ("POST", "/predict", {"model": model, "rows": ASKED, **said}),
            ("POST", "/evaluate", {"model": model, "data": "plants"}),
        ]
    (long,) = client.get("/jobs?model=long").json["data"]
    return [*asked, ("GET", f"/jobs/{long['id']}/history?limit=2&after=1400", None)]


if __name__ == "__main__":
    record_state(HERE, "testing.harness", "testing.samples", More(work, queue, questions))

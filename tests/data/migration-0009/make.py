"""Makes ``data.tar.gz`` and ``answers.json`` with migration 0009: ``python make.py CHECKOUT``, a tree of 36e7259."""

import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from earlier_states import More, record_state  # noqa: E402 - the folder's place must be set first


def trip(chance: random.Random) -> dict[str, Any]:
    """A row with a number, a level, a truth and a time, some of them missing; fare and rain decide the label."""
    fare, rain = round(chance.uniform(2, 60), 2), chance.random() < 0.4
    row: dict[str, Any] = {
        "fare": None if chance.random() < 0.1 else fare,
        "way": chance.choice(("bus", "tram", "ferry")),
        "rain": rain,
        "day": f"2023-{chance.randrange(1, 13):02}-{chance.randrange(1, 28):02}",
    }
    return {**row, "late": "yes" if rain and fare > 20 else "no"}


TRIPS = [trip(chance) for chance in [random.Random(9)] for _ in range(60)]
ASKED = [{name: value for name, value in row.items() if name != "late"} for row in TRIPS[:6]] + [{"way": "train"}]
FEATURES = {"fare": {"scale": "quantile"}, "day": {"parts": ["elapsed", "month"]}}


def training(model: Any, seed: int, **more: Any) -> dict[str, Any]:
    """A short run on the trips."""
    return {"model": model, "data": "trips", "epochs": 6, "batch_size": 16, "seed": seed, **more}


def work(client: Any, samples: Any) -> None:
    """A table; models with the network of this state that is there without tuning, with and without features.

    One has two definitions, one an imported version, and one is open until its first data.
    """
    assert client.post("/datasets", {"name": "trips", "rows": TRIPS, "label": "late"}).status == 201
    client.run({"data": "trips", "epochs": 3, "seed": 31})
    client.run(training({"name": "tuned", "features": FEATURES, "hidden": [6]}, 32, validation=0.25))
    client.run(training({"name": "tuned", "features": FEATURES, "hidden": [4], "optimizer": "sgd"}, 33))
    image = client.get(f"/checkpoints/{client.get('/models/tuned/versions/2').json['checkpoint']}/file").body
    answer = client.post("/models/tuned/checkpoints", image, headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer
    client.define({"name": "open", "classes": ["no", "yes"]})


def queue(client: Any, samples: Any) -> list[str]:
    """Jobs on the table: of a network without tuning, of the open model, and one that continues a version."""
    start = client.get("/models/tuned/versions/2").json["checkpoint"]
    requests = [
        {"data": "trips", "epochs": 4, "seed": 34},
        training("open", 35),
        training("tuned", 36, start_from=start, early_stopping={"patience": 2}, validation=0.25),
    ]
    return [client.train(request)["id"] for request in requests]


def questions(client: Any, samples: Any) -> list[tuple[str, str, Any]]:
    """Definitions, predictions and evaluations of each version."""
    asked: list[tuple[str, str, Any]] = [("GET", "/datasets/trips", None), ("GET", "/datasets/trips/profile", None)]
    for model, version in (("trips", 1), ("tuned", 1), ("tuned", 2), ("tuned", 3)):
        asked += [
            ("GET", f"/models/{model}/versions/{version}", None),
            ("POST", "/predict", {"model": model, "version": version, "rows": ASKED, "report": True}),
            ("POST", "/evaluate", {"model": model, "version": version, "data": "trips"}),
        ]
    return asked


if __name__ == "__main__":
    record_state(HERE, "testing.harness", "testing.samples", More(work, queue, questions))

"""Makes ``data.tar.gz`` and ``answers.json`` with migration 0007: ``python make.py CHECKOUT``, a tree of f1920c2."""

import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from earlier_states import More, record_state  # noqa: E402 - the folder's place must be set first

#: A file whose columns have names, and of which the second one decides the label.
LEAVES = "Blade length,blade-width,hairy,species\n" + "".join(
    f"{chance.uniform(2, 9):.2f},{width},{chance.randrange(2)},{'oak' if width > 0 else 'elm'}\n"
    for chance in [random.Random(7)]
    for width in [round(chance.uniform(-1, 1), 3) for _ in range(40)]
)
ROWS = [[float(cell) for cell in line.split(",")[:3]] for line in LEAVES.splitlines()[1:9]]
LAYERS = [{"type": "dense", "units": 6}, {"type": "tanh"}, {"type": "dense", "units": 2}, {"type": "softmax"}]


def training(seed: int) -> dict[str, Any]:
    data = {"data": {"dataset": "leaves"}, "validation": {"fraction": 0.25}}
    return {"model": "leaf", **data, "epochs": 8, "batch_size": 8, "seed": seed}


def work(client: Any, samples: Any) -> None:
    """A dataset from a form, a model by ``inputs`` with two versions, and a run from inline rows."""
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("name", "leaves"), ("label", "species"))
    )
    part = f'--x\r\nContent-Disposition: form-data; name="file"; filename="l.csv"\r\n\r\n{LEAVES}\r\n--x--\r\n'
    answer = client.post("/datasets", (fields + part).encode(), headers=form)
    assert answer.status == 201, answer
    client.define({"name": "leaf", "inputs": 3, "classes": ["elm", "oak"], "layers": LAYERS})
    for seed in (21, 22):
        client.run(training(seed))
    labels = [line.rpartition(",")[2] for line in LEAVES.splitlines()[1:9]]
    client.run({**training(23), "data": {"inputs": ROWS, "labels": labels}, "validation": None})


def queue(client: Any, samples: Any) -> list[str]:
    """Two more jobs on the dataset, of which one continues a version."""
    start = client.get("/models/leaf/versions/2").json["checkpoint"]
    requests = [training(24), {**training(25), "start_from": start}]
    return [client.train(request)["id"] for request in requests]


def questions(client: Any, samples: Any) -> list[tuple[str, str, Any]]:
    """Predictions and evaluations of each version."""
    asked: list[tuple[str, str, Any]] = [("GET", "/datasets/leaves", None)]
    for version in (1, 2, 3):
        asked += [
            ("POST", "/predict", {"model": "leaf", "version": version, "inputs": ROWS}),
            ("POST", "/evaluate", {"model": "leaf", "version": version, "data": {"dataset": "leaves"}}),
        ]
    return asked


if __name__ == "__main__":
    record_state(HERE, "testing.harness", "testing.samples", More(work, queue, questions))

"""What every way to run the service is tried with: it becomes ready, a job trains a model, and the model predicts."""

from __future__ import annotations

from testing.harness import Client, eventually

__all__ = ["train_and_predict", "wait_until_ready"]


def train_and_predict(client: Client) -> None:
    """A job through the API, from definition to prediction."""
    job = client.run(
        {
            "model": {"name": "boxed", "hidden": [8]},
            "data": {"inputs": [[0], [1], [2], [3]], "labels": ["low", "low", "high", "high"]},
            "epochs": 200,
            "optimizer": {"type": "adam", "learning_rate": 0.1},
        }
    )
    assert job["version"] == 1
    answer = client.post("/predict", {"model": "boxed", "inputs": [[0], [3]]})
    assert answer.json["predictions"] == ["low", "high"]


def wait_until_ready(client: Client, trainer: str) -> None:
    """Return when the service reports this of its trainer."""

    def ready() -> bool:
        try:
            return str(client.get("/health/ready").json["trainer"]).startswith(trainer)
        except OSError:
            return False

    eventually(ready, 60.0, f"trainer {trainer}")

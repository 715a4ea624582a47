"""Trainyard as a contestant: a server of its own, which trains with nothing but the label named."""

from __future__ import annotations

import atexit
import io
import tempfile
from contextlib import ExitStack
from datetime import datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from testing.harness import Answer, Client, serving

__all__ = ["Served", "fit"]

Array = npt.NDArray[Any]
#: The longest training, in seconds.
PATIENCE = 900
_numbers = count()


@cache
def _client() -> Client:
    """The client of a server with one thread a job, which ends with this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trainyard-tabular-", ignore_cleanup_errors=True))
    return stack.enter_context(serving(Path(folder) / "data", BLAS_THREADS=1, PARALLEL_JOBS=1)).client


class Served:
    """Predicts probabilities with a model of the server; ``seconds`` are those of its job."""

    def __init__(self, client: Client, model: str, classes: list[str], job: dict[str, Any]) -> None:
        self._client, self._model, self._classes = client, model, classes
        started, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
        self.seconds = (ended - started).total_seconds()

    def __call__(self, columns: Any) -> Array:
        import pandas as pd

        path = "/predict?" + urlencode({"model": self._model, "probabilities": "true"})
        answer = _post(self._client, path, _csv(_named(columns)))
        found = pd.read_csv(io.BytesIO(answer.body))
        return np.asarray(found[[f"probability_{each}" for each in self._classes]], np.float64)


def fit(columns: Any, codes: Array, seed: int) -> Served:
    """Train a model with the default recipe."""
    client, name = _client(), f"table-{next(_numbers)}"
    numbers = set(columns.select_dtypes("number"))
    types = ",".join(
        f"{short}:{'number' if long in numbers else 'category'}"
        for short, long in zip(_named(columns), columns, strict=True)
    )
    labels = [f"k{code:03}" for code in codes]
    path = "/datasets?" + urlencode({"name": name, "label": "label", "types": types})
    _post(client, path, _csv(_named(columns).assign(label=labels)))
    job = client.wait(_post(client, "/train", {"data": name, "seed": seed}).json["id"], PATIENCE)
    assert job["state"] == "succeeded", job
    return Served(client, name, sorted(set(labels)), job)


def _named(frame: Any) -> Any:
    """The same columns with plain names."""
    return frame.set_axis([f"c{number}" for number in range(frame.shape[1])], axis=1)


def _csv(frame: Any) -> bytes:
    """A CSV file; missing values are empty."""
    return bytes(frame.to_csv(index=False).encode())


def _post(client: Client, path: str, body: Any) -> Answer:
    """The answer to a request; raises AssertionError if it is refused."""
    plain = {"Content-Type": "application/octet-stream"}
    answer = client.post(path, body, headers=plain if isinstance(body, bytes) else {})
    assert answer.status < 300, answer
    return answer

"""BentoML's service for the network, after its documentation; ``bentoml serve bentoml_service:NetworkService``."""

from __future__ import annotations

from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import DType
from network import CLASSES, Network

__all__ = ["NetworkService"]


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class NetworkService:
    """Answers probabilities and the most probable class."""

    def __init__(self) -> None:
        self.network = Network()

    # A function that is not asynchronous would run in a thread, which takes longer than the network.
    @bentoml.api
    async def predict(self, inputs: Annotated[np.ndarray, DType("float32")]) -> dict[str, Any]:
        """Predict rows (n_rows, n_inputs)."""
        probabilities = self.network.probabilities(inputs)
        labels = [CLASSES[place] for place in probabilities.argmax(axis=1).tolist()]
        return {"probabilities": probabilities.tolist(), "predictions": labels}

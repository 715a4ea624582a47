"""MLflow's model of the network, from code; ``python mlflow_model.py FOLDER`` saves it for ``mlflow models serve``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from network import CLASSES, Network

__all__ = ["NetworkModel"]


class NetworkModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Answers probabilities and the most probable class."""

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        self.network = Network()

    def predict(self, context, model_input, params=None):  # annotations would be its schema
        """Predict rows (n_rows, n_inputs)."""
        probabilities = self.network.probabilities(np.asarray(model_input, np.float32))
        labels = [CLASSES[place] for place in probabilities.argmax(axis=1).tolist()]
        return {"probabilities": probabilities, "predictions": labels}


if __name__ == "__main__":
    folder = Path(__file__).parent
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, code_paths=[str(folder / "network.py")])
else:
    mlflow.models.set_model(NetworkModel())

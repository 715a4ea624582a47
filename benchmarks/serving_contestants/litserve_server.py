"""LitServe's server for the network, after its documentation; ``python litserve_server.py PORT``."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
from network import CLASSES, Network

__all__ = ["NetworkAPI"]


class NetworkAPI(litserve.LitAPI):  # type: ignore[misc]
    """Answers probabilities and the most probable class."""

    def setup(self, device: str) -> None:
        """Read the weights."""
        self.network = Network()

    def decode_request(self, request):  # its annotation would be the schema of the body
        """The rows of a JSON body."""
        return np.array(request["inputs"], np.float32)

    def predict(self, x: Any) -> Any:
        """Predict rows (n_rows, n_inputs)."""
        return self.network.probabilities(x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """What JSON shows of them."""
        labels = [CLASSES[place] for place in output.argmax(axis=1).tolist()]
        return {"probabilities": output.tolist(), "predictions": labels}


if __name__ == "__main__":
    # Its documentation recommends the fast queue for small models.
    server = litserve.LitServer(NetworkAPI(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="error",
        access_log=False,
    )  # fmt: skip

"""MLServer's runtime for the network, after its documentation of custom runtimes; run by ``mlserver start``."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import CLASSES, Network

__all__ = ["NetworkModel"]


class NetworkModel(MLModel):
    """Answers probabilities and the most probable class."""

    async def load(self) -> bool:
        """Read the weights."""
        self.network = Network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict rows (n_rows, n_inputs)."""
        probabilities = self.network.probabilities(NumpyCodec.decode_input(payload.inputs[0]))
        labels = [CLASSES[place] for place in probabilities.argmax(axis=1).tolist()]
        outputs = [
            NumpyCodec.encode_output("probabilities", probabilities),
            StringCodec.encode_output("predictions", labels),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)

"""Stock clients send a key as docs/protocols.md says, and report a refusal in its own words."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from service.access.keys import Scope, create_key
from service.settings import Settings
from service.store.database import Database
from testing.harness import Client, Server, serving
from testing.samples import DATA
from tests.clients.environments import python_of

pytestmark = pytest.mark.processes

TRAINING = {"model": {"name": "tour", "hidden": [8]}, "data": DATA, "epochs": 5}
#: Programs that ask the model ``tour`` for the class of one row and print it. They get the address and a key.
PROGRAMS = {
    "triton": """
import sys, numpy as np, tritonclient.http as httpclient
x = httpclient.InferInput("inputs", [1, 2], "FP32")
x.set_data_from_numpy(np.array([[-1, 0.25]], np.float32))
client = httpclient.InferenceServerClient(sys.argv[1].removeprefix("http://"), network_timeout=60.0)
answer = client.infer("tour", [x], headers={"Authorization": "Bearer " + sys.argv[2]})
print(answer.as_numpy("predictions")[0].decode())
""",
    "kserve": """
import asyncio, sys
from kserve import InferenceRESTClient, RESTConfig
client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
given = {"instances": [[-1, 0.25]], "signature_name": "predictions"}
headers = {"Authorization": "Bearer " + sys.argv[2]}
print(asyncio.run(client.infer(sys.argv[1], given, model_name="tour", headers=headers))["predictions"][0])
""",
    "mlflow": """
import os, sys
os.environ["MLFLOW_TRACKING_TOKEN"] = sys.argv[2]
from mlflow.deployments import get_deploy_client
print(get_deploy_client(sys.argv[1]).predict(endpoint="tour", inputs={"inputs": [[-1, 0.25]]})["predictions"][0])
""",
}


class Place(NamedTuple):
    """A server with keys, a key that may predict, one that may not, and the class that the model predicts."""

    base: str
    key: str
    other: str
    expected: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with serving(tmp_path_factory.mktemp("keys") / "data", WORKERS=1) as server:
        keys = _keys(server)
        client, headers = Client(server.client.base), {"Authorization": f"Bearer {keys['train']}"}
        job = client.post("/train", TRAINING, headers=headers).json
        job = client.get(f"/jobs/{job['id']}?wait=60", headers=headers).json
        assert job["state"] == "succeeded", job
        asked = {"model": "tour", "inputs": [[-1, 0.25]]}
        answer = client.post("/predict", asked, headers={"Authorization": f"Bearer {keys['predict']}"})
        yield Place(client.base, keys["predict"], keys["other"], answer.json["predictions"][0])


def _keys(server: Server) -> dict[str, str]:
    database = Database(Settings.read({"TRAINYARD_DATA": str(server.data)}))
    wanted = {"train": ("alice", Scope.TRAIN), "predict": ("alice", Scope.PREDICT), "other": ("bob", Scope.PREDICT)}
    with database.write() as connection:
        made = {name: create_key(connection, owner, [scope])[1] for name, (owner, scope) in wanted.items()}
    database.dispose()
    return made


def ask(client: str, base: str, key: str) -> subprocess.CompletedProcess[str]:
    if not python_of(client).exists():
        pytest.skip(f"make clients makes the environment {client}")
    return subprocess.run(
        [python_of(client), "-c", PROGRAMS[client], base, key], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("client", PROGRAMS)
def test_a_key_that_may_predict(place: Place, client: str) -> None:
    finished = ask(client, place.base, place.key)
    assert finished.stdout.strip() == place.expected, finished.stderr


@pytest.mark.parametrize("client", PROGRAMS)
def test_a_wrong_key_and_that_of_another_owner(place: Place, client: str) -> None:
    """The client raises an error with the status: 401, and 404 for another owner's model."""
    for key, status in (("ty_" + "0" * 40, "401"), (place.other, "404")):
        finished = ask(client, place.base, key)
        assert finished.returncode != 0
        # Lines of source have numbers of their own.
        said = [line for line in finished.stderr.splitlines() if not line.startswith("  File")]
        assert re.search(rf"\b{status}\b", "\n".join(said)), finished.stderr
        assert finished.stdout == ""


def test_curl(place: Place) -> None:
    """As a bearer, and as the password of basic authentication."""
    data = """'{"instances": [[-1, 0.25]], "signature_name": "predictions"}'"""
    for option in (f'-H "Authorization: Bearer {place.key}"', f"-u :{place.key}"):
        line = f"curl -s {option} {place.base}/v1/models/tour:predict -d {data}"
        finished = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
        assert finished.stdout == f'{{"predictions":["{place.expected}"]}}\n'

"""MLflow's clients: of its deployments, which name the endpoint, and of a scoring server, which has one model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.deployments import get_deploy_client
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

Predict = Callable[..., Any]
ROWS = [[-1.0, 0.25], [0.0, 0.5], [1.0, 0.75]]
PEOPLE = pd.DataFrame({"age": [31, 52], "city": ["Rome", "Oslo"], "member": [True, False]})


@pytest.fixture
def deployments(base: str) -> Any:
    return get_deploy_client(base)


@pytest.fixture
def scoring(address: str) -> ScoringServerClient:
    host, _, port = address.partition(":")
    return ScoringServerClient(host, port)


def labels(predict: Predict) -> Any:
    return predict(model="tour", inputs=ROWS)["predictions"]


@pytest.mark.parametrize("member", ["inputs", "instances"])
def test_deployments_send_rows(deployments: Any, predict: Predict, member: str) -> None:
    """An endpoint is a model; the answer is classes, as of ``predict`` in scikit-learn."""
    assert deployments.predict(endpoint="tour", inputs={member: ROWS}) == {"predictions": labels(predict)}


def test_deployments_send_data_frames(deployments: Any, predict: Predict) -> None:
    """Split, or as records."""
    rows = PEOPLE.to_dict(orient="records")
    expected = {"predictions": predict(model="people", rows=rows)["predictions"]}
    split = PEOPLE.to_dict(orient="split")
    assert deployments.predict(endpoint="people", inputs={"dataframe_split": split}) == expected
    assert deployments.predict(endpoint="people", inputs={"dataframe_records": rows}) == expected


def test_probabilities(deployments: Any, predict: Predict) -> None:
    asked = {"inputs": ROWS, "params": {"predict_method": "predict_proba"}}
    found = deployments.predict(endpoint="tour", inputs=asked)["predictions"]
    np.testing.assert_allclose(found, predict(model="tour", inputs=ROWS)["probabilities"], rtol=1e-6)


def test_deployments_errors(deployments: Any) -> None:
    """The client raises what the service says."""
    with pytest.raises(Exception, match="nothing-here"):
        deployments.predict(endpoint="nothing-here", inputs={"inputs": ROWS})
    with pytest.raises(Exception, match="2"):
        deployments.predict(endpoint="tour", inputs={"inputs": [[1.0]]})


def test_scoring_server(scoring: ScoringServerClient, predict: Predict) -> None:
    """``TRAINYARD_DEFAULT_MODEL`` is the one model; arrays, lists and data frames are sent in different forms."""
    scoring.ping()
    scoring.wait_server_ready(timeout=5)
    assert scoring.get_version()
    expected = labels(predict)
    for data in (
        np.array(ROWS),
        np.array(ROWS, np.float32),
        ROWS,
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, columns=["x", "y"]),
    ):
        answer = scoring.invoke(data)
        assert answer["predictions"] == expected
    frame = scoring.invoke(pd.DataFrame(ROWS), params={"predict_method": "predict"}).get_predictions()
    assert frame[0].tolist() == expected


def test_scoring_errors(scoring: ScoringServerClient) -> None:
    with pytest.raises(Exception, match=r"400.*BAD_REQUEST"):
        scoring.invoke(np.array([[1.0, 2.0, 3.0]]))


def test_the_line_of_the_readme(line: str, predict: Predict) -> None:
    found = eval(line, {"get_deploy_client": get_deploy_client})
    assert found == {"predictions": predict(model="tour", inputs=[[0.8, 0.2]])["predictions"]}

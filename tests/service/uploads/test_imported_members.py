"""Importing checkpoints of several members: good ones predict the same bits as before, bad ones are refused."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from models.definition.definition import ModelDefinition
from models.errors import InvalidError
from models.formats.checkpoint_import import checkpoint_of, read_import
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from nncore.network import Predictor
from testing.bad_files import GOOD, MODEL
from testing.bad_members import (
    BAD_MEMBERS,
    GOOD_MEMBERS,
    MEMBERS_DATA,
    MEMBERS_MODEL,
    MEMBERS_ROWS,
    members_file,
    minimal_members,
)
from testing.harness import Answer, Client, Server
from testing.samples import fresh

pytestmark = pytest.mark.processes

FILE = {"Content-Type": "application/x-hdf5"}
DEFINITION = ModelDefinition.load(MEMBERS_MODEL)
#: Attributes that an import changes.
NEW = {"created_at", "kind", "metrics", "job", "definition", "nncore_version", "numpy_version", "kernels"}


def passed_on(content: bytes) -> tuple[Any, bytes]:
    """What the process that reads files passes on: the document, and the bytes of the arrays."""
    with tempfile.TemporaryFile() as upload:
        upload.write(content)
        upload.flush()
        document, arrays = read_import(upload.fileno(), DEFINITION)
        return json.loads(json.dumps(document)), b"".join(array.tobytes() for array in arrays)


def imported(content: bytes) -> EnsembleCheckpoint:
    document, arrays = passed_on(content)
    checkpoint = checkpoint_of(DEFINITION, document, memoryview(arrays))
    assert isinstance(checkpoint, EnsembleCheckpoint)
    return checkpoint


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_a_bad_file(name: str) -> None:
    """The service gets the same ones from ``reliability hostile``."""
    with pytest.raises(InvalidError) as found:
        imported(BAD_MEMBERS[name].make())
    (problem, *_) = found.value.problems
    assert problem.pointer == BAD_MEMBERS[name].pointer
    assert "Received: " in problem.detail or "found" in problem.detail or problem.pointer.startswith("/definition")


class TestTaken:
    """What the process that takes the values makes of them, and what it refuses if the other one lies."""

    def test_all_of_a_file(self) -> None:
        checkpoint = imported(GOOD_MEMBERS)
        assert sorted(checkpoint.members) == [1, 2, 3, 4, 5, 6]
        assert checkpoint.seconds == 1.5
        assert checkpoint.held_out is not None
        assert checkpoint.metrics["validation_accuracy"] == np.mean(
            checkpoint.held_out.probabilities.argmax(axis=1) == checkpoint.held_out.codes
        )
        member = checkpoint.members[3]
        with h5py.File(io.BytesIO(GOOD_MEMBERS)) as file:
            given = file["members/3"]
            for name, array in member.parameters.items():
                assert np.array_equal(array, given[f"best/parameters/{name}"])
            assert np.array_equal(member.checkpoint.parameters["0_dense/bias"], given["parameters/0_dense/bias"])
            assert [epoch.loss for epoch in member.checkpoint.history] == given["history/loss"][()].tolist()
            assert len(checkpoint.trust) == 8

    def test_the_least(self) -> None:
        checkpoint = imported(members_file(minimal_members))
        assert sorted(checkpoint.members) == [1, 3]
        assert (checkpoint.metrics, checkpoint.held_out, dict(checkpoint.trust)) == ({}, None, {})
        assert checkpoint.members[1].checkpoint.state.moments.keys() == {"gradient_sum", "square_sum", "average"}

    @pytest.mark.parametrize(
        "change",
        [
            lambda document: document["members"].append({**document["members"][0], "member": 7}),
            lambda document: document["members"][0].update(member=0),
            lambda document: document["members"][0].update(ended="never"),
            lambda document: document["members"][0]["best"].update(monitor="none"),
            lambda document: document.update(weights={"binned": 2.0, "plain": -1.0}),
            lambda document: document.update(weights=[]),
            lambda document: document.update(temperature="warm"),
            lambda document: document.update(held_out=13),
            lambda document: document.update(held_out=2**50),
            lambda document: document.update(scores=None),
            lambda document: document.update(members=[]),
            lambda document: document.update(learned=[]),
            lambda document: document.update(learned="x"),
            lambda document: document.pop("seconds"),
        ],
    )
    def test_a_lie_is_refused(self, change: Callable[[Any], object]) -> None:
        document, arrays = passed_on(GOOD_MEMBERS)
        change(document)
        with pytest.raises((InvalidError, ValueError, KeyError, TypeError)):
            checkpoint_of(DEFINITION, document, memoryview(arrays))

    def test_bytes_that_are_no_probabilities(self) -> None:
        document, arrays = passed_on(GOOD_MEMBERS)
        with pytest.raises((InvalidError, ValueError)):
            checkpoint_of(DEFINITION, document, memoryview(bytes([255]) * len(arrays)))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server than the one that trains."""
    running = Server(tmp_path_factory.mktemp("there") / "data", TRAINER="external", WORKERS=1)
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def trained(server: Server) -> dict[str, Any]:
    return server.client.run({"model": {**MEMBERS_MODEL, "name": fresh("members")}, "data": MEMBERS_DATA})


def exported(client: Client, job: dict[str, Any]) -> bytes:
    return client.get(f"/checkpoints/{job['checkpoint']}/file").body


def send(client: Client, content: bytes, model: str) -> Answer:
    return client.post(f"/models/{model}/checkpoints", content, headers=FILE)


def predicted(client: Client, model: str, **rows: Any) -> Any:
    answer = client.post("/predict", {"model": model, **(rows or {"rows": MEMBERS_ROWS, "report": True})})
    assert answer.status == 200, answer
    return {name: value for name, value in answer.json.items() if name not in ("model", "version")}


class TestServed:
    def test_it_predicts_to_the_bit_as_where_it_comes_from(
        self, client: Client, there: Server, trained: dict[str, Any]
    ) -> None:
        """The model is defined as that server shows it, or as it was defined there."""
        content = exported(client, trained)
        shown = client.get(f"/models/{trained['model']}/versions/{trained['version']}").json["definition"]
        rows = [{name: value for name, value in row.items() if name != "colour"} for row in MEMBERS_DATA["rows"]]
        for definition in (shown, MEMBERS_MODEL):
            name = fresh("there")
            there.client.define({**definition, "name": name})
            answer = send(there.client, content, name)
            assert answer.status == 201, answer
            assert answer.json["metrics"] == pytest.approx(trained["metrics"], rel=1e-5)
            for asked in ({}, {"rows": rows}):
                assert predicted(there.client, name, **asked) == predicted(client, trained["model"], **asked)
            version = there.client.get(f"/models/{name}/versions/1").json
            assert version["definition"]["network"] == shown["network"]

    def test_what_is_kept_is_what_was_sent(self, client: Client, there: Server, trained: dict[str, Any]) -> None:
        """And what is kept can be sent once more."""
        content = exported(client, trained)
        for _ in range(2):
            name = fresh("kept")
            there.client.define({**MEMBERS_MODEL, "name": name})
            sent, content = content, exported(there.client, send(there.client, content, name).json)
            with h5py.File(io.BytesIO(sent)) as given, h5py.File(io.BytesIO(content)) as kept:
                assert_kept(given, kept)

    def test_parameters_alone_are_enough(self, there: Server) -> None:
        name = fresh("least")
        there.client.define({**MEMBERS_MODEL, "name": name})
        content = members_file(minimal_members)
        assert send(there.client, content, name).json["metrics"] == {}
        found = np.array(predicted(there.client, name, rows=[{"height": 1.0, "sex": "male"}])["probabilities"])
        assert found.shape == (1, 3)
        # The number itself, its bins (0 to 1, 1 to 2, 2 to 4), no gap; two levels.
        x = np.array([[0, 1, 0, 0, 0, 0, 1]], np.float32)
        mean = np.zeros(3)
        with h5py.File(io.BytesIO(content)) as file:
            for number, weight, columns in ((1, 0.75, slice(None)), (3, 0.25, [0, 4, 5, 6])):
                kind = DEFINITION.ensemble.kinds[number // 2]  # type: ignore[union-attr]
                arrays: dict[str, Any] = {}
                for group in ("parameters", "statistics"):
                    if group in file[f"members/{number}"]:
                        file[f"members/{number}/{group}"].visititems(
                            lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {})  # noqa: B023
                        )
                inputs = x[:, columns]
                mean += weight * Predictor(kind.layers, inputs.shape[1], arrays).predict_proba(inputs)[0]
        powers = mean ** (1 / 1.25)
        np.testing.assert_allclose(found[0], powers / powers.sum(), rtol=1e-5)

    def test_models_that_cannot_take_it(self, there: Server) -> None:
        single, many, undecided = fresh("single"), fresh("many"), fresh("open")
        there.client.define({**MODEL, "name": single})
        there.client.define({**MEMBERS_MODEL, "name": many})
        there.client.define({**MEMBERS_MODEL, "name": undecided, "network": "auto"})
        for name, content, pointer, words in (
            (single, GOOD_MEMBERS, "/", "must be 1, as the model has one network. Received: 2"),
            (many, GOOD, "/", "must be 2, as the model has members. Received: 1"),
            (undecided, GOOD_MEMBERS, "/definition/network", "open until data train it"),
        ):
            answer = send(there.client, content, name)
            assert answer.status == 422, answer
            (error,) = answer.json["errors"]
            assert error["pointer"] == pointer
            assert words in error["detail"]


def assert_kept(given: h5py.File, kept: h5py.File) -> None:
    """An import holds all but what only a run needs."""

    def of_a_run(place: str) -> bool:
        parts = place.split("/")
        return parts[-2:] in (["training", "rows"], ["training", "permutation"]) or (
            parts[0] == "members" and parts[-1] == "held_out"
        )

    def compare(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not of_a_run(place):
            assert item.dtype == kept[place].dtype, place
            assert item[()].tobytes() == kept[place][()].tobytes(), place
        elif isinstance(item, h5py.Group) and not place.endswith("training"):
            for name, value in item.attrs.items():
                assert kept[place].attrs[name] == value, f"{place} {name}"

    given.visititems(compare)
    for name in set(given.attrs) - NEW:
        assert given.attrs[name] == kept.attrs[name]

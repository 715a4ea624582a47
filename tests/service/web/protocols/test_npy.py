"""Matrices as NumPy stores them: numpy.save and numpy.load are the oracle, and /predict in JSON."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import InvalidError, MalformedError
from service.web.protocols.npy import NPY, npy_array
from testing.harness import Answer, Client
from testing.samples import ROWS
from tests.service.conftest import Trained

TYPES = ("<f4", "<f8", ">f8", "<f2", "<i8", ">i4", "u1")


def stored(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asarray(array), **options)
    return out.getvalue()


def ask(client: Client, model: str, body: bytes, query: str = "", accept: str = "*/*") -> Answer:
    fields = {"Content-Type": NPY, "Accept": accept}
    return client.request("POST", f"/predict?model={model}{query}", body, fields)


@given(
    arrays.arrays(
        st.sampled_from(TYPES),
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements={"allow_nan": True},
    ),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0)]),
)
def test_what_numpy_saves_is_read(array: Any, columns_first: bool, version: tuple[int, int]) -> None:
    array = np.asfortranarray(array) if columns_first else array
    found = npy_array(stored(array, version=version))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@given(st.integers(1, 200), st.binary(min_size=1, max_size=6))
def test_what_is_damaged_is_refused_or_read(place: int, damage: bytes) -> None:
    body = stored(np.arange(6.0).reshape(2, 3))
    damaged = body[: place % len(body)] + damage + body[place % len(body) + len(damage) :]
    with suppress(MalformedError, InvalidError):
        assert npy_array(damaged).ndim == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "must be an array as numpy.save writes it"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "must be an array as numpy.save writes it"),
        (stored(np.zeros((2, 2)))[:-1], "has 32 bytes after its header. Received: 31"),
        (stored(np.zeros((2, 2))) + b"0", "has 32 bytes after its header. Received: 33"),
        (stored(np.zeros((2, 2, 2))), r"must be a matrix \(rows, columns\)"),
        (stored(np.zeros((0, 2))), r"must be a matrix \(rows, columns\)"),
        (stored(np.array([["a", "b"]])), "must be an array of real numbers. Received: an array of <U1"),
        (stored(np.array([[True]])), "must be an array of real numbers. Received: an array of bool"),
        (stored(np.array([[1j]])), "must be an array of real numbers"),
        (stored(np.array([[None]]), allow_pickle=True), "must be an array of real numbers. Received: an array of obj"),
    ],
)
def test_the_refusal_says_what_is_wrong(body: bytes, reason: str) -> None:
    with pytest.raises((MalformedError, InvalidError), match=reason):
        npy_array(body)


class TestAnswers:
    """Over HTTP."""

    @pytest.mark.parametrize("dtype", TYPES[:-1])
    def test_probabilities_are_those_of_json(self, client: Client, trained: Trained, dtype: str) -> None:
        rows = np.array(ROWS).round().astype(dtype)
        answer = ask(client, trained.name, stored(rows))
        assert (answer.status, answer.headers["content-type"], answer.headers["x-model-version"]) == (200, NPY, "3")
        known = client.post("/predict", {"model": trained.name, "inputs": rows.astype(float).tolist()}).json
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), np.array(known["probabilities"], "f4"))
        named = ask(client, trained.name, stored(rows), accept="application/json")
        assert named.json == known

    def test_json_may_be_answered_by_a_matrix(self, client: Client, trained: Trained) -> None:
        body = {"model": trained.name, "inputs": ROWS, "version": 1}
        answer = client.request("POST", "/predict", body, {"Accept": NPY})
        assert answer.headers["x-model-version"] == "1"
        known = client.post("/predict", body).json["probabilities"]
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), np.array(known, "f4"))
        refused = client.request("POST", "/predict", {**body, "top_k": 1}, {"Accept": NPY})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/top_k")

    def test_one_row_may_be_a_vector(self, client: Client, trained: Trained) -> None:
        answer = ask(client, trained.name, stored(np.array(ROWS[0])), "&version=1")
        assert np.load(io.BytesIO(answer.body)).shape == (1, 3)

    @pytest.mark.parametrize(
        ("array", "query", "status", "detail"),
        [
            (np.zeros((2, 3)), "", 422, "/0: must hold 2 numbers, one per input of the model. Received: 3"),
            (np.array([[0, 1], [np.nan, 0]]), "", 422, "/1/0: must be a finite number. Received: nan"),
            (np.array([[0, 1e300]]), "", 422, "/0/1: is too large for float32. Received: 1e+300"),
            (np.zeros((1, 2)), "&version=9", 404, "has no version 9"),
            (np.zeros((1, 2)), "&verion=1", 422, "did you mean 'version'?"),
            (np.zeros((1, 2)), "&version=1&version=2", 422, "must be given once"),
        ],
    )
    def test_faults(self, client: Client, trained: Trained, array: Any, query: str, status: int, detail: str) -> None:
        answer = ask(client, trained.name, stored(array), query)
        assert answer.status == status, answer
        assert detail in answer.json["detail"]

    def test_many_rows_take_the_way_of_large_bodies(self, client: Client, trained: Trained) -> None:
        rows = np.random.default_rng(1).normal(size=(60_000, 2)).astype("f4")
        answer = ask(client, trained.name, stored(rows))
        some = ask(client, trained.name, stored(rows[:100]))
        found = np.load(io.BytesIO(answer.body))
        assert found.shape == (60_000, 3)
        np.testing.assert_allclose(found[:100], np.load(io.BytesIO(some.body)), atol=1e-6)

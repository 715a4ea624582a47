"""Rows of other protocols in the log of a shadow: as the request has them, in every form that it may have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from service.web.json_bodies import parse_json
from service.web.protocols.csv_rows import CsvRows
from service.web.protocols.given_rows import named_rows, rows_of_json, rows_of_tensors
from service.web.protocols.tensor_request import read_request

LISTS = [[1.5, 2.0], [3.0, -4.25]]
OBJECTS = [{"age": 22, "sex": "male"}, {"age": None, "sex": "female"}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LISTS, LISTS),
        ([1.5, 2], [[1.5], [2]]),
        (OBJECTS, OBJECTS),
        ({"inputs": LISTS}, LISTS),
        ({"age": [22, None], "sex": ["male", "female"]}, OBJECTS),
        ({"age": [[22], [None]], "sex": [["male"], ["female"]]}, OBJECTS),
        ({"age": [22, 7]}, [{"age": 22}, {"age": 7}]),
        ({"age": [[22.5], [7.5]]}, [{"age": 22.5}, {"age": 7.5}]),
        ({"columns": ["age", "sex"], "data": [[22, "male"], [None, "female"]], "index": [0, 1]}, OBJECTS),
        ({"columns": ["x", "y"], "data": LISTS}, [{"x": 1.5, "y": 2.0}, {"x": 3.0, "y": -4.25}]),
        ({"columns": [0, 1], "data": LISTS}, LISTS),
        ({"data": LISTS}, LISTS),
    ],
)
def test_json(value: Any, expected: Any) -> None:
    """Also if many numbers were parsed at once."""
    assert as_plain(rows_of_json(value)) == expected
    (parsed,) = parse_json(json.dumps({"inputs": value}).encode()).values()
    assert as_plain(rows_of_json(parsed)) == expected


def as_plain(rows: Any) -> Any:
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in rows]


def test_csv() -> None:
    table = CsvRows("age,sex\n22,male\n,female\n")
    assert named_rows(table.names, table.rows) == [{"age": "22", "sex": "male"}, {"age": "", "sex": "female"}]
    table = CsvRows("1,2\n3,4\n")
    assert named_rows(table.names, table.rows) == [["1", "2"], ["3", "4"]]


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([tensor("inputs", "FP32", [2, 2], [1.5, 2.0, 3.0, -4.25])], LISTS),
        ([tensor("inputs", "FP32", [2, 2], LISTS)], LISTS),
        ([tensor("age", "INT64", [2, 1], [[22], [7]])], [{"age": 22}, {"age": 7}]),
        (
            [tensor("age", "FP64", [2], [22, 7]), tensor("sex", "BYTES", [2, 1], ["male", "female"])],
            [{"age": 22, "sex": "male"}, {"age": 7, "sex": "female"}],
        ),
    ],
)
def test_tensors(inputs: Any, expected: Any) -> None:
    assert rows_of_tensors(read_request(json.dumps({"inputs": inputs}).encode(), None)) == expected


def test_raw_tensors() -> None:
    words = [word.encode() for word in ("male", "female")]
    parts = [np.array([22.5, 7], "<f8").tobytes(), b"".join(len(word).to_bytes(4, "little") + word for word in words)]
    inputs = [
        {"name": name, "datatype": kind, "shape": [2, 1], "parameters": {"binary_data_size": len(part)}}
        for name, kind, part in zip(("age", "sex"), ("FP64", "BYTES"), parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    given = read_request(head + b"".join(parts), str(len(head)))
    assert rows_of_tensors(given) == [{"age": 22.5, "sex": "male"}, {"age": 7.0, "sex": "female"}]
    assert rows_of_tensors(read_request(np.ones((2, 2), "<f4").tobytes(), "0")) is None

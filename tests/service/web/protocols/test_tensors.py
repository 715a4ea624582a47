"""Tensors in JSON and as raw bytes: round trips for every datatype, against NumPy's own bytes, and clear refusals."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.data.rows import Array
from models.errors import InvalidError
from service.web.protocols.tensors import BF16, BYTES, DATATYPES, element, from_json, from_raw, raw_strings, to_raw

NUMBERS = sorted(DATATYPES.keys() - {BYTES, BF16})
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
#: Text that UTF-8 has bytes for.
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, Array]:
    datatype = draw(st.sampled_from(NUMBERS))
    dtype = DATATYPES[datatype]
    assert dtype is not None
    elements = arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    return datatype, draw(arrays.arrays(dtype, draw(SHAPES), elements=elements))


def refused(datatype: str, raw: bytes, count: int) -> str:
    with pytest.raises(InvalidError) as error:
        from_raw(datatype, memoryview(raw), count, "/here")
    assert error.value.problems[0].pointer == "/here"
    return error.value.problems[0].detail


def refused_json(datatype: str, data: Any, shape: list[int], **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as error:
        from_json(datatype, data, shape, "/data", **options)
    return [(problem.pointer, problem.detail) for problem in error.value.problems]


class TestRaw:
    """Raw bytes."""

    @given(tensors())
    def test_they_are_those_of_numpy(self, tensor: tuple[str, Array]) -> None:
        datatype, values = tensor
        raw = to_raw(values, datatype)
        assert raw == values.tobytes()
        found = from_raw(datatype, memoryview(raw), values.size, "")
        np.testing.assert_array_equal(found, values.ravel())
        assert found.dtype == values.dtype

    @given(TEXTS)
    def test_strings_have_their_lengths_before_them(self, texts: list[str]) -> None:
        encoded = [text.encode() for text in texts]
        raw = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
        assert raw_strings(texts) == raw
        assert from_raw(BYTES, memoryview(raw), len(texts), "").tolist() == texts

    @given(arrays.arrays(np.float32, 5, elements=st.floats(width=16, allow_nan=False)))
    def test_half_of_a_float_is_its_upper_two_bytes(self, values: Array) -> None:
        upper = values.view(np.uint32) & 0xFFFF0000
        raw = to_raw(values, BF16)
        assert raw == (upper >> 16).astype("<u2").tobytes()
        np.testing.assert_array_equal(from_raw(BF16, memoryview(raw), 5, ""), upper.view(np.float32))

    @given(tensors())
    def test_numbers_are_not_copied(self, tensor: tuple[str, Array]) -> None:
        datatype, values = tensor
        raw = bytearray(to_raw(values, datatype))
        assert np.shares_memory(from_raw(datatype, memoryview(raw), values.size, ""), np.frombuffer(raw, np.uint8))

    def test_another_number_of_bytes_is_refused(self) -> None:
        wanted = "must have 8 bytes, 4 bytes for each of 2 elements of FP32. Received: 7"
        assert refused("FP32", bytes(7), 2) == wanted
        assert refused("INT8", bytes(3), 2) == "must have 2 bytes, 1 byte for each of 2 elements of INT8. Received: 3"

    def test_a_truth_is_0_or_1(self) -> None:
        assert refused("BOOL", b"\0\1\2", 3) == "element 2 must be the byte 0 or 1. Received: 2"

    @pytest.mark.parametrize(
        ("raw", "count", "detail"),
        [
            (b"\1\0\0", 1, "element 0 must begin with its length, 4 bytes. Received: 3 bytes"),
            (b"\1\0\0\0a\5\0\0\0ab", 2, "element 1 has 5 bytes according to its length, and 2 are left"),
            (b"\1\0\0\0a", 2, "must hold 2 elements, as shape says. Received: 1"),
            (b"\1\0\0\0a\0\0\0\0", 1, "must hold 1 elements, as shape says. Received: 2"),
            (b"\1\0\0\0\xff", 1, "element 0 must be text in UTF-8: invalid start byte"),
        ],
    )
    def test_broken_strings_are_refused(self, raw: bytes, count: int, detail: str) -> None:
        assert refused(BYTES, raw, count) == detail

    @given(st.binary(max_size=40), st.sampled_from(sorted(DATATYPES)), st.integers(0, 12))
    def test_any_bytes_are_read_or_refused(self, raw: bytes, datatype: str, count: int) -> None:
        try:
            found = from_raw(datatype, memoryview(raw), count, "")
        except InvalidError:
            return
        assert len(found) == count
        if datatype == BYTES:
            assert to_raw(found, BYTES) == raw


class TestJson:
    """Elements in JSON."""

    @given(tensors())
    def test_flat_and_nested_lists_hold_the_same(self, tensor: tuple[str, Array]) -> None:
        datatype, values = tensor
        nested = json.loads(json.dumps(values.tolist()))
        for data in (nested, values.ravel().tolist()):
            found = from_json(datatype, data, values.shape, "")
            np.testing.assert_array_equal(np.array(found, values.dtype), values.ravel())

    @given(tensors(), st.data())
    def test_the_place_of_an_element_leads_to_it(self, tensor: tuple[str, Array], data: st.DataObject) -> None:
        _, values = tensor
        index = data.draw(st.integers(0, values.size - 1))
        for document in (values.tolist(), values.ravel().tolist()):
            found: Any = document
            for part in element(document, values.shape, index).split("/")[1:]:
                found = found[int(part)]
            assert found == values.ravel()[index]

    @given(TEXTS)
    def test_strings(self, texts: list[str]) -> None:
        assert from_json(BYTES, texts, [len(texts)], "") == texts
        assert from_json(BYTES, [[text] for text in texts], [len(texts), 1], "") == texts

    def test_one_string_may_stand_for_a_list_of_it(self) -> None:
        assert from_json(BYTES, "word", [1, 1], "") == ["word"]
        assert refused_json(BYTES, "word", [2]) == [("/data", "must hold 2 elements, as shape says. Received: 1")]

    def test_gaps_are_null_if_they_are_allowed(self) -> None:
        assert from_json("FP32", [1.5, None], [2], "", gaps=True) == [1.5, None]
        assert from_json("INT8", [None, 127], [2], "", gaps=True) == [None, 127]
        ((place, detail),) = refused_json("FP32", [1.5, None], [2])
        assert (place, detail) == ("/data/1", "must be a number, because the datatype is FP32. Received: null")

    @pytest.mark.parametrize(
        ("datatype", "value", "wanted"),
        [
            ("FP32", "1", "a number"),
            ("FP32", True, "a number"),
            ("FP64", [1.0], "a number"),
            ("INT8", 1.0, "a whole number from -128 to 127"),
            ("INT8", 128, "a whole number from -128 to 127"),
            ("UINT64", -1, "a whole number from 0 to 18446744073709551615"),
            ("INT32", False, "a whole number from -2147483648 to 2147483647"),
            ("BOOL", 1, "true or false"),
            (BYTES, 1, "a string"),
        ],
    )
    def test_an_element_of_another_type_is_refused_at_its_place(self, datatype: str, value: Any, wanted: str) -> None:
        good = {"BOOL": True, BYTES: "a"}.get(datatype, 1)
        for data, place in (([good, good, value, good], "/data/2"), ([[good, good], [value, good]], "/data/1/0")):
            ((found, detail),) = refused_json(datatype, data, [2, 2])
            assert found == place
            assert detail.startswith(f"must be {wanted}, because the datatype is {datatype}. Received: ")

    @pytest.mark.parametrize(
        ("data", "place", "detail"),
        [
            ([1, 2, 3], "/data", "must hold 4 elements, as shape says. Received: 3"),
            ([[1, 2], [3]], "/data/1", "must be a list of 2, as shape says. Received: 1"),
            ([[1, 2], 3], "/data/1", "must be a list of 2, as shape says. Received: 3"),
            ([[1, 2]], "/data", "must be a list of 2, as shape says. Received: 1"),
            ([[[1], [2]], [[3], [4]]], "/data/0/0", "must be a number, because the datatype is FP32. Received: [1]"),
            (None, "/data", "must be a list of the tensor's elements. Received: null"),
            ("text", "/data", "must be a list of the tensor's elements. Received: 'text'"),
        ],
    )
    def test_lists_that_differ_from_the_shape_are_refused(self, data: Any, place: str, detail: str) -> None:
        assert refused_json("FP32", data, [2, 2])[0] == (place, detail)

    def test_all_faults_are_counted_and_the_first_are_listed(self) -> None:
        with pytest.raises(InvalidError) as error:
            from_json("FP32", ["a"] * 50, [50], "/data")
        assert error.value.total == 50
        assert [problem.pointer for problem in error.value.problems] == [f"/data/{place}" for place in range(20)]

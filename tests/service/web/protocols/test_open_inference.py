"""Requests and answers of the Open Inference Protocol V2, without a server: what they mean, and what is refused."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.dataset import from_rows
from models.data.rows import Array
from models.errors import InvalidError, MalformedError, TrainyardError
from models.serving.served_model import ServedModel
from service.serving.inference import RowOverflowError, infer
from service.serving.resolution import ServedVersion
from service.web.protocols import native
from service.web.protocols.exchange import Reply
from service.web.protocols.open_inference import reader_of
from service.web.protocols.tensor_outputs import output_forms
from service.web.protocols.tensor_rows import input_forms
from service.web.protocols.tensors import DATATYPES, to_raw
from testing.runs import Recorder, a_definition, a_run
from testing.tables import a_frame, a_table, a_table_run, of_table

PATH = "/v2/models/m/infer"
ROWS = [[0.5, -1.25], [2.0, 0.0], [-3.0, 0.75]]
BINARY = {"binary_data_output": True}


def served(folder: Path, run: Any) -> ServedVersion:
    journal = Recorder(folder=folder)
    assert run.run(journal)
    return ServedVersion("m", 7, ServedModel(journal.files[-1]), "ckpt_1")


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """Two inputs and the classes a, b and c."""
    return served(tmp_path_factory.mktemp("points"), a_run())


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """Columns of every kind."""
    return served(tmp_path_factory.mktemp("visits"), a_table_run(epochs=2))


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """Two columns of numbers, of which the first must not be missing."""
    frame = a_frame(40)[["age", "label"]].assign(height=np.linspace(1.0, 2.0, 40))
    frame["age"] = frame["age"].fillna(30.0)
    table = a_table(frame[["age", "height", "label"]])
    definition = of_table(table, features={"age": {"missing": "refuse"}, "height": {"missing": "mean"}})
    return served(tmp_path_factory.mktemp("sizes"), a_table_run(table, definition=definition, epochs=2))


def tensor(values: Any, datatype: str = "FP32", name: str = "inputs", **members: Any) -> dict[str, Any]:
    shape = list(np.shape(values))
    return {"name": name, "shape": shape, "datatype": datatype, "data": values, **members}


def raw_tensor(values: Array, datatype: str = "FP32", name: str = "inputs") -> tuple[dict[str, Any], bytes]:
    raw = to_raw(values, datatype)
    parameters = {"binary_data_size": len(raw)}
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "parameters": parameters}, raw


def ask(version: ServedVersion, document: Any, *raws: bytes, length: str | None = None, **environ: str) -> Reply:
    """The answer to a request: JSON, and raw bytes after it."""
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    given = dict(environ)
    if raws or length is not None:
        given["HTTP_INFERENCE_HEADER_CONTENT_LENGTH"] = str(len(head)) if length is None else length
    reader = reader_of(PATH)
    assert reader is not None
    exchange = reader.read(given, b"".join((head, *raws)), None)
    rows = exchange.rows(version.network)
    try:
        return exchange.reply(version, infer(version, rows))
    except RowOverflowError as error:
        raise exchange.moved(error) from None


def ask_raw(version: ServedVersion, *tensors: tuple[dict[str, Any], bytes], **members: Any) -> Reply:
    return ask(version, {"inputs": [each for each, _ in tensors], **members}, *(raw for _, raw in tensors))


def parts(reply: Reply) -> tuple[dict[str, Any], bytes]:
    """The JSON of an answer, and the bytes after it."""
    assert isinstance(reply.body, bytes)
    headers = dict(reply.headers)
    if "Inference-Header-Content-Length" not in headers:
        assert reply.content_type == "application/json"
        return json.loads(reply.body), b""
    assert reply.content_type == "application/octet-stream"
    length = int(headers["Inference-Header-Content-Length"])
    return json.loads(reply.body[:length]), reply.body[length:]


def outputs(reply: Reply) -> dict[str, Any]:
    """The outputs of an answer by name, in their order, read by this function alone."""
    document, rest = parts(reply)
    found = {}
    for output in document["outputs"]:
        datatype, shape = output["datatype"], output["shape"]
        if "parameters" in output:
            assert "data" not in output
            size = output["parameters"]["binary_data_size"]
            values, rest = _decoded(datatype, rest[:size]), rest[size:]
        else:
            values = output["data"]
        assert len(values) == np.prod(shape)
        dtype = {"FP32": np.float32, "BYTES": object}.get(datatype)
        found[output["name"]] = np.array(values, dtype).reshape(shape).tolist()
    assert rest == b""
    return found


def _decoded(datatype: str, raw: bytes) -> Any:
    if datatype != "BYTES":
        return np.frombuffer(raw, {"FP32": "<f4", "INT64": "<i8", "BOOL": "?"}[datatype])
    found = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return found


def native_answer(version: ServedVersion, **members: Any) -> dict[str, Any]:
    """What ``/predict`` answers about the same rows."""
    reader = native.reader_of("/predict")
    assert reader is not None
    exchange = reader.read({}, json.dumps({"model": "m", **members}).encode(), None)
    reply = exchange.reply(version, infer(version, exchange.rows(version.network)))
    assert isinstance(reply.body, bytes)
    return dict(json.loads(reply.body))


def agree(version: ServedVersion, reply: Reply, **members: Any) -> None:
    """An answer has the probabilities and predictions that ``/predict`` answers."""
    expected, found = native_answer(version, **members), outputs(reply)
    assert list(found) == ["probabilities", "predictions"]
    assert np.array_equal(np.float32(found["probabilities"]), np.float32(expected["probabilities"]))
    assert found["predictions"] == expected["predictions"]


def problems(version: ServedVersion, document: Any, *raws: bytes, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as error:
        ask(version, document, *raws, **options)
    return [(problem.pointer, problem.detail) for problem in error.value.problems]


def problem(version: ServedVersion, document: Any, *raws: bytes, **options: Any) -> tuple[str, str]:
    (found,) = problems(version, document, *raws, **options)
    return found


def malformed(version: ServedVersion, document: Any, *raws: bytes, **options: Any) -> str:
    with pytest.raises(MalformedError) as error:
        ask(version, document, *raws, **options)
    return error.value.detail


class TestRowsOfNumbers:
    """A model without columns takes one tensor."""

    def test_its_form(self, points: ServedVersion) -> None:
        assert input_forms(points.network) == [("inputs", "FP32", [-1, 2])]
        assert output_forms(points.network) == [("probabilities", "FP32", [-1, 3]), ("predictions", "BYTES", [-1])]

    @pytest.mark.parametrize("data", [ROWS, np.ravel(ROWS).tolist()], ids=["nested", "flat"])
    def test_json_is_answered_as_predict_answers(self, points: ServedVersion, data: list[Any]) -> None:
        reply = ask(points, {"inputs": [{**tensor(ROWS), "data": data}]})
        agree(points, reply, inputs=ROWS)
        document, _ = parts(reply)
        assert document.keys() == {"model_name", "model_version", "outputs"}
        assert (document["model_name"], document["model_version"]) == ("m", "7")
        # Elements stand in a flat list.
        assert [output["shape"] for output in document["outputs"]] == [[3, 3], [3]]
        assert [len(output["data"]) for output in document["outputs"]] == [9, 3]

    @pytest.mark.parametrize("datatype", sorted(DATATYPES.keys() - {"BOOL", "BYTES"}))
    def test_every_datatype_of_numbers_is_taken(self, points: ServedVersion, datatype: str) -> None:
        rows = np.array([[3, 1], [0, 2]])
        agree(points, ask_raw(points, raw_tensor(rows, datatype)), inputs=rows.tolist())
        agree(points, ask(points, {"inputs": [tensor(rows.tolist(), datatype)]}), inputs=rows.tolist())

    @pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
    def test_other_datatypes_are_refused(self, points: ServedVersion, datatype: str) -> None:
        place, detail = problem(points, {"inputs": [tensor([[True, True]], datatype)]})
        assert place == "/inputs/0/datatype"
        assert detail == f"must be one of numbers, such as FP32. Received: {datatype}"

    @pytest.mark.parametrize("shape", [[2], [3, 3], [2, 1, 2], [0, 2], [2, 0]])
    def test_another_shape_is_refused(self, points: ServedVersion, shape: list[int]) -> None:
        data = [1.0] * int(np.prod(shape))
        place, detail = problem(points, {"inputs": [{**tensor([[1.0]]), "shape": shape, "data": data}]})
        assert place == "/inputs/0/shape"
        assert f"Received: {shape}" in detail
        assert "2]" in detail

    def test_another_name_is_refused(self, points: ServedVersion) -> None:
        found = problems(points, {"inputs": [tensor(ROWS, name="input"), tensor(ROWS), tensor(ROWS)]})
        assert [place for place, _ in found] == ["/inputs/0/name", "/inputs/2/name"]
        assert found[0][1] == "must be \"inputs\", the only input, of shape [-1, 2]. Received: 'input'"
        assert found[1][1] == "'inputs' is there already; send all rows in one tensor"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite_are_refused(self, points: ServedVersion, value: float) -> None:
        given, raw = raw_tensor(np.array([[1, 2], [3, value]], np.float32))
        place, detail = problem(points, {"inputs": [given]}, raw)
        assert place == "/inputs/0"
        assert detail == f"element 3 must be a finite number. Received: {value}"

    def test_numbers_that_are_too_large_are_refused(self, points: ServedVersion) -> None:
        for data, index in (([[1, 1e39]], "0/1"), ([1, 1e39], "1")):
            given = {**tensor([[1.0, 1.0]], "FP64"), "data": data}
            wanted = f"/inputs/0/data/{index}", "is too large for float32. Received: 1e+39"
            assert problem(points, {"inputs": [given]}) == wanted
        given, raw = raw_tensor(np.array([[1, 1e39]]), "FP64")
        assert problem(points, {"inputs": [given]}, raw)[1] == "element 1 is too large for float32. Received: 1e+39"

    def test_a_row_that_overflows_is_named(self, points: ServedVersion) -> None:
        rows = [[1.0, 1.0], [3e38, -3e38]]
        place, detail = problem(points, {"inputs": [tensor(rows)]})
        assert place == "/inputs/0"
        assert detail == "row 1 is so large that the model's float32 numbers overflow"

    def test_a_float64_model_keeps_its_digits(self, tmp_path: Path) -> None:
        version = served(tmp_path, a_run(dtype="float64"))
        rows = np.array([[0.1, 0.2], [1 / 3, -1e-9]])
        expected = native_answer(version, inputs=rows.tolist())["probabilities"]
        for reply in (ask_raw(version, raw_tensor(rows, "FP64")), ask(version, {"inputs": [tensor(rows.tolist())]})):
            assert np.array_equal(np.float32(outputs(reply)["probabilities"]), np.float32(expected))


class TestColumns:
    """A model of a table takes a tensor for each column."""

    COLUMNS = (
        ("age", "FP64", [31.5, None, 80.0]),
        ("sex", "BYTES", ["male", "female", None]),
        ("member", "BOOL", [True, None, False]),
        ("day", "BYTES", ["2020-03-04T05:00:00", "2021-01-01", None]),
        ("notes", "BYTES", ["very fine day", "", "rain"]),
    )

    @classmethod
    def rows(cls, *without: str) -> list[dict[str, Any]]:
        values = [column for name, _, column in cls.COLUMNS if name not in without]
        names = [name for name, _, _ in cls.COLUMNS if name not in without]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    @classmethod
    def tensors(cls, *without: str) -> list[dict[str, Any]]:
        return [tensor(values, datatype, name) for name, datatype, values in cls.COLUMNS if name not in without]

    def test_its_form(self, visits: ServedVersion) -> None:
        assert input_forms(visits.network) == [(name, datatype, [-1, 1]) for name, datatype, _ in self.COLUMNS]

    @pytest.mark.parametrize("nested", [True, False])
    def test_json_is_answered_as_predict_answers_rows(self, visits: ServedVersion, nested: bool) -> None:
        tensors = self.tensors()
        if nested:
            tensors = [
                {**each, "shape": [3, 1], "data": [[value] for value in each["data"]]} for each in reversed(tensors)
            ]
        agree(visits, ask(visits, {"inputs": tensors}), rows=self.rows())

    def test_raw_bytes_are_answered_as_predict_answers_rows(self, visits: ServedVersion) -> None:
        """Missing values are NaN and empty texts; a truth cannot be missing."""
        given = []
        for name, datatype, values in self.COLUMNS:
            if datatype == "FP64":
                array = np.array([np.nan if value is None else value for value in values])
            elif datatype == "BOOL":
                array = np.array([bool(value) for value in values])
            else:
                array = np.array([value or "" for value in values], object)
            given.append(raw_tensor(array.reshape(3, 1), datatype, name))
        rows = [{**row, "member": bool(row["member"])} for row in self.rows()]
        agree(visits, ask_raw(visits, *given), rows=rows)

    def test_a_column_that_lacks_has_missing_values(self, visits: ServedVersion) -> None:
        agree(visits, ask(visits, {"inputs": self.tensors("sex", "notes")}), rows=self.rows("sex", "notes"))

    def test_numbers_may_have_any_datatype(self, visits: ServedVersion) -> None:
        rows = [{**row, "age": age} for row, age in zip(self.rows(), (1, 2, 3), strict=True)]
        for datatype in ("INT8", "UINT64", "FP16", "FP32"):
            given = [tensor([1, 2, 3], datatype, "age"), *self.tensors("age")]
            agree(visits, ask(visits, {"inputs": given}), rows=rows)

    def test_the_label_may_be_among_them(self, visits: ServedVersion) -> None:
        given = [*self.tensors(), tensor(["yes", "no", "yes"], "BYTES", "label")]
        agree(visits, ask(visits, {"inputs": given}), rows=self.rows())
        agree(visits, ask(visits, {"inputs": given[-1:]}), rows=[{"label": "yes"}] * 3)

    def test_tensors_of_different_numbers_of_rows_are_refused(self, visits: ServedVersion) -> None:
        given = [tensor([1.0, 2.0], "FP64", "age"), tensor(["male"], "BYTES", "sex"), tensor([True], "BOOL", "member")]
        found = problems(visits, {"inputs": given})
        assert [place for place, _ in found] == ["/inputs/1/shape", "/inputs/2/shape"]
        assert found[0][1] == "input 'sex' has 1 rows, and input 'age' has 2; they must have as many"

    def test_other_names_and_shapes_are_refused_together(self, visits: ServedVersion) -> None:
        given = [
            tensor([1.0], "FP64", "aeg"),
            tensor([[1.0, 2.0]], "FP64", "age"),
            tensor(["male"], "BYTES", "sex"),
            tensor(["male"], "BYTES", "sex"),
        ]
        found = dict(problems(visits, {"inputs": given}))
        assert list(found) == ["/inputs/0/name", "/inputs/1/shape", "/inputs/3/name"]
        assert found["/inputs/0/name"].startswith(
            "'aeg' is not an input of the model (did you mean 'age'?); inputs are"
        )
        wanted = "must be [number of rows, 1] or [number of rows], with at least one row. Received: [1, 2]"
        assert found["/inputs/1/shape"] == wanted
        assert found["/inputs/3/name"] == "'sex' is there already: /inputs/2"

    def test_values_that_do_not_fit_a_column_are_refused_at_their_places(self, visits: ServedVersion) -> None:
        given = [tensor([1.0, 2.0], "FP64", "age"), tensor(["2020-01-01", "soon"], "BYTES", "day")]
        place, detail = problem(visits, {"inputs": given})
        assert place == "/inputs/1/data/1"
        assert detail.startswith("must be a date or time such as")
        raws = [raw_tensor(np.array(each["data"], object), "BYTES", "day") for each in given[1:]]
        place, detail = problem(visits, {"inputs": [raws[0][0]]}, raws[0][1])
        assert place == "/inputs/0"
        assert detail.startswith("element 1 must be a date or time such as")

    def test_infinity_is_no_number_of_a_column(self, visits: ServedVersion) -> None:
        given, raw = raw_tensor(np.array([1.0, np.inf]), "FP64", "age")
        wanted = "element 1 must be a finite number, or NaN if it is missing. Received: inf"
        assert problem(visits, {"inputs": [given]}, raw) == ("/inputs/0", wanted)

    def test_all_numbers_may_be_one_tensor(self, sizes: ServedVersion) -> None:
        assert input_forms(sizes.network) == [("age", "FP64", [-1, 1]), ("height", "FP64", [-1, 1])]
        rows = [{"age": 30.5, "height": 1.5}, {"age": 61.0, "height": None}]
        matrix = [[30.5, 1.5], [61.0, None]]
        columns = [tensor([30.5, 61.0], "FP64", "age"), tensor([1.5, None], "FP64", "height")]
        raw = raw_tensor(np.array([[30.5, 1.5], [61.0, np.nan]]), "FP64")
        for reply in (
            ask(sizes, {"inputs": [tensor(matrix, "FP64")]}),
            ask_raw(sizes, raw),
            ask(sizes, {"inputs": columns}),
            ask_raw(sizes, *(raw_tensor(np.float64(each["data"]), "FP64", each["name"]) for each in columns)),
        ):
            agree(sizes, reply, rows=rows)
        agree(sizes, ask(sizes, {"inputs": columns[:1]}), rows=[{"age": 30.5}, {"age": 61.0}])

    def test_a_column_that_must_not_be_missing(self, sizes: ServedVersion) -> None:
        wanted = 'must not be missing: the feature has "missing": "refuse"'
        for inputs, place in (
            ([tensor([[1.0, 1.0], [None, 1.0]], "FP64")], "/inputs/0/data/1/0"),
            ([tensor([1.0, 1.0], "FP64", "height"), tensor([1.0, None], "FP64", "age")], "/inputs/1/data/1"),
        ):
            assert problem(sizes, {"inputs": inputs}) == (place, wanted)
        given, raw = raw_tensor(np.array([[1.0, 1.0], [np.nan, 1.0]]), "FP64")
        assert problem(sizes, {"inputs": [given]}, raw) == ("/inputs/0", f"element 2 {wanted}")
        absent = problem(sizes, {"inputs": [tensor([1.0], "FP64", "height")]})
        assert absent == ("/inputs", f"row 0 lacks a value of 'age', which {wanted}")

    def test_the_single_tensor_is_for_numbers_alone(self, visits: ServedVersion) -> None:
        place, detail = problem(visits, {"inputs": [tensor([[1.0] * 5])]})
        assert place == "/inputs/0/name"
        assert detail.startswith("'inputs' is not an input of the model; inputs are age, sex")


class TestOutputs:
    """Which outputs are answered, and how."""

    @staticmethod
    def ask(version: ServedVersion, *wanted: dict[str, Any], **members: Any) -> Reply:
        return ask(version, {"inputs": [tensor(ROWS)], "outputs": list(wanted), **members})

    def test_they_are_those_that_are_listed_in_that_order(self, points: ServedVersion) -> None:
        every = outputs(ask(points, {"inputs": [tensor(ROWS)]}))
        one, other = {"name": "probabilities"}, {"name": "predictions"}
        for wanted in ([one], [other], [one, other], [other, one], []):
            found = outputs(self.ask(points, *wanted))
            assert found == ({each["name"]: every[each["name"]] for each in wanted} or every)
            assert list(found) == [each["name"] for each in wanted or [one, other]]

    def test_others_are_refused(self, points: ServedVersion) -> None:
        wanted = [{"name": "probability"}, {"name": "predictions"}, {"name": "predictions"}]
        found = problems(points, {"inputs": [tensor(ROWS)], "outputs": wanted})
        assert [place for place, _ in found] == ["/outputs/0/name", "/outputs/2/name"]
        meant = "(did you mean 'probabilities'?); outputs are probabilities, predictions"
        assert found[0][1] == f"'probability' is not an output of the model {meant}"
        assert found[1][1] == "'predictions' is there already: /outputs/1"

    @pytest.mark.parametrize("default", [True, False, None])
    @pytest.mark.parametrize("own", [True, False, None])
    def test_an_output_is_raw_if_it_or_else_the_request_says_so(
        self, points: ServedVersion, default: bool | None, own: bool | None
    ) -> None:
        listed = {"name": "probabilities", **({} if own is None else {"parameters": {"binary_data": own}})}
        top = {} if default is None else {"parameters": {"binary_data_output": default}}
        reply = self.ask(points, listed, {"name": "predictions"}, **top)
        raw = ["parameters" in output for output in parts(reply)[0]["outputs"]]
        assert raw == [bool(default) if own is None else own, bool(default)]
        assert outputs(reply) == outputs(ask(points, {"inputs": [tensor(ROWS)]}))

    def test_raw_probabilities_are_those_of_json_to_the_bit(self, points: ServedVersion) -> None:
        reply = ask(points, {"inputs": [tensor(ROWS)], "parameters": BINARY})
        document, rest = parts(reply)
        assert [output["parameters"]["binary_data_size"] for output in document["outputs"]] == [36, 15]
        agree(points, reply, inputs=ROWS)
        assert len(rest) == 36 + 15

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_classifications_are_the_most_probable_classes(
        self, points: ServedVersion, count: int, binary: bool
    ) -> None:
        parameters = {"classification": count, "binary_data": binary}
        reply = self.ask(points, {"name": "probabilities", "parameters": parameters})
        (output,) = parts(reply)[0]["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [3, count])
        probabilities = np.float32(outputs(ask(points, {"inputs": [tensor(ROWS)]}))["probabilities"])
        for row, found in zip(probabilities, outputs(reply)["probabilities"], strict=True):
            best = sorted(range(3), key=lambda place: -row[place])[:count]
            split = [text.split(":") for text in found]
            assert [(np.float32(score), int(place)) for score, place, _ in split] == [(row[p], p) for p in best]
            assert [label for _, _, label in split] == ["abc"[place] for place in best]

    def test_more_classifications_than_classes_are_refused(self, points: ServedVersion) -> None:
        wanted = [
            {"name": "probabilities", "parameters": {"classification": 4}},
            {"name": "predictions", "parameters": {"classification": 1}},
        ]
        found = dict(problems(points, {"inputs": [tensor(ROWS)], "outputs": wanted}))
        assert found["/outputs/0/parameters/classification"] == "must be at most 3, the classes. Received: 4"
        assert "'predictions' are classes already" in found["/outputs/1/parameters/classification"]

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize(
        ("classes", "datatype"),
        [
            ([1, 20, -300], "INT64"),
            (["1", "x:y", "ä"], "BYTES"),
            ([0, 1, 2**63], "BYTES"),
        ],
    )
    def test_datatypes_of_classes(self, tmp_path: Path, classes: list[Any], datatype: str, binary: bool) -> None:
        definition = a_definition().document() | {"classes": classes}
        data = from_rows(ROWS * 3, classes * 3)
        version = served(tmp_path, a_run(definition=type(a_definition()).load(definition), data=data, epochs=1))
        assert output_forms(version.network)[1] == ("predictions", datatype, [-1])
        reply = ask(version, {"inputs": [tensor(ROWS)], "parameters": {"binary_data_output": binary}})
        expected = native_answer(version, inputs=ROWS)["predictions"]
        wanted = [str(label) for label in expected] if datatype == "BYTES" else expected
        assert outputs(reply)["predictions"] == wanted

    @pytest.mark.parametrize("binary", [True, False])
    def test_classes_that_are_truths(self, tmp_path: Path, binary: bool) -> None:
        layers = [{"type": "dense", "units": 2}, {"type": "softmax"}]
        definition = a_definition().document() | {"classes": [False, True], "layers": layers}
        data = from_rows(ROWS * 2, [True, False, False] * 2)
        version = served(tmp_path, a_run(definition=type(a_definition()).load(definition), data=data, epochs=1))
        reply = ask(version, {"inputs": [tensor(ROWS)], "parameters": {"binary_data_output": binary}})
        assert output_forms(version.network)[1].datatype == "BOOL"
        agree(version, reply, inputs=ROWS)

    def test_the_id_is_returned(self, points: ServedVersion) -> None:
        for parameters in ({}, BINARY):
            document = {"id": "request 7", "inputs": [tensor(ROWS)], "parameters": parameters}
            assert parts(ask(points, document))[0]["id"] == "request 7"
        assert "id" not in parts(ask(points, {"id": None, "inputs": [tensor(ROWS)]}))[0]

    def test_large_json_is_compressed_if_the_request_accepts_it(self, points: ServedVersion) -> None:
        document = {"inputs": [tensor(np.random.default_rng(0).normal(size=(6000, 2)).tolist())]}
        plain = ask(points, document)
        assert isinstance(plain.body, bytes)
        for accepted, coding, decompress in (
            ("gzip", "gzip", gzip.decompress),
            ("deflate, gzip;q=0.5", "deflate", zlib.decompress),
            ("br, *;q=0.1", "gzip", gzip.decompress),
        ):
            reply = ask(points, document, HTTP_ACCEPT_ENCODING=accepted)
            assert dict(reply.headers) == {"Content-Encoding": coding}
            assert isinstance(reply.body, bytes)
            assert decompress(reply.body) == plain.body
        for accepted in ("br", "identity", "gzip;q=0", ""):
            assert ask(points, document, HTTP_ACCEPT_ENCODING=accepted) == plain
        small = {"inputs": [tensor(ROWS)]}
        assert ask(points, small, HTTP_ACCEPT_ENCODING="gzip") == ask(points, small)
        raw = {**document, "parameters": BINARY}
        assert ask(points, raw, HTTP_ACCEPT_ENCODING="gzip") == ask(points, raw)


class TestForm:
    """The form of a request."""

    def test_members_that_other_clients_add_are_taken(self, points: ServedVersion) -> None:
        parameters = {"sequence_id": 7, "priority": 1, "timeout": 9, "own": [1, {"x": None}]}
        extra = {"id": "1", "model_name": "m", "model_version": None, "parameters": parameters, "outputs": None}
        given = {"inputs": [tensor(ROWS, parameters={"own": "x"})], **extra}
        agree(points, ask(points, given), inputs=ROWS)

    def test_every_fault_is_reported(self, points: ServedVersion) -> None:
        given = {
            "id": 1,
            "ouputs": [],
            "parameters": {"binary_data_output": "yes"},
            "inputs": [
                {"name": 1, "shape": [-1, 2], "datatype": "FP33", "data": []},
                {"name": "inputs", "shape": [], "datatype": "FP32"},
                5,
                tensor(ROWS, parameters=[]),
                tensor(ROWS, parameters={"binary_data_size": 4}),
            ],
            "outputs": [
                {"name": None},
                3,
                {"name": "predictions", "parameters": {"binary_data": 1, "classification": -1}},
            ],
        }
        assert {place for place, _ in problems(points, given)} == {
            "/id",
            "/ouputs",
            "/parameters/binary_data_output",
            "/inputs/0/name",
            "/inputs/0/shape",
            "/inputs/0/datatype",
            "/inputs/1/shape",
            "/inputs/1/data",
            "/inputs/2",
            "/inputs/3/parameters",
            "/inputs/4/parameters/binary_data_size",
            "/outputs/0/name",
            "/outputs/1",
            "/outputs/2/parameters/binary_data",
            "/outputs/2/parameters/classification",
        }

    @pytest.mark.parametrize("document", [[], None, 1, "x"])
    def test_a_body_that_is_no_object(self, points: ServedVersion, document: Any) -> None:
        assert problem(points, document)[0] == ""

    @pytest.mark.parametrize("inputs", [None, [], {}])
    def test_a_request_without_inputs(self, points: ServedVersion, inputs: Any) -> None:
        assert problem(points, {"inputs": inputs})[0] == "/inputs"
        assert problem(points, {})[0] == "/inputs"

    def test_shared_memory_is_not_offered(self, points: ServedVersion) -> None:
        given = {"name": "inputs", "shape": [1, 2], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}
        assert problem(points, {"inputs": [given]})[1].startswith("shared memory is not offered")

    def test_a_version_in_the_body(self, points: ServedVersion) -> None:
        body = json.dumps({"inputs": [tensor(ROWS)], "model_version": "3"}).encode()
        for path, wanted in ((PATH, 3), ("/v2/models/m/versions/3/infer", 3)):
            reader = reader_of(path)
            assert reader is not None
            assert reader.read({}, body, None).wanted == wanted
        reader = reader_of("/v2/models/m/versions/best/infer")
        assert reader is not None
        assert reader.read({}, json.dumps({"inputs": [tensor(ROWS)]}).encode(), None).wanted == "best"
        with pytest.raises(InvalidError, match="must be 'best', as in the address"):
            reader.read({}, body, None)

    @pytest.mark.parametrize(
        "path",
        ["/v2/models/m", "/v2/models/m/infer/", "/v2/models//infer", "/v2/models/a/b/infer", "/v1/models/m/infer"],
    )
    def test_other_paths_have_no_reader(self, path: str) -> None:
        assert reader_of(path) is None

    def test_the_sequence_is_answered_by_one_version(self) -> None:
        reader = reader_of(PATH)
        assert reader is not None
        for sequence, sticky in ((12, "12"), ("s", "s"), (0, None), (None, None)):
            body = json.dumps({"inputs": [tensor(ROWS)], "parameters": {"sequence_id": sequence}}).encode()
            assert reader.read({}, body, None).sticky == sticky


class TestLengths:
    """The header with the length of the JSON, and the sizes of tensors."""

    @pytest.fixture
    def given(self) -> tuple[dict[str, Any], bytes]:
        return raw_tensor(np.float32(ROWS))

    def test_raw_tensors_follow_the_json_in_their_order(self, visits: ServedVersion) -> None:
        days = np.array(["2020-03-04", "2021-01-01"], object)
        first, second = raw_tensor(np.float32([1.5, 2.5]), "FP32", "age"), raw_tensor(days, "BYTES", "day")
        between = tensor(["male", "female"], "BYTES", "sex")
        reply = ask(visits, {"inputs": [first[0], between, second[0]]}, first[1], second[1])
        rows = [{"age": 1.5, "sex": "male", "day": days[0]}, {"age": 2.5, "sex": "female", "day": days[1]}]
        agree(visits, reply, rows=rows)

    def test_a_body_may_be_one_tensor(self, points: ServedVersion) -> None:
        reply = ask(points, b"", np.float32(ROWS).tobytes(), length="0")
        agree(points, reply, inputs=ROWS)
        assert all("parameters" in output for output in parts(reply)[0]["outputs"])

    @pytest.mark.parametrize("size", [0, 4, 12])
    def test_such_a_body_holds_whole_rows(self, points: ServedVersion, size: int) -> None:
        wanted = f"must be rows of 8 bytes, 2 elements of FP32 each. Received: {size} bytes"
        assert problem(points, bytes(size), length="0") == ("", wanted)

    def test_such_a_body_is_for_models_of_one_tensor(self, visits: ServedVersion, sizes: ServedVersion) -> None:
        assert "this model takes 5: age, sex, member" in problem(visits, bytes(8), length="0")[1]
        assert "this model takes 2: age, height" in problem(sizes, bytes(8), length="0")[1]

    def test_the_header_is_missing(self, points: ServedVersion, given: tuple[dict[str, Any], bytes]) -> None:
        head = json.dumps({"inputs": [given[0]]}).encode()
        wanted = f"the header Inference-Header-Content-Length must be {len(head)}, the length of the JSON"
        assert malformed(points, head + given[1]) == f"{wanted}, which raw tensors follow. Received: nothing"

    @pytest.mark.parametrize("off", [-1, 1, 5])
    def test_the_header_is_wrong(self, points: ServedVersion, given: tuple[dict[str, Any], bytes], off: int) -> None:
        head = json.dumps({"inputs": [given[0]]}).encode()
        wanted = f"must be {len(head)}, the length of the JSON, which raw tensors follow. Received: {len(head) + off}"
        assert wanted in malformed(points, head, given[1], length=str(len(head) + off))

    def test_the_header_is_larger_than_the_body(self, points: ServedVersion) -> None:
        head = json.dumps({"inputs": [tensor(ROWS)]}).encode()
        wanted = f"must be at most {len(head)}, the length of the body. Received: {len(head) + 1}"
        assert wanted in malformed(points, head, length=str(len(head) + 1))

    @pytest.mark.parametrize("text", ["", "-1", "x", "1.5", "1" * 5000, "\u0664"])
    def test_the_header_is_no_length(self, points: ServedVersion, text: str) -> None:
        assert "must be the length of the JSON in bytes" in malformed(points, {"inputs": [tensor(ROWS)]}, length=text)

    def test_json_alone_may_have_the_header(self, points: ServedVersion) -> None:
        head = json.dumps({"inputs": [tensor(ROWS)]}).encode()
        agree(points, ask(points, head, length=str(len(head))), inputs=ROWS)
        agree(points, ask(points, head + b" \n", length=str(len(head) + 2)), inputs=ROWS)

    def test_a_size_needs_the_header(self, points: ServedVersion) -> None:
        given = {"name": "inputs", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
        place, detail = problem(points, {"inputs": [given]})
        assert place == "/inputs/0/parameters/binary_data_size"
        assert detail.startswith("goes with the header Inference-Header-Content-Length")

    def test_sizes_beyond_the_body(self, points: ServedVersion, given: tuple[dict[str, Any], bytes]) -> None:
        wanted = "must be at most 23, the bytes of the body that are left for the tensor. Received: 24"
        found = problem(points, {"inputs": [given[0]]}, given[1][:-1])
        assert found == ("/inputs/0/parameters/binary_data_size", wanted)

    def test_bytes_beyond_the_sizes(self, points: ServedVersion, given: tuple[dict[str, Any], bytes]) -> None:
        place, detail = problem(points, {"inputs": [given[0]]}, given[1], b"?")
        assert place == "/inputs"
        assert detail.startswith("the tensors have 24 bytes by their binary_data_size, and 25 follow the JSON")

    def test_a_size_that_is_not_that_of_the_shape(self, points: ServedVersion) -> None:
        given, raw = raw_tensor(np.float32(ROWS))
        wanted = "must have 16 bytes, 4 bytes for each of 4 elements of FP32. Received: 24"
        assert problem(points, {"inputs": [{**given, "shape": [2, 2]}]}, raw) == ("/inputs/0", wanted)

    def test_a_form_that_is_known_is_read_anew(self, points: ServedVersion) -> None:
        """Requests with the same JSON have the bytes of their own, and faults of their own."""
        for rows in (ROWS, (np.array(ROWS) * 2).tolist(), ROWS):
            agree(points, ask_raw(points, raw_tensor(np.float32(rows)), parameters=BINARY), inputs=rows)
        given, raw = raw_tensor(np.float32(ROWS))
        document = {"inputs": [given], "parameters": BINARY}
        for wrong in (raw[:-1], raw + b"?"):
            problem(points, document, wrong)
        agree(points, ask(points, document, raw), inputs=ROWS)


@st.composite
def changed(draw: st.DrawFn) -> tuple[bytes, str]:
    """A request with raw tensors of which some bytes or the header were changed."""
    given, raw = raw_tensor(np.float32(ROWS))
    texts, more = raw_tensor(
        np.array(["a", "bc", ""], object), "BYTES", draw(st.sampled_from(["sex", "inputs", "day"]))
    )
    head = json.dumps({"inputs": draw(st.sampled_from([[given], [texts], [given, texts]]))}).encode()
    body = bytearray(head + raw + more)
    for place in draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[place] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(body)))
    length = draw(st.sampled_from([len(head), 0, cut]) | st.integers(0, len(body)))
    return bytes(body[: draw(st.sampled_from([cut, len(body)]))]), str(length)


@given(changed())
def test_any_bytes_are_answered_or_refused(
    points: ServedVersion, visits: ServedVersion, changed_request: tuple[bytes, str]
) -> None:
    body, length = changed_request
    for version in (points, visits):
        try:
            reply = ask(version, body, length=length)
        except TrainyardError:
            continue
        assert outputs(reply)

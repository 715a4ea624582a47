"""A request of the Open Inference Protocol V2, with Triton's binary tensor extension, checked for its form."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from models.errors import Faults, InvalidError, MalformedError, describe, escaped, listed, near, unknown_field
from service.web.json_bodies import parse_json
from service.web.memory import Held
from service.web.protocols.tensors import DATATYPES

__all__ = ["HEADER", "InferRequest", "InputTensor", "WantedOutput", "read_request"]

#: The header with the length of the JSON, which raw tensors follow.
HEADER = "Inference-Header-Content-Length"
#: Bytes of a body in which the end of the JSON is looked for if the header is wrong.
_SEARCHED = 65_536
#: Longer numbers exceed every limit, and Python refuses to parse integers with thousands of digits.
_DIGITS = 18

_MEMBERS = {"id", "model_name", "model_version", "parameters", "inputs", "outputs"}
_INPUT = {"name", "shape", "datatype", "parameters", "data"}
_OUTPUT = {"name", "parameters"}


class InputTensor(NamedTuple):
    """A tensor of a request: its elements are in ``data``, as JSON has them, or in ``raw``.

    ``place`` is its JSON pointer. ``shape`` has at least one dimension, and none is negative.
    """

    place: str
    name: str
    datatype: str
    shape: list[int]
    data: Any
    raw: memoryview | None


class WantedOutput(NamedTuple):
    """An output that a request asks for: as raw bytes or as JSON, and as so many classifications if it says so."""

    place: str
    name: str
    binary: bool | None
    classification: int | None


class InferRequest(NamedTuple):
    """A request for inference. ``raw`` is the body if that is one tensor and nothing else; then there is no input.

    ``binary`` says whether outputs are raw bytes if they do not say it themselves. Without ``outputs``, all are wanted.
    """

    id: str | None
    version: str | None
    parameters: dict[str, Any]
    inputs: list[InputTensor]
    outputs: list[WantedOutput] | None
    binary: bool
    raw: memoryview | None = None


def read_request(body: bytes, header: str | None, held: Held | None = None) -> InferRequest:
    """Read a body; ``header`` is the text of the header with the length of its JSON, None if there is none.

    What the values take is ``held``. Raises MalformedError if the JSON cannot be read or is not as long as the header
    says, and InvalidError with the first faults of the request's form.
    """
    if header is None:
        document = _parsed(body, body, None, held)
        rest = None
    else:
        length = _header_length(header, len(body))
        if not length:
            return InferRequest(None, None, {}, [], None, binary=True, raw=memoryview(body))
        document = _parsed(body[:length], body, header, held)
        rest = memoryview(body)[length:]
    if type(document) is not dict:
        raise InvalidError.at("", f"must be an object. Received: {describe(document)}")
    faults = Faults()
    _require_known(document, _MEMBERS, "", faults)
    parameters = _object(document.get("parameters"), "/parameters", faults)
    inputs = _inputs(document.get("inputs"), rest, faults)
    wanted = document.get("outputs")
    outputs = None if wanted is None or wanted == [] else _outputs(wanted, faults)
    binary = parameters.get("binary_data_output", False)
    if type(binary) is not bool:
        faults.add("/parameters/binary_data_output", f"must be true or false. Received: {describe(binary)}")
    texts = {name: document.get(name) for name in ("id", "model_name", "model_version")}
    for name, text in texts.items():
        if text is not None and type(text) is not str:
            faults.add(f"/{name}", f"must be a string. Received: {describe(text)}")
    faults.check()
    return InferRequest(texts["id"], texts["model_version"], parameters, inputs, outputs, binary)


def _header_length(text: str, size: int) -> int:
    if not text.isdecimal() or len(text) > _DIGITS:
        detail = f"the header {HEADER} must be the length of the JSON in bytes. Received: {describe(text)}"
        raise MalformedError("invalid_body", detail)
    length = int(text)
    if length > size:
        detail = f"the header {HEADER} must be at most {size}, the length of the body. Received: {length}"
        raise MalformedError("invalid_body", detail)
    return length


def _parsed(text: bytes, body: bytes, header: str | None, held: Held | None) -> Any:
    """The JSON of a body, which ``header`` is to give the length of."""
    try:
        return parse_json(text, held)
    except MalformedError as error:
        if error.code != "invalid_json":
            raise
        end = _end_of_json(body)
        if end is None or end == len(text.rstrip()):
            raise
        received = "nothing" if header is None else header
        detail = f"the header {HEADER} must be {end}, the length of the JSON, which raw tensors follow"
        raise MalformedError("invalid_body", f"{detail}. Received: {received}") from None


def _end_of_json(body: bytes) -> int | None:
    """The byte at which the JSON object at the beginning of a body ends; None if there is none among its first ones."""
    if body[:1] != b"{":
        return None
    try:
        # A character a byte. A string with other characters has its quotes at the same bytes.
        _, end = json.JSONDecoder(strict=False).raw_decode(body[:_SEARCHED].decode("latin-1"))
    except (ValueError, RecursionError):
        return None
    return end


def _require_known(given: dict[str, Any], known: AbstractSet[str], place: str, faults: Faults) -> None:
    if given.keys() <= known:
        return
    for name in given:
        if name not in known:
            if faults.full:
                faults.count()
            else:
                faults.add(f"{place}/{escaped(name)}", unknown_field(name, known))


def _object(value: Any, place: str, faults: Faults) -> dict[str, Any]:
    """The parameters of something: any names are allowed."""
    if value is None:
        return {}
    if type(value) is dict:
        return value
    faults.add(place, f"must be an object. Received: {describe(value)}")
    return {}


def _inputs(given: Any, rest: memoryview | None, faults: Faults) -> list[InputTensor]:
    """The tensors, and their bytes among the ``rest`` of the body; None if the body is JSON alone."""
    if type(given) is not list or not given:
        faults.add("/inputs", f"must be a list of at least one tensor. Received: {describe(given)}")
        return []
    found: list[InputTensor] = []
    start, whole = 0, True
    for number, tensor in enumerate(given):
        place = f"/inputs/{number}"
        if type(tensor) is not dict:
            faults.add(place, f"must be an object. Received: {describe(tensor)}")
            whole = False
            continue
        _require_known(tensor, _INPUT, place, faults)
        _check_tensor(tensor, place, faults)
        parameters = _object(tensor.get("parameters"), f"{place}/parameters", faults)
        size = parameters.get("binary_data_size")
        raw = None
        if size is None:
            _require_data(tensor, parameters, place, faults)
        elif (complaint := _wrong_size(size, tensor, rest, start)) is not None:
            faults.add(f"{place}/parameters/binary_data_size", complaint)
            whole = False
        else:
            assert rest is not None
            raw = rest[start : start + size]
            start += size
        found.append(
            InputTensor(
                place,
                tensor.get("name", ""),
                tensor.get("datatype", ""),
                tensor.get("shape", []),
                tensor.get("data"),
                raw,
            )
        )
    if whole and rest is not None and start < len(rest):
        detail = f"the tensors have {start} bytes by their binary_data_size, and {len(rest)} follow the JSON"
        faults.add("/inputs", f"{detail}; is {HEADER} right?")
    return found


def _check_tensor(tensor: dict[str, Any], place: str, faults: Faults) -> None:
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if type(name) is not str:
        faults.add(f"{place}/name", f"must be the name of an input. Received: {describe(name)}")
    if type(datatype) is not str or datatype not in DATATYPES:
        hint = near(datatype, DATATYPES) if type(datatype) is str else ""
        detail = f"must be one of {listed(DATATYPES)}{hint}. Received: {describe(datatype)}"
        faults.add(f"{place}/datatype", detail)
    if type(shape) is not list or not shape or any(type(size) is not int or size < 0 for size in shape):
        detail = f"must be a list of the tensor's dimensions, such as [1, 4]. Received: {describe(shape)}"
        faults.add(f"{place}/shape", detail)


def _require_data(tensor: dict[str, Any], parameters: dict[str, Any], place: str, faults: Faults) -> None:
    if "shared_memory_region" in parameters:
        detail = "shared memory is not offered; send the elements in data, or as raw bytes with binary_data_size"
        faults.add(f"{place}/parameters/shared_memory_region", detail)
    elif "data" not in tensor:
        detail = "is required: a list of the tensor's elements, or parameters with binary_data_size and raw bytes"
        faults.add(f"{place}/data", detail)


def _wrong_size(size: Any, tensor: dict[str, Any], rest: memoryview | None, start: int) -> str | None:
    """What is wrong with a tensor's ``binary_data_size``; None if nothing is."""
    if type(size) is not int or size < 0:
        return f"must be the number of the tensor's bytes. Received: {describe(size)}"
    if "data" in tensor:
        return "must be left out if the tensor has data"
    if rest is None:
        return f"goes with the header {HEADER}, the length of the JSON, which the request lacks"
    if size > len(rest) - start:
        left = len(rest) - start
        return f"must be at most {left}, the bytes of the body that are left for the tensor. Received: {size}"
    return None


def _outputs(given: Any, faults: Faults) -> list[WantedOutput]:
    if type(given) is not list:
        faults.add("/outputs", f"must be a list of outputs. Received: {describe(given)}")
        return []
    found: list[WantedOutput] = []
    for number, output in enumerate(given):
        place = f"/outputs/{number}"
        if type(output) is not dict:
            faults.add(place, f"must be an object. Received: {describe(output)}")
            continue
        _require_known(output, _OUTPUT, place, faults)
        name = output.get("name")
        if type(name) is not str:
            faults.add(f"{place}/name", f"must be the name of an output. Received: {describe(name)}")
            name = ""
        parameters = _object(output.get("parameters"), f"{place}/parameters", faults)
        binary, count = parameters.get("binary_data"), parameters.get("classification")
        if binary is not None and type(binary) is not bool:
            faults.add(f"{place}/parameters/binary_data", f"must be true or false. Received: {describe(binary)}")
        if count is not None and (type(count) is not int or count < 0):
            detail = f"must be a whole number of classes. Received: {describe(count)}"
            faults.add(f"{place}/parameters/classification", detail)
        if "shared_memory_region" in parameters:
            faults.add(f"{place}/parameters/shared_memory_region", "shared memory is not offered; leave it out")
        # A client that wants no classifications may say so with 0.
        found.append(WantedOutput(place, name, binary, count or None))
    return found

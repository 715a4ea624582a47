"""A request of the Open Inference Protocol V2, with Triton's binary tensor extension, checked for its form."""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from functools import lru_cache
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
#: The members of a tensor whose elements are in JSON.
_PLAIN = {"name", "shape", "datatype", "data"}
_WHOLE: set[type] = {int}
#: Bytes of a JSON before raw tensors of which the form is remembered.
_REMEMBERED = 2_048


class InputTensor(NamedTuple):
    """A tensor of a request: its elements are in ``data``, as JSON has them, or they are ``size`` bytes, in ``raw``.

    ``place`` is its JSON pointer. ``shape`` has at least one dimension, and none is negative.
    """

    place: str
    name: str
    datatype: str
    shape: list[int]
    data: Any
    size: int | None = None
    raw: memoryview | None = None


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
        given = _form(_parsed(body, body, None, held))
        for tensor in given.inputs:
            if tensor.size is not None:
                return _with_raw(given, None)
        return given
    length = _header_length(header, len(body))
    if not length:
        return InferRequest(None, None, {}, [], None, binary=True, raw=memoryview(body))
    head, rest = body[:length], memoryview(body)[length:]
    if length > _REMEMBERED:
        return _with_raw(_form(_parsed(head, body, header, held)), rest)
    try:
        given = _known_form(head)
    except MalformedError:
        given = _form(_parsed(head, body, header, held))  # It has the length that the header should have.
    return _with_raw(given, rest)


@lru_cache(maxsize=1_024)
def _known_form(head: bytes) -> InferRequest:
    """The form of the JSON before raw tensors: clients send the same one again and again, with other bytes after it."""
    return _form(parse_json(head))


def _form(document: Any) -> InferRequest:
    """A request without its raw bytes. Raises InvalidError with the first faults."""
    if type(document) is not dict:
        raise InvalidError.at("", f"must be an object. Received: {describe(document)}")
    faults = Faults()
    if not document.keys() <= _MEMBERS:
        _add_unknown(document, _MEMBERS, "", faults)
    inputs = _inputs(document.get("inputs"), faults)
    if len(document) == 1:
        faults.check()
        return InferRequest(None, None, {}, inputs, None, binary=False)
    parameters = _object(document.get("parameters"), "/parameters", faults)
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


def _with_raw(given: InferRequest, rest: memoryview | None) -> InferRequest:
    """The request with the raw bytes of its tensors, from the ``rest`` of the body; None if the body is JSON alone.

    Raises InvalidError if they have other sizes.
    """
    faults, found = Faults(), given.inputs.copy()
    start, left = 0, 0 if rest is None else len(rest)
    for number, (place, name, datatype, shape, _, size, _) in enumerate(found):
        if size is None:
            continue
        if rest is None:
            detail = f"goes with the header {HEADER}, the length of the JSON, which the request lacks"
            faults.add(f"{place}/parameters/binary_data_size", detail)
        elif size > left - start:
            detail = f"must be at most {left - start}, the bytes of the body that are left for the tensor"
            faults.add(f"{place}/parameters/binary_data_size", f"{detail}. Received: {size}")
            left = start  # What follows has no place.
        else:
            found[number] = InputTensor(place, name, datatype, shape, None, size, rest[start : start + size])
            start += size
    if start < left:
        detail = f"the tensors have {start} bytes by their binary_data_size, and {left} follow the JSON"
        faults.add("/inputs", f"{detail}; is {HEADER} right?")
    faults.check()
    return InferRequest(given.id, given.version, given.parameters, found, given.outputs, given.binary)


def _header_length(text: str, size: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
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


def _add_unknown(given: dict[str, Any], known: AbstractSet[str], place: str, faults: Faults) -> None:
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


def _inputs(given: Any, faults: Faults) -> list[InputTensor]:
    if type(given) is not list or not given:
        faults.add("/inputs", f"must be a list of at least one tensor. Received: {describe(given)}")
        return []
    found: list[InputTensor] = []
    name: Any
    datatype: Any
    shape: Any
    for number, tensor in enumerate(given):
        place = f"/inputs/{number}"
        if type(tensor) is not dict:
            faults.add(place, f"must be an object. Received: {describe(tensor)}")
            continue
        get = tensor.get
        name, datatype, shape, size = get("name"), get("datatype"), get("shape"), None
        if tensor.keys() != _PLAIN:
            _add_unknown(tensor, _INPUT, place, faults)
            size = _size(tensor, place, faults)
        if type(name) is not str:
            faults.add(f"{place}/name", f"must be the name of an input. Received: {describe(name)}")
        if type(datatype) is not str or datatype not in DATATYPES:
            hint = near(datatype, DATATYPES) if type(datatype) is str else ""
            detail = f"must be one of {listed(DATATYPES)}{hint}. Received: {describe(datatype)}"
            faults.add(f"{place}/datatype", detail)
        if type(shape) is not list or not shape or set(map(type, shape)) != _WHOLE or min(shape) < 0:
            detail = f"must be a list of the tensor's dimensions, such as [1, 4]. Received: {describe(shape)}"
            faults.add(f"{place}/shape", detail)
        found.append(InputTensor(place, name, datatype, shape, get("data"), size))
    return found


def _size(tensor: dict[str, Any], place: str, faults: Faults) -> int | None:
    """The number of a tensor's raw bytes; None if it has none."""
    parameters = _object(tensor.get("parameters"), f"{place}/parameters", faults)
    size: Any = parameters.get("binary_data_size")
    if size is None:
        if "shared_memory_region" in parameters:
            detail = "shared memory is not offered; send the elements in data, or as raw bytes with binary_data_size"
            faults.add(f"{place}/parameters/shared_memory_region", detail)
        elif "data" not in tensor:
            detail = "is required: a list of the tensor's elements, or parameters with binary_data_size and raw bytes"
            faults.add(f"{place}/data", detail)
        return None
    if type(size) is int and size >= 0 and "data" not in tensor:
        return size
    detail = f"must be the number of the tensor's bytes. Received: {describe(size)}"
    if "data" in tensor:
        detail = "must be left out if the tensor has data"
    faults.add(f"{place}/parameters/binary_data_size", detail)
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
        _add_unknown(output, _OUTPUT, place, faults)
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

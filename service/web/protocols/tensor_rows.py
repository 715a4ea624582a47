"""What a network reads for the tensors of a request, and which tensors a model takes.

A model without columns takes one tensor, ``inputs``. A model of a table takes one tensor a column and, if all columns
are numbers, that single one too. Values become numbers as those of ``POST /predict`` do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from models.data.columns import ColumnKind
from models.data.rows import Array
from models.errors import Faults, InvalidError, Problem, describe, listed, near
from models.features.plan import ServingPlan
from models.serving.given_matrix import matrix_rows
from models.serving.served_model import ServedModel
from service.web.protocols.tensor_request import InferRequest, InputTensor
from service.web.protocols.tensors import BYTES, DATATYPES, element, from_json, from_raw

__all__ = ["INPUTS", "TensorForm", "input_forms", "tensor_rows"]

#: The tensor with all numbers of each row.
INPUTS = "inputs"
#: The datatype of a column's tensor, and of the only tensor of a model without columns.
_DATATYPES: dict[ColumnKind, str] = {
    "number": "FP64",
    "category": BYTES,
    "boolean": "BOOL",
    "datetime": BYTES,
    "text": BYTES,
}
_MATRIX = "FP32"
#: Datatypes whose elements are numbers.
_NUMBERS = DATATYPES.keys() - {"BOOL", BYTES}


class TensorForm(NamedTuple):
    """A tensor that a model takes or answers: a dimension of -1 is the number of rows."""

    name: str
    datatype: str
    shape: list[int]


def input_forms(network: ServedModel) -> list[TensorForm]:
    """The tensors that a model takes, as its metadata lists them."""
    if network.plan is None:
        return [TensorForm(INPUTS, _MATRIX, [-1, network.inputs])]
    kinds = network.plan.kinds
    return [TensorForm(name, _DATATYPES[kinds[name]], [-1, 1]) for name in network.plan.columns]


def tensor_rows(request: InferRequest, network: ServedModel) -> Array:
    """What the network reads, (n_rows, n_inputs). Raises InvalidError with the first faults."""
    if request.raw is not None:
        return _raw_rows(request.raw, network)
    plan, tensors = network.plan, request.inputs
    if plan is None:
        return _matrix(_only(tensors, network), network)
    if len(tensors) == 1 and _is_matrix(tensors[0], network, plan):
        return _matrix(tensors[0], network)
    return _Columns(tensors, plan).rows(network)


def _raw_rows(raw: memoryview, network: ServedModel) -> Array:
    """Rows of a body that is one tensor, whose shape follows from its size."""
    forms = input_forms(network)
    if len(forms) > 1:
        detail = f"a body without JSON holds one tensor, and this model takes {len(forms)}: {listed(_names(forms))}"
        raise InvalidError.at("", detail)
    name, datatype, (_, width) = forms[0]
    dtype = DATATYPES[datatype]
    if dtype is None:
        detail = f"a body without JSON holds numbers, and the input {describe(name)} is of datatype {datatype}"
        raise InvalidError.at("", detail)
    size = width * dtype.itemsize
    if not len(raw) or len(raw) % size:
        detail = f"must be rows of {size} bytes, {width} elements of {datatype} each. Received: {len(raw)} bytes"
        raise InvalidError.at("", detail)
    shape = [len(raw) // size, width]
    tensor = InputTensor("", name, datatype, shape, None, len(raw), raw)
    if network.plan is not None and not network.takes_matrix:
        return _Columns([tensor], network.plan).rows(network)
    return _matrix(tensor, network)


def _names(forms: Sequence[TensorForm]) -> list[str]:
    return [form.name for form in forms]


def _only(tensors: Sequence[InputTensor], network: ServedModel) -> InputTensor:
    """The tensor of a model without columns; raises InvalidError for others."""
    if len(tensors) == 1 and tensors[0].name == INPUTS:
        return tensors[0]
    faults = Faults()
    for number, tensor in enumerate(tensors):
        detail = f'must be "{INPUTS}", the only input, of shape [-1, {network.inputs}]'
        if tensor.name != INPUTS:
            faults.add(f"{tensor.place}/name", f"{detail}. Received: {describe(tensor.name)}")
        elif number and any(other.name == INPUTS for other in tensors[:number]):
            faults.add(f"{tensor.place}/name", f"{describe(INPUTS)} is there already; send all rows in one tensor")
    raise InvalidError.of(faults.problems, faults.total)


def _is_matrix(tensor: InputTensor, network: ServedModel, plan: ServingPlan) -> bool:
    """Whether a tensor for a model of a table is the single one with all columns, rather than that of a column."""
    if tensor.name != INPUTS or not network.takes_matrix:
        return False
    return INPUTS not in plan.kinds or (len(tensor.shape) == 2 and tensor.shape[1] > 1)


def _matrix(tensor: InputTensor, network: ServedModel) -> Array:
    """The rows of a tensor (n_rows, n_columns) of numbers."""
    place, shape = tensor.place, tensor.shape
    if tensor.datatype not in _NUMBERS:
        raise InvalidError.at(
            f"{place}/datatype", f"must be one of numbers, such as {_MATRIX}. Received: {tensor.datatype}"
        )
    if len(shape) != 2 or not shape[0]:
        detail = f"must be [number of rows, {network.inputs}], with at least one row. Received: {describe(shape)}"
        raise InvalidError.at(f"{place}/shape", detail)
    plan = network.plan
    if shape[1] != network.inputs and not (plan is not None and plan.is_whole(shape[1])):
        detail = f"must be [{shape[0]}, {network.inputs}], a number for each input of the model"
        raise InvalidError.at(f"{place}/shape", f"{detail}. Received: {describe(shape)}")
    if tensor.raw is not None:
        numbers = from_raw(tensor.datatype, tensor.raw, shape[0] * shape[1], place)
    else:
        values = from_json(tensor.datatype, tensor.data, shape, f"{place}/data", gaps=plan is not None)
        if plan is None:
            # What the network reads, in one step.
            with np.errstate(over="ignore"):
                rows = np.array(values, network.dtype)
            if np.isfinite(rows).all():
                return rows.reshape(shape)
        numbers = np.array(values, np.float64)
    try:
        return matrix_rows(network, numbers.reshape(shape), "")
    except InvalidError as error:
        names = [] if plan is None else plan.columns
        raise error.with_problems([_in_matrix(problem, tensor, names) for problem in error.problems]) from None


def _in_matrix(problem: Problem, tensor: InputTensor, names: Sequence[str]) -> Problem:
    """A problem of rows at its place in a tensor: of a number, or of a column in a row."""
    row = (problem.row or 1) - 1
    column = names.index(problem.column) if problem.column in names else 0
    if problem.row is None and problem.pointer:
        row, column = map(int, problem.pointer.split("/")[1:])
    return _at(problem, tensor, row * tensor.shape[1] + column)


def _at(problem: Problem, tensor: InputTensor, index: int) -> Problem:
    """A problem at an element of a tensor, which has no JSON pointer if it is raw."""
    if tensor.raw is None:
        place = f"{tensor.place}/data{element(tensor.data, tensor.shape, index)}"
        return replace(problem, pointer=place)
    return replace(problem, pointer=tensor.place, detail=f"element {index} {problem.detail}")


class _Columns:
    """The tensors of a table's columns; raises InvalidError if they are not of columns, or differ in their rows."""

    def __init__(self, tensors: Sequence[InputTensor], plan: ServingPlan) -> None:
        self._plan = plan
        self._tensors: dict[str, InputTensor] = {}
        faults = Faults()
        first: InputTensor | None = None
        for tensor in tensors:
            name, shape = tensor.name, tensor.shape
            if name in self._tensors:
                faults.add(f"{tensor.place}/name", f"{describe(name)} is there already: {self._tensors[name].place}")
                continue
            if not plan.allows(name):
                detail = f"{describe(name)} is not an input of the model{near(name, plan.columns)}; inputs are"
                faults.add(f"{tensor.place}/name", f"{detail} {listed(plan.columns)}")
                continue
            self._tensors[name] = tensor
            if not shape[0] or shape[1:] not in ([], [1]):
                detail = "must be [number of rows, 1] or [number of rows], with at least one row"
                faults.add(f"{tensor.place}/shape", f"{detail}. Received: {describe(shape)}")
            elif first is None:
                first = tensor
            elif shape[0] != first.shape[0]:
                detail = f"has {shape[0]} rows, and input {describe(first.name)} has {first.shape[0]}"
                faults.add(f"{tensor.place}/shape", f"input {describe(name)} {detail}; they must have as many")
        faults.check()
        assert first is not None
        self._count = first.shape[0]

    def rows(self, network: ServedModel) -> Array:
        """What the network reads."""
        plan = self._plan
        tensors = [tensor for tensor in self._tensors.values() if tensor.name in plan.kinds]
        faults, columns = Faults(), dict[str, Any]()
        for tensor in tensors:
            try:
                columns[tensor.name] = self._elements(tensor)
            except InvalidError as error:
                faults.add_all(error)
        faults.check()
        try:
            if network.takes_matrix and all(tensor.datatype in _NUMBERS for tensor in tensors):
                return matrix_rows(network, self._numbers(columns), "")
            cells = [_cells(columns[tensor.name]) for tensor in tensors]
            if not cells:
                return plan.records([{}] * self._count)
            return plan.records([dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)])
        except InvalidError as error:
            raise error.with_problems([self._in_column(problem) for problem in error.problems]) from None

    def _elements(self, tensor: InputTensor) -> Any:
        """The elements of a column: an array, or a list in which None is a missing value. Infinity is refused."""
        count = math.prod(tensor.shape)
        if tensor.raw is None:
            return from_json(tensor.datatype, tensor.data, tensor.shape, f"{tensor.place}/data", gaps=True)
        values = from_raw(tensor.datatype, tensor.raw, count, tensor.place)
        if values.dtype.kind == "f" and np.isinf(values).any():
            index = int(np.argmax(np.isinf(values)))
            detail = f"element {index} must be a finite number, or NaN if it is missing"
            raise InvalidError.at(tensor.place, f"{detail}. Received: {describe(values[index].item())}")
        return values

    def _numbers(self, columns: dict[str, Any]) -> Array:
        """The numbers of all columns (n_rows, n_columns), NaN for those that are missing."""
        numbers = np.full((self._count, len(self._plan.columns)), np.nan)
        for place, name in enumerate(self._plan.columns):
            if name in columns:
                numbers[:, place] = columns[name]
        return numbers

    def _in_column(self, problem: Problem) -> Problem:
        """A problem of rows at its place in the tensor of its column."""
        row, name = (problem.row or 1) - 1, problem.column
        if problem.row is None and problem.pointer:
            # A number of the matrix of all columns.
            row, column = map(int, problem.pointer.split("/")[1:])
            name = self._plan.columns[column]
        tensor = self._tensors.get(name or "")
        if tensor is None:
            detail = f"row {row} lacks a value of {describe(name)}, which {problem.detail}"
            return replace(problem, pointer="/inputs", detail=detail)
        return _at(problem, tensor, row)


def _cells(values: Any) -> list[Any]:
    """The values of a column as JSON has them, None for missing ones."""
    if isinstance(values, list):
        return values
    cells: list[Any] = values.tolist()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if math.isnan(cell) else cell for cell in cells]
    return cells

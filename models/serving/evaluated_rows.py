"""Labelled rows of an evaluation: a matrix or a table, whole or in part, made into what a network reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.data.table import CHUNK
from models.definition.given_rows import GivenRows
from models.definition.given_table import GivenTable
from models.errors import InvalidError, Problem
from models.formats.row_pages import rows_at
from models.serving.served_model import ServedModel
from models.serving.table_inputs import TableInputs
from nncore.arrays import Array

__all__ = ["EvaluatedMatrix", "EvaluatedRows", "EvaluatedTable", "Part"]


class Part(NamedTuple):
    """Some of the rows with a label: those with these numbers, ascending, or with ``rest`` all others."""

    numbers: Array
    rest: bool

    def of(self, labelled: Array) -> Array:
        """The row numbers among those of rows with a label."""
        chosen = np.isin(labelled, self.numbers, assume_unique=True, invert=self.rest)
        part: Array = labelled[chosen]
        return part


class EvaluatedRows(Protocol):
    """Rows with a label: their ``numbers`` in the data, from 0 and ascending, and their class ``codes``."""

    numbers: Array
    codes: Array

    @property
    def place(self) -> str:
        """The JSON pointer of the rows."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that the model reads, in their order."""

    def pieces(self) -> Iterator[Array]:
        """What the network reads, in pieces; raises InvalidError for values that the model cannot take."""

    def refusal(self, index: int, reason: str) -> InvalidError:
        """The error for one of the rows."""

    def shown(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Some of the rows, each with its number from 1 and its values."""


class EvaluatedMatrix:
    """Rows of numbers for a model that takes them as they are."""

    def __init__(self, network: ServedModel, data: GivenRows, part: Part | None = None) -> None:
        codes = data.codes_for(network.definition)
        labelled = np.arange(len(codes))
        self._data = data
        self.numbers = labelled if part is None else part.of(labelled)
        self.codes = codes[self.numbers]

    @property
    def place(self) -> str:
        """The JSON pointer of the rows."""
        return self._data.inputs_pointer

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the matrix."""
        return self._data.dataset.features

    def pieces(self) -> Iterator[Array]:
        """The numbers of the rows, in pieces."""
        inputs = self._data.dataset.inputs
        whole = len(self.numbers) == len(inputs)
        for start in range(0, len(self.numbers), CHUNK):
            stop = start + CHUNK
            yield inputs[start:stop] if whole else inputs[self.numbers[start:stop]]

    def refusal(self, index: int, reason: str) -> InvalidError:
        """The error for one of the rows."""
        return self._data.refusal(int(self.numbers[index]), reason)

    def shown(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Some of the rows: their numbers, by column if the columns have names."""
        dataset = self._data.dataset
        rows = []
        for number in self.numbers[list(indices)].tolist():
            values = dataset.inputs[number].tolist()
            named = dict(zip(dataset.features, values, strict=True)) if dataset.named else values
            rows.append({"row": dataset.place_of(number) + 1, "values": named})
        return rows


class EvaluatedTable:
    """Rows of a table. ``came_from`` has the place of each row among those that came, if some were left out."""

    def __init__(
        self, network: ServedModel, data: GivenTable, part: Part | None = None, came_from: Array | None = None
    ) -> None:
        self._data, self._came_from = data, came_from
        weight = data.table.weight
        try:
            self._inputs = TableInputs(network, data.table, {data.label, *([] if weight is None else [weight])})
        except InvalidError as error:
            raise self._moved(error) from None
        codes = data.codes_for(network.classes)
        labelled = np.flatnonzero(codes >= 0)
        self.numbers = labelled if part is None else part.of(labelled)
        if not len(self.numbers):
            raise InvalidError.at(self.place, "must hold at least one row with a label. Received: none")
        self.codes = codes[self.numbers]

    @property
    def place(self) -> str:
        """The JSON pointer of the rows."""
        return self._data.place.name

    @property
    def columns(self) -> Sequence[str]:
        """The columns that the model reads, in their order."""
        return self._inputs.columns

    def pieces(self) -> Iterator[Array]:
        """The numbers that the network reads, in pieces."""
        try:
            for _, inputs in self._inputs.pieces(self.numbers):
                yield inputs
        except InvalidError as error:
            raise self._moved(error) from None

    def refusal(self, index: int, reason: str) -> InvalidError:
        """The error for one of the rows."""
        place, number = self._data.place, int(self.numbers[index])
        pointer = place.name if place.stored else f"{place.name}/{number}"
        return InvalidError.of([Problem(pointer, reason, row=number + 1)])

    def shown(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Some of the rows, with all of their values by column."""
        rows = rows_at(self._data.table, self.numbers[list(indices)].tolist())
        if self._came_from is not None:
            return [{**row, "row": int(self._came_from[row["row"] - 1]) + 1} for row in rows]
        return rows

    def _moved(self, error: InvalidError) -> InvalidError:
        return self._data.place.moved(error)

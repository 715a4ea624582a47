"""Rows that a request gives for a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.data.dataset import Dataset
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, Problem
from nncore.arrays import Array

__all__ = ["GivenRows"]


@dataclass(frozen=True)
class GivenRows:
    """Labelled rows and their place in a request, so that an error names what the client wrote.

    ``pointer`` is the JSON pointer of the part that gives the rows. With ``stored``, that part names a stored dataset;
    otherwise it contains the rows.
    """

    dataset: Dataset
    pointer: str
    stored: bool = False

    @property
    def inputs_pointer(self) -> str:
        """The place of the inputs, or of the dataset's name."""
        return f"{self.pointer}/dataset" if self.stored else f"{self.pointer}/inputs"

    @property
    def labels_pointer(self) -> str:
        """The place of the labels, or of the dataset's name."""
        return f"{self.pointer}/dataset" if self.stored else f"{self.pointer}/labels"

    def codes_for(self, definition: ModelDefinition) -> Array:
        """The class number of each row, (n_rows,); raises InvalidError if the rows do not fit the model."""
        inputs = self.dataset.inputs
        width = inputs.shape[1]
        if width != definition.inputs:
            raise InvalidError.at(self.inputs_pointer, f"must have {definition.inputs} columns. Received: {width}")
        largest = np.finfo(definition.dtype).max
        # The two extremes are found without a temporary array as large as the rows.
        if max(inputs.max(), -inputs.min()) > largest:
            row, column = np.argwhere(np.abs(inputs) > largest)[0].tolist()
            detail = f"is too large for {definition.dtype}. Received: {inputs[row, column]:g}"
            raise self.refusal(row, detail, column)
        return self.dataset.codes_for(definition.classes, self.labels_pointer)

    def refusal(self, row: int, detail: str, column: int | None = None) -> InvalidError:
        """The error for one row, or for one number of it, with the pointer to what the client wrote."""
        place = self.inputs_pointer
        if not self.stored:
            row = self.dataset.place_of(row)
            place += f"/{row}" if column is None else f"/{row}/{column}"
        return InvalidError.of([Problem(place, detail, row=row + 1)])

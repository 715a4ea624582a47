"""The inputs of a graph, and how they become the numbers that the networks read."""

from __future__ import annotations

from typing import Any, NamedTuple

from models.export.feature_nodes import FEATURE_NODES, INPUT_FORMS
from models.export.graph import Graph
from models.features.feature import Feature, Learned
from models.features.features import feature_type
from models.features.fitted import FittedFeatures
from models.features.number import Number

__all__ = ["InputColumn", "Inputs", "columns_of", "read"]


class InputColumn(NamedTuple):
    """A column that becomes numbers, and the name of its input: the column's, if no output has it."""

    feature: Feature
    learned: Learned
    input: str

    def document(self) -> dict[str, Any]:
        """What a reader of the file needs to know to fill in the input."""
        form = INPUT_FORMS[self.feature.reads]
        required = isinstance(self.feature, Number) and self.feature.missing == "refuse"
        return {
            "input": self.input,
            "column": self.feature.column,
            "feature": feature_type(self.feature),
            "type": form.name,
            "holds": form.meaning,
            "missing": form.missing,
            "required": required,
        }


class Inputs(NamedTuple):
    """The numbers ``x`` (rows, inputs) that the networks read.

    ``refused`` (rows, 1) says which rows lack a value that they must have; None if no row can.
    """

    x: str
    refused: str | None = None


def columns_of(features: FittedFeatures, taken: tuple[str, ...]) -> list[InputColumn]:
    """The columns that become numbers. An input whose column is called as one of ``taken`` gets a longer name."""
    names = {feature.column for feature in features.features} | set(taken)
    columns = []
    for (feature, learned), width in zip(features.pairs(), features.widths, strict=True):
        if width:
            name = feature.column
            while name in taken or (name != feature.column and name in names):
                name += "_column"
            columns.append(InputColumn(feature, learned, name))
    return columns


def read(graph: Graph, columns: list[InputColumn]) -> Inputs:
    """Declare the inputs of a table's columns and make numbers of them.

    Raises ConflictError for a column whose feature ONNX cannot express.
    """
    blocks: list[str] = []
    refused: str | None = None
    for column in columns:
        nodes, form = FEATURE_NODES[type(column.feature)], INPUT_FORMS.get(column.feature.reads)
        block = nodes(graph, column.feature, column.learned, column.input)
        if form is not None:
            graph.input(column.input, form.dtype, 1)
        blocks.append(block.numbers)
        if block.refused is not None:
            refused = block.refused if refused is None else graph.call("Or", refused, block.refused)
    return Inputs(graph.joined(blocks), refused)

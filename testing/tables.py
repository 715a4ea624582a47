"""Small tables of every kind of column, and training runs on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.data.table import MemoryTable
from models.definition.definition import ModelDefinition, complete
from models.definition.given_table import GivenTable, Place
from models.training.checkpoint import Checkpoint
from models.training.prepared_table import PreparedTable
from models.training.run import TrainingRun
from testing.features import table_of
from testing.runs import a_request

__all__ = ["a_frame", "a_table", "a_table_run", "given_table", "of_table"]


def a_frame(rows: int = 60, seed: int = 3) -> pd.DataFrame:
    """A number, a word, a truth, a time and a text with gaps, and a label that the first three decide."""
    random = np.random.default_rng(seed)
    age = random.uniform(0, 90, rows)
    sex = random.choice(["female", "male"], rows)
    member = random.random(rows) < 0.4
    good = (age < 30) | ((sex == "female") & member)
    day = pd.to_datetime("2020-01-01") + pd.to_timedelta(random.integers(0, 900, rows), unit="h")
    notes = random.choice(["fine", "very fine day", "rain again", "sun and rain"], rows).astype(object)
    frame = pd.DataFrame({"age": age, "sex": sex.astype(object), "member": member, "day": day, "notes": notes})
    frame["member"] = frame["member"].astype(object)
    frame["day"] = frame["day"].astype("datetime64[us]")
    for place, name in enumerate(frame.columns):
        frame.loc[random.permutation(rows)[: place + 1], name] = None
    frame["age"] = frame["age"].astype(float)
    frame["label"] = np.where(good, "yes", "no").astype(object)
    frame.loc[:1, "label"] = ["no", "yes"]
    return frame


KINDS = {
    "age": "number",
    "sex": "category",
    "member": "boolean",
    "day": "datetime",
    "notes": "text",
    "label": "category",
}


def a_table(frame: pd.DataFrame | None = None, **weights: Any) -> MemoryTable:
    """The table of a frame as ``a_frame`` makes it, in the order of its columns."""
    frame = a_frame() if frame is None else frame
    return table_of(**{name: (frame[name], KINDS.get(name, "number")) for name in frame.columns})  # type: ignore[arg-type]


def given_table(table: MemoryTable, label: str = "label", pointer: str = "/data") -> GivenTable:
    """A table as a request gives it."""
    return GivenTable(table, label, Place(pointer, stored=False))


def of_table(table: MemoryTable, label: str = "label", **members: Any) -> ModelDefinition:
    """The definition of a small model for a table."""
    few = {"notes": {"buckets": 8}} if "notes" in [column.name for column in table.columns] else {}
    document = {"name": "small", "hidden": [6], "features": few, **members}
    classes = given_table(table, label).labels.classes
    return ModelDefinition.load(complete(document, None, classes)).for_table(
        table.columns, label, table.weight, table.rows
    )


def a_table_run(
    table: MemoryTable | None = None,
    *,
    start: Checkpoint | None = None,
    resume: Checkpoint | None = None,
    validation: MemoryTable | None = None,
    definition: ModelDefinition | None = None,
    **request: Any,
) -> TrainingRun:
    """A run over a table as a runner begins it."""
    table = a_table() if table is None else table
    definition, asked = definition or of_table(table), a_request(**request)
    begin = resume or start
    other = None if validation is None else given_table(validation, pointer="/validation")
    fitted = None if begin is None else begin.features
    prepared = PreparedTable.of(definition, asked, given_table(table), other, fitted)
    return TrainingRun(asked, prepared, start=start, resume=resume)

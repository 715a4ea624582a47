"""Several members that are trained on a table, in this process."""

from __future__ import annotations

from typing import Any

from models.data.table import MemoryTable
from models.definition.definition import ModelDefinition, complete
from models.formats.checkpoint_file import AnyCheckpoint
from models.training.ensemble_run import EnsembleRun
from models.training.prepared_table import PreparedTable
from testing.members_journal import MembersRecorder, QuickPool
from testing.runs import a_request
from testing.tables import given_table

__all__ = ["an_ensemble"]


def an_ensemble(table: MemoryTable, **document: Any) -> AnyCheckpoint:
    """The last checkpoint of a definition's members on a table whose labels are its column ``label``."""
    given = given_table(table)
    definition = ModelDefinition.load(complete(document, None, given.labels.classes))
    definition = definition.for_table(table.columns, "label", table.weight, table.rows)
    asked, journal = a_request(epochs=0), MembersRecorder()
    run = EnsembleRun(asked, PreparedTable.of(definition, asked, given, None, None), QuickPool(1))
    assert run.run(journal)
    return journal.newest

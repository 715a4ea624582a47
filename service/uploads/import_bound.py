"""How large an imported checkpoint may be, from what its model can need."""

from __future__ import annotations

import sqlalchemy as sa

from models.definition.ensemble import OpenEnsemble
from models.registry import models
from models.registry.tables import CHECKPOINTS
from service.settings import Settings

__all__ = ["import_bound"]

#: Bytes of a parameter: itself, moments, averages and the best epoch's, as numbers of eight bytes, twice over.
PARAMETER_BYTES = 2 * 8 * 8
#: How much larger a file may be than the model's largest checkpoint.
LARGER = 4


def import_bound(connection: sa.Connection, name: str, settings: Settings) -> int:
    """The most bytes of a checkpoint file for a model; a history or many rows may take as much as any body.

    A model of which the size is not known yet may need as much as any. Raises MissingError if there is no such model.
    """
    row = models.find_model(connection, name)
    definition = row.definition
    most = settings.max_import_bytes
    if isinstance(definition.ensemble, OpenEnsemble) or (definition.features is not None and not definition.inputs):
        return most
    of_model = sa.select(sa.func.max(CHECKPOINTS.c.bytes)).where(CHECKPOINTS.c.model_number == row.number)
    largest = connection.scalar(of_model) or 0
    needed = max(PARAMETER_BYTES * definition.parameter_count, LARGER * largest, settings.max_body_bytes)
    return min(most, needed)

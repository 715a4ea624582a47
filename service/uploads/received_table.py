"""A table that a child has read, whose values lie in the exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from models.data.profile import TableDetails
from models.formats.dataset_file import DatasetLabel
from models.formats.durable import FileSpan
from models.formats.hdf5_image import ArrayInFile, Image
from models.formats.table_file import build_image
from models.reading.read_table import ReadTable, Stored

__all__ = ["ReceivedTable"]


@dataclass(frozen=True)
class ReceivedTable:
    """The table, good until the ``exchange`` is closed."""

    table: ReadTable
    exchange: IO[bytes]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.table.rows

    @property
    def details(self) -> TableDetails:
        """What the database row holds."""
        return self.table.details

    def image(self, description: DatasetLabel) -> Image:
        """The file of the table; values are copied from the exchange as it is written."""
        details = self.details
        arrays = [[self._in_file(array) for array in column] for column in self.table.arrays]
        return build_image(self.rows, details.columns, arrays, description, details.label, details.weight)

    def _in_file(self, array: Stored) -> ArrayInFile:
        descriptor = self.exchange.fileno()
        return ArrayInFile(array.dtype, tuple(FileSpan(descriptor, start, length) for start, length in array.spans))

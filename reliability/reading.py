"""``python -m reliability.reading FOLDER MODEL START STOP``: read mutated files as the service's parser does.

Each process reads many files, and prints one line per file. ``FOLDER`` contains the model's definition as
``MODEL.json`` and good files as ``MODEL-….h5``. If a file ends a child, the line of this file reports it, and another
child continues with the next file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO

from models.definition.definition import ModelDefinition
from reliability.mutations import mutated
from service.uploads.parser_process import LENGTH, answer, limit, own_bytes, warm_up

#: Number of files per child, all of which share a second of processor time; those of members take longer.
FILES, MEMBERS_FILES = 200, 25
#: Limit of processor time per file, far above that of a good file; HDF5 loops forever on some damaged files.
SECONDS = 0.25


def main(folder: Path, model: str, start: int, stop: int) -> None:
    definition = ModelDefinition.load(json.loads((folder / f"{model}.json").read_text()))
    bases = [path.read_bytes() for path in sorted(folder.glob(f"{model}-*.h5"))]
    warm_up()
    with tempfile.TemporaryFile() as upload, tempfile.TemporaryFile() as exchange, tempfile.TemporaryFile() as place:
        own = own_bytes()
        while start < stop:
            end = min(start + (FILES if definition.ensemble is None else MEMBERS_FILES), stop)
            child = os.fork()
            if not child:
                limit(max(map(len, bases)) + 2**16, definition, own)
                for number in range(start, end):
                    os.pwrite(place.fileno(), LENGTH.pack(number), 0)
                    _read(number, mutated(bases, number), upload, exchange, definition)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status:
                (end,) = LENGTH.unpack(os.pread(place.fileno(), LENGTH.size, 0))
                ended = signal.Signals(-status).name if status < 0 else f"status {status}"
                print(end, "ended", ended, flush=True)
                end += 1
            start = end


def _read(number: int, content: bytes, upload: IO[bytes], exchange: IO[bytes], definition: ModelDefinition) -> None:
    os.ftruncate(upload.fileno(), 0)
    os.pwrite(upload.fileno(), content, 0)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    answer(upload.fileno(), exchange.fileno(), definition)
    signal.setitimer(signal.ITIMER_PROF, 0)
    found = os.pread(exchange.fileno(), os.fstat(exchange.fileno()).st_size, 0)
    (length,) = LENGTH.unpack(found[-LENGTH.size :])
    reported = json.loads(found[-LENGTH.size - length : -LENGTH.size])
    refused = reported.get("refused")
    good = (
        refused["code"] in ("validation_failed", "invalid_hdf5") and refused["detail"]
        if refused
        else "errno" not in reported
    )
    outcome = ("refused" if refused else "accepted") if good else f"wrong {reported}"
    os.write(1, f"{number} {outcome}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

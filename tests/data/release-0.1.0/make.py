"""Makes ``data.tar.gz`` and ``answers.json`` with release 0.1.0: ``python make.py CHECKOUT``, a tree of 015d591."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from earlier_states import record_state  # noqa: E402 - the folder's place must be set first

if __name__ == "__main__":
    record_state(HERE, "tests.service.harness", "tests.service.samples")

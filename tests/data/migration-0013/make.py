"""Makes the data directory of the state before aliases could name several versions: ``python make.py CHECKOUT``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from earlier_states import record_state

record_state(Path(__file__).resolve().parent, "testing.harness", "testing.samples")

"""``python -m security [--scale S]`` (``make security``): what hostile tables can do to the service.

Scale 1 is the full test, a smaller one is a short form.
"""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from security import tables


def main() -> None:
    """Run the test and print its figure."""
    parser = argparse.ArgumentParser(prog="python -m security", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full test to run")
    scale = parser.parse_args().scale
    begin = monotonic()
    figure = tables.run(scale)
    good = figure.holds(scale)
    print(f"{'tables':<18} {'ok' if good else 'BROKEN':<7} {monotonic() - begin:6.1f} s  {figure}", flush=True)
    for case in figure.broken[:20]:
        print(f"    {case}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()

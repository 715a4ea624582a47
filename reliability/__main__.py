"""``python -m reliability [promise …] [--scale S]``: test the promises of docs/reliability.md.

A promise is a module with a function ``run(scale: float) -> Figure``. Scale 1 is the full test, a smaller one is a
short form.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from time import monotonic

#: The modules of the promises, in the order of docs/reliability.md.
PROMISES: tuple[str, ...] = (
    "kills",
    "power",
    "disks",
    "resume",
    "owner",
    "causes",
    "retries",
    "serving",
    "mixing",
    "hostile",
    "store",
    "database",
    "clock",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("promises", nargs="*", metavar="promise", help=f"of {', '.join(PROMISES)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full test to run")
    arguments = parser.parse_args()
    for name in arguments.promises:
        if name not in PROMISES:
            parser.error(f"{name}: no such promise; there are {', '.join(PROMISES)}")
    failed = False
    for name in arguments.promises or PROMISES:
        begin = monotonic()
        figure = importlib.import_module(f"reliability.{name}").run(arguments.scale)
        good = figure.holds(arguments.scale)
        failed |= not good
        print(f"{name:<18} {'ok' if good else 'BROKEN':<7} {monotonic() - begin:6.1f} s  {figure}", flush=True)
        for case in figure.broken[:20]:
            print(f"    {case}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

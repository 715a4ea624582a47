"""``python -m security [attack …] [--scale S]`` (``make security``): what hostile requests and files can do.

An attack is a module with a function ``run(scale: float) -> Figure``. Scale 1 is the full test, with goals of speed; a
smaller one is a short form without them. ``docs/security-tests.md`` says which attack each known weakness has.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from time import monotonic

#: The modules of the attacks: on the wire, by slow and by waiting clients, by bodies, by too many requests, by tables,
#: by more than there may be, by a full disk, by pages of other sites, by requests made from the OpenAPI document, by
#: inputs for each parser, by what it is made of.
ATTACKS: tuple[str, ...] = (
    *("wire", "slow", "waiters", "bodies", "overload", "tables"),
    *("quotas", "disk", "origins", "fuzz", "parsers", "supply"),
)


def main() -> None:
    """Run attacks, print their figures, and at the end how long each took."""
    parser = argparse.ArgumentParser(prog="python -m security", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="attack", help=f"of {', '.join(ATTACKS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full test to run")
    arguments = parser.parse_args()
    for name in arguments.attacks:
        if name not in ATTACKS:
            parser.error(f"{name}: no such attack; there are {', '.join(ATTACKS)}")
    summary, failed = list[str](), False
    begun = monotonic()
    for name in arguments.attacks or ATTACKS:
        begin = monotonic()
        figure = importlib.import_module(f"security.{name}").run(arguments.scale)
        good = figure.holds(arguments.scale)
        failed |= not good
        line = f"{name:<10} {'ok' if good else 'BROKEN':<7} {monotonic() - begin:6.1f} s"
        summary.append(line)
        print(f"{line}  {figure}", flush=True)
        for case in figure.broken[:20]:
            print(f"    {case}", flush=True)
    print("\n".join(["", *summary, f"{'together':<18} {monotonic() - begun:6.1f} s"]), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

"""``python -m security.explore PARSER SECONDS BYTES MEGABYTES``: atheris tries inputs for a parser, in this process.

Only our own code is instrumented: what atheris looks for are inputs that reach more of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["models", "service"]):
    from security.parsers import PARSERS, crash

__all__: list[str] = []


def main() -> None:
    """Try inputs for so many seconds, of so many bytes at most, in so much memory."""
    name, seconds, longest, resident = sys.argv[1:]
    parser = next(each for each in PARSERS if each.name == name)

    def one(data: bytes) -> None:
        fault = crash(parser, data, measured=False)
        if fault is not None:
            raise AssertionError(fault)

    with tempfile.TemporaryDirectory(prefix="trainyard-explore-") as corpus:
        for number, seed in enumerate(parser.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
            parser.parse(seed)
        options = [f"-max_total_time={seconds}", f"-max_len={longest}", f"-rss_limit_mb={resident}"]
        # A seed of its own makes a run the same again.
        atheris.Setup([sys.argv[0], *options, "-seed=13", "-timeout=10", "-print_final_stats=1", corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

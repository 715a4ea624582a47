"""Each parser of ours takes anything: it accepts or refuses it, and takes no more memory than the input accounts for.

By atheris, which looks for inputs that reach new code, in a process for each parser (``security.explore``). A short
form mutates good inputs instead.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

from reliability.figure import Figure
from reliability.mutations import mutated
from security.parser_cases import PARSERS, Parser
from testing.harness import ROOT

__all__ = ["PARSERS", "crash", "mutation", "run"]

#: Inputs of all parsers together.
GOALS = {"parsers": len(PARSERS), "inputs": 1_000_000}
#: Seconds for each parser at scale 1, and processes beside each other.
SECONDS, _PROCESSES = 4, 2
#: Bytes that any input may take, beside those of its own size: rows behind a mark, an application, patterns.
_MEMORY = 12 * 2**20
#: Bytes of an input at most, and megabytes of a process of atheris.
_LONGEST, _RESIDENT = 4_096, 800
#: Mutated inputs of each parser in a short form at scale 1.
_MUTATIONS = 50_000
_WORDS = (
    *(b"\0", b"\xff", b"\r\n", b"\n", b'"', b"'", b"\\", b",", b";", b":", b"=", b"&", b"%", b"{", b"}", b"[", b"]"),
    *(b"@", b"1e999", b"-0", b"9" * 40, b"null", b"true", b"NaN", b"\\ud800", b"\\u0000", "é😀".encode()),
    *(b"a" * 500, b"[" * 500),
)


def mutation(parser: Parser, number: int) -> bytes:
    """The input with this number: one of a parser's good ones with some changes."""
    chance = random.Random(number)
    content = bytearray(chance.choice(parser.seeds) if number % 3 else mutated(parser.seeds, number))
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(content) + 1)
        content[place : place + chance.choice((0, 0, 1, 5))] = chance.choice(_WORDS)
    return bytes(content[:_LONGEST])


def crash(parser: Parser, data: bytes, *, measured: bool = True) -> str | None:
    """How a parser fails at an input: by an error that is no refusal, or by its memory; None if it does not."""
    if measured:
        tracemalloc.start()
    try:
        parser.parse(data)
    except parser.refusals:
        pass
    except Exception as error:  # noqa: BLE001 - any other error is the finding
        return f"{parser.name}: {type(error).__name__}: {str(error)[:300]}; input: {data[:300]!r}"
    finally:
        peak = tracemalloc.get_traced_memory()[1] if measured else 0
        tracemalloc.stop()
    allowed = _MEMORY + parser.factor * len(data)
    if peak > allowed:
        return f"{parser.name}: {peak:,} bytes for an input of {len(data):,}; {allowed:,} are allowed; {data[:300]!r}"
    return None


def run(scale: float) -> Figure:
    """Have atheris try each parser; mutations alone in a short form, and on processors that it is not made for."""
    figure = Figure(goals=dict(GOALS))
    installed = importlib.util.find_spec("atheris") is not None
    if scale < 1 or not installed:
        for parser in PARSERS:
            _mutate(figure, parser, int(_MUTATIONS * scale))
    if scale >= 1 and not installed:
        print("    atheris is not installed: good inputs were mutated, and no others looked for")
        if platform.machine() == "x86_64":
            figure.broken.append("atheris is not installed: see requirements-security.txt")
    if scale < 1 or not installed:
        return figure
    with ThreadPoolExecutor(_PROCESSES) as pool, tempfile.TemporaryDirectory() as folder:
        for parser, (inputs, fault) in zip(
            PARSERS, pool.map(lambda each: _explored(each, folder), PARSERS), strict=True
        ):
            figure.count("parsers")
            figure.count("inputs", inputs)
            print(f"    {parser.name}: {inputs:,} inputs", flush=True)
            if fault is not None:
                figure.broken.append(f"{parser.name}: {fault}")
    return figure


def _mutate(figure: Figure, parser: Parser, count: int) -> None:
    parser.parse(parser.seeds[0])  # What it loads once is not the input's.
    figure.count("parsers")
    for number in range(count):
        fault = crash(parser, mutation(parser, number))
        figure.count("inputs")
        if fault is not None:
            figure.broken.append(f"mutation {number}: {fault}")


def _explored(parser: Parser, folder: str) -> tuple[int, str | None]:
    """How many inputs atheris tried, and what it found."""
    command = [sys.executable, "-m", "security.explore", parser.name, str(SECONDS), str(_LONGEST), str(_RESIDENT)]
    done = subprocess.run(
        command,
        cwd=folder,
        # Atheris ends the process, which cleans up nothing.
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    fault = None
    if done.returncode or tried is None:
        found = re.search(
            r"(?s)=== Uncaught Python exception: ===.{0,3000}|ERROR: libFuzzer.{0,1000}", done.stdout + done.stderr
        )
        fault = f"status {done.returncode}: {found[0] if found else done.stderr[-1_000:]}"
    return int(tried[1]) if tried else 0, fault

"""The short form: some hundred mutated tables for watched readers, and some for a service."""

from __future__ import annotations

import pytest

from security.tables import GOALS, bases, foreign, mutation, run
from tests.reliability import programs

SCALE = 0.03


@pytest.mark.processes
@pytest.mark.slow
def test_a_hostile_table_harms_nothing() -> None:
    programs.require("strace")
    figure = run(SCALE)
    assert figure.holds(SCALE), figure.broken
    assert figure.counts["mutated files"] == int(GOALS["mutated files"] * SCALE)
    assert figure.counts["processes watched"] >= figure.counts["watched"]
    # If all mutations were refused, or all harmless, the test would cover little.
    assert min(figure.counts["refused"], figure.counts["accepted"]) > 0.1 * figure.counts["mutated files"]


LOG = """\
7 openat(AT_FDCWD, "/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3
7 openat(AT_FDCWD, "/proc/self/statm", O_RDONLY|O_CLOEXEC) = 3
9 openat(AT_FDCWD, "/proc/self/fd/0", O_RDONLY|O_CLOEXEC) = 6
9 +++ exited with 0 +++
10 +++ killed by SIGSEGV +++
"""


def test_what_the_watch_takes_for_a_foreign_file() -> None:
    assert foreign(LOG) == (2, [])
    for call in (
        'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = -1 EACCES (Permission denied)',
        'openat(AT_FDCWD, "/proc/self/fd/1", O_RDONLY) = 6',
        'execve("/bin/sh", ["sh"], 0x0) = 0',
    ):
        assert foreign(f"{LOG}11 {call}\n") == (2, [call])


def test_a_number_names_one_mutation_and_all_kinds_are_among_them() -> None:
    files = bases()
    found = [mutation(files, number) for number in range(60)]
    assert {kind for kind, _ in found} == {*files}
    texts = [content for kind, content in found if kind != "parquet"]
    again = [content for kind, content in (mutation(files, number) for number in range(60)) if kind != "parquet"]
    assert texts == again
    assert len({*texts}) > 35

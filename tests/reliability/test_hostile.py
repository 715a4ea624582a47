"""The short form: every hand-made bad file but most of members, and two hundred mutated ones."""

from __future__ import annotations

import pytest

from reliability.hostile import FEW, GOALS, foreign_opens, run
from reliability.mutations import mutated
from testing.bad_features import BAD_FEATURES
from testing.bad_files import BAD, GOOD
from testing.bad_members import BAD_MEMBERS
from tests.reliability import programs

SCALE = 0.01


@pytest.mark.processes
def test_a_hostile_file_harms_nothing() -> None:
    programs.require("strace")
    figure = run(SCALE)
    assert figure.holds(SCALE), figure.broken
    counts = figure.counts
    assert counts["mutated files"] == int(GOALS["mutated files"] * SCALE)
    known = len(BAD) + len(BAD_FEATURES) + len(BAD_MEMBERS) // FEW
    assert counts["bad files"] > known + known // FEW
    assert counts["parser processes watched"] > known
    # If all mutations were refused, or all harmless, the test would cover little.
    assert min(counts["refused"], counts["accepted"]) > 0.1 * counts["mutated files"]


LOG = """\
7 openat(AT_FDCWD, "/lib/libc.so.6", O_RDONLY|O_CLOEXEC) = 3
8 execve("/bin/uname", ["uname"], 0x0) = 0
8 +++ exited with 0 +++
7 openat(AT_FDCWD, "/proc/self/statm", O_RDONLY|O_CLOEXEC) = 3
9 +++ exited with 0 +++
10 +++ killed by SIGSEGV +++
"""


def test_what_the_watch_takes_for_a_foreign_file() -> None:
    """Every file that the parser opens or tries to open after it has started."""
    assert foreign_opens(LOG) == (2, [])
    for call in (
        'openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = -1 EMFILE (Too many open files)',
        'open("x", O_RDONLY) = 3',
    ):
        assert foreign_opens(f"{LOG}11 {call}\n") == (2, [call])


def test_a_number_names_one_mutation() -> None:
    found = [mutated([GOOD], number) for number in range(50)]
    assert found == [mutated([GOOD], number) for number in range(50)]
    assert len(set(found)) > 45

"""What is seen in a terminal: tables with headings, colours, and one line that moves."""

from __future__ import annotations

import re

import pytest

from testing.samples import fresh
from tests.trainyard.cli.conftest import Made, Shell
from tests.trainyard.cli.terminals import terminal
from trainyard.cli import text

CURVE = "[▁▂▃▄▅▆▇█]"


def seen(shell: Shell, *words: str, columns: int = 100, **variables: str) -> str:
    """All that a command writes to a terminal; it must succeed."""
    with terminal(shell, words, columns, **variables) as window:
        assert window.end() == 0, window.written
        return window.written


@pytest.mark.processes
def test_one_line_moves_while_a_job_runs(shell: Shell, made: Made) -> None:
    """It is drawn over itself, fits into the terminal, and is gone at the end."""
    name = fresh("moving")
    words = ("train", made.dataset, "--name", name, "--hidden", "8", "--epochs", "3000")
    with terminal(shell, words, columns=60) as window:
        window.until(rf"\r  {CURVE}+ +epoch [\d,]+/3,000  loss [\d.e-]+  held out")
        assert window.end() == 0, window.written
        drawn = re.findall(r"\r([^\r\n]*)\x1b\[K", window.written)
        assert all(text.width(line) < 60 for line in drawn)
        assert not any("epoch" in line and "/3,000" in line for line in window.lines), "it is gone"
        assert "\x1b[32m✓\x1b[0m version 1" in window.written
        assert window.lines[-1].startswith("curl http://127.0.0.1")


@pytest.mark.processes
def test_several_networks_are_counted(shell: Shell) -> None:
    name = fresh("counted")
    words = ("train", "flowers.csv", "--label", "kind", "--name", name, "--set", "effort=quick")
    with terminal(shell, words) as window:
        window.until(r"networks \d+/\d+  epoch [\d,]+")
        assert window.end() == 0, window.written
    assert re.search(r"\d+ networks \([a-z, ]+\), each holds out 1/\d of the rows", window.written)


@pytest.mark.processes
def test_no_colour_is_shown_where_it_is_not_wanted(shell: Shell, made: Made) -> None:
    """https://no-color.org; the line still moves."""
    words = ("train", made.dataset, "--name", fresh("plain"), "--hidden", "8", "--epochs", "20")
    assert "\x1b[3" in seen(shell, *words)
    assert not re.search(r"\x1b\[[0-9;]*m", seen(shell, *words, NO_COLOR="1"))
    dumb = seen(shell, *words, TERM="dumb")
    assert "\x1b" not in dumb


@pytest.mark.processes
def test_quiet_has_no_line(shell: Shell, made: Made) -> None:
    written = seen(shell, "-q", "train", made.dataset, "--name", fresh("quiet"), "--hidden", "8", "--epochs", "20")
    assert [line.partition(":")[0] for line in written.splitlines()] == ["http", "curl http"]


@pytest.mark.processes
def test_a_table_has_headings_and_fits(shell: Shell, made: Made) -> None:
    """Numbers are aligned at their ends, times are told from now."""
    wide = seen(shell, "model", "versions", made.model, columns=160, NO_COLOR="1").splitlines()
    head, *rows = wide
    assert head.split()[:3] == ["VERSION", "ALIASES", "HELD"]
    assert [row[: len("VERSION")] for row in rows] == ["      2", "      1"]
    assert all(re.search(r"\d+ (s|min) ago|now", row) for row in rows)
    assert head.index("JOB") == rows[0].index("job_")
    narrow = seen(shell, "model", "versions", made.model, columns=40).replace("\r\n", "\n")
    assert all(text.width(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 40 for line in narrow.splitlines())


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data", "show", "{dataset}"), r"rows +90"),
        (("data", "profile", "{dataset}"), rf"wide +number +0 +\d+ +0 to 4\.4 +{CURVE}+"),
        (("model", "show", "{model}"), r"network +a network with 8 hidden units"),
        (("job", "show", "{job}"), r"state +succeeded"),
        (("evaluate", "{model}", "{dataset}"), r"IS \\ TAKEN FOR +setosa +versicolor +virginica"),
        (("predict", "{model}", "wide=4"), r"PROBABILITY\r\n\w+ +0\.\d{3}  █+"),
        (("compare", "{model}@1", "{model}"), r"layers\.1 +dense units=4"),
    ],
)
def test_people_read_it(shell: Shell, made: Made, words: tuple[str, ...], told: str) -> None:
    names = {"dataset": made.dataset, "model": made.model, "job": made.jobs[0]}
    assert re.search(told, seen(shell, *(word.format(**names) for word in words), NO_COLOR="1"))


@pytest.mark.processes
def test_names_of_others_command_no_terminal(shell: Shell) -> None:
    """Neither in a table nor in JSON nor in the rows of a file."""
    name = fresh("hostile")
    rows = "".join(f"{number},{'xy'[number % 2]}\x1b[31m\x07\n" for number in range(20))
    body = f"\x1b]0;owned\x07a,kind\u202e\n{rows}".encode()
    answer = shell.client.post(f"/datasets?name={name}", body, headers={"Content-Type": "text/csv"})
    assert answer.status == 201, answer
    (shell.folder / "hostile.csv").write_bytes(body)
    for words in (
        ("data", "show", name),
        ("data", "rows", name),
        ("data", "profile", name),
        ("--json", "data", "show", name),
    ):
        written = seen(shell, *words, NO_COLOR="1")
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", written), words
    for words in (("train", "hostile.csv"), ("predict", "none", "none=\x1b[31m"), ("train", "\x1b[31mno.csv")):
        with terminal(shell, words, NO_COLOR="1") as window:
            assert window.end() in (2, 4), window.written
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", window.written), words


@pytest.mark.processes
def test_an_empty_list_says_what_to_do(shell: Shell) -> None:
    """On a terminal; in a pipe there is nothing."""
    words = ("job", "list", "--model", fresh("nobody"))
    assert "trainyard train FILE --label COLUMN" in seen(shell, *words)
    done = shell(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.processes
def test_an_encoding_without_signs(shell: Shell, made: Made) -> None:
    words = ("train", made.dataset, "--name", fresh("ascii"), "--hidden", "8", "--epochs", "20")
    done = shell(*words, variables={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "ok version 1" in done.stderr


@pytest.mark.processes
def test_a_file_is_not_written_to_a_terminal(shell: Shell, made: Made) -> None:
    with terminal(shell, ("model", "export", made.model)) as window:
        assert window.end() == 2
    assert "a terminal cannot show a file: name one with --output" in window.written

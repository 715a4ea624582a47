"""``trainyard predict``, ``evaluate`` and ``compare``."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sys
from typing import Any

import pytest

from testing.harness import Client
from tests.trainyard.cli.conftest import Made, Shell
from tests.trainyard.conftest import iris_like

ROW = ("wide=4.1", "deep=6.1", "long=3", "tall=5")
VALUES = {"wide": 4.1, "deep": 6.1, "long": 3, "tall": 5}


def predicted(client: Client, made: Made, **members: Any) -> dict[str, Any]:
    """What the service answers about the row."""
    document: dict[str, Any] = client.post("/predict", {"model": made.model, "rows": [VALUES], **members}).json
    return document


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_is_predicted(shell: Shell, made: Made) -> None:
    """In a pipe it is the class and its probability, with --top-k of several."""
    answer = predicted(shell.client, made)
    order = sorted(zip(answer["probabilities"][0], answer["classes"], strict=True), reverse=True)
    done = shell("predict", made.model, *ROW)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{order[0][1]}\t{order[0][0]}\n"
    done = shell("predict", made.model, *ROW, "--top-k", "2", "--version", "1")
    first = predicted(shell.client, made, version=1)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        name for _, name in sorted(zip(first["probabilities"][0], first["classes"], strict=True), reverse=True)[:2]
    ]
    assert json.loads(shell("predict", made.model, *ROW, "--json").stdout) == answer


def test_values_have_the_types_of_json(shell: Shell, made: Made) -> None:
    done = shell("predict", made.model, "wide=4", "deep=null", "long=x=y", 'tall="5"', "--curl")
    sent = json.loads(shlex.split(done.stdout)[-1])
    assert sent == {"model": made.model, "rows": [{"wide": 4, "deep": None, "long": "x=y", "tall": "5"}]}


def test_a_wrong_column_is_told_by_its_name(shell: Shell, made: Made) -> None:
    done = shell("predict", made.model, "wid=4")
    assert done.returncode == 4
    assert done.stderr.startswith("Error: wid: is not a column of the model (did you mean 'wide'?)")


def test_a_file_gets_two_columns_more(shell: Shell, made: Made) -> None:
    """As a file, in a pipe, and to a file."""
    done = shell("predict", made.model, "flowers.csv")
    assert (done.returncode, done.stderr) == (0, "")
    rows, before = table(done.stdout), table(iris_like())
    assert len(rows) == len(before) == 90
    assert list(rows[0]) == [*before[0], "prediction", "probability"]
    assert sum(row["prediction"] == row["kind"] for row in rows) > 80
    piped = shell.sh(f'cat flowers.csv | "{sys.executable}" -m trainyard predict {made.model} - | wc -l')
    assert piped.stdout.strip() == "91", piped.stderr
    written = shell("predict", made.model, "-", "-o", "out.csv", stdin=iris_like())
    assert (written.returncode, written.stdout) == (0, "")
    assert (shell.folder / "out.csv").read_text() == done.stdout


def test_a_file_with_the_likeliest_classes(shell: Shell, made: Made) -> None:
    rows = table(shell("predict", made.model, "flowers.csv", "--top-k", "2").stdout)
    all_classes = shell("api", "POST", f"/predict?model={made.model}&probabilities=true", "-d", "@flowers.csv")
    assert list(rows[0])[-4:] == ["prediction", "probability", "prediction_2", "probability_2"]
    for row, whole in zip(rows, table(all_classes.stdout), strict=True):
        shares = {name.removeprefix("probability_"): float(value) for name, value in whole.items() if "y_" in name}
        order = sorted(shares, key=lambda name: -shares[name])
        assert [row["prediction"], row["prediction_2"]] == order[:2]
        assert float(row["probability_2"]) == shares[order[1]]


def test_a_file_that_has_such_columns_already(shell: Shell, made: Made) -> None:
    once = shell("predict", made.model, "flowers.csv").stdout
    twice = shell("predict", made.model, "-", "--top-k", "2", stdin=once)
    assert twice.returncode == 0, twice.stderr
    assert twice.stdout.splitlines()[0].endswith(
        "prediction,probability,prediction_,probability_,prediction_2,probability_2"
    )


def test_json_of_a_file_is_ndjson(shell: Shell, made: Made) -> None:
    done = shell("predict", made.model, "flowers.csv", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 90
    assert {"prediction", "probability"} < set(rows[0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["none.csv"], "there is no file none.csv"),
        (["flowers"], "flowers is neither a file nor a value"),
        (["wide=1", "flowers.csv"], "give one file, or values"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_use_of_predict(shell: Shell, made: Made, words: list[str], told: str) -> None:
    done = shell("predict", made.model, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_refused_file_leaves_no_part(shell: Shell, made: Made) -> None:
    (shell.folder / "other.csv").write_text("a,b\n1,2\n")
    done = shell("predict", made.model, "other.csv", "-o", "out.csv")
    assert done.returncode == 4
    assert sorted(path.name for path in shell.folder.iterdir() if "out" in path.name) == []


def test_a_dataset_a_file_and_held_out_rows_are_evaluated(shell: Shell, made: Made) -> None:
    """A file becomes a dataset for as long as that takes."""
    data = {"model": made.model, "data": {"dataset": made.dataset}}
    answer = shell.client.post("/evaluate", data).json
    assert json.loads(shell("evaluate", made.model, made.dataset, "--json").stdout) == answer
    before = len(shell.client.pages("/datasets", 100))
    of_file = shell("evaluate", made.model, "flowers.csv")
    assert of_file.returncode == 0, of_file.stderr
    assert len(shell.client.pages("/datasets", 100)) == before
    told = dict(line.split("\t") for line in of_file.stdout.splitlines())
    assert (told["model"], told["rows"], told["accuracy"]) == (made.model, "90", str(answer["accuracy"]))
    job = made.jobs[0]
    held_out = shell("evaluate", made.model, "--version", "1", "--held-out", job, "--json")
    data = {"model": made.model, "version": 1, "data": {"job": job, "part": "validation"}}
    assert json.loads(held_out.stdout) == shell.client.post("/evaluate", data).json
    assert json.loads(held_out.stdout)["rows"] == 18


def test_a_job_answers_with_its_best_checkpoint(shell: Shell, made: Made) -> None:
    """Also while it runs; of a file, its version or checkpoint must be named."""
    checkpoint = shell.client.get(f"/models/{made.model}/versions/1").json["checkpoint"]
    done = shell("predict", made.model, *ROW, "--version", made.jobs[0], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == checkpoint
    assert shell("predict", made.model, "flowers.csv", "--version", made.jobs[0]).returncode == 2


@pytest.mark.parametrize("words", [[], ["flowers.csv", "--held-out", "job_1"]])
def test_a_wrong_use_of_evaluate(shell: Shell, made: Made, words: list[str]) -> None:
    done = shell("evaluate", made.model, *words)
    assert done.returncode == 2
    assert "give a file, a dataset, or --held-out JOB" in done.stderr


def test_a_refused_evaluation_leaves_no_dataset(shell: Shell, made: Made) -> None:
    (shell.folder / "other.csv").write_text("kind,b\nsetosa,2\n")
    before = len(shell.client.pages("/datasets", 100))
    assert shell("evaluate", made.model, "other.csv").returncode == 4
    assert len(shell.client.pages("/datasets", 100)) == before


def test_versions_are_compared(shell: Shell, made: Made) -> None:
    """What is the same is not shown."""
    done = shell("compare", f"{made.model}@1", f"{made.model}@2")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert head == ["", f"{made.model}@1", f"{made.model}@2"]
    told = {name: (first, second) for name, first, second in rows}
    versions = [shell.client.get(f"/models/{made.model}/versions/{number}").json for number in (1, 2)]
    assert told["loss"] == tuple(str(version["metrics"]["loss"]) for version in versions)
    assert told["parameters"] == tuple(str(version["parameters"]) for version in versions)
    assert told["layers.1"][0].startswith("dense units=4 ")
    assert told["layers.1"][1].startswith("dense units=8 ")
    assert not {"seed", "epochs", "batch_size", "label", "layers.2"} & set(told)
    documents = json.loads(shell("compare", f"{made.model}@1", f"{made.model}@2", "--json").stdout)
    jobs = [shell.client.job(job) for job in made.jobs]
    assert documents == [{**version, "job": job} for version, job in zip(versions, jobs, strict=True)]

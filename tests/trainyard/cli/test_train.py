"""``trainyard train``: from a file to a model that answers."""

from __future__ import annotations

import json
import re

import pytest

from testing.samples import fresh
from tests.trainyard.cli.conftest import Made, Shell
from tests.trainyard.conftest import iris_like

#: A single network that is trained in a moment.
FAST = ("--hidden", "8", "--epochs", "20")


def test_a_file_becomes_a_model_that_curl_asks(shell: Shell) -> None:
    """On standard output the page and the curl line; what happened on standard error."""
    name = fresh("train")
    done = shell("train", "flowers.csv", "--label", "kind", "--name", name, *FAST)
    assert done.returncode == 0, done.stderr
    page, curl = done.stdout.splitlines()
    assert page == f"{shell.url}/console/models/{name}"
    answer = shell.sh(f"{curl} -sS")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["predictions"][0] in ("setosa", "versicolor", "virginica")
    first, *_, last = [line for line in done.stderr.splitlines() if line.startswith("✓")]
    assert ": 90 rows, 4 numbers, 3 classes (30 each); a network with 8 hidden units; 20 % held out" in first
    assert re.fullmatch(
        rf'✓ version 1 of {name}, epoch \d+: [01]\.\d\d\d right on 18 held-out rows \(always "setosa": 0\.333\)', last
    )
    assert "\x1b" not in done.stderr


def test_without_an_option_the_service_chooses(shell: Shell) -> None:
    """Several networks, said in the first line; all rows are held out by some of them."""
    (shell.folder / "chosen.csv").write_text(iris_like())
    done = shell("train", "chosen.csv", "--label", "kind")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{shell.url}/console/models/chosen"
    assert "networks (binned, smooth, linear), each holds out 1/8 of the rows" in done.stderr
    assert re.search(
        r"version 1 of chosen: [01]\.\d+ right on 90 held-out rows \(the largest class: 0\.\d+", done.stderr
    )
    request = shell.client.get("/jobs?model=chosen").json["data"][0]["request"]
    assert request["data"]["label"] == "kind"
    assert request["epochs"] is request["early_stopping"] is request["validation"] is None


def test_a_file_is_sent_once(shell: Shell) -> None:
    """The same file is the same dataset; another one of the same name gets a name of its own."""
    name = fresh("sent")
    file = shell.folder / f"{name}.csv"
    file.write_text(iris_like())
    for _ in range(2):
        assert shell("train", file, "--label", "kind", *FAST, "--no-wait").returncode == 0
    file.write_text(iris_like() + "1,2,3,4,setosa\n")
    done = shell("train", file, "--label", "kind", *FAST, "--no-wait")
    assert f"another dataset is called {name}: this one is {name}-" in done.stderr
    names = [each["name"] for each in shell.client.pages("/datasets", 100) if each["name"].startswith(name)]
    assert len(names) == 2
    jobs = shell.client.get(f"/jobs?model={name}").json["data"]
    assert [job["request"]["data"]["rows"] for job in jobs] == [91, 90, 90]


def test_standard_input_is_a_file(shell: Shell) -> None:
    name = fresh("piped")
    done = shell("train", "-", "--label", "kind", "--name", name, *FAST, "--json", "-q", stdin=iris_like())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["request"]["data"]["dataset"] == name
    unnamed = shell("train", "-", "--label", "kind", stdin=iris_like())
    assert (unnamed.returncode, unnamed.stdout) == (2, "")
    assert "--name is required for standard input" in unnamed.stderr


def test_json_is_the_job_and_nothing_else(shell: Shell, made: Made) -> None:
    done = shell("train", made.dataset, "--name", fresh("json"), *FAST, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    job = json.loads(done.stdout)
    assert job == shell.client.job(job["id"])
    assert job["state"] == "succeeded"


def test_quiet_prints_the_result_alone(shell: Shell, made: Made) -> None:
    done = shell("-q", "train", made.dataset, "--name", fresh("quiet"), *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(" ")[0].partition(":")[0] for line in done.stdout.splitlines()] == ["http", "curl"]


def test_a_dry_run_stores_nothing(shell: Shell, made: Made) -> None:
    name = fresh("dry")
    done = shell("train", made.dataset, "--name", name, *FAST, "--dry-run")
    assert done.returncode == 0, done.stderr
    told = dict(line.split("\t") for line in done.stdout.splitlines())
    assert (told["model"], told["rows"], told["held_out"], told["networks"]) == (name, "72", "18", "1")
    assert float(told["seconds"]) >= 0
    assert shell.client.get(f"/models/{name}").status == 404
    document = json.loads(shell("train", made.dataset, "--name", name, *FAST, "--dry-run", "--json").stdout)
    assert document["dry_run"] is True


def test_no_wait_prints_the_job(shell: Shell, made: Made) -> None:
    done = shell("train", made.dataset, "--name", fresh("later"), *FAST, "--no-wait")
    assert done.returncode == 0
    job_id = done.stdout.strip()
    assert f"trainyard job watch {job_id}" in done.stderr
    assert shell.client.wait(job_id)["state"] == "succeeded"


def test_what_is_expected_decides_the_exit_status(shell: Shell, made: Made) -> None:
    train = ("train", made.dataset, "--name", fresh("expected"), *FAST, "-q")
    assert shell(*train, "--expect", "validation_accuracy>=0", "--expect", "loss<100").returncode == 0
    missed = shell(*train, "--expect", "validation_accuracy>1")
    assert missed.returncode == 1
    assert "--expect missed: validation_accuracy is " in missed.stderr
    assert missed.stdout.startswith(f"{shell.url}/console/models/")
    unknown = shell(*train, "--expect", "acuracy>1")
    assert unknown.returncode == 1
    assert "the job has no acuracy; it has accuracy, " in unknown.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--expect", "accuracy"], "as in validation_accuracy>=0.9"),
        (["--expect", "loss<1", "--no-wait"], "leave --no-wait out"),
        (["--expect", "loss<1", "--dry-run"], "leave --dry-run out"),
        (["--hidden", "8,x"], "must be whole numbers, separated by commas, as in 64,64. Received: '8,x'"),
        (["--skip", "a,,b"], "must be names, separated by commas"),
        (["--set", "seed"], "must be a path and a value, as in optimizer.type=adamw. Received: 'seed'"),
        (["--set", "seed=1", "--set", "seed.more=2"], "seed is 1, which has no members"),
        (["--held-out", "1"], "--held-out"),
        (["--epochs", "-1"], "--epochs"),
        (["--hiden", "8"], "--hidden'?)"),
    ],
)
def test_a_wrong_use_sends_nothing(shell: Shell, words: list[str], told: str) -> None:
    """Where nothing answers, a request would show as another exit status."""
    done = shell("--url", "http://127.0.0.1:1", "train", "flowers.csv", "--label", "kind", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_file_that_there_is_not(shell: Shell) -> None:
    done = shell("train", "flowrs.csv", "--label", "kind")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no file flowrs.csv" in done.stderr


def test_a_file_without_a_label(shell: Shell) -> None:
    """Nothing is sent before it is known; the beginning of the file helps."""
    done = shell("train", "flowers.csv")
    assert done.returncode == 2
    assert "--label is required" in done.stderr
    assert "The first line of flowers.csv: long,wide,tall,deep,kind" in done.stderr


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["--set", "optimizr.type=adam", "--set", "batch_size=0"], ["/optimizr: ", "/batch_size: "]),
        (["--name", "Not-Fit", "--hidden", "0"], ["--name: ", "--hidden: "]),
        (["--name", "fits", "--skip", "colour"], ["--skip: "]),
        (["--name", "fits", "--from", "ckpt_none", "--hidden", "8"], ["--from: "]),
    ],
)
def test_each_fault_is_told_with_its_option(shell: Shell, made: Made, words: list[str], begins: list[str]) -> None:
    """Then come the code and what the service's log knows the request by."""
    done = shell("train", made.dataset, *words)
    assert (done.returncode, done.stdout) == (4, "")
    *told, last = done.stderr.removeprefix("Error: ").splitlines()
    for begin in begins:
        assert any(line.startswith(begin) for line in told), (begin, told)
    assert re.fullmatch(r"\(\w+, request \S+\)", last)


def test_json_of_a_refusal_is_the_problem(shell: Shell, made: Made) -> None:
    done = shell("train", made.dataset, "--set", "batch_size=0", "--json")
    assert done.returncode == 4
    problem = json.loads(done.stdout)
    assert (problem["code"], problem["status"]) == ("validation_failed", 422)


def test_another_label_is_refused_by_its_option(shell: Shell, made: Made) -> None:
    done = shell("train", made.dataset, "--label", "knd")
    assert done.returncode == 4
    assert re.search(r"^Error: --label: .*did you mean 'kind'", done.stderr, re.MULTILINE)


def test_a_checkpoint_is_gone_on_from(shell: Shell, made: Made) -> None:
    checkpoint = shell.client.job(made.jobs[1])["checkpoint"]
    done = shell("train", made.dataset, "--from", checkpoint, "--name", made.model, "--epochs", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["request"]["start_from"] == checkpoint


def test_the_same_seed_makes_the_same_model(shell: Shell, made: Made) -> None:
    train = ("train", made.dataset, "--name", fresh("seed"), *FAST, "--json", "-q", "--seed")
    losses = [json.loads(shell(*train, seed).stdout)["metrics"]["loss"] for seed in ("5", "5", "6")]
    assert losses[0] == losses[1] != losses[2]


def test_a_job_that_fails(shell: Shell) -> None:
    """Exit status 1, with the job's own words."""
    rows = [f"{number % 7}e37,{number}e36,{'xy'[number % 2]}" for number in range(60)]
    (shell.folder / "huge.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n")
    done = shell(
        *("train", "huge.csv", "--label", "kind", "--name", fresh("diverges"), *FAST, "--set", "model.features=raw"),
        *("--set", "optimizer.type=sgd", "--set", "optimizer.learning_rate=1"),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"Error: job_\w+ has failed: .*\(diverged\)", done.stderr)


def test_a_wide_table_has_no_line_that_nobody_could_read(shell: Shell) -> None:
    head = ",".join([*(f"column_{number}" for number in range(150)), "kind"])
    rows = [",".join([*(str((row * number) % 17) for number in range(150)), "ab"[row % 2]]) for row in range(40)]
    (shell.folder / "wide.csv").write_text("\n".join([head, *rows]) + "\n")
    done = shell("train", "wide.csv", "--label", "kind", "--name", fresh("wide"), *FAST)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_names_of_others_do_not_command_the_terminal(shell: Shell) -> None:
    """A class and a column may hold any letters."""
    bad, classes = "\x1b[2Jkind", ("b\x07", "a\x1b[31m")
    rows = [f"{number % 2},{number},{classes[number % 2]}" for number in range(40)]
    (shell.folder / "bad.csv").write_text("\n".join([f"x,row\x9b31m,{bad}", *rows]) + "\n")
    done = shell("train", "bad.csv", "--label", bad, "--name", fresh("bad"), *FAST)
    assert done.returncode == 0, done.stderr
    for sign in ("\x1b", "\x07", "\x9b"):
        assert sign not in done.stdout + done.stderr
    curl = done.stdout.splitlines()[1]
    assert json.loads(shell.sh(f"{curl} -sS").stdout)["predictions"][0] in classes

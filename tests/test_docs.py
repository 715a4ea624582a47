"""README, docs and examples match the behaviour."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.features.features import FEATURES, Feature
from models.features.scales import SCALES
from nncore import LAYERS, OPTIMIZERS, SCHEDULES, Dense, Network, Optimizer, Schedule, Softmax, activations
from nncore.arrays import NamedVector, Workspace
from nncore.initializers import INITIALIZERS
from nncore.layers import Layer
from nncore.losses import CategoricalCrossentropy
from nncore.plan import BatchPlan
from service.access import limits
from service.settings import SETTINGS, table
from testing.harness import Client, serving

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.sh") if path.name != "common.sh")


@pytest.fixture(scope="module")
def own_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server for this module alone, which the scripts fill with what they like."""
    with serving(tmp_path_factory.mktemp("docs") / "data") as running:
        yield running.client


@pytest.mark.processes
def test_the_table_of_settings_is_the_generated_one() -> None:
    """`python -m service settings` prints what docs/settings.md shows."""
    page = (ROOT / "docs/settings.md").read_text()
    shown = re.search(r"<!-- settings -->\n(.*)\n<!-- /settings -->", page, re.DOTALL)
    assert shown is not None
    assert shown[1] == table()
    printed = subprocess.run(
        [sys.executable, "-m", "service", "settings"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == table()
    assert all(setting.variable in table() for setting in SETTINGS)


def test_the_table_of_limits_is_the_generated_one() -> None:
    """`python -m service.access.limits` prints what docs/limits.md shows."""
    shown = re.search(r"<!-- limits -->\n(.*)\n<!-- /limits -->", (ROOT / "docs/limits.md").read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == limits.table()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """Every relative link of the documentation names an existing file."""
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    missing = [link for link in links if "//" not in link and not ((ROOT / page).parent / link).exists()]
    assert missing == []


def test_the_files_that_contributing_names_exist() -> None:
    """Each path in backticks; NOUN and NAME stand for a name."""
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 20
    assert [path for path in named if "NOUN" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("subject", "table", "base"),
    [
        ("optimizers", OPTIMIZERS, Optimizer),
        ("optimizers", SCHEDULES, Schedule),
        ("layers", LAYERS, Layer),
        ("features", FEATURES, Feature),
    ],
)
def test_the_tables_of_a_page_tell_every_field_and_its_default(
    subject: str, table: dict[str, type], base: type
) -> None:
    """docs/optimizers.md and docs/layers.md: a row for each member, and the fields that all have before them."""
    page = (ROOT / "docs" / f"{subject}.md").read_text()
    common = {item.name for item in fields(base)} - {"learning_rate"}
    for name, rule in table.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*\| (.*)\|$", page, re.MULTILINE)
        told = dict(re.findall(r"`(\w+)(?:=([^`]+))?`", row))
        own = {item.name: item.default for item in fields(rule)}
        assert told.keys() == own.keys() - common, name
        for field, default in told.items():
            written = json.loads(default) if default else MISSING
            assert own[field] == (tuple(written) if isinstance(written, list) else written), (name, field)
    for item in fields(base):
        assert f"`{item.name}" in page


def test_every_scale_stands_in_its_table() -> None:
    """docs/features.md: a row for each."""
    _, _, section = (ROOT / "docs" / "features.md").read_text().partition("\n## Scales\n")
    assert re.findall(r"^\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE)[1:] == [*SCALES]


def test_every_initializer_stands_in_its_table() -> None:
    """docs/layers.md: each name in its row or that of its pair."""
    page = (ROOT / "docs" / "layers.md").read_text()
    named = [name for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE) for name in row.split(", ")]
    assert [name for name in INITIALIZERS if named.count(f"`{name}`") != 1] == []


def test_every_script_is_named_in_the_readme() -> None:
    """The README names every example."""
    assert [path.name for path in SCRIPTS if f"examples/{path.name}" not in README] == []


def environment(client: Client) -> dict[str, str]:
    """What a script needs to find the server."""
    return {**os.environ, "SERVICE_URL": client.base}


def run_script(script: Path, client: Client) -> subprocess.CompletedProcess[str]:
    """A script that has ended, with its output."""
    return subprocess.run([script], env=environment(client), capture_output=True, text=True, timeout=120)


@pytest.mark.processes
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_examples_run_as_they_stand_and_run_again(script: Path, own_client: Client) -> None:
    """Each script works on a running service, also the second time."""
    for _ in range(2):
        done = run_script(script, own_client)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert re.search(EXPECTED[script.name], done.stdout), done.stdout


#: What each script must show.
EXPECTED = {
    "cancel.sh": r"(?s)running\npaused\nrunning\ncancelled\nits newest checkpoint: ckpt_.*deleted",
    "define.sh": r'"parameters": 99',
    "download_checkpoint.sh": r"(?s)/square_sum/0_dense/weights float32 \(2, 16\).*a row of 0.1: .*'blue': 0\.9",
    "evaluate.sh": r'(?s)"top_k_accuracy": .*"class": "blue".*"confusion_matrix": .*"version": 1,.*"accuracy": 1.0',
    "history.sh": r'(?s)"epoch": 198, .*"epoch": 200, ',
    "import_checkpoint.sh": r'(?s)"model": "colors".*"job": null.*"checkpoint": "ckpt_',
    "predict.sh": r'(?s)"class": "red".*"version": 1.*"alias": "stable"',
    "sweep.sh": r"succeeded\ntrial \d+ of 12: .*learning_rate.*\nright on held-out rows: 0\.9",
    "train_csv.sh": r'"state": "succeeded"',
    "train_dataset.sh": r'"state": "succeeded"',
    "train_inline.sh": r'"accuracy": 1.0',
    "trust.sh": r'(?s)succeeded.*"sets": .*"contributions": .*"unusual": true.*,set,uncertainty.*"repeats": 5',
    "wait.sh": r"(?s)at the end: succeeded.*event: epoch.*event: checkpoint.*event: state",
}


@pytest.mark.processes
def test_the_curl_tour_of_the_readme(own_client: Client) -> None:
    """The five lines, pasted as one block, each with an answer that is not a refusal; the examples run after it."""
    block = re.search(r"## A tour with curl.*?```bash\n(.*?)```", README, re.DOTALL)
    assert block is not None
    assert len(block[1].strip().splitlines()) == 5
    pasted = block[1].replace("localhost:8000", own_client.base.removeprefix("http://"))
    done = subprocess.run(["bash"], input=pasted, capture_output=True, text=True, check=True, timeout=60)
    uploaded, job, prediction, checkpoints = answers(done.stdout)
    assert (uploaded["name"], uploaded["rows"]) == ("tour", 4)
    assert (job["state"], job["metrics"]["accuracy"]) == ("succeeded", 1.0)
    assert (prediction["version"], prediction["predictions"]) == (1, ["red", "green"])  # each near its rows
    assert min(map(max, prediction["probabilities"])) > 0.9
    assert "(`red` and `green`)" in README
    assert checkpoints["data"][0]["model"] == "tour"
    assert run_script(ROOT / "examples" / "define.sh", own_client).returncode == 0


@pytest.fixture(scope="module")
def rentals() -> bytes:
    """The table that the demo makes."""
    code = "from demo_rentals import rentals; print(rentals(200, 0), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "examples", capture_output=True, check=True)
    return made.stdout


@pytest.mark.processes
def test_the_one_curl_of_the_readme(own_client: Client, rentals: bytes) -> None:
    """Beside a model like that of the demo."""
    own_client.post("/datasets?name=rentals&label=returned", rentals, headers={"Content-Type": "text/csv"})
    own_client.run({"data": "rentals", "model": {"name": "rentals", "hidden": [8]}, "epochs": 30})
    (command,) = re.findall(r"^    (curl localhost:8000/predict .*)$", README, re.MULTILINE)
    here = command.replace("localhost:8000", own_client.base.removeprefix("http://"))
    done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["predictions"] == ["late"]


@pytest.mark.processes
def test_the_ways_of_the_readme(own_client: Client, rentals: bytes, tmp_path: Path) -> None:
    """The lines for a shell and for Python, where the demo has left its table."""
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "rentals.csv").write_bytes(rentals)
    given = {**os.environ, "TRAINYARD_URL": own_client.base, "PYTHONPATH": str(ROOT)}
    lines = re.findall(r"^    (trainyard (?:train|predict) .*)$", README, re.MULTILINE)
    assert len(lines) == 2
    script = "\n".join(["set -e", f'trainyard() {{ "{sys.executable}" -m trainyard "$@"; }}', *lines])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=given, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "late" in done.stdout
    block = re.search(r"\*\*In Python\*\*.*?```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    command = [sys.executable, "-c", block[1]]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "('late',)\n"), done.stderr


def answers(text: str) -> list[Any]:
    """JSON documents that stand one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


@pytest.mark.processes
@pytest.mark.parametrize("reader", ["field name", "pretty", "cat > /dev/null"])
def test_a_script_that_is_refused_tells_the_problem(own_client: Client, reader: str) -> None:
    """The problem and nothing else, on standard error, and the script ends."""
    script = f'set -euo pipefail; source examples/common.sh; x=$(call "$URL/models/none" | {reader}); echo "went on"'
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment(own_client), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert done.stdout == ""
    told, _, problem = done.stderr.partition("\n")
    assert "404" in told
    assert json.loads(problem)["code"] == "not_found"


def test_the_layer_of_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ten lines make a layer whose gradients are right."""
    block = re.search(r"## Adding a layer.*?```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    # With only the names of its module.
    module = dict(vars(activations))
    exec(block[1], module)
    exponential = module["Exponential"]
    monkeypatch.setitem(LAYERS, "exponential", exponential)
    network = Network([Dense(4), exponential(), Dense(3), Softmax()], inputs=2, seed=1, dtype="float64")
    gradients = NamedVector.zeros(network.parameters.shapes, np.float64)
    x, y = np.random.default_rng(0).normal(size=(5, 2)), np.array([0, 1, 2, 1, 0])
    plan = BatchPlan(network, gradients, 5, Workspace(np.float64), np.random.default_rng(0))
    plan.rows[:, :-1], plan.rows[:, -1], plan.labels[:] = x, 1.0, y
    plan.run()
    vector = network.parameters.vector

    def loss() -> float:
        return float(CategoricalCrossentropy().forward(network.predict_proba(x), y).mean())

    for index in range(vector.size):
        before, step = vector[index], 1e-6
        vector[index] = before + step
        above = loss()
        vector[index] = before - step
        below = loss()
        vector[index] = before
        assert gradients.vector[index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-9)

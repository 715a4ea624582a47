"""The Model screen's answers are right: form, flip points, closest row, map, confusion matrix, and the code to copy."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from testing.harness import Client, Server, eventually, serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

    from tests.console.conftest import Faults

Row = dict[str, Any]

IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
#: Names that are markup, or long.
HOSTILE, LONG = "<script>alert(1)</script>", "<b>very long</b> " * 12


def irises() -> list[Row]:
    """Fisher's irises."""
    found = pytest.importorskip("sklearn.datasets").load_iris()
    return [
        {**dict(zip(IRIS, map(float, values), strict=True)), "species": str(found.target_names[code])}
        for values, code in zip(found.data, found.target, strict=True)
    ]


def passengers(count: int = 240) -> list[Row]:
    """Rows of each kind of column, with gaps; the label follows sex and age."""
    random = np.random.default_rng(4)
    rows = []
    for _ in range(count):
        sex, age, gap = (
            str(random.choice(["female", "male"])),
            round(float(random.uniform(1, 80)), 1),
            random.random() < 0.2,
        )
        day, alone = int(random.integers(1, 28)), bool(random.random() < 0.5)
        saved = random.random() < (0.9 if sex == "female" else 0.6 if age < 15 else 0.15)
        rows.append(
            {
                "sex": sex,
                "age": None if gap else age,
                "class": int(random.integers(1, 4)),
                "alone": alone,
                "boarded": f"1912-04-{day:02d}",
                "saved": "yes" if saved else "no",
            }
        )
    return rows


def wide() -> list[Row]:
    """Thirty classes by one of thirty columns."""
    random = np.random.default_rng(3)
    values = random.normal(size=(180, 30)).round(2)
    values[:, 20] += np.arange(180) % 30
    return [
        {**{f"x{column}": float(value) for column, value in enumerate(row)}, "kind": f"k{place % 30:02d}"}
        for place, row in enumerate(values)
    ]


def hostile() -> list[Row]:
    """Columns and classes with names that do harm where they become markup or a width."""
    random, kinds = np.random.default_rng(5), [HOSTILE, LONG, "True"]
    return [
        {HOSTILE: float(random.normal(place % 3)), LONG: ["<i>a</i>", "b" * 90][place % 2], "kind": kinds[place % 3]}
        for place in range(90)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one small network for each table, of which a fifth was held out, and one trained in folds."""
    tables = {"iris": ("species", irises()), "ship": ("saved", passengers())}
    tables |= {"wide": ("kind", wide()), "hostile": ("kind", hostile())}
    inputs = np.random.default_rng(2).normal(size=(60, 2)).round(3)
    plain = {"name": "plain", "inputs": inputs.tolist(), "labels": (inputs.sum(axis=1) > 0).astype(int).tolist()}
    single = {"epochs": 40, "validation": {"fraction": 0.2}, "publish": "best", "checkpoint": {"every_epochs": 10}}
    with serving(tmp_path_factory.mktemp("answers") / "data", WORKERS=1) as running:
        client = running.client
        for name, (label, rows) in tables.items():
            assert client.post("/datasets", {"name": name, "label": label, "rows": rows}).status == 201
        assert client.post("/datasets", plain).status == 201
        client.define({"name": "plain", "inputs": 2, "classes": [0, 1], "hidden": [4]})
        jobs = [client.train({"model": {"name": name, "hidden": [8]}, "data": name, **single}) for name in tables]
        jobs.append(client.train({"model": "plain", "data": {"dataset": "plain"}, **single}))
        jobs.append(client.train({"model": {"name": "folds", "hidden": [8]}, "data": "ship", "folds": 3, "epochs": 4}))
        for job in jobs:
            ended = client.wait(job["id"], seconds=300)
            assert ended["state"] == "succeeded", ended
        yield running


@pytest.fixture
def client(server: Server) -> Client:
    return server.client


@pytest.fixture
def shown(open_page: Callable[..., Page], server: Server) -> Callable[..., Page]:
    """Opens a model's page, and waits until all of it is drawn: the sample of rows comes last."""
    from playwright.sync_api import expect

    def make(name: str, query: str = "", **options: Any) -> Page:
        page = open_page(server, f"/console/models/{name}{query}", **options)
        expect(panel(page, "Try it").locator(".prob").first).to_be_visible()
        expect(panel(page, "Try it").get_by_text("Closest")).to_be_visible()
        expect(panel(page, "What it decides where").get_by_text("Of the map")).to_be_visible()
        return page

    return make


def panel(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def bars(page: Page) -> dict[str, str]:
    """The classes and percentages of the answer."""
    read = "bars => bars.map((bar) => [bar.firstChild.innerText, bar.querySelector('output').innerText])"
    return dict(panel(page, "Try it").locator(".prob").evaluate_all(read))


def in_form(page: Page, names: tuple[str, ...] = IRIS) -> Row:
    """The numbers in the form."""
    return {name: float(page.get_by_label(f"{name} as a number").input_value()) for name in names}


def predicted(client: Client, name: str, rows: list[Row], version: Any = None) -> tuple[list[Any], list[list[float]]]:
    answer = client.post("/predict", {"model": name, "rows": rows, **({} if version is None else {"version": version})})
    assert answer.status == 200, answer
    return answer.json["predictions"], answer.json["probabilities"]


def percents(client: Client, name: str, row: Row, version: Any = None) -> dict[str, str]:
    """The bars as they must be."""
    classes = client.get(f"/models/{name}").json["classes"]
    probabilities = predicted(client, name, [row], version)[1][0]
    return {str(label): f"{100 * share:.1f} %" for label, share in zip(classes, probabilities, strict=True)}


def sample(client: Client, name: str, part: str) -> list[Row]:
    """The rows that a model's job held out or trained on, with what is predicted for them."""
    job = client.get(f"/models/{name}/versions/1").json["job"]
    asked = {"model": name, "data": {"job": job, "part": part}, "rows": {"limit": 1000}}
    return client.post("/evaluate", asked).json["cell"]["rows"]


@pytest.mark.short
def test_the_form_answers_as_the_service_does(
    shown: Callable[..., Page], client: Client, a11y: Callable[[Page], None], look: Callable[[Page, str], None]
) -> None:
    page = shown("iris")
    look(page, "model-answers")
    assert bars(page) == percents(client, "iris", in_form(page))
    page.get_by_label("petal_width as a number").fill("2.31")
    page.get_by_label("petal_length", exact=True).focus()
    page.keyboard.press("End")
    row = in_form(page)
    assert (row["petal_width"], row["petal_length"]) == (2.31, 6.9)
    eventually(lambda: bars(page) == percents(client, "iris", row), what="the answer to the form's row")

    # The same row again from the address.
    page.wait_for_url(re.compile("row="))
    page.reload()
    eventually(lambda: bars(page) == percents(client, "iris", row), what="the answer after loading again")
    page.get_by_label("petal_width as a number").fill("40")
    panel(page, "Try it").get_by_text(
        "petal_width 40 is outside the range of the training rows (0.1 to 2.5)"
    ).wait_for()
    a11y(page)


def test_what_is_copied_works_as_it_is(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    page = shown("iris")
    page.get_by_label("sepal_width as a number").fill("2.9")
    wanted = predicted(client, "iris", [in_form(page)])[1][0]
    code = panel(page, "From your code")
    for language, command in (
        ("curl", ["sh", "-c"]),
        ("Python", [sys.executable, "-c"]),
        ("JavaScript", ["node", "--input-type=module", "-e"]),
        ("CLI", ["sh", "-c"]),
    ):
        code.get_by_role("tab", name=language).click()
        expect(code.get_by_role("tabpanel")).to_contain_text("2.9")
        text = code.get_by_role("tabpanel").inner_text()
        if language == "JavaScript" and shutil.which("node") is None:
            continue
        if language == "CLI":
            text = f"{sys.executable} -m trainyard --json {text.removeprefix('trainyard ')}"
        done = subprocess.run([*command, text], capture_output=True, text=True, timeout=60, check=True)
        found = (
            json.loads(done.stdout)["probabilities"][0]
            if language in ("curl", "CLI")
            else json.loads(re.sub(r"^.*?(\[\s*\[.*\]\s*\])\s*$", r"\1", done.stdout.strip(), flags=re.DOTALL))[0]
        )
        assert found == pytest.approx(wanted, rel=1e-6), language


def test_everything_follows_the_checkpoint(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    page = shown("iris")
    job = client.get("/models/iris/versions/1").json["job"]
    kept = client.get(f"/jobs/{job}/checkpoints?limit=100").json["data"]
    page.get_by_label("Checkpoint", exact=True).focus()
    page.keyboard.press("Home")
    page.wait_for_url(re.compile("checkpoint=ckpt_"))
    chosen = re.search(r"checkpoint=(ckpt_\w+)", page.url)[1]  # type: ignore[index]
    assert chosen in {one["id"] for one in kept}
    row = in_form(page)
    assert percents(client, "iris", row, chosen) != percents(client, "iris", row)
    eventually(lambda: bars(page) == percents(client, "iris", row, chosen), what="the checkpoint's answer")
    expect(panel(page, "From your code").get_by_role("tabpanel")).to_contain_text(chosen)
    data = {"job": job, "part": "validation"}
    measured = client.post("/evaluate", {"model": "iris", "version": chosen, "data": data}).json
    expect(panel(page, "Where it is wrong").get_by_role("status").first).to_contain_text(
        f"accuracy {measured['accuracy']:.3f}"
    )
    right = f"{100 * measured['accuracy']:.0f} % of the held-out rows right"
    expect(panel(page, "What it decides where").get_by_text(right)).to_be_visible()
    assert matrix(page, 3) == measured["confusion_matrix"]


@pytest.mark.short
def test_the_answer_changes_at_the_flip_point(shown: Callable[..., Page], client: Client) -> None:
    page = shown("iris")
    notes = panel(page, "Try it").get_by_text("It would be")
    eventually(notes.count, what="flip points")
    row = in_form(page)
    here = predicted(client, "iris", [row])[0][0]
    for text in notes.all_inner_texts():
        found = re.fullmatch(r"It would be (\w+) from (\w+) ([\d.]+) (up|down)", text)
        assert found is not None, text
        other, column, value = found[1], found[2], float(found[3])
        before = value - (0.01 if found[4] == "up" else -0.01)
        assert (value > row[column]) == (found[4] == "up")
        assert predicted(client, "iris", [{**row, column: value}, {**row, column: before}])[0] == [other, here]


def test_levels_flip_and_gaps_are_said(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    page = shown(
        "ship", f"?row={json.dumps({'sex': 'male', 'age': 40, 'class': 2, 'alone': True, 'boarded': '1912-04-10'})}"
    )
    row = {"sex": "male", "age": 40, "class": 2, "alone": True, "boarded": "1912-04-10"}
    eventually(lambda: bars(page) == percents(client, "ship", row), what="the address's row")
    expect(panel(page, "Try it").get_by_text("It would be yes with sex female")).to_be_visible()
    assert predicted(client, "ship", [row, {**row, "sex": "female"}])[0] == ["no", "yes"]
    page.get_by_label("sex", exact=True).select_option("female")
    page.get_by_label("alone", exact=True).select_option("false")
    page.get_by_label("boarded", exact=True).fill("1912-04-03T00:00:00")
    page.get_by_label("age as a number").fill("")
    row = {"sex": "female", "age": None, "class": 2, "alone": False, "boarded": "1912-04-03T00:00:00"}
    eventually(lambda: bars(page) == percents(client, "ship", row), what="the answer with a gap")
    expect(panel(page, "Try it").get_by_text(re.compile(r"age is missing: [\d.]+ stands for it"))).to_be_visible()
    page.get_by_label("class as a number").fill("7")
    expect(
        panel(page, "Try it").get_by_text("class 7 is outside the range of the training rows (1 to 3)")
    ).to_be_visible()


def test_the_closest_row_and_a_random_one(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    page = shown("iris")
    trained = sample(client, "iris", "training")
    values = np.array([[row["values"][name] for name in IRIS] for row in trained])
    for width in ("0.2", "2.2"):
        page.get_by_label("petal_width as a number").fill(width)
        form = np.array([in_form(page)[name] for name in IRIS])
        distances = (((values - form) / values.std(axis=0)) ** 2).sum(axis=1)
        closest = trained[int(distances.argmin())]
        expect(
            panel(page, "Try it").get_by_text(f"Closest training row: {closest['row']}, {closest['label']}")
        ).to_be_visible()
    page.get_by_role("button", name="Show the closest row in the form").click()
    eventually(
        lambda: in_form(page) == {name: closest["values"][name] for name in IRIS}, what="the closest row in the form"
    )
    expect(
        panel(page, "Try it").get_by_text(
            f"Row {closest['row']} of the data, trained on; its label: {closest['label']}"
        )
    ).to_be_visible()
    page.get_by_role("heading", name="iris", level=1).click()
    page.keyboard.press("r")
    known = [*trained, *sample(client, "iris", "validation")]
    assert in_form(page) in [{name: row["values"][name] for name in IRIS} for row in known]


@pytest.mark.short
def test_the_map_is_what_the_service_answers(
    shown: Callable[..., Page], client: Client, look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    page = shown("iris", "?x=sepal_width&y=petal_length")
    with page.expect_request(lambda request: len(grid_of(request).get("rows", [])) == 90 * 76) as asked:
        page.get_by_label("petal_width as a number").fill("0.7")
    grid = grid_of(asked.value)
    assert {row[3] for row in grid["rows"]} == {0.7}
    answers = client.post("/predict", grid).json["predictions"]
    shares = {label: f"{label} {100 * answers.count(label) / len(answers):.0f} %" for label in set(answers)}
    words = panel(page, "What it decides where").get_by_text("Of the map")
    for share in shares.values():
        expect(words).to_contain_text(share)

    field = page.get_by_label("Map of decisions; arrow keys move the cross")
    box = field.bounding_box()
    assert box is not None
    field.click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.25})
    low, high = 2.0 - 0.06 * 2.4, 4.4 + 0.06 * 2.4
    assert in_form(page)["sepal_width"] == pytest.approx(low + 0.25 * (high - low), abs=0.06)
    assert in_form(page)["petal_length"] == pytest.approx(1 - 0.06 * 5.9 + 0.75 * 1.12 * 5.9, abs=0.06)
    before = in_form(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    row = in_form(page)
    assert row["sepal_width"] > before["sepal_width"]
    assert row["petal_length"] > before["petal_length"]
    (label,), ((*probabilities,),) = predicted(client, "iris", [row])
    place = f"At sepal_width {row['sepal_width']:g}, petal_length {row['petal_length']:g}"
    expect(words).to_contain_text(f"{place}: {label}, {100 * max(probabilities):.1f} %")
    page.get_by_label("Column across").select_option("petal_length")
    page.wait_for_url(re.compile("x=petal_length&y=sepal_width"))


def grid_of(request: Request) -> Row:
    """The body of a request that asks for a map; empty if it does not."""
    body: Row = json.loads(request.post_data or "{}") if request.url.endswith("/predict") else {}
    return body if len(body.get("rows", [])) >= 300 else {}


def test_answers_come_while_a_job_trains(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    """From the best epoch so far, as soon as one is kept."""
    from playwright.sync_api import expect

    kept = {"publish": "best", "checkpoint": {"every_seconds": 1, "keep": 3}, "validation": {"fraction": 0.2}}
    job = client.train({"model": {"name": "now", "hidden": [8]}, "data": "iris", "epochs": 1_000_000, **kept})
    page = open_page(server, "/console/models/now")
    expect(panel(page, "Try it").locator(".prob").first).to_be_visible(timeout=30_000)
    expect(panel(page, "What it decides where").get_by_text("Of the map")).to_be_visible()
    expect(panel(page, "Where it is wrong").get_by_role("status").first).to_contain_text("30 held-out rows")
    expect(panel(page, "From your code").get_by_role("tabpanel")).to_contain_text('"checkpoint":"best"')
    client.post(f"/jobs/{job['id']}/cancel")
    client.wait(job["id"])


def test_one_map_at_a_time_is_asked_for(shown: Callable[..., Page]) -> None:
    page = shown("iris", "?x=petal_length&y=petal_width")
    begun: set[Request] = set()
    counts, newest = [], {}

    def begin(request: Request) -> None:
        if grid := grid_of(request):
            begun.add(request)
            counts.append(len(begun))
            newest.update(grid)

    def end(request: Request) -> None:
        begun.discard(request)

    page.on("request", begin)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    page.get_by_label("sepal_width", exact=True).focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    width = in_form(page)["sepal_width"]

    def over() -> bool:
        page.title()  # While it waits for an answer of the page, its events come in.
        return not begun and {row[1] for row in newest.get("rows", [])} == {width}

    eventually(over, what="the newest map")
    assert set(counts) == {1}


def matrix(page: Page, classes: int) -> list[list[int]]:
    cells = panel(page, "Where it is wrong").get_by_role("group", name="Confusion matrix").get_by_role("button")
    numbers = [int(text) for text in cells.all_inner_texts()]
    return [numbers[start : start + classes] for start in range(0, len(numbers), classes)]


@pytest.mark.short
def test_the_confusion_matrix_and_its_rows(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    metrics = pytest.importorskip("sklearn.metrics")
    page, wrong = (page := shown("ship")), panel(page, "Where it is wrong")
    held = sample(client, "ship", "validation")
    labels = [row["label"] for row in held]
    guesses = predicted(client, "ship", [row["values"] for row in held])[0]
    assert matrix(page, 2) == metrics.confusion_matrix(labels, guesses).tolist()
    often = max(set(labels), key=labels.count)
    expect(wrong.get_by_role("status").first).to_contain_text(
        f"{len(held)} held-out rows: accuracy {metrics.accuracy_score(labels, guesses):.3f}"
    )
    expect(wrong.get_by_role("status").first).to_contain_text(
        f"always “{often}” {labels.count(often) / len(labels):.3f}"
    )

    # By keyboard to the cell below, and its rows.
    wrong.get_by_role("button", name=re.compile("of no taken for no")).click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(wrong.get_by_role("button", name=re.compile("of yes taken for no"))).to_have_attribute(
        "aria-pressed", "true"
    )
    cell = [row for row, guess in zip(held, guesses, strict=True) if (row["label"], guess) == ("yes", "no")]
    buttons = wrong.get_by_role("button", name=re.compile(r"Put row \d+ into the form"))
    eventually(lambda: buttons.all_inner_texts() == [str(row["row"]) for row in cell], what="the rows of the cell")
    buttons.first.press("Enter")
    names = ("sex", "age", "class", "alone", "boarded")
    eventually(
        lambda: bars(page) == percents(client, "ship", {name: cell[0]["values"][name] for name in names}),
        what="the answer to the row of the cell",
    )

    wrong.get_by_role("button", name="each class").click()
    recall = metrics.recall_score(labels, guesses, average=None)
    precision = metrics.precision_score(labels, guesses, average=None)
    for place, label in enumerate(("no", "yes")):
        line = wrong.get_by_role("row", name=re.compile(f"^{label} "))
        expect(line).to_contain_text(f"{precision[place]:.3f}")
        expect(line).to_contain_text(f"{recall[place]:.3f}")
    wrong.get_by_role("button", name="training", exact=True).click()
    page.wait_for_url(re.compile("part=training"))
    expect(wrong.get_by_role("status").first).to_contain_text("192 training rows")
    trained = sample(client, "ship", "training")
    wanted = metrics.confusion_matrix([row["label"] for row in trained], [row["predicted"] for row in trained]).tolist()
    eventually(lambda: matrix(page, 2) == wanted, what="the matrix of the training rows")


def test_calibration_is_that_of_the_rows(
    shown: Callable[..., Page], client: Client, a11y: Callable[[Page], None], look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    page = shown("ship", "?view=calibration")
    wrong, held = panel(page, "Where it is wrong"), sample(client, "ship", "validation")
    said = np.array([row["probability"] for row in held])
    right = np.array([row["label"] == row["predicted"] for row in held])
    bins = np.ceil(said * 15).astype(int) - 1
    lines, error = [], 0.0
    for place in sorted(set(bins)):
        inside = bins == place
        lines.append([f"{100 * said[inside].mean():.1f} %", f"{100 * right[inside].mean():.1f} %", str(inside.sum())])
        error += inside.mean() * abs(said[inside].mean() - right[inside].mean())
    expect(wrong.get_by_text(re.compile(f"Expected calibration error {error:.3g}".rstrip("0")))).to_be_visible()
    rows = wrong.get_by_label("Calibration as a table").locator("tbody tr")
    assert [rows.nth(place).locator("td").all_inner_texts() for place in range(rows.count())] == lines
    look(page, "model-calibration")
    a11y(page)


def test_rows_held_out_in_folds_are_judged_by_the_others(shown: Callable[..., Page], client: Client) -> None:
    from playwright.sync_api import expect

    metrics = pytest.importorskip("sklearn.metrics")
    page = shown("folds")
    job = client.get("/models/folds/versions/1").json["job"]
    download = client.get(f"/jobs/{job}/held_out", headers={"Accept": "application/x-ndjson"})
    held = [json.loads(line) for line in download.body.splitlines()]
    wanted = metrics.confusion_matrix([row["label"] for row in held], [row["prediction"] for row in held])
    assert matrix(page, 2) == wanted.tolist()
    status = panel(page, "Where it is wrong").get_by_role("status").first
    expect(status).to_contain_text("240 rows, each held out in one of 3 folds")


def test_another_file_is_judged(shown: Callable[..., Page], client: Client, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = shown("iris")
    wrong = panel(page, "Where it is wrong")
    file = tmp_path / "few.csv"
    rows = irises()[::7]
    file.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    wrong.get_by_role("button", name="another file…").click()
    wrong.get_by_label("Upload a file…").set_input_files(file)
    page.wait_for_url(re.compile("part=dataset%3Afew"))
    guesses = predicted(client, "iris", [{name: row[name] for name in IRIS} for row in rows])[0]
    right = np.mean([row["species"] == guess for row, guess in zip(rows, guesses, strict=True)])
    expect(wrong.get_by_role("status").first).to_contain_text(f"{len(rows)} rows: accuracy {right:.3f}")
    expect(wrong.get_by_role("status").first).to_contain_text("were trained on")


def test_a_model_that_was_imported(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    version = client.get("/models/iris/versions/1").json
    content = client.get(f"/checkpoints/{version['checkpoint']}/file").body
    definition = {name: value for name, value in version["definition"].items() if name != "inputs"}
    client.define({**definition, "name": "imported"})
    made = client.post("/models/imported/checkpoints", content, headers={"Content-Type": "application/x-hdf5"})
    assert made.status == 201, made
    page = open_page(server, "/console/models/imported")
    wrong = panel(page, "Where it is wrong")
    expect(wrong.get_by_text("This model was imported: choose labelled rows to judge it on.")).to_be_visible()
    wrong.get_by_label("Dataset").select_option("iris")
    measured = client.post("/evaluate", {"model": "iris", "data": {"dataset": "iris", "label": "species"}}).json
    expect(wrong.get_by_role("status").first).to_contain_text(f"150 rows: accuracy {measured['accuracy']:.3f}")
    page.get_by_role("button", name="Random row").click()
    row = in_form(page)
    eventually(lambda: bars(page) == percents(client, "imported", row), what="the answer to a random row")


def test_a_model_whose_inputs_have_no_names(shown: Callable[..., Page], client: Client, faults: Faults) -> None:
    from playwright.sync_api import expect

    page = shown("plain")
    names = tuple(page.locator(".try .ask label").all_inner_texts())
    page.get_by_label(f"{names[1]} as a number").fill("0.625")
    first, second = (in_form(page, names)[name] for name in names)
    answer = client.post("/predict", {"model": "plain", "inputs": [[first, second]]}).json
    wanted = [f"{100 * share:.1f} %" for share in answer["probabilities"][0]]
    eventually(lambda: list(bars(page).values()) == wanted, what="the answer to numbers without names")
    code = panel(page, "From your code").get_by_role("tabpanel")
    expect(code).to_contain_text(f'"inputs":[[{first:g},{second:g}]]')

    # A number that the model needs is a fault at its control, and nothing else is lost.
    faults.allow(r"status of 422")
    page.get_by_label(f"{names[1]} as a number").fill("")
    expect(page.get_by_label(f"{names[1]} as a number")).to_have_attribute("aria-invalid", "true")
    page.get_by_label(f"{names[1]} as a number").fill("0.625")
    eventually(lambda: list(bars(page).values()) == wanted, what="the answer as before")


def test_wide_models_and_many_classes(
    shown: Callable[..., Page], client: Client, a11y: Callable[[Page], None], look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    page = shown("wide")
    asks = page.locator(".try .ask label")
    expect(asks).to_have_count(12)
    assert asks.first.inner_text() == "x20"
    page.get_by_role("button", name="All 30 columns").click()
    expect(asks).to_have_count(30)
    shares = list(bars(page).items())
    assert len(shares) == 7
    assert shares[-1][0] == "24 others"
    probabilities = sorted(predicted(client, "wide", [in_form(page, tuple(asks.all_inner_texts()))])[1][0])[::-1]
    assert [share for _, share in shares] == [
        f"{100 * share:.1f} %" for share in (*probabilities[:6], sum(probabilities[6:]))
    ]
    wrong = panel(page, "Where it is wrong")
    expect(wrong.get_by_text(re.compile("Of 30 classes, .* pairs are mixed up in"))).to_be_visible()
    pair = wrong.locator("ul.pairs button").first
    assert re.fullmatch(r"k\d\d taken for k\d\d: \d+ rows?", pair.inner_text())
    expect(wrong.get_by_role("button", name=re.compile("Put row")).first).to_be_visible()
    look(page, "model-wide")
    wrong.get_by_role("button", name="each class").click()
    expect(wrong.get_by_label("Each class").get_by_role("row")).to_have_count(31)
    a11y(page)


@pytest.mark.parametrize("width", [400, 1440])
@pytest.mark.short
def test_names_from_others_do_no_harm(
    shown: Callable[..., Page],
    a11y: Callable[[Page], None],
    no_sideways: Callable[[Page], None],
    look: Callable[[Page, str], None],
    width: int,
) -> None:
    from playwright.sync_api import expect

    page = shown("hostile", width=width)
    look(page, f"model-hostile-{width}")
    expect(page.locator(".try .ask label").first).to_have_text(HOSTILE)
    assert page.locator("main script, main b b, main i > i").count() == 0
    expect(panel(page, "Where it is wrong").get_by_role("button", name=re.compile("taken for")).first).to_be_visible()
    no_sideways(page)
    a11y(page)

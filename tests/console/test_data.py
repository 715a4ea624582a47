"""The Data screen: columns, the label, the plan, commands that send the same request, addresses that train again."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import trainyard
from testing.harness import Client, Server

from .conftest import Faults

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

#: Names that a page must show as they are.
HOSTILE = ("<script>alert(1)</script>", "a,b", "x.y/z~", 'say "a"', "long" * 60, "Ünïcödé 名前")


def ships(rows: int = 240) -> str:
    """People on a ship: a counter, names, gaps, few whole numbers, and a column that tells about the label."""
    chance, written = random.Random(7), io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow(["Id", "Survived", "Class", "Name", "Sex", "Age", "Fare", "Port"])
    for row in range(1, rows + 1):
        sex = chance.choice(["male", "male", "female"])
        survived = "yes" if chance.random() < (0.8 if sex == "female" else 0.15) else "no"
        age = "" if row % 5 == 0 else round(chance.uniform(1, 70), 1)
        fare = 5000 if row == 9 else round(chance.uniform(5, 60), 2)
        lines.writerow(
            [row, survived, chance.choice([1, 2, 3]), f"Doe, No {row}", sex, age, fare, chance.choice("CQS")]
        )
    return written.getvalue()


def upload(client: Client, name: str, content: str, label: str = "") -> None:
    """A dataset, unless the server has it from another test."""
    headers = {"Content-Type": "text/csv", "Idempotency-Key": name}
    query = f"name={name}{label and f'&label={label}'}&delimiter=comma"
    assert client.post(f"/datasets?{query}", content.encode(), headers=headers).status == 201


@pytest.fixture
def page(open_page: Callable[..., Page], server: Server) -> Page:
    """The console of this module's server, at the list of datasets."""
    return open_page(server, "/console/data")


@pytest.fixture
def ship(server: Server) -> str:
    """The address of the screen of a dataset with a label."""
    upload(server.client, "ship", ships(), "Survived")
    return "/console/data/ship"


def line(page: Page, column: str) -> Locator:
    return page.locator("table.columns tbody tr").filter(has=page.get_by_role("rowheader", name=column, exact=True))


def leave(page: Page, address: str) -> str:
    """The job in the address that a page goes to; the page is left."""
    page.wait_for_url(address)
    job = urlsplit(page.url).query.split("=")[1]
    page.goto("about:blank")
    return job


def body_of(command: str) -> Any:
    """The JSON that a curl line sends."""
    words = shlex.split(command)
    assert words[0] == "curl"
    return json.loads(words[words.index("-d") + 1])


def shown(page: Page, language: str) -> str:
    page.get_by_role("tab", name=language).click()
    return page.get_by_role("tabpanel").inner_text()


def run(command: str, server: Server, *further: str) -> str:
    """What a shell says to a command line, with this tree's `trainyard`."""
    line = command.replace("trainyard ", f"{shlex.quote(sys.executable)} -m trainyard ", 1)
    environment = {**os.environ, "TRAINYARD_URL": server.client.base, "PYTHONPATH": str(Path.cwd())}
    ended = subprocess.run(
        ["sh", "-c", f"{line} {shlex.join(further)}"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


class SentError(Exception):
    """The request that a program would send."""


def by_python(program: str) -> Any:
    """The body that a program of the client sends to /train; nothing is sent."""

    class Silent(trainyard.Trainyard):
        def request(self, method: str, path: str, body: Any = None, **_options: Any) -> Any:
            assert (method, path) == ("POST", "/train")
            raise SentError(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainyard, "Trainyard", Silent)
        with pytest.raises(SentError) as caught:
            exec(compile(program, "shown", "exec"), {})
    body = caught.value.args[0]
    data, validation = body["data"], body.get("validation")
    body = {**body, "data": {"dataset": data} if isinstance(data, str) else data}
    return body if not isinstance(validation, float) else {**body, "validation": {"fraction": validation}}


@pytest.mark.short
def test_each_column_is_described(page: Page, ship: str, a11y: Callable[..., None], look: Callable[..., None]) -> None:
    from playwright.sync_api import expect

    page.goto(ship)
    expect(page.get_by_role("heading", name="ship", level=1)).to_be_visible()
    expect(page.get_by_text("5 of 7 columns will be used")).to_be_visible()
    expect(line(page, "Id")).to_contain_text("counts the rows: left out")
    expect(line(page, "Id").get_by_role("checkbox")).not_to_be_checked()
    expect(line(page, "Survived")).to_contain_text("what shall be predicted")
    expect(line(page, "Sex")).to_contain_text("male 70 %, female 30 %")
    expect(line(page, "Age")).to_contain_text("20 %")
    expect(line(page, "Age")).to_contain_text("filled with the median")
    expect(line(page, "Class")).to_contain_text("3 whole numbers")
    tells = {name: float(line(page, name).locator(".meter-of").inner_text().strip(" %")) for name in ("Sex", "Port")}
    assert tells["Sex"] > 20 > tells["Port"]
    expect(page.get_by_text("To beat: always “no”")).to_be_visible()
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    look(page, "data")
    a11y(page)


def test_the_most_telling_columns_can_come_first(page: Page, ship: str) -> None:
    from playwright.sync_api import expect

    page.goto(ship)
    page.get_by_role("button", name="Tells about it").click()
    expect(page.locator("table.columns tbody tr").nth(0)).to_contain_text("Survived")
    expect(page.locator("table.columns tbody tr").nth(1)).to_contain_text("Sex")


def test_a_dataset_without_a_label_asks_for_it(page: Page, server: Server, a11y: Callable[..., None]) -> None:
    from playwright.sync_api import expect

    upload(server.client, "unlabelled", ships())
    page.goto("/console/data/unlabelled")
    question = page.get_by_role("group", name="What shall be predicted?")
    expect(question.get_by_role("button").first).to_contain_text("Survived")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    a11y(page)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Predict", exact=True)).to_be_focused()
    question.get_by_role("button").first.click()
    expect(question).to_be_hidden()
    expect(page.get_by_label("Predict", exact=True)).to_have_value("Survived")
    expect(line(page, "Sex").locator(".meter-of")).to_contain_text("%")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.get_by_label("Type of Port").select_option("label")
    expect(line(page, "Port")).to_contain_text("what shall be predicted")
    expect(page.get_by_text("To beat: always")).to_contain_text("“")
    assert "label=Port" in page.url


def test_the_plan_is_checked_as_somebody_types(page: Page, ship: str, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 422")
    page.goto(ship)
    page.get_by_label("one network").check()
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text("192, and 48 held out")
    hidden = page.get_by_label("Hidden layers")
    hidden.fill("8")
    expect(page.locator("figure.network")).to_contain_text("8")
    size = facts.locator("dt", has_text="Parameters").locator("+ dd")
    small = int(size.inner_text().replace(",", ""))
    hidden.fill("64, 64")
    expect(size).not_to_have_text(f"{small:,}")
    assert int(size.inner_text().replace(",", "")) > 10 * small
    hidden.fill("64, x")
    expect(hidden).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("must be a whole number. Received: 'x'")).to_be_visible()
    hidden.fill("64, 64")
    expect(hidden).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Type of Sex").select_option("number")
    expect(line(page, "Sex")).to_contain_text("must be a number. Received: 'male'")


def test_notes_have_a_fix(page: Page, ship: str) -> None:
    from playwright.sync_api import expect

    page.goto(ship)
    page.get_by_label("one network").check()
    page.get_by_role("button", name="balance").click()
    expect(page.get_by_text("Rare classes count as much as frequent ones.")).to_be_visible()
    line(page, "Class").get_by_role("button", name="as categories").click()
    expect(page.get_by_label("Type of Class")).to_have_value("category")
    expect(line(page, "Fare")).to_contain_text("reaches far: most are below")
    line(page, "Fare").get_by_role("button", name="tame").click()
    line(page, "Port").get_by_role("checkbox").uncheck()
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    body = body_of(shown(page, "curl"))
    assert body["class_weights"] == "balanced"
    assert body["model"]["features"] == {
        "Class": "category",
        "Fare": {"type": "number", "scale": "robust_clip"},
        "Port": "ignore",
    }


def test_a_request_is_trained_and_its_page_opens(page: Page, ship: str, server: Server) -> None:
    page.goto(ship)
    page.get_by_label("one network").check()
    page.get_by_label("At most").fill("7")
    page.get_by_label("Hidden layers").fill("4")
    page.keyboard.press("Control+Enter")
    job = server.client.job(leave(page, "**/console/models/ship?job=job_*"))
    asked = job["request"]
    assert (asked["epochs"], asked["publish"], asked["validation"]) == (7, "best", {"fraction": 0.2})
    assert asked["early_stopping"]["patience"] == 10
    assert asked["checkpoint"]["keep"] == 24
    assert asked["data"]["dataset"] == "ship"


def test_a_known_model_is_defined_anew(page: Page, server: Server) -> None:
    """The data alone would train the model as it is defined, which need not be what the plan says."""
    from playwright.sync_api import expect

    upload(server.client, "known", ships(), "Survived")
    page.goto("/console/data/known")
    assert body_of(shown(page, "curl")) == {"data": {"dataset": "known"}}
    server.client.define({"name": "known", "hidden": [3], "features": "raw", "classes": ["no", "yes"]})
    page.reload()
    page.get_by_role("tab", name="curl").click()
    expect(page.get_by_role("tabpanel")).to_contain_text('"model":{"name":"known"}')
    expect(page.locator("dl.facts")).to_contain_text("Networks")


#: What somebody does to a plan, and what of it the request has.
PLANS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("", {}),
    ('?features={"Name":"text","Sex":"ignore"}&effort=quick&seed=3', {"effort": "quick", "seed": 3}),
    (
        '?features={"Sex":"ignore","Port":"ignore"}&hidden=32,32&held_out=0.2&epochs=200&patience=10&publish=best',
        {"epochs": 200, "publish": "best"},
    ),
    ("?hidden=none&epochs=3", {"epochs": 3}),
    ("?hidden=8&held_out=0.25&publish=true&optimizer=adamw&rate=0.01&schedule=cosine", {"publish": True}),
    ("?name=other&class_weights=balanced&label=Port", {"class_weights": "balanced"}),
    ("?hidden=8&smoothing=0.1&loss=categorical_crossentropy&batch_size=full&checkpoints=2&keep=24", {}),
    (
        '?request={"metadata":{"a.b":["x y","it\'s"]},"validate_every":2,"early_stopping":{}}&epochs=5',
        {"validate_every": 2, "early_stopping": {}},
    ),
    ('?request={"folds":{"count":3},"model":{"name":"m-2","dtype":"float64"}}&hidden=4&epochs=2', {"epochs": 2}),
)


@pytest.mark.parametrize(("query", "members"), PLANS, ids=[query or "nothing" for query, _ in PLANS])
def test_command_line_and_curl_send_the_same(
    page: Page, ship: str, server: Server, query: str, members: dict[str, Any]
) -> None:
    page.goto(ship + query)
    sent = body_of(shown(page, "curl"))
    assert members.items() <= sent.items()
    by_command = body_of(run(shown(page, "CLI"), server, "--curl"))
    assert by_command == sent
    assert by_python(shown(page, "Python")) == sent


def test_command_line_curl_and_python_train_the_same(page: Page, ship: str, server: Server) -> None:
    page.goto(f"{ship}?hidden=5&held_out=0.2&epochs=4&patience=2&publish=best&name=same&checkpoints=1&keep=24&seed=11")
    run(shown(page, "CLI"), server, "--no-wait")
    run(shown(page, "curl"), server)
    program, end = shown(page, "Python").rsplit("\n", 1)
    assert end == "model = job.wait().model"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    page.get_by_role("button", name="Train", exact=True).click()
    leave(page, "**/console/models/same?job=job_*")
    jobs = server.client.get("/jobs?model=same").json["data"]
    assert len(jobs) == 4
    assert all(job["request"] == jobs[0]["request"] for job in jobs)
    for job in jobs:
        server.client.post(f"/jobs/{job['id']}/cancel")


SHIP = {"data": {"dataset": "ship"}}
REQUESTS: tuple[dict[str, Any], ...] = (
    SHIP,
    {"data": {"dataset": "ship", "label": "true"}, "model": "m-1", "seed": 0},
    {**SHIP, "model": {"name": "ship"}},
    {**SHIP, "model": {"name": "ship", "hidden": []}, "publish": False, "epochs": 0},
    {**SHIP, "model": {"name": "1", "hidden": 16, "features": {"a,b": "ignore", "1.5": {"scale": "log"}}}},
    {**SHIP, "early_stopping": {}, "optimizer": "adam", "validation": "other", "batch_size": "full"},
    {**SHIP, "early_stopping": {"patience": 3, "monitor": "loss"}, "validation": {"fraction": 0.2}},
    {"data": {"dataset": "ship", "weight": "w"}, "class_weights": {"yes": 2.5}, "loss": {"type": "focal", "gamma": 1}},
    {**SHIP, "metadata": {"é": [1, None, {"deep": "=&#?"}]}, "folds": 5, "max_seconds": 1.5},
    {**SHIP, "model": {"name": "big", "features": [{"column": f"c{place}", "type": "number"} for place in range(400)]}},
)


def test_an_address_says_the_whole_request(page: Page, ship: str) -> None:
    page.goto(ship)
    for asked in REQUESTS:
        address, again = page.evaluate(
            """async (asked) => {
                const { addressOf, parametersOf, requestOf } = await import("/console/static/train_request.js");
                const url = new URL(addressOf(asked), location.href);
                return [addressOf(asked), requestOf(parametersOf(url), "ship")];
            }""",
            asked,
        )
        assert again == asked
        assert len(address.split("#")[0]) < 4000, "the service reads no longer line"


@pytest.mark.short
def test_the_address_of_a_job_trains_it_again_to_the_same_bits(page: Page, ship: str, server: Server) -> None:
    client = server.client
    asked = {
        "data": {"dataset": "ship"},
        "model": {"name": "again", "hidden": [6], "features": {"Class": "category", "Name": "ignore"}},
        "epochs": 5,
        "seed": 9,
        "validation": 0.25,
        "publish": "best",
        "optimizer": {"type": "adamw", "weight_decay": 0.1},
        "metadata": {"course": "b"},
        "max_seconds": 50,
    }
    first = client.wait(client.train(asked)["id"], 240)
    # Defined anew since: the address must not depend on what the model is now.
    client.wait(
        client.train({"data": {"dataset": "ship"}, "model": {"name": "again", "hidden": [2]}, "epochs": 1})["id"]
    )
    definition = client.get(f"/models/again/versions/{first['version']}").json["definition"]
    page.goto(ship)
    address = page.evaluate(
        """async (given) => (await import("/console/static/train_request.js")).addressOf(...given)""",
        [first["request"], definition],
    )
    page.goto(address)
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    page.get_by_role("button", name="Train", exact=True).click()
    second = client.wait(leave(page, "**/console/models/again?job=job_*"), 240)
    assert second["request"] == first["request"]
    assert second["metrics"] == first["metrics"]
    rows = [row["values"] for row in client.get("/datasets/ship/rows?limit=20").json["data"]]
    answers = [
        client.post("/predict", {"model": "again", "version": job["version"], "rows": rows}).json["probabilities"]
        for job in (first, second)
    ]
    assert answers[0] == answers[1]


def test_a_job_of_rows_that_are_no_dataset_has_no_address(page: Page) -> None:
    found = page.evaluate(
        """async () => (await import("/console/static/train_request.js")).addressOf({ data: { rows: 12 } })"""
    )
    assert found is None


def test_what_has_no_control_is_shown_and_may_be_changed(page: Page, ship: str) -> None:
    from playwright.sync_api import expect

    page.goto(f'{ship}?epochs=5&request={{"metadata":{{"course":"b"}}}}')
    page.get_by_text("Everything else").click()
    other = page.get_by_label("Other members of the request, as JSON")
    expect(other).to_have_value('{\n "metadata": {\n  "course": "b"\n }\n}')
    other.fill('{"metadata": {"course"')
    expect(page.get_by_text("this is no JSON object yet")).to_be_visible()
    other.fill('{"validate_every": 2}')
    expect(page.get_by_text("this is no JSON object yet")).to_have_count(0)
    assert body_of(shown(page, "curl"))["validate_every"] == 2
    assert "epochs=5" in page.url


def test_a_column_of_weights_is_no_input(page: Page, server: Server) -> None:
    from playwright.sync_api import expect

    rows = [{"x": place % 7, "heavy": 1 + place % 2, "kind": "ab"[place % 2]} for place in range(40)]
    server.client.post("/datasets", {"name": "weighed", "rows": rows, "label": "kind", "weight": "heavy"})
    page.goto("/console/data/weighed")
    expect(line(page, "heavy")).to_contain_text("how much each row counts")
    expect(line(page, "heavy").get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_text("1 of 1 columns will be used")).to_be_visible()


def test_going_between_the_data_s_choice_and_one_network(page: Page, ship: str) -> None:
    page.goto(ship)
    page.get_by_label("one network").check()
    page.get_by_label("Hidden layers").fill("7")
    assert body_of(shown(page, "curl"))["model"]["hidden"] == [7]
    page.get_by_label("chosen by the data").check()
    assert set(body_of(shown(page, "curl"))) <= {"data", "model"}
    page.get_by_label("one network").check()
    assert body_of(shown(page, "curl"))["model"]["hidden"] == [7]


def test_the_keyboard_alone_is_enough(page: Page, server: Server) -> None:
    from playwright.sync_api import expect

    upload(server.client, "keys", ships())
    page.goto("/console/data/keys")
    page.get_by_role("group", name="What shall be predicted?").get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    use = line(page, "Port").get_by_role("checkbox")
    use.focus()
    page.keyboard.press("Space")
    expect(use).not_to_be_checked()
    expect(use).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Type of Port")).to_be_focused()
    page.get_by_label("chosen by the data").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("one network")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Hidden layers")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("5 4")
    expect(page.locator("figure.network")).to_contain_text("4")
    page.keyboard.press("Control+Enter")
    asked = server.client.job(leave(page, "**/console/models/keys?job=job_*"))["request"]
    definition = server.client.get("/models/keys").json
    assert [layer["units"] for layer in definition["layers"] if layer["type"] == "dense"] == [5, 4, 2]
    assert asked["data"] == {"dataset": "keys", "label": "Survived", "rows": 240}


def test_a_plan_goes_on_when_the_service_is_back(page: Page, ship: str, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("ERR_FAILED")
    page.goto(ship)
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    page.route("**/train", lambda route: route.abort(), times=1)
    page.get_by_label("one network").check()
    hidden = page.get_by_label("Hidden layers")
    hidden.fill("12")
    expect(page.locator("dl.facts")).to_contain_text("192, and 48 held out")
    expect(hidden).to_have_value("12")


def test_rows_are_read_page_by_page_and_by_value(page: Page, ship: str, a11y: Callable[..., None]) -> None:
    from playwright.sync_api import expect

    page.goto(ship)
    rows = page.locator("table.rows tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.nth(4).locator("i")).to_have_text("missing")
    page.get_by_role("button", name="More rows").click()
    expect(rows).to_have_count(20)
    page.get_by_label("Only").fill("Sex:female")
    expect(rows).to_have_count(10)
    expect(rows.filter(has_text="female")).to_have_count(10)
    a11y(page)


def test_a_wrong_column_of_rows_is_told_at_its_field(page: Page, ship: str, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 422")
    page.goto(ship)
    page.get_by_label("Only").fill("Sx:female")
    expect(page.get_by_label("Only")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Only").fill("")
    expect(page.get_by_label("Only")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(("label", "end"), [("CSV", "csv"), ("Parquet", "parquet"), ("HDF5", "h5")])
def test_downloads(page: Page, ship: str, label: str, end: str) -> None:
    page.goto(ship)
    with page.expect_download() as started:
        page.get_by_label("Download as").select_option(label=label)
    assert started.value.suggested_filename == f"ship.{end}"
    content = started.value.path().read_bytes()
    assert content.startswith({"csv": b"Id,Survived", "parquet": b"PAR1", "h5": b"\x89HDF"}[end])


@pytest.mark.short
def test_hostile_names(
    open_page: Callable[..., Page], server: Server, a11y: Callable[..., None], no_sideways: Callable[..., None]
) -> None:
    from playwright.sync_api import expect

    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    lines.writerow([*HOSTILE, "kind"])
    chance = random.Random(3)
    kinds = ["<b>bold</b>", "a class with a long name " * 8, "ß"]
    for _ in range(90):
        numbers = [round(chance.random(), 3) for _ in HOSTILE[1:]]
        lines.writerow([chance.choice(["<i>", "&amp;", "plain"]), *numbers, chance.choice(kinds)])
    upload(server.client, "hostile", written.getvalue(), "kind")
    page = open_page(server, "/console/data/hostile?hidden=4&epochs=2", width=400)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    for name in HOSTILE:
        expect(page.get_by_role("rowheader", name=name, exact=True)).to_be_attached()
        line(page, name).get_by_role("checkbox").uncheck()
        line(page, name).get_by_role("checkbox").check()
    page.get_by_label(f"Type of {HOSTILE[1]}").select_option("ignore")
    page.get_by_label(f"Type of {HOSTILE[2]}").select_option("category")
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    no_sideways(page)
    a11y(page)
    assert body_of(run(shown(page, "CLI"), server, "--curl")) == body_of(shown(page, "curl"))


def test_a_thousand_columns(page: Page, server: Server, no_sideways: Callable[..., None]) -> None:
    from playwright.sync_api import expect

    chance = random.Random(5)
    names = [f"c{place}" for place in range(1000)]
    rows = [",".join(str(chance.randint(0, 9)) for _ in names) + f",{chance.choice('ab')}" for _ in range(40)]
    upload(server.client, "wide", "\n".join([",".join([*names, "kind"]), *rows]), "kind")
    page.goto("/console/data/wide?hidden=4&epochs=2")
    expect(page.locator("table.columns tbody tr")).to_have_count(1001)
    page.get_by_label("Find a column").fill("c999")
    expect(page.locator("table.columns tbody tr")).to_have_count(1)
    line(page, "c999").get_by_role("checkbox").uncheck()
    expect(page.get_by_text("999 of 1,000 columns will be used")).to_be_visible()
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    expect(page.locator("table.rows thead th")).to_have_count(41)
    page.get_by_role("button", name="All 1,001 columns").click()
    expect(page.locator("table.rows thead th")).to_have_count(1002)
    no_sideways(page)


def test_datasets_are_listed_and_deleted_with_undo(page: Page, server: Server, a11y: Callable[..., None]) -> None:
    from playwright.sync_api import expect

    upload(server.client, "leaving", ships(20))
    page.clock.install()
    page.goto("/console/data")
    row = page.get_by_role("row", name="leaving")
    expect(row).to_contain_text("not said yet")
    a11y(page)
    page.get_by_role("button", name="Delete leaving").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    assert server.client.get("/datasets/leaving").status == 200
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="leaving", level=1)).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url("**/console/data")
    expect(row).to_have_count(0)
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.clock.fast_forward(10_000)
    assert server.client.get("/datasets/leaving").status == 404


def test_a_dataset_may_be_addressed_by_its_id(page: Page, ship: str, server: Server) -> None:
    found = server.client.get("/datasets/ship").json["id"]
    page.goto(f"/console/data/{found}?hidden=4&epochs=2&name=x")
    page.get_by_text("dry run").filter(has_text="ms").wait_for()
    assert body_of(shown(page, "curl"))["data"] == {"dataset": found}
    page.get_by_label("Type of Port").select_option("ignore")
    assert body_of(run(shown(page, "CLI"), server, "--curl")) == body_of(shown(page, "curl"))


def test_a_dataset_that_is_not_there(page: Page, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 404")
    page.goto("/console/data/No%20<b>such")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_no_dataset_yet(open_page: Callable[..., Page], server: Server) -> None:
    from playwright.sync_api import expect

    page = open_page(server, "/console/data?prefix=nothing-begins-so")
    expect(page.get_by_text("There is no dataset yet")).to_be_visible()
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()

"""The Compare screen: what differs, which is better, curves, and the rows on which one is right and the other wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from scipy.stats import binomtest

from testing.harness import Client, Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.console.conftest import Faults

HOSTILE = "<script>document.title = 'owned'</script>"


def a_table() -> list[dict[str, Any]]:
    """Points in a ring or outside it, which a network without hidden layers cannot tell apart."""
    rows = []
    for number in range(200):
        x, y = ((number * 37) % 200) / 100 - 1, ((number * 73 + 11) % 200) / 100 - 1
        rows.append({"x": x, HOSTILE: y, "place": "inside" if x * x + y * y < 0.5 else HOSTILE})
    return rows


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a good model and a bad one, trained on the same rows."""
    with serving(tmp_path_factory.mktemp("compare") / "data", WORKERS=1) as running:
        client = running.client
        answer = client.post("/datasets", {"name": "ring", "rows": a_table(), "label": "place"})
        assert answer.status == 201, answer
        for name, hidden in (("good", [32]), ("bad", [])):
            client.run(
                {
                    "model": {"name": name, "hidden": hidden},
                    "data": {"dataset": "ring"},
                    "epochs": 60,
                    "validation": {"fraction": 0.25},
                    "optimizer": {"type": "adam", "learning_rate": 0.02},
                }
            )
        yield running


def cell_of(page: Page, line: str, run: int) -> Locator:
    return (
        page.locator("table.compare tr")
        .filter(has=page.get_by_role("rowheader", name=line, exact=True))
        .locator("td")
        .nth(run)
    )


def evaluated(client: Client, model: str) -> dict[int, tuple[Any, Any]]:
    """Label and prediction of each row that the good model's job held out, as the model says."""
    job = client.get("/models/good/versions/1").json["job"]
    asked = {"model": model, "data": {"job": job, "part": "validation"}, "rows": {"limit": 1000}}
    answer = client.post("/evaluate", asked)
    return {row["row"]: (row["label"], row["predicted"]) for row in answer.json["cell"]["rows"]}


def test_figures_and_differences(
    page: Page, client: Client, a11y: Callable[[Page], None], look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    page.goto("/console/compare?m=good,bad@1")
    expect(page.get_by_role("heading", name="The same rows")).to_be_visible()
    for index, name in enumerate(("good", "bad")):
        version = client.get(f"/models/{name}/versions/1").json
        accuracy = f"{100 * version['metrics']['validation_accuracy']:.1f} %"
        expect(cell_of(page, "right, held out", index)).to_contain_text(accuracy)
        expect(cell_of(page, "parameters", index)).to_have_text(str(version["parameters"]))
    expect(cell_of(page, "right, held out", 0)).to_contain_text("best")
    expect(cell_of(page, "right, held out", 1)).not_to_contain_text("best")
    expect(cell_of(page, "network", 0)).to_have_text("32 relu, 2 softmax")
    # Both were asked for the same number of epochs, so that is no difference.
    expect(page.get_by_role("rowheader", name="optimizer.learning_rate")).to_have_count(0)
    look(page, "compare")
    a11y(page)


def test_rows_on_which_one_is_right_and_the_other_wrong(page: Page, client: Client) -> None:
    from playwright.sync_api import expect

    page.goto("/console/compare?m=good,bad")
    good, bad = evaluated(client, "good"), evaluated(client, "bad")
    right = {
        name: {row for row, (label, guess) in rows.items() if label == guess}
        for name, rows in (("good", good), ("bad", bad))
    }
    only = {"good": right["good"] - right["bad"], "bad": right["bad"] - right["good"]}
    assert only["good"]
    for name, rows in only.items():
        button = page.get_by_role("button", name=f"{len(rows)} only {name}@1 is right")
        expect(button).to_be_visible()
    page.get_by_role("button", name="only good@1 is right").click()
    shown = page.get_by_role("group", name="Rows", exact=True).locator("tbody tr td:first-child")
    assert {int(text) for text in shown.all_inner_texts()} <= only["good"]
    assert shown.count() == min(20, len(only["good"]))
    p = binomtest(len(only["good"]), len(only["good"]) + len(only["bad"])).pvalue
    expect(page.get_by_text(f"{100 * p:.{2 if p < 0.01 else 0}f} % differ as much or more")).to_be_visible()


def test_rows_of_a_dataset_say_what_was_trained_on(page: Page) -> None:
    from playwright.sync_api import expect

    page.goto("/console/compare?m=good,bad")
    page.get_by_label("Rows", exact=True).first.select_option(label="ring, all 200 rows")
    expect(page.get_by_text("it was trained on 150 of the 200 rows").first).to_be_visible()


def test_curves_have_their_values_in_words(page: Page) -> None:
    from playwright.sync_api import expect

    page.goto("/console/compare?m=good,bad")
    chart = page.get_by_label("Curves of all runs by epoch")
    chart.focus()
    page.keyboard.press("Home")
    expect(chart.locator("output")).to_contain_text("epoch 1")
    expect(chart.locator("output")).to_contain_text("good@1")
    page.get_by_label("Curve", exact=True).select_option("accuracy")
    page.get_by_label("Scale").select_option("logarithmic")
    expect(chart.locator("output")).to_contain_text("bad@1")


def test_names_of_others_are_text(page: Page, no_sideways: Callable[[Page], None]) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": 400, "height": 800})
    page.goto("/console/compare?m=good,bad")
    expect(page.get_by_role("columnheader", name=HOSTILE)).to_be_attached()
    assert page.title() == "Compare · Trainyard"
    no_sideways(page)


def test_a_run_is_taken_out(page: Page, client: Client) -> None:
    from playwright.sync_api import expect

    client.run({"model": "good", "data": {"dataset": "ring"}, "epochs": 2})
    page.goto("/console/compare?m=good@1,good@latest,bad")
    page.get_by_role("link", name="Without good@2").click()
    expect(page.get_by_text("2 runs")).to_be_visible()
    assert page.url.endswith("?m=good%401,bad%401")


@pytest.mark.parametrize("path", ["/console/compare", "/console/compare?m=good"])
def test_one_run_is_too_few(page: Page, path: str) -> None:
    page.goto(path)
    page.get_by_text("Choose two or more").wait_for()


def test_a_run_that_does_not_exist_says_so(page: Page, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 404")
    page.goto("/console/compare?m=good,none@3")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()

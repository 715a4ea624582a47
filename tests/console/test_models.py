"""The Models screen: the list, its curves, what is new, what is deleted, a thousand models, and where to begin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testing.harness import Client, Server, eventually, serving
from testing.samples import CSV, DATA, a_model, a_training

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.console.conftest import Faults


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two models that are served."""
    with serving(tmp_path_factory.mktemp("models") / "data", WORKERS=1) as running:
        for name in ("alpha", "beta"):
            running.client.run(a_training(a_model(name), validation={"fraction": 0.25}, epochs=30, publish="best"))
        yield running


def row_of(page: Page, name: str) -> Locator:
    return page.locator(f"table.models tr[data-name='{name}']")


def test_a_row_says_how_good_a_model_is(
    page: Page, client: Client, a11y: Callable[[Page], None], look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    metrics = client.get("/models/alpha/versions/1").json["metrics"]
    row = row_of(page, "alpha")
    expect(row).to_contain_text(f"{100 * metrics['validation_accuracy']:.1f} %")
    expect(row).to_contain_text("version 1")
    expect(row).to_contain_text("succeeded")
    expect(row.get_by_role("img")).to_have_accessible_name(re.compile("^held-out loss from .* to "))
    look(page, "models")
    a11y(page)


def test_names_are_filtered_as_one_types(page: Page) -> None:
    from playwright.sync_api import expect

    page.get_by_label("Only names with").fill("bet")
    expect(row_of(page, "alpha")).to_be_hidden()
    expect(row_of(page, "beta")).to_be_visible()
    assert page.url.endswith("?find=bet")
    page.reload()
    expect(row_of(page, "beta")).to_be_visible()
    expect(row_of(page, "alpha")).to_be_hidden()


def test_a_prefix_lists_the_names_of_a_class(page: Page) -> None:
    from playwright.sync_api import expect

    page.goto("/console/?prefix=al")
    expect(row_of(page, "alpha")).to_be_visible()
    expect(row_of(page, "beta")).to_have_count(0)
    page.get_by_role("link", name="All names").click()
    expect(row_of(page, "beta")).to_be_visible()


def test_chosen_models_are_compared_by_the_keyboard(page: Page) -> None:
    from playwright.sync_api import expect

    row_of(page, "alpha").get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.keyboard.press("x")
    expect(page.get_by_text("Choose two or more models")).to_be_visible()
    row_of(page, "beta").get_by_role("checkbox").press("Space")
    page.keyboard.press("x")
    expect(page.get_by_role("heading", level=1, name="Compare")).to_be_visible()
    assert page.url.endswith("?m=alpha%401,beta%401")


def test_a_model_that_trains_comes_first_and_moves(page: Page, client: Client) -> None:
    from playwright.sync_api import expect

    expect(row_of(page, "alpha")).to_be_visible()
    job = client.train({"model": a_model("newest"), "data": DATA, "epochs": 10_000_000})["id"]
    expect(page.locator("table.models tbody tr").first).to_have_attribute("data-name", "newest")
    expect(row_of(page, "newest").get_by_role("progressbar")).to_be_visible()
    expect(row_of(page, "newest").get_by_role("img")).to_be_visible()
    client.post(f"/jobs/{job}/cancel")
    expect(row_of(page, "newest")).to_contain_text("cancelled")


def test_a_delete_can_be_undone_until_it_is_sent(page: Page, client: Client) -> None:
    from playwright.sync_api import expect

    client.define(a_model("doomed"))
    page.clock.install()
    page.goto("/console/")
    row_of(page, "doomed").get_by_role("button", name="Delete doomed").click()
    expect(row_of(page, "doomed")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row_of(page, "doomed")).to_be_visible()
    page.clock.fast_forward(11_000)
    assert client.get("/models/doomed").status == 200
    row_of(page, "doomed").get_by_role("button", name="Delete doomed").press("Enter")
    page.clock.fast_forward(11_000)
    eventually(lambda: client.get("/models/doomed").status == 404, what="the end of the model")


def test_a_delete_that_is_refused_comes_back(page: Page, client: Client, faults: Faults) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 409")
    job = client.train({"model": a_model("busy"), "data": DATA, "epochs": 10_000_000})["id"]
    page.clock.install()
    page.goto("/console/")
    row_of(page, "busy").get_by_role("button", name="Delete busy").click()
    expect(row_of(page, "busy")).to_have_count(0)
    page.clock.fast_forward(11_000)
    expect(page.get_by_role("alert")).to_contain_text("model_in_use")
    expect(row_of(page, "busy")).to_be_visible()
    client.post(f"/jobs/{job}/cancel")


def test_a_checkpoint_becomes_a_version_of_the_model_that_its_name_says(
    page: Page, client: Client, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    checkpoint = client.get("/models/alpha/versions/1").json["checkpoint"]
    file = tmp_path / "alpha 7.h5"
    file.write_bytes(client.get(f"/checkpoints/{checkpoint}/file").body)
    page.locator("#file").set_input_files(file)
    expect(page.get_by_role("heading", level=1, name="alpha")).to_be_visible()
    assert page.url.endswith("/console/models/alpha?version=2")
    assert client.get("/models/alpha/versions/2").status == 200


def test_a_checkpoint_of_another_name_asks_whose_it_is(page: Page, client: Client, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    checkpoint = client.get("/models/alpha/versions/1").json["checkpoint"]
    file = tmp_path / "downloaded.h5"
    file.write_bytes(client.get(f"/checkpoints/{checkpoint}/file").body)
    page.locator("#file").set_input_files(file)
    page.get_by_role("dialog").get_by_label("Model").select_option("beta")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", level=1, name="beta")).to_be_visible()
    assert client.get("/models/beta/versions/2").status == 200


def test_a_file_is_dropped_anywhere(page: Page, client: Client) -> None:
    from playwright.sync_api import expect

    expect(row_of(page, "alpha")).to_be_visible()
    drop = """(text) => {
      const files = new DataTransfer();
      files.items.add(new File([text], "Dropped File.csv", { type: "text/csv" }));
      const how = { dataTransfer: files, bubbles: true, cancelable: true };
      for (const type of ["dragover", "drop"]) document.querySelector("main").dispatchEvent(new DragEvent(type, how));
    }"""
    page.evaluate(drop, CSV)
    expect(page.get_by_role("heading", level=1, name="dropped-file")).to_be_visible()
    page.goto("/console/")
    expect(row_of(page, "alpha")).to_be_visible()
    page.evaluate(drop, CSV)
    expect(page.get_by_role("heading", level=1, name="dropped-file-2")).to_be_visible()
    assert client.get("/datasets/dropped-file-2").json["rows"] == 12


def test_a_file_that_cannot_be_read_says_why_and_can_be_tried_again(page: Page, faults: Faults, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 4")
    file = tmp_path / "broken.parquet"
    file.write_bytes(b"PAR1" + bytes(100))
    page.locator("#file").set_input_files(file)
    expect(page.get_by_role("alert")).to_contain_text("cannot be read as parquet")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.short
def test_names_and_columns_of_others_are_text(page: Page, client: Client, no_sideways: Callable[[Page], None]) -> None:
    from playwright.sync_api import expect

    long = "a" + "-very-long" * 6 + "x"
    client.define({**a_model(long), "metadata": {"note": "<script>document.title = 'owned'</script>"}})
    page.goto("/console/")
    expect(row_of(page, long)).to_be_visible()
    page.set_viewport_size({"width": 400, "height": 800})
    no_sideways(page)
    assert page.title() == "Models · Trainyard"
    assert page.evaluate("() => document.scripts.length") == 1


class TestBeginning:
    @pytest.fixture
    def empty(self, open_page: Callable[..., Page], make_server: Callable[..., Server]) -> tuple[Page, Client]:
        """The page of a service that has nothing yet."""
        server = make_server()
        server.start_ready()
        return open_page(server), server.client

    @pytest.mark.parametrize("sample", ["spiral", "flowers", "digits"])
    def test_a_sample_trains_in_one_click(
        self, empty: tuple[Page, Client], sample: str, a11y: Callable[[Page], None]
    ) -> None:
        from playwright.sync_api import expect

        page, client = empty
        expect(page.get_by_text("Drop a table anywhere on this page.")).to_be_visible()
        if sample == "spiral":
            a11y(page)
        page.get_by_role("button", name=f"Train {sample}").click()
        expect(page.get_by_role("heading", level=1, name=sample)).to_be_visible()
        job = client.wait(page.url.partition("job=")[2])
        assert job["state"] == "succeeded"
        assert job["metrics"]["validation_accuracy"] > 0.8
        assert client.get(f"/datasets/{sample}").json["rows"] == {"spiral": 300, "flowers": 150, "digits": 360}[sample]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a thousand models."""
    with serving(tmp_path_factory.mktemp("thousand") / "data", WORKERS=1) as running:
        for number in range(1000):
            running.client.define({"name": f"model-{number:04}", "inputs": 1, "classes": 2, "hidden": []})
        yield running


@pytest.mark.short
def test_all_are_listed_found_and_filtered(open_page: Callable[..., Page], many: Server) -> None:
    from playwright.sync_api import expect

    page = open_page(many)
    expect(page.locator("table.models tbody tr")).to_have_count(1000)
    expect(row_of(page, "model-0999")).to_be_in_viewport()
    row_of(page, "model-0000").scroll_into_view_if_needed()
    expect(row_of(page, "model-0000")).to_be_in_viewport()
    page.get_by_label("Only names with").fill("77")
    expected = sum("77" in f"model-{number:04}" for number in range(1000))
    expect(page.get_by_text(f"{expected} of 1,000")).to_be_visible()
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("0500")
    expect(page.get_by_role("option", name="model-0500")).to_be_visible()

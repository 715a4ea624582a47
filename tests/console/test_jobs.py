"""The Jobs screen: the queue in order, running jobs with bars, failures with what to do, one stream that may break."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from testing.harness import Client, eventually
from testing.samples import DATA, a_model

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.console.conftest import Faults


def a_job(client: Client, name: str, **members: Any) -> str:
    """A job of a model of its own; without more, it takes hours."""
    body = {"model": a_model(name), "data": DATA, "epochs": 10_000_000, **members}
    return str(client.train(body)["id"])


def row_of(page: Page, job: str) -> Locator:
    return page.locator("table.jobs tr").filter(has=page.locator(f"a[href$='job={job}']"))


@pytest.fixture
def ended(client: Client) -> str:
    """A job that has succeeded."""
    job = a_job(client, "quick", epochs=3)
    assert client.wait(job)["state"] == "succeeded"
    return job


@pytest.fixture
def running(client: Client) -> Any:
    """Makes jobs that do not end by themselves, and cancels them."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(a_job(client, name))
        return made[-1]

    yield make
    for job in made:
        client.post(f"/jobs/{job}/cancel")
    for job in made:
        client.wait(job)


def test_an_empty_list_says_so(page: Page, a11y: Callable[[Page], None]) -> None:
    page.goto("/console/jobs")
    for words in ("Nothing is training.", "The queue is empty.", "No job has ended."):
        page.get_by_text(words).wait_for()
    a11y(page)


def test_states_follow_the_service(
    page: Page, client: Client, running: Callable[[str], str], a11y: Callable[[Page], None], look: Any
) -> None:
    from playwright.sync_api import expect

    page.goto("/console/jobs")
    page.get_by_text("The queue is empty.").wait_for()
    first, second = running("first"), running("second")
    client.until_state(first, "running")
    expect(row_of(page, first)).to_contain_text("running")
    expect(row_of(page, first).get_by_role("progressbar")).to_be_visible()
    expect(row_of(page, second)).to_contain_text("next in the queue")
    expect(row_of(page, first)).to_contain_text("right")
    look(page, "jobs")
    a11y(page)

    row_of(page, first).get_by_role("button", name="Pause").click()
    expect(row_of(page, first)).to_contain_text("paused")
    expect(row_of(page, second)).to_contain_text("running")
    row_of(page, first).get_by_role("button", name="Resume").click()
    expect(row_of(page, first)).to_contain_text("next in the queue")
    row_of(page, second).get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Ended").locator(f"a[href$='job={second}']")).to_be_visible()
    assert client.job(second)["state"] == "cancelled"
    expect(row_of(page, second)).to_contain_text("cancelled")


def test_a_failure_has_its_cause_and_what_to_do(page: Page, client: Client) -> None:
    far = {"inputs": [[1e30 * x, 1e30 * y] for x, y in DATA["inputs"]], "labels": DATA["labels"]}
    job = a_job(client, "wild", data=far, epochs=50, optimizer={"type": "sgd", "learning_rate": 1e6})
    failed = client.wait(job)
    assert failed["error"]["code"] == "diverged"
    page.goto("/console/jobs?state=failed")
    row = row_of(page, job)
    row.wait_for()
    assert failed["error"]["detail"] in row.inner_text()
    assert "Lower the learning rate" in row.inner_text()


def test_links_lead_to_model_and_data(page: Page, client: Client) -> None:
    client.post("/datasets", {"name": "points", **DATA})
    job = client.run({"model": a_model("linked"), "data": {"dataset": "points"}, "epochs": 2})["id"]
    page.goto("/console/jobs?model=linked")
    assert row_of(page, job).get_by_role("link", name="points").get_attribute("href") == "/console/data/points"
    row_of(page, job).get_by_role("link", name="linked").click()
    page.get_by_role("heading", level=1, name="linked").wait_for()
    assert page.url.endswith(f"/console/models/linked?job={job}")


def test_a_delete_can_be_undone(page: Page, client: Client, ended: str) -> None:
    from playwright.sync_api import expect

    page.goto("/console/jobs")
    row_of(page, ended).get_by_role("button", name="Delete").click()
    expect(row_of(page, ended)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row_of(page, ended)).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert client.job(ended)["state"] == "succeeded"


def test_after_ten_seconds_it_is_deleted(page: Page, client: Client, ended: str) -> None:
    from playwright.sync_api import expect

    page.clock.install()
    page.goto("/console/jobs")
    row_of(page, ended).get_by_role("button", name="Delete").click()
    page.clock.fast_forward(9_000)
    assert client.get(f"/jobs/{ended}").status == 200
    page.clock.fast_forward(1_500)
    eventually(lambda: client.get(f"/jobs/{ended}").status == 404, what="the job's end")
    expect(row_of(page, ended)).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_who_leaves_has_not_undone_it(page: Page, client: Client, ended: str) -> None:
    page.goto("/console/jobs")
    row_of(page, ended).get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Undo").wait_for()
    page.goto("/docs")
    eventually(lambda: client.get(f"/jobs/{ended}").status == 404, what="the job's end")


@pytest.mark.short
def test_a_stream_that_breaks_goes_on(
    page: Page, client: Client, running: Callable[[str], str], faults: Faults
) -> None:
    from playwright.sync_api import expect

    faults.allow("ERR_CONNECTION_RESET", "ERR_FAILED")
    broken: list[str] = []

    def breaking(route: Any) -> None:
        if route.request.headers["accept"] == "text/event-stream" and len(broken) < 2:
            broken.append(route.request.url)
            return route.abort("connectionreset")
        return route.continue_()

    page.route("**/events*", breaking)
    page.goto("/console/jobs")
    page.get_by_role("heading", name="Jobs").wait_for()
    job = running("broken")
    expect(row_of(page, job)).to_contain_text("running")
    expect(page.locator("body.away")).to_have_count(0)
    assert len(broken) == 2


def test_many_ended_jobs_come_page_by_page(page: Page, client: Client, running: Callable[[str], str]) -> None:
    from playwright.sync_api import expect

    running("first")
    jobs = []
    for _ in range(55):
        jobs.append(a_job(client, "many"))
        assert client.post(f"/jobs/{jobs[-1]}/cancel").status == 202
    page.goto("/console/jobs?state=cancelled&model=many")
    rows = page.get_by_role("region", name="Ended").locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="More").click()
    expect(rows).to_have_count(55)
    expect(row_of(page, jobs[0])).to_have_count(1)
    expect(page.get_by_role("button", name="More")).to_be_hidden()

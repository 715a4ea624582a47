"""The Model screen: curves that move, the slider over kept checkpoints, what is kept, and training by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from testing.harness import Client, Server, eventually, serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.console.conftest import Faults

#: A column and a class whose names are markup and long.
HOSTILE, LONG = "<script>alert(1)</script>", "very long " * 12
#: More epochs than a test waits for.
ENDLESS = 1_000_000
#: Milliseconds and seconds within which a job's epochs must come: what trains gives way to all else on the machine.
EPOCHS = 60_000
SECONDS = EPOCHS / 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trains one job at a time, with three clusters in two dimensions."""
    with serving(tmp_path_factory.mktemp("console") / "data", WORKERS=1, PARALLEL_JOBS=1) as running:
        random = np.random.default_rng(0)
        labels = np.tile(["left", "right", HOSTILE], 40)
        centers = {"left": (-1.0, 0.0), "right": (1.0, 0.0), HOSTILE: (0.0, 1.5)}
        rows = [
            {LONG: float(x), "y": float(y), "kind": str(label)}
            for label in labels
            for x, y in [random.normal(centers[str(label)], 0.6)]
        ]
        answer = running.client.post("/datasets", {"name": "clusters", "label": "kind", "rows": rows})
        assert answer.status == 201, answer
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """The server's client; what a test leaves running ends with it."""
    yield server.client
    for state in ("running", "queued", "paused"):
        for job in server.client.get(f"/jobs?state={state}").json["data"]:
            server.client.post(f"/jobs/{job['id']}/cancel")
            server.client.wait(job["id"])


def request(name: str, **members: Any) -> dict[str, Any]:
    """A request that trains one network on the clusters and holds a quarter of the rows out."""
    return {
        "model": {"name": name, "hidden": [8]},
        "data": "clusters",
        "validation": {"fraction": 0.25},
        "epochs": 40,
        "publish": "best",
        "checkpoint": {"every_epochs": 5, "keep": 24},
        **members,
    }


def words(page: Page, chart: str = "Loss by epoch") -> Locator:
    """What a chart says in words."""
    return page.get_by_label(chart).locator("output")


def values(text: str) -> list[float]:
    """The epoch and the values of a chart's words."""
    return [float(one.replace(",", "")) for one in re.findall(r"\d[\d,]*\.?\d*(?:e-?\d+)?", text)]


def at_epoch(page: Page, epoch: int, chart: str = "Loss by epoch") -> list[float]:
    """Move the cursor to an epoch of a history without gaps; the values there."""
    from playwright.sync_api import expect

    # Keys move nothing before the history is drawn, as after a reload.
    expect(page.get_by_label(chart).locator("output")).to_contain_text(re.compile(r"epoch \d"))
    page.get_by_label(chart).focus()
    page.keyboard.press("Home")
    for _ in range(epoch - 1):
        page.keyboard.press("ArrowRight")
    expect(words(page, chart)).to_contain_text(re.compile(rf"epoch {epoch}\b"))
    return values(words(page, chart).inner_text())


def close(found: list[float], wanted: list[float]) -> bool:
    """Whether numbers of four digits say the same as exact ones."""
    return bool(np.allclose(found, wanted, rtol=6e-4))


@pytest.mark.short
def test_curves_move_while_a_job_trains(
    open_page: Callable[..., Page], server: Server, client: Client, look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    job = client.train(request("moving", epochs=ENDLESS, early_stopping={"patience": ENDLESS}))
    page = open_page(server, "/console/models/moving")
    expect(words(page)).to_contain_text(re.compile(r"epoch [1-9]"), timeout=EPOCHS)
    first = values(words(page).inner_text())[0]
    eventually(lambda: values(words(page).inner_text())[0] > first, SECONDS, "a later epoch")
    expect(page.get_by_role("progressbar", name="Training")).to_be_visible()
    expect(page.get_by_text(re.compile(r"training · epoch \d.* of 1,000,000 · .* left"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"best epoch so far \d"))).to_be_visible()
    expect(page.get_by_label("Checkpoint", exact=True)).to_have_attribute("aria-valuetext", "best so far")
    look(page, "model-running")

    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Resume p")).to_be_visible()
    paused = client.until_state(job["id"], "paused", timeout=SECONDS)
    expect(page.get_by_text(re.compile("paused · epoch"))).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Pause p")).to_be_visible()
    later = paused["progress"]["epoch"] + 1
    eventually(lambda: client.job(job["id"])["progress"]["epoch"] >= later, SECONDS, "epochs after the pause")

    page.get_by_role("button", name="Publish best so far").click()
    expect(page.get_by_text("✓ version 1, served as default")).to_be_visible()
    page.get_by_role("button", name="Stop here").click()
    client.wait(job["id"])
    expect(page.get_by_text(re.compile("stopped · epoch"))).to_be_visible()
    expect(page.get_by_role("link", name="Train again")).to_be_visible()
    assert client.job(job["id"])["state"] == "cancelled"


def test_curves_of_a_job_that_has_ended(
    open_page: Callable[..., Page],
    server: Server,
    client: Client,
    a11y: Callable[[Page], None],
    no_sideways: Callable[[Page], None],
    look: Callable[[Page, str], None],
) -> None:
    from playwright.sync_api import expect

    job = client.run(request("ended", early_stopping={"patience": 8}, epochs=300))
    history = client.history(job["id"])
    page = open_page(server, "/console/models/ended")
    expect(page.get_by_role("heading", name="ended", level=1)).to_be_visible()
    expect(words(page)).to_contain_text(f"epoch {len(history)}")
    expect(page.get_by_text(f"best epoch {job['best']['epoch']}: held-out loss")).to_be_visible()
    assert close(at_epoch(page, 1), [1, history[0]["loss"], history[0]["validation_loss"]])
    page.keyboard.press("PageDown")
    # The cursor of one chart is that of the other one.
    expect(words(page, "Accuracy by epoch")).to_contain_text(re.compile(r"epoch 11\b"))
    shown = values(words(page, "Accuracy by epoch").inner_text())
    assert close(shown, [11, history[10]["accuracy"], history[10]["validation_accuracy"]])

    page.get_by_role("button", name="log", exact=True).click()
    page.get_by_label("Smooth").fill("0.5")
    wanted = (0.25 * history[0]["loss"] + 0.5 * history[1]["loss"]) / 0.75
    assert close(at_epoch(page, 2)[1:2], [wanted])
    assert page.url.endswith("?log=1&smooth=0.5")

    look(page, "model-ended")
    a11y(page)
    narrow = open_page(server, "/console/models/ended", width=400, dark=True)
    expect(words(narrow)).to_contain_text(f"epoch {len(history)}")
    no_sideways(narrow)
    look(narrow, "model-ended-narrow-dark")


@pytest.mark.short
def test_the_slider_moves_over_what_is_kept(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    job = client.run(request("scrubbed"))
    kept = client.pages(f"/jobs/{job['id']}/checkpoints", 100)
    epochs = {0, job["best"]["epoch"], *range(5, 41, 5)}
    page = open_page(server, "/console/models/scrubbed")
    slider = page.get_by_label("Checkpoint", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(rf"epoch {job['best']['epoch']} \(best, version 1\)"))
    assert slider.get_attribute("max") == str(len(epochs) - 1)

    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "epoch 0 (before training)")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "epoch 5")
    fifth = next(one["id"] for one in kept if one["epoch"] == 5)
    page.wait_for_url(f"**/console/models/scrubbed?checkpoint={fifth}")
    expect(page.get_by_role("button", name="epoch 5", exact=True)).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(slider).to_have_attribute("aria-valuetext", "epoch 5")

    at_epoch(page, 19)
    page.keyboard.press("Enter")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("epoch 20"))


def test_versions_are_named_served_and_deleted(
    open_page: Callable[..., Page], server: Server, client: Client, faults: Faults
) -> None:
    from playwright.sync_api import expect

    client.run(request("kept"))
    client.run(request("kept", seed=1))
    page = open_page(server, "/console/models/kept")
    kept = page.locator("section.kept")
    expect(kept.get_by_role("button", name="version 2", exact=True)).to_have_attribute("aria-pressed", "true")
    kept.get_by_role("button", name="Serve version 1 by default").click()
    expect(page.get_by_text("✓ version 1, served as default")).to_be_visible()
    assert client.get("/models/kept").json["default"] == 1

    faults.allow("status of 422")
    kept.get_by_label("Name", exact=True).fill("No Name")
    kept.get_by_role("button", name="Set").click()
    expect(kept.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    kept.get_by_label("Name", exact=True).fill("production")
    kept.get_by_label("Version to name").select_option("1")
    kept.get_by_role("button", name="Set").click()
    expect(kept.get_by_text("production")).to_be_visible()
    assert client.get("/models/kept/aliases/production").json["version"] == 1
    kept.get_by_role("button", name="Delete the name production").click()
    page.get_by_role("button", name="Undo").click()
    expect(kept.get_by_text("production")).to_be_visible()
    assert client.get("/models/kept/aliases/production").json["version"] == 1

    kept.get_by_role("button", name=re.compile("^All")).click()
    kept.get_by_role("button", name="Publish epoch 5", exact=True).click()
    expect(kept.get_by_role("button", name="version 3", exact=True)).to_be_visible()
    answers = [
        client.post("/predict", {"model": "kept", "version": version, "rows": [{LONG: 0.1, "y": 0.3}]}).json[
            "probabilities"
        ]
        for version in (3, fifth_of(client, "kept"))
    ]
    assert answers[0] == answers[1]
    with page.expect_download() as download:
        kept.get_by_role("button", name="Download version 3").click()
    assert download.value.suggested_filename == "kept-3.h5"
    assert download.value.path().read_bytes().startswith(b"\x89HDF")

    kept.get_by_role("button", name="Delete the model").click()
    page.wait_for_url("**/console/")
    page.get_by_role("button", name="Undo").click()
    assert client.get("/models/kept").status == 200


def wait_for_newest(client: Client, model: str, epochs: int) -> None:
    """Wait until a model's newest job is one of so many epochs, and has ended."""

    def newest() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/jobs?model={model}").json["data"][0]
        return job if job["request"]["epochs"] == epochs else None

    assert client.wait(eventually(newest, what=f"a job of {epochs} epochs")["id"])["state"] == "succeeded"


def fifth_of(client: Client, model: str) -> str:
    """The checkpoint of a model's newest job after its fifth epoch."""
    job = client.get(f"/jobs?model={model}").json["data"][0]["id"]
    return next(one["id"] for one in client.pages(f"/jobs/{job}/checkpoints", 100) if one["epoch"] == 5)


def test_several_networks_are_shown_as_their_mean(
    open_page: Callable[..., Page], server: Server, client: Client, a11y: Callable[[Page], None]
) -> None:
    from playwright.sync_api import expect

    job = client.run({"model": {"name": "several"}, "data": "clusters", "effort": "quick"})
    members = [one["member"] for one in job["members"]]
    page = open_page(server, "/console/models/several")
    select = page.get_by_label("Networks whose curves are shown")
    expect(select).to_have_value("all")
    epochs = {
        member: client.get(f"/jobs/{job['id']}/history?member={member}&limit=100").json["data"] for member in members
    }
    ends = [max(one["epochs"] for one in job["members"]), *(one["epoch"] for one in job["members"])]
    expect(words(page)).to_contain_text(f"epoch {max(ends[1:])}")
    # After 9 epochs: each as it was then, or when it was last validated.
    wanted = np.mean([of[8]["loss"] for of in epochs.values()])
    last = [[one["validation_loss"] for one in of[:9] if one["validation_loss"] is not None] for of in epochs.values()]
    assert close(at_epoch(page, 9), [9, wanted, np.mean([one[-1] for one in last if one])])

    select.select_option(str(members[1]))
    assert close(at_epoch(page, 1)[1:2], [epochs[members[1]][0]["loss"]])
    assert page.url.endswith(f"?member={members[1]}")
    share = f"{100 * job['held_out']['accuracy']:.1f} %"
    expect(page.get_by_role("row", name=re.compile(f"all together.*{share}"))).to_be_visible()
    a11y(page)


def test_a_job_that_waits_says_for_what(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    first = client.train(request("long", epochs=ENDLESS))
    client.until_state(first["id"], "running", timeout=SECONDS)
    second = client.train(request("waiting"))
    page = open_page(server, "/console/models/waiting")
    expect(page.get_by_text("It waits for its turn: long is training.")).to_be_visible()
    client.post(f"/jobs/{first['id']}/cancel")
    client.wait(second["id"])
    expect(page.get_by_text("✓ version 1, served as default")).to_be_visible()
    expect(words(page)).to_contain_text("epoch 40")


def test_a_job_that_has_failed_says_why(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    job = client.train(request("failed", optimizer={"type": "sgd", "learning_rate": 1e6}))
    assert client.wait(job["id"])["error"]["code"] == "diverged"
    page = open_page(server, "/console/models/failed")
    expect(page.get_by_text("It failed: diverged.")).to_be_visible()
    expect(page.get_by_text("Lower the learning rate, clip gradients, or scale the inputs.")).to_be_visible()


def test_an_imported_model_has_no_curves(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    job = client.run(request("exported"))
    version = client.get("/models/exported/versions/1").json
    client.define({**version["definition"], "name": "imported"})
    file = client.get(f"/checkpoints/{job['checkpoint']}/file").body
    answer = client.post("/models/imported/checkpoints", file, headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer
    page = open_page(server, "/console/models/imported")
    expect(page.get_by_text("This model was imported: there is no job")).to_be_visible()
    expect(page.get_by_label("Loss by epoch")).to_be_hidden()
    expect(page.get_by_role("button", name="version 1", exact=True)).to_be_visible()


def test_one_epoch_a_press(open_page: Callable[..., Page], server: Server, client: Client) -> None:
    from playwright.sync_api import expect

    job = client.run(request("stepped"))
    whole = client.history(job["id"])
    page = open_page(server, "/console/models/stepped?step")
    slider = page.get_by_label("Checkpoint", exact=True)
    page.get_by_role("button", name="Start over").click()
    wait_for_newest(client, "stepped", 0)
    expect(slider).to_have_attribute("aria-valuetext", "epoch 0 (before training)")
    for epoch in (1, 2):
        expect(page.get_by_role("button", name="One epoch")).to_be_enabled()
        page.keyboard.press("e")
        wait_for_newest(client, "stepped", epoch)
        expect(words(page)).to_contain_text(f"epoch {epoch}")
        expect(slider).to_have_attribute("aria-valuetext", f"epoch {epoch}")
    newest = client.get("/jobs?model=stepped").json["data"][0]
    steps = client.history(newest["id"])
    timeless = [{**one, "seconds": 0} for one in steps]
    assert timeless == [{**one, "seconds": 0} for one in whole[:2]]
    # The places of the steps before stay, also for whoever opens the link.
    page.reload()
    expect(slider).to_have_attribute("max", "2")


def test_a_page_goes_on_when_the_service_is_back(
    open_page: Callable[..., Page], tmp_path_factory: pytest.TempPathFactory, faults: Faults
) -> None:
    from playwright.sync_api import expect

    faults.allow("ERR_")
    with serving(tmp_path_factory.mktemp("restarted") / "data", WORKERS=1) as server:
        server.settings["BIND"] = server.client.base.removeprefix("http://")
        rows = [{"x": x / 50, "kind": "low" if x < 30 else "high"} for x in range(60)]
        data = {"rows": rows, "label": "kind"}
        # Long enough to be under way when the service ends.
        job = server.client.train(
            request("away", data=data, epochs=20_000, checkpoint={"every_epochs": 500, "keep": 3})
        )
        page = open_page(server, "/console/models/away")
        expect(words(page)).to_contain_text(re.compile(r"epoch [1-9]"), timeout=EPOCHS)
        before = values(words(page).inner_text())[0]
        server.terminate()
        expect(page.get_by_text("no service: trying again")).to_be_visible()
        server.wait_until_gone(2 * SECONDS)
        server.start_ready()
        eventually(lambda: values(words(page).inner_text())[0] > before, SECONDS, "epochs after the service was away")
        expect(page.get_by_text("trainer ready")).to_be_visible()
        server.client.post(f"/jobs/{job['id']}/cancel")
        server.client.wait(job["id"])
        expect(page.get_by_text(re.compile("(stopped|succeeded) · epoch"))).to_be_visible()

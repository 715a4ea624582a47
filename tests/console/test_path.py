"""The path: five actions from an empty page to a copied curl that answers; and with keys, by the keyboard alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.access.keys import Scope, create_key
from service.settings import Settings
from service.store.database import Database
from testing.harness import Server, eventually
from testing.samples import spiral

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.console.conftest import Faults

CLIPBOARD = ["clipboard-read", "clipboard-write"]
ARMS = ("red", "green", "blue")
#: Milliseconds for networks that train beside other tests.
TRAINED = 120_000


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table on the disk of the person."""
    points, labels = spiral(3)
    lines = [f"{x:.4f},{y:.4f},{ARMS[label]}" for (x, y), label in zip(points, labels, strict=True)]
    path = tmp_path / "Swirl of points.csv"
    path.write_text("\n".join(["across,up,arm", *lines]))
    return path


@pytest.fixture
def fresh(make_server: Callable[..., Server]) -> Server:
    """A service that has nothing yet."""
    server = make_server()
    server.start_ready()
    return server


def copied(page: Page) -> str:
    page.keyboard.press("c")
    page.get_by_text("Copied").wait_for()
    return str(page.evaluate("() => navigator.clipboard.readText()"))


def answer_of(command: str, **variables: str) -> Any:
    """What a copied command prints."""
    done = subprocess.run(
        ["bash", "-c", f"{command} --silent --show-error --fail"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **variables},
    )
    assert done.returncode == 0, (command, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.short
def test_five_actions_from_an_empty_page_to_a_curl_that_answers(
    open_page: Callable[..., Page], fresh: Server, table: Path, look: Callable[[Page, str], None]
) -> None:
    from playwright.sync_api import expect

    page = open_page(fresh, permissions=CLIPBOARD)
    expect(page.get_by_text("Drop a table anywhere on this page.")).to_be_visible()
    # 1: the file.
    page.locator("#file").set_input_files(table)
    expect(page.get_by_role("heading", level=1, name="swirl-of-points")).to_be_visible()
    # 2: what shall be predicted.
    page.get_by_role("button", name="arm 3 classes").click()
    # 3: train. The curves move, and the form answers from the best so far.
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/console/models/swirl-of-points?job=*")
    expect(page.locator("line-chart output").first).to_contain_text("epoch 1", timeout=TRAINED)
    form = page.get_by_role("region", name="Try it")
    expect(form).to_contain_text("%", timeout=TRAINED)
    # When it has ended, the default version answers.
    assert fresh.client.wait(page.url.partition("job=")[2], TRAINED / 1000)["state"] == "succeeded"
    # 4: a question.
    form.get_by_label("across").last.fill("0.25")
    # 5: the command.
    form.get_by_role("heading", name="Try it").click()
    look(page, "path")
    command = copied(page)
    assert command.startswith("curl ")
    assert "0.25" in command
    assert answer_of(command)["predictions"][0] in ARMS


@pytest.mark.short
def test_with_a_key_and_by_the_keyboard_alone(
    open_page: Callable[..., Page], fresh: Server, table: Path, faults: Faults
) -> None:
    from playwright.sync_api import expect

    faults.allow("status of 401")
    database = Database(Settings.read({"TRAINYARD_DATA": str(fresh.data)}))
    with database.write() as connection:
        _, secret = create_key(connection, "alice", [Scope.TRAIN, Scope.PREDICT])
    database.dispose()
    page = open_page(fresh, permissions=CLIPBOARD)
    # The browser needs time to begin reporting choosers, which expect_file_chooser does not wait for.
    page.on("filechooser", lambda _: None)
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(secret)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Drop a table anywhere on this page.")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("n")
    # Fewer rows train faster.
    small = table.with_name("few-points.csv")
    small.write_text("\n".join([*table.read_text().splitlines()[:1], *table.read_text().splitlines()[1::5]]))
    chooser.value.set_files(small)
    arm = page.get_by_role("button", name="arm 3 classes")
    expect(arm).to_be_visible()
    for _ in range(30):
        if arm.evaluate("(button) => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/console/models/few-points?job=*")
    expect(page.get_by_role("region", name="Try it")).to_contain_text("%", timeout=TRAINED)
    path, headers = f"/jobs/{page.url.partition('job=')[2]}?wait=60", {"Authorization": f"Bearer {secret}"}
    eventually(lambda: fresh.client.get(path, headers=headers).json["state"] == "succeeded", TRAINED / 1000)
    command = copied(page)
    assert secret not in command
    assert "$TRAINYARD_KEY" in command
    assert answer_of(command, TRAINYARD_KEY=secret)["predictions"][0] in ARMS

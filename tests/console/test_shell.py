"""The shell that all screens share: addresses, keys of the keyboard, errors, keys of the service, its absence."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from service.access.keys import Scope, create_key, revoke_key
from service.settings import Settings
from service.store.database import Database
from testing.harness import Client, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.console.conftest import Faults

SCREENS = ["/console/", "/console/data", "/console/jobs", "/console/compare", "/console/no/such/screen"]


def heading(page: Page, name: str) -> None:
    from playwright.sync_api import expect

    expect(page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible()


@pytest.fixture
def keyed(make_server: Callable[..., Server]) -> Callable[..., tuple[Server, str]]:
    """Starts a server with keys; returns it and the secret of a new key with these scopes."""

    def make(*scopes: Scope) -> tuple[Server, str]:
        server = make_server()
        server.start_ready()
        database = Database(Settings.read({"TRAINYARD_DATA": str(server.data)}))
        with database.write() as connection:
            _, secret = create_key(connection, "alice", list(scopes))
        database.dispose()
        return server, secret

    return make


class TestAddresses:
    def test_a_link_shows_another_screen_and_its_heading_has_the_focus(self, page: Page) -> None:
        heading(page, "Models")
        page.get_by_role("link", name="Jobs").click()
        heading(page, "Jobs")
        assert page.url.endswith("/console/jobs")
        assert page.title() == "Jobs · Trainyard"
        assert page.evaluate("() => document.activeElement.textContent") == "Jobs"
        assert page.get_by_role("link", name="Jobs").get_attribute("aria-current") == "page"

    def test_back_and_forward(self, page: Page) -> None:
        page.get_by_role("link", name="Data", exact=True).click()
        heading(page, "Data")
        page.get_by_role("link", name="Jobs").click()
        heading(page, "Jobs")
        page.go_back()
        heading(page, "Data")
        page.go_back()
        heading(page, "Models")
        page.go_forward()
        heading(page, "Data")

    @pytest.mark.parametrize("path", ["/console/no/such/screen", "/console/models/%E0%A4%A"])
    def test_an_address_without_a_screen_says_so(self, page: Page, path: str) -> None:
        page.goto(path)
        heading(page, "There is nothing here")

    def test_a_model_that_does_not_exist_says_so(self, page: Page, faults: Faults) -> None:
        faults.allow("status of 404")
        page.goto("/console/models/none")
        heading(page, "Not found")
        assert "there is no model 'none'" in page.locator("main").inner_text()

    def test_what_a_teacher_hides_stays_hidden_from_screen_to_screen(self, page: Page) -> None:
        page.goto("/console/?hide=samples,running&prefix=class-")
        heading(page, "Models")
        page.get_by_role("link", name="Jobs").click()
        heading(page, "Jobs")
        assert "hide=samples%2Crunning" in page.url
        assert "prefix=class-" in page.url
        assert page.get_by_role("heading", name="Waiting").is_visible()
        assert not page.get_by_role("heading", name="Running").is_visible()

    @pytest.mark.parametrize("path", SCREENS)
    @pytest.mark.short
    def test_no_screen_is_wider_than_a_telephone_or_hard_to_read(
        self,
        open_page: Callable[..., Page],
        server: Server,
        path: str,
        a11y: Callable[[Page], None],
        no_sideways: Callable[[Page], None],
    ) -> None:
        page = open_page(server, path, width=400)
        page.get_by_role("heading", level=1).wait_for()
        no_sideways(page)
        a11y(page)

    @pytest.mark.short
    def test_nothing_comes_from_elsewhere_and_nothing_is_kept(
        self, open_page: Callable[..., Page], server: Server
    ) -> None:
        page = open_page(server)
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        for path in SCREENS:
            page.goto(path)
            page.get_by_role("heading", level=1).wait_for()
        assert len(requested) > 20
        assert {url for url in requested if not url.startswith((server.client.base, "data:", "blob:"))} == set()
        assert page.context.cookies() == []


class TestKeyboard:
    def test_pairs_of_keys_lead_to_screens(self, page: Page) -> None:
        heading(page, "Models")
        for keys, name in (("gd", "Data"), ("gj", "Jobs"), ("gm", "Models")):
            for key in keys:
                page.keyboard.press(key)
            heading(page, name)

    def test_the_finder_finds_and_opens(self, page: Page, client: Client) -> None:
        from playwright.sync_api import expect

        answer = client.post("/datasets", {"name": "findable", "inputs": [[1], [2]], "labels": [0, 1]})
        assert answer.status == 201
        heading(page, "Models")
        page.keyboard.press("/")
        expect(page.locator("#find")).to_be_focused()
        page.keyboard.type("find")
        expect(page.get_by_role("option", selected=True)).to_contain_text("findable")
        page.keyboard.press("Enter")
        heading(page, "findable")
        assert page.url.endswith("/console/data/findable")

    def test_the_finder_closes_and_moves(self, page: Page) -> None:
        from playwright.sync_api import expect

        heading(page, "Models")
        page.keyboard.press("/")
        first = page.get_by_role("option", selected=True).inner_text()
        page.keyboard.press("ArrowDown")
        assert page.get_by_role("option", selected=True).inner_text() != first
        page.keyboard.press("ArrowUp")
        assert page.get_by_role("option", selected=True).inner_text() == first
        page.keyboard.press("Escape")
        expect(page.locator("#find")).to_have_count(0)
        assert page.url.endswith("/console/")

    def test_all_keys_are_listed_and_letters_can_be_turned_off(self, page: Page, a11y: Callable[[Page], None]) -> None:
        from playwright.sync_api import expect

        heading(page, "Models")
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        expect(dialog).to_contain_text("Compare the models that are chosen")
        a11y(page)
        dialog.get_by_label("Keys of one letter are on").uncheck()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        page.keyboard.press("/")
        expect(page.locator("#find")).to_have_count(0)

    def test_letters_that_are_typed_are_no_commands(self, page: Page, client: Client) -> None:
        from playwright.sync_api import expect

        heading(page, "Models")
        page.keyboard.press("/")
        page.keyboard.type("gjx?an/")
        expect(page.locator("#find")).to_have_value("gjx?an/")
        assert page.url.endswith("/console/")

    def test_the_first_tab_leads_past_the_header(self, page: Page) -> None:
        heading(page, "Models")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to content"


class TestCalls:
    def test_the_page_shows_the_calls_it_makes_and_they_run(
        self, open_page: Callable[..., Page], server: Server, a11y: Callable[[Page], None]
    ) -> None:
        page = open_page(server, "/console/jobs", permissions=["clipboard-read", "clipboard-write"])
        heading(page, "Jobs")
        page.keyboard.press("a")
        drawer = page.get_by_role("complementary", name="Calls")
        a11y(page)
        drawer.get_by_role("button", name="Copy GET /jobs?state=running&limit=100 as curl").or_(
            drawer.get_by_role("button", name="Copy GET /jobs?limit=100&state=running as curl")
        ).click()
        page.get_by_text("Copied").wait_for()
        command = page.evaluate("() => navigator.clipboard.readText()")
        done = subprocess.run(["bash", "-c", f"{command} -sf"], capture_output=True, text=True)
        assert done.returncode == 0, command
        assert done.stdout.startswith('{"data":[')
        page.keyboard.press("Escape")
        drawer.wait_for(state="detached")

    def test_without_a_clipboard_it_copies_all_the_same(self, open_page: Callable[..., Page], server: Server) -> None:
        from playwright.sync_api import expect

        page = open_page(server, "/docs", permissions=["clipboard-read", "clipboard-write"])
        page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
        page.goto("/console/jobs")
        heading(page, "Jobs")
        page.keyboard.press("a")
        page.get_by_role("button", name="Copy GET /jobs?limit=50 as curl").click()
        page.get_by_text("Copied").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.press("Control+V")
        expect(page.locator("#find")).to_have_value(f"curl '{server.client.base}/jobs?limit=50'")


class TestLook:
    def test_the_theme_follows_the_system_until_it_is_chosen(self, page: Page) -> None:
        from playwright.sync_api import expect

        heading(page, "Models")
        ground = "() => getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.emulate_media(color_scheme="dark")
        expect(page.locator(":root")).to_have_attribute("data-theme", "dark")
        assert page.evaluate(ground) != light
        page.get_by_role("button", name="Light or dark").click()
        assert page.evaluate(ground) == light
        page.reload()
        heading(page, "Models")
        assert page.evaluate(ground) == light


class TestKeysOfTheService:
    @pytest.mark.short
    def test_a_key_is_asked_for_and_kept_for_this_tab(
        self, open_page: Callable[..., Page], keyed: Callable[..., tuple[Server, str]], faults: Faults
    ) -> None:
        from playwright.sync_api import expect

        faults.allow("status of 401")
        server, secret = keyed(Scope.TRAIN, Scope.PREDICT)
        page = open_page(server)
        dialog = page.get_by_role("dialog", name="This service needs a key")
        page.locator("#key").fill("ty_" + "a" * 49)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("key")
        page.locator("#key").fill(secret)
        page.keyboard.press("Enter")
        heading(page, "Models")
        expect(dialog).to_have_count(0)
        page.reload()
        heading(page, "Models")
        assert page.context.cookies() == []
        assert secret not in page.url
        assert page.evaluate("() => JSON.stringify(localStorage)").find(secret) == -1
        page.get_by_role("button", name="Key", exact=True).click()
        expect(page.get_by_role("dialog", name="Your key")).to_contain_text("alice")
        page.get_by_role("button", name="Forget it").click()
        expect(dialog).to_be_visible()

    def test_a_key_that_may_not_is_told(
        self, open_page: Callable[..., Page], keyed: Callable[..., tuple[Server, str]], faults: Faults
    ) -> None:
        from playwright.sync_api import expect

        faults.allow("status of 401", "status of 403")
        server, secret = keyed(Scope.PREDICT)
        page = open_page(server, "/console/jobs")
        page.locator("#key").fill(secret)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").filter(has_text="scope_missing")).to_be_visible()

    def test_a_key_that_ends_in_the_middle_costs_nothing_that_was_typed(
        self, open_page: Callable[..., Page], keyed: Callable[..., tuple[Server, str]], faults: Faults
    ) -> None:
        from playwright.sync_api import expect

        faults.allow("status of 401")
        server, secret = keyed(Scope.TRAIN)
        database = Database(Settings.read({"TRAINYARD_DATA": str(server.data)}))
        with database.write() as connection:
            other, short = create_key(connection, "alice", [Scope.TRAIN])
        page = open_page(server, "/console/jobs")
        page.locator("#key").fill(short)
        page.keyboard.press("Enter")
        heading(page, "Jobs")
        with database.write() as connection:
            revoke_key(connection, other.id)
        database.dispose()
        page.get_by_label("Which ended jobs").select_option("failed")
        page.locator("#key").fill(secret)
        page.keyboard.press("Enter")
        expect(page.get_by_text("No job has ended.")).to_be_visible()
        expect(page.get_by_label("Which ended jobs")).to_have_value("failed")
        expect(page.get_by_role("dialog")).to_have_count(0)


class TestAbsence:
    @pytest.mark.short
    def test_a_service_that_goes_and_comes_back_costs_nothing_that_was_typed(
        self, open_page: Callable[..., Page], make_server: Callable[..., Server], faults: Faults
    ) -> None:
        from playwright.sync_api import expect

        faults.allow("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = make_server(BIND=f"127.0.0.1:{port}")
        server.start_ready()
        page = open_page(server, "/console/jobs")
        heading(page, "Jobs")
        expect(page.get_by_role("status").filter(has_text="trainer ready")).to_be_visible()
        server.terminate()
        page.get_by_label("Which ended jobs").select_option("failed")
        expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
        expect(page.locator("body.away")).to_have_count(1)
        server.start()
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("body.away")).to_have_count(0)
        expect(page.get_by_label("Which ended jobs")).to_have_value("failed")
        expect(page.get_by_text("No job has ended.")).to_be_visible()

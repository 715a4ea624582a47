"""The console's files: headers, tags, compression, and what is not there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from flask import Flask

from service.access.keys import Scope, create_key
from service.settings import Settings
from service.web.app import create_app
from service.web.console.pages import HEADERS, STATIC
from testing.harness import Client

POLICY = dict(HEADERS)["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/console/", "/console/models/iris", "/console/jobs", "/console/data/a%2Fb"])
def test_every_address_has_the_shell(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert answer.data == (STATIC / "index.html").read_bytes()


@pytest.mark.parametrize("name", ["index.html", "app.js", "console.css", "icon.svg", "screens/models.js"])
def test_a_file_is_sent_under_the_policy(app: Flask, name: str) -> None:
    answer = app.test_client().get(f"/console/static/{name}")
    assert answer.data == (STATIC / name).read_bytes()
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in answer.headers


def test_the_policy_allows_nothing_unsafe() -> None:
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert "require-trusted-types-for 'script'" in POLICY
    assert "http" not in POLICY


def test_a_module_has_the_type_of_scripts(app: Flask) -> None:
    assert app.test_client().get("/console/static/app.js").mimetype in ("text/javascript", "application/javascript")


@pytest.mark.parametrize("encoding", ["gzip", "identity", "gzip;q=0"])
def test_a_file_that_the_browser_has_is_not_sent_again(app: Flask, encoding: str) -> None:
    client, headers = app.test_client(), {"Accept-Encoding": encoding}
    first = client.get("/console/static/app.js", headers=headers)
    again = client.get("/console/static/app.js", headers={**headers, "If-None-Match": first.headers["ETag"]})
    other = client.get("/console/static/app.js", headers={**headers, "If-None-Match": '"another"'})
    assert (first.status_code, again.status_code, other.status_code) == (200, 304, 200)
    assert again.data == b""
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Accept-Encoding" in again.headers["Vary"]


def test_who_takes_gzip_gets_it(app: Flask) -> None:
    client = app.test_client()
    zipped = client.get("/console/static/app.js", headers={"Accept-Encoding": "br, gzip"})
    plain = client.get("/console/static/app.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(zipped.data) == plain.data
    assert len(zipped.data) < len(plain.data) / 2
    assert zipped.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        "/console/static/",
        "/console/static/none.js",
        "/console/static/screens",
        "/console/static/../pages.py",
        "/console/static/..%2fpages.py",
        "/console/static/%2e%2e/%2e%2e/app.py",
        "/console/static//etc/passwd",
        "/console/static/screens/../../pages.py",
        "/console/static/..%5cpages.py",
        "/console/static/app.js%00.html",
    ],
)
def test_what_is_no_file_of_the_console_is_not_found(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert answer.json["code"] == "not_found"
    assert b"Blueprint" not in answer.body


def test_the_page_cannot_be_written(client: Client) -> None:
    for path in ("/console/", "/console/static/app.js"):
        assert client.post(path, {}).status == 405


@pytest.mark.parametrize(("path", "place"), [("/console", "/console/"), ("/favicon.ico", "/console/static/icon.svg")])
def test_addresses_that_people_try_lead_to_the_console(app: Flask, path: str, place: str) -> None:
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.headers["Location"]) == (308, place)


def test_a_browser_is_led_from_the_root_to_the_console(app: Flask) -> None:
    browser = app.test_client().get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    program = app.test_client().get("/", headers={"Accept": "*/*"})
    assert (browser.status_code, browser.headers["Location"]) == (303, "/console/")
    assert program.status_code == 200


def test_with_keys_the_page_needs_none_and_its_calls_do(tmp_path: Path) -> None:
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
    with app.extensions["trainyard"].database.write() as connection:
        _, secret = create_key(connection, "alice", [Scope.TRAIN])
    client = app.test_client()
    for path in ("/console/", "/console/models/iris", "/console/static/app.js", "/console"):
        assert client.get(path).status_code in (200, 308)
    assert client.get("/models").status_code == 401
    assert client.get("/models", headers={"Authorization": f"Bearer {secret}"}).status_code == 200

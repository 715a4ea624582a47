"""The gate: pages of other sites, names of the service, machines without keys, and what an answer says to browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from service.access.keys import Scope, create_key
from service.settings import Settings
from service.web.app import create_app
from service.web.gate import CALLER
from service.web.scopes import OPEN, scopes_of
from service.web.worker.head import RequestError
from testing.harness import eventually

MODEL = {"name": "small", "inputs": 2, "classes": 2, "hidden": [2]}
#: Who asks, as the headers of a request say it.
Headers = dict[str, str]
Make = Callable[..., Flask]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Applications over one data directory, with settings."""
    made: list[Flask] = []

    def app(**settings: str) -> Flask:
        given = {f"TRAINYARD_{name}": value for name, value in settings.items()}
        made.append(create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), **given})))
        return made[-1]

    yield app
    for one in made:
        one.extensions["trainyard"].database.dispose()


def a_key(app: Flask, owner: str = "alice", *scopes: Scope) -> Headers:
    """A new key of the application's database, as a header."""
    with app.extensions["trainyard"].database.write() as connection:
        _, secret = create_key(connection, owner, scopes or [Scope.TRAIN])
    return {"Authorization": f"Bearer {secret}"}


def outcome(answer: TestResponse) -> str:
    """``ok``, or the code of a refusal."""
    if answer.status_code < 400:
        return "ok"
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = answer.get_json()
    assert document["status"] == answer.status_code
    return str(document["code"])


#: Headers of a browser, and whether it may write and read with them. The service is at ``localhost``.
PAGES: list[tuple[Headers, bool, bool]] = [
    ({}, True, True),
    ({"Origin": "http://localhost"}, True, True),
    ({"Origin": "http://LOCALHOST"}, True, True),
    ({"Origin": "https://evil.example"}, False, False),
    ({"Origin": "http://localhost:3000"}, False, False),
    ({"Origin": "http://localhost.evil.example"}, False, False),
    ({"Origin": "null"}, False, False),
    ({"Origin": ""}, False, False),
    ({"Sec-Fetch-Site": "same-origin"}, True, True),
    ({"Sec-Fetch-Site": "none"}, True, True),
    ({"Sec-Fetch-Site": "cross-site"}, False, False),
    ({"Sec-Fetch-Site": "same-site"}, False, False),
    ({"Sec-Fetch-Site": "anything"}, False, False),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False, False),
    ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True, True),
]


@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize(("headers", "writes", "reads"), PAGES)
def test_a_page_of_another_site_neither_reads_nor_writes(
    make: Make, headers: Headers, writes: bool, reads: bool, with_key: bool
) -> None:
    """Also not with a key: a browser adds a password that it remembers to what such a page sends."""
    app = make()
    given = {**headers, **(a_key(app) if with_key else {})}
    client = app.test_client()
    kinds = ("application/json", "text/plain", "application/x-www-form-urlencoded")
    for kind in kinds:
        answer = client.post("/models", data=b'{"name":"x"}', headers=given, content_type=kind)
        assert outcome(answer) == ("validation_failed" if writes else "foreign_page"), kind
    assert outcome(client.delete("/models/none", headers=given)) == ("not_found" if writes else "foreign_page")
    assert outcome(client.get("/models", headers=given)) == ("ok" if reads else "foreign_page")


def test_a_page_of_a_listed_origin_does_both(make: Make) -> None:
    """And the browser is let read the answers, refusals too."""
    app = make(ORIGINS="https://app.example.org, http://localhost:3000")
    client = app.test_client()
    for origin in ("https://app.example.org", "http://localhost:3000"):
        page = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        for answer in (
            client.post("/models", json=MODEL, headers=page),
            client.get("/models", headers=page),
            client.get("/models/none", headers=page),
            client.post("/predict", json={"model": "none", "inputs": [[1]]}, headers=page),
        ):
            assert outcome(answer) in ("ok", "not_found")
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "Origin" in answer.headers["Vary"]
        asked = {**page, "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
        before = client.options("/models/none", headers=asked)
        assert before.status_code == 204
        assert "DELETE" in before.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    others = client.get("/models", headers={"Origin": "https://app.example.org:444"})
    assert outcome(others) == "foreign_page"
    assert "Access-Control-Allow-Origin" not in others.headers
    a_key(app)
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
    assert client.options("/models", headers=asked).status_code == 204, "a browser asks without the key"
    assert outcome(client.get("/models", headers={"Origin": "http://localhost:3000"})) == "key_required"


#: Names of the service, and whether they mean this machine.
HOSTS = {
    "localhost": True,
    "localhost:8000": True,
    "127.0.0.1:8000": True,
    "127.8.9.1": True,
    "[::1]": True,
    "[::1]:8000": True,
    "yard.localhost:8000": True,
    "LOCALHOST.": True,
    "evil.example": False,
    "evil.example:8000": False,
    "localhost.evil.example": False,
    "127.0.0.1.evil.example": False,
    "10.0.0.1": False,
    "0.0.0.0": False,
    "[2001:db8::1]:8000": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_without_keys_only_a_name_of_this_machine_is_answered(make: Make, host: str) -> None:
    """A page whose own name was made to mean 127.0.0.1 sends its own name (DNS rebinding)."""
    app = make()
    for method, path in (("GET", "/models"), ("DELETE", "/models/x"), ("POST", "/predict"), ("GET", "/none")):
        answer = app.test_client().open(path, method=method, headers={"Host": host})
        assert (outcome(answer) == "unknown_host") is not HOSTS[host], (method, path, answer)
    assert outcome(app.test_client().get("/health/live", headers={"Host": host})) == "ok"


def test_names_may_be_listed(make: Make) -> None:
    app = make(HOSTS="yard.example.org, 192.0.2.7")
    client = app.test_client()
    for host in ("yard.example.org", "YARD.example.org:80", "192.0.2.7:8000", "localhost"):
        assert outcome(client.get("/models", headers={"Host": host})) == "ok", host
    assert outcome(client.get("/models", headers={"Host": "example.org"})) == "unknown_host"
    key = a_key(app)
    assert outcome(client.get("/models", headers={"Host": "example.org", **key})) == "unknown_host"
    assert outcome(client.get("/models", headers={"Host": "yard.example.org", **key})) == "ok"
    free = make().test_client()
    assert outcome(free.get("/models", headers={"Host": "example.org", **key})) == "ok", "a key is enough"


@pytest.mark.parametrize(("peer", "good"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("", True)])
def test_without_keys_another_machine_is_refused(make: Make, peer: str, good: bool) -> None:
    """However gunicorn was told to listen; a Unix socket has no address."""
    app = make()
    answer = app.test_client().get("/models", environ_base={"REMOTE_ADDR": peer})
    assert outcome(answer) == ("ok" if good else "not_loopback")
    if not good:
        assert "trainyard keys create" in answer.get_json()["detail"]
        key = a_key(app)
        assert outcome(app.test_client().get("/models", environ_base={"REMOTE_ADDR": peer}, headers=key)) == "ok"


def test_the_check_can_be_switched_off_by_name(make: Make) -> None:
    """Then everybody may do everything, but a page of another site nothing."""
    app = make(KEYS="off")
    a_key(app)
    far = {"REMOTE_ADDR": "192.0.2.1"}
    answer = app.test_client().get("/audit", environ_base=far, headers={"Host": "anything.example"})
    assert outcome(answer) == "ok"
    foreign = app.test_client().get("/models", environ_base=far, headers={"Origin": "https://evil.example"})
    assert outcome(foreign) == "foreign_page"


def test_what_is_open_needs_nothing(make: Make) -> None:
    app = make()
    a_key(app)
    client = app.test_client()
    for path in ("/health/live", "/health/ready", "/openapi.json", "/docs/", "/docs"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code in (200, 308, 503), path
    assert outcome(client.get("/none")) == "key_required", "what there is, is nobody's business"


@pytest.mark.parametrize(
    ("method", "path"),
    [("OPTIONS", "/datasets"), ("OPTIONS", "/predict?model=x"), ("GET", "/health/live"), ("POST", "/docs/")],
)
def test_who_has_no_key_sends_no_body(make: Make, method: str, path: str) -> None:
    """It would take the disk from those that have one."""
    app = make()
    a_key(app)
    client = app.test_client()
    assert outcome(client.open(path, method=method, data=b"x" * 5_000)) in ("too_large", "key_required")
    path, _, query = path.partition("?")
    for body in ({"CONTENT_LENGTH": "100000"}, {"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_LENGTH": "x"}):
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **body}
        with pytest.raises(RequestError) as refusal:
            app.front.admit(environ, "203.0.113.9", wait=True)  # type: ignore[attr-defined]
        assert refusal.value.status in (413, 401)


@pytest.mark.parametrize("field", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"])
def test_without_keys_no_proxy_is_answered(make: Make, field: str) -> None:
    """It asks for others, whom nothing keeps out."""
    app = make(HOSTS="yard.example.org")
    given = {"Host": "yard.example.org", field: "203.0.113.9"}
    assert outcome(app.test_client().get("/models", headers=given)) == "not_loopback"
    assert outcome(app.test_client().get("/models", headers={**given, **a_key(app)})) == "ok"


@pytest.mark.parametrize(
    "credentials",
    ["Basic \xe9", "Basic a", "Basic ====", "Basic Og==", "Bearer \xff", "Basic " + "A" * 8000, "Digest a=b"],
)
def test_strange_credentials_are_refused(make: Make, credentials: str) -> None:
    """By a problem document, and not by an error that ends the connection."""
    app = make()
    a_key(app)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/models", "HTTP_AUTHORIZATION": credentials}
    with pytest.raises(RequestError) as refusal:
        app.front.admit(environ, None, wait=True)  # type: ignore[attr-defined]
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_key")


def test_every_endpoint_has_a_scope(make: Make) -> None:
    """A new route without one is refused here, and by the gate."""
    for rule in make().url_map.iter_rules():
        assert rule.endpoint in OPEN or scopes_of(rule.endpoint)
    with pytest.raises(KeyError):
        scopes_of("new.route")


def test_answers_are_kept_by_nobody_and_shown_in_no_page(make: Make) -> None:
    client = make().test_client()
    for path in ("/models", "/none", "/health/live", "/docs/", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert ("default-src 'none'" in headers["Content-Security-Policy"]) is (path != "/docs/")
        if path != "/docs/":
            assert headers["Cache-Control"] == "no-store"


class TestAtOnce:
    """What the gate says on the loop, of the head alone."""

    def environ(self, **headers: str) -> dict[str, Any]:
        return {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "QUERY_STRING": "", **headers}

    def test_a_decision_is_made_once(self, make: Make) -> None:
        app = make()
        environ = self.environ(HTTP_HOST="localhost")
        assert app.front.admit(environ, "127.0.0.1", wait=True)  # type: ignore[attr-defined]
        caller = environ[CALLER]
        a_key(app)
        assert app.front.admit(environ, "192.0.2.1")  # type: ignore[attr-defined]
        assert environ[CALLER] is caller

    def test_a_key_that_was_not_asked_for_yet_needs_the_database(self, make: Make) -> None:
        app = make()
        key = a_key(app, "alice", Scope.PREDICT)["Authorization"]
        environ = self.environ(HTTP_AUTHORIZATION=key)
        at_once = app.front.admit(environ, None)  # type: ignore[attr-defined]
        assert at_once is (CALLER in environ)  # With the write-ahead log, a reader waits for nobody.
        again: dict[str, Any] = {}

        def known() -> bool:
            other = self.environ(HTTP_AUTHORIZATION=key)
            assert app.front.admit(other, None, wait=True)  # type: ignore[attr-defined]
            again.update(self.environ(HTTP_AUTHORIZATION=key))
            return bool(app.front.admit(again, None))  # type: ignore[attr-defined]

        eventually(known, what="a key that is known")
        assert again[CALLER].owner == "alice"

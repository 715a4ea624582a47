"""Idempotency-Key: a repeated request gets the first one's response and creates nothing again."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask

from service.settings import Settings
from service.store.database import Database
from service.store.tables import IDEMPOTENCY_KEYS, JOBS
from service.web.app import create_app
from testing.databases import rows_of, uses_postgresql
from testing.harness import Answer, Client, Server, eventually
from testing.samples import CSV, DATA, a_model, a_training, fresh

REPLAYED = "idempotent-replayed"


def keyed(key: str, **headers: str) -> dict[str, str]:
    return {"Idempotency-Key": key, **headers}


def form(boundary: str, content: str = CSV, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A CSV file with fields as a form, and its content type."""
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}' for name in fields]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = "\r\n".join([*parts, f"{head}{content}", f"--{boundary}--\r\n"])
    return body.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


class Case:
    """A request to one of the routes, another payload for it, and the list that shows what it creates."""

    def __init__(self, client: Client, path: str) -> None:
        self.path, self.listed = path, "/jobs" if path == "/train" else path
        name = fresh("keyed")
        if path == "/train":
            client.define(a_model(name))
        make: dict[str, Callable[..., dict[str, Any]]] = {
            "/train": lambda **more: a_training(name, epochs=1, **more),
            "/models": lambda **more: a_model(name, **more),
            "/datasets": lambda **more: {"name": name, **DATA, **more},
        }
        self.body = make[path]()
        self.other = make[path](**({"weights": [1.0] * 12} if path == "/datasets" else {"metadata": {"n": 1}}))

    def made(self, client: Client) -> int:
        return len(client.pages(self.listed, 100))


@pytest.fixture(params=["/train", "/models", "/datasets"])
def case(request: pytest.FixtureRequest, client: Client) -> Case:
    return Case(client, request.param)


def assert_replayed(again: Answer, first: Answer) -> None:
    """Everything that belongs to the response is the same; headers of the request differ."""
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.json["status"], answer.json["code"]) == (status, status, code)


class TestKey:
    """Behaviour that all routes with a key share."""

    def test_the_same_request_is_answered_again_and_makes_nothing(self, client: Client, case: Case) -> None:
        key, before = fresh("key"), case.made(client)
        first = client.post(case.path, case.body, headers=keyed(key))
        assert first.status in (201, 202)
        for _ in range(3):
            assert_replayed(client.post(case.path, case.body, headers=keyed(key)), first)
        assert case.made(client) == before + 1

    def test_another_payload_is_refused(self, client: Client, case: Case) -> None:
        key, before = fresh("key"), case.made(client)
        first = client.post(case.path, case.body, headers=keyed(key))
        assert_refused(client.post(case.path, case.other, headers=keyed(key)), 422, "idempotency_key_reused")
        assert_replayed(client.post(case.path, case.body, headers=keyed(key)), first)
        assert case.made(client) == before + 1

    def test_without_a_key_nothing_is_kept(self, client: Client, case: Case) -> None:
        first, second = (client.post(case.path, case.body) for _ in range(2))
        assert first.status in (201, 202)
        assert second.status == {"/train": 202, "/models": 200, "/datasets": 409}[case.path]
        assert REPLAYED not in second.headers

    def test_a_refusal_is_not_kept(self, client: Client, case: Case) -> None:
        """A corrected body may use the same key, because nothing was created."""
        key, before = fresh("key"), case.made(client)
        for _ in range(2):
            refused = client.post(case.path, {**case.body, "typo": 1}, headers=keyed(key))
            assert_refused(refused, 422, "validation_failed")
            assert REPLAYED not in refused.headers
        assert case.made(client) == before
        first = client.post(case.path, case.body, headers=keyed(key))
        assert first.status in (201, 202)
        assert case.made(client) == before + 1

    def test_what_came_in_the_meantime_changes_no_answer(self, client: Client, case: Case) -> None:
        """If the model was deleted or the job has ended, the first response is still returned."""
        key = fresh("key")
        first = client.post(case.path, case.body, headers=keyed(key))
        if case.path == "/train":
            assert client.wait(first.json["id"])["state"] == "succeeded"
        else:
            assert client.delete(f"{case.path}/{case.body['name']}").status == 204
        assert_replayed(client.post(case.path, case.body, headers=keyed(key)), first)

    def test_many_at_once_make_one(self, client: Client, case: Case) -> None:
        """Over two workers: each request gets the first one's response, or an error that the first one is under way."""
        key, before = fresh("key"), case.made(client)
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: client.post(case.path, case.body, headers=keyed(key)), range(48)))
        for answer in answers:
            if answer.status == 409:
                assert_refused(answer, 409, "idempotency_key_in_use")
        made = [answer for answer in answers if answer.status != 409]
        assert {answer.status for answer in made} == {202 if case.path == "/train" else 201}
        assert len({answer.body for answer in made}) == 1
        assert len([answer for answer in made if REPLAYED not in answer.headers]) == 1
        assert case.made(client) == before + 1


def test_a_key_belongs_to_its_route(client: Client) -> None:
    key, name = fresh("key"), fresh("scoped")
    model = client.post("/models", a_model(name), headers=keyed(key))
    dataset = client.post("/datasets", {"name": name, **DATA}, headers=keyed(key))
    assert (model.status, dataset.status) == (201, 201)
    assert REPLAYED not in dataset.headers


def test_the_same_definition_is_the_same_answer(client: Client) -> None:
    """200 under a new key, and again 200; 201 under the first one's key."""
    body, first, second = a_model(fresh("twice")), fresh("key"), fresh("key")
    statuses = [client.post("/models", body, headers=keyed(key)).status for key in (first, second, second, first)]
    assert statuses == [201, 200, 200, 201]


def test_a_dry_run_keeps_no_key(client: Client) -> None:
    name, key = fresh("dry"), fresh("key")
    client.define(a_model(name))
    for _ in range(2):
        answer = client.post("/train", a_training(name, dry_run=True), headers=keyed(key))
        assert (answer.status, REPLAYED in answer.headers) == (200, False)
    assert client.post("/train", a_training(name, epochs=1), headers=keyed(key)).status == 202
    answer = client.post("/train", a_training(name, dry_run=True), headers=keyed(key))
    assert_refused(answer, 422, "idempotency_key_reused")


def test_the_query_is_part_of_the_payload(client: Client) -> None:
    key, name = fresh("key"), fresh("csv")
    headers = keyed(key, **{"Content-Type": "text/csv"})
    first = client.post(f"/datasets?name={name}&label=colour", CSV.encode(), headers=headers)
    assert first.status == 201
    assert_replayed(client.post(f"/datasets?label=colour&name={name}", CSV.encode(), headers=headers), first)
    answer = client.post(f"/datasets?name={name}-2&label=colour", CSV.encode(), headers=headers)
    assert_refused(answer, 422, "idempotency_key_reused")


def test_a_form_is_known_by_its_parts(client: Client) -> None:
    """Clients draw a new boundary for each request; a file of several hundred kilobytes is spooled to the disk."""
    key, name = fresh("key"), fresh("form")
    table = CSV + "".join(CSV.partition("\n")[2] for _ in range(4000))
    assert len(table) > 2**20

    def send(boundary: str, content: str = table, label: str = "colour") -> Answer:
        body, headers = form(boundary, content, label=label)
        return client.post(f"/datasets?name={name}", body, headers=keyed(key, **headers))

    first = send("one")
    assert first.status == 201
    assert first.json["rows"] == 12 * 4001
    assert_replayed(send("two"), first)
    assert_refused(send("two", table + "0,0,red\n"), 422, "idempotency_key_reused")
    assert_refused(send("two", label="x"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("one", "other"),
    [("bare", '"bare"'), ("a/b+c=", '"a/b+c="'), ('"say \\"x\\""', '"say \\"x\\""'), ("k" * 255, f'"{"k" * 255}"')],
)
def test_quoted_and_bare_keys_are_the_same(client: Client, one: str, other: str) -> None:
    body = a_model(fresh("quoted"))
    first = client.post("/models", body, headers=keyed(one))
    assert first.status == 201
    assert_replayed(client.post("/models", body, headers=keyed(other)), first)


@pytest.mark.parametrize(
    "key",
    ["", '""', "k" * 256, f'"{"k" * 256}"', "a b", "a,b", '"a", "b"', '"a";b=1', '"a', 'a"', '"\\a"', "ä", "a\tb"],
)
def test_what_is_no_key_is_refused(client: Client, key: str) -> None:
    name = fresh("refused")
    answer = client.post("/models", a_model(name), headers=keyed(key))
    assert_refused(answer, 400, "invalid_idempotency_key")
    assert "255" in answer.json["detail"]
    assert client.get(f"/models/{name}").status == 404


def test_two_headers_are_no_key(client: Client) -> None:
    body = b'{"name": "two-headers", "inputs": 2, "classes": 2, "hidden": [2]}'
    with connected(client) as peer:
        head = f"POST /models HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        peer.sendall(f"{head}Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n".encode() + body)
        assert b"invalid_idempotency_key" in peer.makefile("rb").read()


@contextmanager
def connected(client: Client) -> Iterator[socket.socket]:
    place = urlsplit(client.base)
    with socket.create_connection((place.hostname, place.port), timeout=20) as peer:
        yield peer


@contextmanager
def upload_under_way(client: Client, key: str, name: str) -> Iterator[Callable[[], bytes]]:
    """An upload that has sent half of its body; what is yielded sends the rest and gives the answer."""
    body = CSV.encode()
    with connected(client) as peer:
        peer.sendall(
            f"POST /datasets?name={name}&label=colour HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\nIdempotency-Key: {key}\r\n\r\n".encode()
            + body[:50]
        )

        def finish() -> bytes:
            peer.sendall(body[50:])
            return peer.makefile("rb").read()

        yield finish


def upload(client: Client, key: str, name: str) -> Answer:
    headers = keyed(key, **{"Content-Type": "text/csv"})
    return client.post(f"/datasets?name={name}&label=colour", CSV.encode(), headers=headers)


def until_in_use(server: Server) -> None:
    """Wait until some request of this service holds a key (proc_locks(5)); to ask the service might take the key."""
    if uses_postgresql():
        held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        with rows_of(server.data) as connection:
            eventually(lambda: connection.exec_driver_sql(held).first(), what="a key in use")
        return
    lock = f":{(server.data / 'idempotency.lock').stat().st_ino} "
    eventually(lambda: lock in Path("/proc/locks").read_text(), what="a key in use")


@contextmanager
def held_upload(server: Server, key: str, name: str) -> Iterator[Callable[[], Answer]]:
    """An upload whose table is not read until the block ends, or what is yielded is called for its answer."""
    # So that there is a process that reads tables.
    assert upload(server.client, fresh("key"), fresh("first")).status == 201
    readers = [one.pid for one in server.processes("table-reader")]
    answers: list[Answer] = []

    def ask() -> None:
        with suppress(OSError):  # if its worker is killed
            answers.append(upload(server.client, key, name))

    def resume() -> None:
        for pid in readers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def finish() -> Answer:
        resume()
        thread.join(30)
        return answers[0]

    for pid in readers:
        os.kill(pid, signal.SIGSTOP)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until_in_use(server)
        yield finish
    finally:
        resume()
        thread.join(30)


def test_a_duplicate_of_a_request_under_way_is_reported_so(make_server: Callable[..., Server]) -> None:
    server = make_server(TRAINER="external", WORKERS=1)
    client, key, name = server.start(), fresh("key"), fresh("slow")
    with held_upload(server, key, name) as finish:
        assert_refused(upload(client, key, name), 409, "idempotency_key_in_use")
        first = finish()
    assert (first.status, REPLAYED in first.headers) == (201, False)
    again = upload(client, key, name)
    assert (again.status, again.body, again.headers[REPLAYED]) == (201, first.body, "true")


def test_the_upload_that_arrives_first_is_the_one_that_creates(server: Server) -> None:
    """A key is in use once a request has arrived whole, so a slow client does not hold it."""
    client, key, name = server.client, fresh("key"), fresh("slow")
    with upload_under_way(client, key, name) as finish:
        first = upload(client, key, name)
        assert (first.status, REPLAYED in first.headers) == (201, False)
        head, _, body = finish().partition(b"\r\n\r\n")
    assert b" 201 " in head.partition(b"\r\n")[0]
    assert REPLAYED.encode() in head.lower()
    assert body == first.body


def test_an_upload_that_is_cut_off_creates_nothing(server: Server) -> None:
    client, key, name = server.client, fresh("key"), fresh("cut")
    with upload_under_way(client, key, name):
        pass
    answer = upload(client, key, name)
    assert (answer.status, REPLAYED in answer.headers) == (201, False)


def test_a_killed_worker_frees_its_key(make_server: Callable[..., Server]) -> None:
    server = make_server(TRAINER="external", WORKERS=1)
    client, key, name = server.start(), fresh("key"), fresh("killed")
    with held_upload(server, key, name):
        assert server.process is not None
        (worker,) = [one for one in server.processes("gunicorn") if one.parent == server.process.pid]
        os.kill(worker.pid, signal.SIGKILL)

        def free() -> Answer | None:
            try:
                answer = upload(client, key, name)
            except OSError:  # its connection was one of the killed worker
                return None
            return None if answer.status == 409 else answer

        answer = eventually(free, 60.0, "the key is free")
    assert (answer.status, REPLAYED in answer.headers) == (201, False)


def application(data: Path, **variables: str) -> Flask:
    settings = {"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external", **variables}
    return create_app(Settings.read(settings))


def database(app: Flask) -> Any:
    return app.extensions["trainyard"].database


def test_a_fault_of_the_service_is_not_kept(tmp_path: Path) -> None:
    """The whole transaction is rolled back: response and job exist, or neither."""
    app = application(tmp_path)
    client = app.test_client()
    assert client.post("/models", json=a_model("m")).status_code == 201

    def fail(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO idempotency_keys"):
            raise RuntimeError

    sa.event.listen(database(app).engine, "before_cursor_execute", fail)
    answer = client.post("/train", json=a_training("m"), headers=keyed("k"))
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    sa.event.remove(database(app).engine, "before_cursor_execute", fail)
    with database(app).read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(JOBS)) == 0
    assert list((tmp_path / "datasets").iterdir()) == []
    answer = client.post("/train", json=a_training("m"), headers=keyed("k"))
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (202, False)


def test_a_key_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expired key can be used again, and its row is deleted when the next one is stored."""
    app = application(tmp_path, TRAINYARD_IDEMPOTENCY_SECONDS="100")
    client, now = app.test_client(), [1000.0]
    monkeypatch.setattr(Database, "now", lambda *_: now[0])

    def define(key: str) -> tuple[int, bool]:
        answer = client.post("/models", json=a_model("m"), headers=keyed(key))
        return answer.status_code, "Idempotent-Replayed" in answer.headers

    assert define("k") == (201, False)
    now[0] += 100.0
    assert define("k") == (201, True)
    now[0] += 0.5
    assert define("k") == (200, False)
    now[0] += 200.0
    assert define("another") == (200, False)
    with database(app).read() as connection:
        assert connection.scalars(sa.select(IDEMPOTENCY_KEYS.c.key)).all() == ["another"]


def test_a_key_from_before_the_clock_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still answered, and is kept for no longer than the others."""
    app = application(tmp_path, TRAINYARD_IDEMPOTENCY_SECONDS="100")
    client, now = app.test_client(), [90_000.0]
    monkeypatch.setattr(Database, "now", lambda *_: now[0])

    def is_replayed(key: str) -> bool:
        return "Idempotent-Replayed" in client.post("/models", json=a_model("m"), headers=keyed(key)).headers

    assert not is_replayed("k")
    now[0] -= 86_400.0
    assert is_replayed("k")
    assert not is_replayed("another")
    now[0] += 99.0
    assert is_replayed("k")
    now[0] += 2.0
    assert not is_replayed("k")


@pytest.mark.parametrize(("path", "body"), [("/train", a_training("m")), ("/datasets", {"name": "d", **DATA})])
def test_machines_that_share_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    """Their locks are separate: the table's primary key prevents a second use of a key."""
    url = f"sqlite:///{tmp_path}/shared.db"
    ours, theirs = (application(tmp_path / name, TRAINYARD_DATABASE_URL=url) for name in ("ours", "theirs"))
    assert ours.test_client().post("/models", json=a_model("m")).status_code == 201
    first, write = [], database(ours).write

    def be_faster() -> Any:
        """Between this process's query of the table and its transaction."""
        first.append(theirs.test_client().post(path, json=body, headers=keyed("k")))
        return write()

    monkeypatch.setattr(database(ours), "write", be_faster)
    answer = ours.test_client().post(path, json=body, headers=keyed("k"))
    assert answer.status_code == first[0].status_code == (202 if path == "/train" else 201)
    assert "Idempotent-Replayed" not in first[0].headers
    assert (answer.data, answer.headers["Idempotent-Replayed"]) == (first[0].data, "true")
    with database(ours).read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(JOBS)) == (path == "/train")
    assert list((tmp_path / "ours" / "datasets").iterdir()) == []
    assert len(list((tmp_path / "theirs" / "datasets").iterdir())) == 1

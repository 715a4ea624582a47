"""Requests over connections and services that fail: what is sent again, and what the caller is told."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testing.harness import ROOT, Server
from testing.samples import DATA, a_model, fresh
from tests.trainyard.proxy import answered, before, closed, lost, passed, response
from trainyard import Busy, Conflict, Forbidden, Invalid, NotFound, Refused, Trainyard, TrainyardError, Unreachable
from trainyard.addresses import Address

BUSY = '{"status":503,"code":"busy","detail":"too much to do","errors":[],"request_id":"r-1"}'


def busy(seconds: int) -> bytes:
    """The answer of a service that has too much to do."""
    return response("503 Service Unavailable", BUSY, Content_Type="application/problem+json", Retry_After=str(seconds))


def test_a_busy_service_is_asked_again(server: Server) -> None:
    """After the seconds that it names, also for a POST: nothing has been done."""
    with before(server.client.base, answered(busy(0)), answered(busy(0))) as proxy:
        assert Trainyard(proxy.url).request("POST", "/models", a_model(fresh("busy"))).status == 201
    assert len(proxy.heads) == 3
    keys = {line for head in proxy.heads for line in head.splitlines() if line.startswith("Idempotency-Key: ")}
    assert len(keys) == 1


def test_a_service_that_stays_busy_is_an_error(server: Server) -> None:
    with before(server.client.base, *[answered(busy(0))] * 9) as proxy, pytest.raises(Busy) as caught:
        Trainyard(proxy.url, retries=1).version()
    assert len(proxy.heads) == 2
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (503, "busy", "r-1")
    assert str(caught.value) == "too much to do [503 busy, request r-1]"


def test_nobody_waits_longer_than_the_time_of_a_request(server: Server) -> None:
    """A service that is busy for an hour is an error at once."""
    with before(server.client.base, answered(busy(3600))) as proxy, pytest.raises(Busy) as caught:
        Trainyard(proxy.url).version()
    assert len(proxy.heads) == 1
    assert caught.value.retry_after == 3600


def test_a_lost_answer_is_asked_for_again(server: Server) -> None:
    """The service makes one model: the second request has the same key."""
    name = fresh("lost")
    with before(server.client.base, lost) as proxy:
        answer = Trainyard(proxy.url).request("POST", "/models", a_model(name))
    assert answer.status == 201
    assert answer.repeated
    assert answer.headers["idempotent-replayed"] == "true"
    assert [model.name for model in Trainyard(server.client.base).models()].count(name) == 1


def test_what_may_have_been_done_is_not_done_twice(server: Server) -> None:
    """A POST without a key is not sent again."""
    with before(server.client.base, closed) as proxy, pytest.raises(Unreachable, match="no answer from the service"):
        Trainyard(proxy.url).request("POST", "/jobs/job_000000000000000000000/cancel")
    assert len(proxy.heads) == 1


def test_a_deletion_whose_answer_was_lost_has_happened(server: Server) -> None:
    ty = Trainyard(server.client.base)
    ty.define(**a_model(name := fresh("gone")))
    with before(server.client.base, lost) as proxy:
        Trainyard(proxy.url).delete(f"/models/{name}")
    with pytest.raises(NotFound):
        ty.delete(f"/models/{name}")


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout"])
def test_a_failure_is_tried_again_if_that_is_safe(server: Server, status: str) -> None:
    failed = response(status, "<h1>oh</h1>", Content_Type="text/html")
    with before(server.client.base, answered(failed), answered(failed)) as proxy:
        assert Trainyard(proxy.url).version()["trainyard"]
    with before(server.client.base, answered(failed)) as proxy, pytest.raises(Refused) as caught:
        Trainyard(proxy.url).request("POST", "/jobs/job_000000000000000000000/pause")
    assert len(proxy.heads) == 1
    assert (caught.value.code, caught.value.detail) == ("unknown", "<h1>oh</h1>")


def test_nothing_listens() -> None:
    """The error has the address, after the tries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable) as caught:
        Trainyard(url, retries=1).version()
    assert str(caught.value) == f"no answer from the service at {url}: connection refused"
    assert isinstance(caught.value, TrainyardError)


def test_a_service_that_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="the time was up"):
            Trainyard(url, timeout=0.2, retries=0).version()


def test_a_connection_is_kept_and_its_end_is_noticed(server: Server) -> None:
    """Requests of a thread share a connection; one that the service has closed is opened again before a POST."""
    with before(server.client.base) as proxy:
        ty = Trainyard(proxy.url, retries=0)
        for _ in range(3):
            ty.version()
        assert len(proxy.heads) == 1
        with pytest.raises(NotFound):  # also after an error
            ty.model("nobody")
        ty.is_live()
        assert len(proxy.heads) == 1

    def one_answer(client: socket.socket, connect: object) -> None:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")  # and closes, without saying so

    with before(server.client.base, one_answer, passed) as proxy:
        ty = Trainyard(proxy.url, retries=0)
        assert ty.request("GET", "/").json() == {}
        own = ty.transport._connections.take()  # type: ignore[attr-defined]
        assert own.sock is None or own.sock.recv(1, socket.MSG_PEEK) == b""  # its end has arrived
        with pytest.raises(NotFound):
            ty.request("POST", "/jobs/job_000000000000000000000/cancel")
        assert len(proxy.heads) == 2


def test_threads_share_a_client(server: Server) -> None:
    """Each has its own connection, and each gets its own answers."""
    ty = Trainyard(server.client.base)
    names = [fresh("shared") for _ in range(8)]
    for name in names:
        ty.define(**a_model(name))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            assert [model.name for model in pool.map(ty.model, names)] == names
        list(pool.map(lambda _: ty.close(), range(8)))
    ty.close()


def test_a_process_that_was_forked_uses_no_connection_of_its_parent(server: Server) -> None:
    script = (
        "import os, sys\nfrom trainyard import Trainyard\nty = Trainyard(sys.argv[1]); ty.version()\n"
        "child = os.fork()\nassert all(ty.key().owner == 'local' for _ in range(200))\n"
        "assert all('trainyard' in ty.version() for _ in range(200))\n"
        "if child: sys.exit(os.waitpid(child, 0)[1])\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, server.client.base], cwd=ROOT, check=True, timeout=60)


def test_a_refusal_is_a_sentence_with_pointers(ty: Trainyard) -> None:
    with pytest.raises(Invalid) as caught:
        ty.request("POST", "/train", {"data": DATA, "epochs": -1, "epoch": 3})
    error = caught.value
    assert error.code == "validation_failed"
    assert {fault.pointer for fault in error.errors} == {"/epochs", "/epoch"}
    text = str(error)
    assert "/epochs: must be at least 0. Received: -1" in text
    assert "did you mean 'epochs'" in text
    assert text.endswith(f"[422 validation_failed, request {error.request_id}]")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.errors, type(again)) == (text, error.errors, Invalid)


def test_faults_of_a_file_have_their_rows(ty: Trainyard) -> None:
    with pytest.raises(Invalid) as caught:
        ty.request("POST", "/datasets", b"a,b\n1,2\nx,3\n", query={"name": fresh("bad"), "types": {"a": "number"}})
    (fault,) = caught.value.errors
    assert (fault.row, fault.line, fault.column) == (2, 3, "a")
    assert "row 2, line 3, column a" in str(caught.value)


def test_a_refused_upload_is_told_although_it_was_not_sent_whole(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    """The service answers before it has read the file, and closes the connection."""
    large = tmp_path / "large.csv"
    large.write_bytes(b"a,b\n" + b"1,2\n" * 8_000_000)
    server = make_server(MAX_DATASET_BYTES=100_000)
    client = server.start()
    with pytest.raises(Invalid) as caught:
        Trainyard(client.base).upload(large)
    assert (caught.value.status, caught.value.code) == (413, "too_large")


def test_a_socket_in_the_file_system(make_server: Callable[..., Server], tmp_path: Path) -> None:
    path = Path(f"/tmp/ty-{os.getpid()}.sock")
    server = make_server(BIND=f"unix:{path}")
    try:
        server.process = server._popen(Path(sys.executable).with_name("gunicorn"), "wsgi:app")
        server.until_logged("Listening at: unix:")
        ty = Trainyard(f"unix:{path}")
        assert ty.is_live()
        assert repr(ty) == f"Trainyard('unix:{path}')"
    finally:
        path.unlink(missing_ok=True)


def test_the_service_says_who_may(make_server: Callable[..., Server]) -> None:
    """With keys: the one of the environment, one that may not, none."""
    server = make_server()
    client = server.start()
    made = server.run_to_end(sys.executable, "-m", "service", "keys", "create", "alice", "--scopes", "predict")
    key = made.stdout.split()[-1]
    ty = Trainyard(client.base, key=f"{key}\n")
    assert ty.key().owner == "alice"
    assert key not in repr(ty)
    with pytest.raises(Forbidden):
        ty.define(**a_model("mine"))
    with pytest.raises(Refused) as caught:
        Trainyard(client.base).models().first()
    assert (type(caught.value).__name__, caught.value.code) == ("Unauthorized", "key_required")
    again = pickle.loads(pickle.dumps(ty))
    assert key.encode() not in pickle.dumps(ty)
    with pytest.raises(Refused, match="key_required"):
        again.key()


def test_a_conflict_is_one(ty: Trainyard, flowers: Path) -> None:
    name = fresh("taken")
    ty.upload(flowers, name)
    with pytest.raises(Conflict, match="name_taken"):
        ty.upload([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], name)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("localhost:9000", "http://localhost:9000"),
        ("https://yard.example.org/ty/", "https://yard.example.org/ty"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("unix:/run/ty.sock", "unix:/run/ty.sock"),
    ],
)
def test_addresses(url: str, meant: str) -> None:
    assert Trainyard(url).url == meant


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://me:secret@host", "http://host:port"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(url)


def test_url_and_key_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("TRAINYARD_URL", server.client.base)
    assert Trainyard().is_live()
    monkeypatch.delenv("TRAINYARD_URL")
    assert Trainyard().url == "http://127.0.0.1:8000"

"""A disk that is nearly full, full, or not writable: what is refused, what still works, and what is reported."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testing.filesystems import fill, mounts_are_permitted, remount, tmpfs
from testing.harness import Client, Server, eventually
from testing.samples import DATA, ROWS, a_model, a_training

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not mounts_are_permitted(), reason="mounting a filesystem is not permitted here"),
]

KEPT = 16 * 2**20


class Small:
    """A service whose data directory is on a filesystem of 64 MB."""

    def __init__(self, place: Path) -> None:
        self.place, self.ballast = place, place / "ballast"
        self.server = Server(place / "data", WORKERS=1, MIN_FREE_BYTES=KEPT)
        self.server.log_path = place.with_name("log")

    @property
    def client(self) -> Client:
        return self.server.client

    @property
    def reserve(self) -> Path:
        return self.place / "data" / ".reserve"

    def with_reserve(self) -> None:
        """Free the disk, and wait until the service has a reserve again."""
        self.ballast.unlink(missing_ok=True)
        eventually(lambda: self.reserve.exists() and self.reserve.stat().st_blocks * 512 >= 4 * 2**20, what="a reserve")

    def free(self) -> int:
        found = os.statvfs(self.place)
        return found.f_bavail * found.f_frsize


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with tmpfs(tmp_path_factory.mktemp("disk") / "small", "64m") as place:
        found = Small(place)
        try:
            found.server.start_ready()
            yield found
        finally:
            found.server.close()


@pytest.fixture
def nearly_full(small: Small) -> Iterator[Small]:
    """With less space than is kept, and a model."""
    small.with_reserve()
    small.client.post("/models", a_model("here"))
    fill(small.ballast, leave=KEPT - 2**20)
    yield small
    small.ballast.unlink()


def begun(client: Client, path: str, length: int, kind: str) -> tuple[int, bytes]:
    """The status and the body of the answer to a request of which the head alone has been sent."""
    url = urlsplit(client.base)
    with socket.create_connection((url.hostname, url.port), timeout=10) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        sock.sendall(head.encode())
        with contextlib.closing(http.client.HTTPResponse(sock)) as response:
            response.begin()
            return response.status, response.read()


class TestNearlyFull:
    """Less space than is kept for running jobs: uploads, large bodies and new jobs are refused, all else works."""

    def test_it_is_ready_and_says_what_is_refused(self, nearly_full: Small) -> None:
        answer = nearly_full.client.get("/health/ready")
        assert answer.status == 200
        assert answer.json["status"] == "ready"
        assert answer.json["storage"].startswith("low: ")
        assert "uploads, large bodies and new jobs are refused" in answer.json["storage"]

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/datasets?name=big", "text/csv"),
            ("/models/here/checkpoints", "application/x-hdf5"),
            ("/predict?model=here", "text/csv"),
            *((path, "application/json") for path in ("/predict", "/evaluate", "/models", "/no/such/route")),
        ],
    )
    def test_what_would_be_a_file_is_refused_before_it_comes(self, nearly_full: Small, path: str, kind: str) -> None:
        status, body = begun(nearly_full.client, path, 1_000_000, kind)
        assert status == 507
        assert b'"storage_reserve"' in body

    def test_what_would_be_too_much_is_refused_although_there_is_room(self, small: Small) -> None:
        small.with_reserve()
        assert begun(small.client, "/datasets?name=big", 60_000_000, "text/csv")[0] == 507

    @pytest.mark.parametrize("kind", ["text/csv", "multipart/form-data; boundary=x"])
    def test_a_small_file_that_unpacks_to_a_large_one_takes_nothing_that_is_kept(self, small: Small, kind: str) -> None:
        small.with_reserve()
        bomb = gzip.compress(b"a,label\n" + b"1,x\n2,y\n" * 4_000_000)
        if "multipart" in kind:
            bomb = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bomb + b"\r\n--x--\r\n"
        answer = small.client.request("POST", "/datasets?name=bomb", bomb, {"Content-Type": kind})
        assert (answer.status, answer.json["code"]) == (507, "storage_reserve"), answer.json
        assert "TRAINYARD_MIN_FREE_BYTES" in answer.json["detail"]

    def test_small_bodies_in_chunks_need_no_room(self, nearly_full: Small) -> None:
        url = urlsplit(nearly_full.client.base)
        with contextlib.closing(http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)) as connection:
            body = iter([json.dumps(a_model("chunked")).encode()])
            connection.request("POST", "/models", body, {"Content-Type": "application/json"}, encode_chunked=True)
            assert connection.getresponse().status == 201

    def test_chunks_and_rows_are_refused_too(self, nearly_full: Small) -> None:
        url = urlsplit(nearly_full.client.base)
        with contextlib.closing(http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)) as connection:
            rows, kind = iter([b"a,b\n1,2\n" * 1000] * 3), {"Content-Type": "text/csv"}
            connection.request("POST", "/datasets?name=chunks", rows, kind, encode_chunked=True)
            response = connection.getresponse()
            assert (response.status, b'"storage_reserve"' in response.read()) == (507, True)
        answer = nearly_full.client.post("/datasets", {"name": "rows", **DATA})
        assert (answer.status, answer.json["code"]) == (507, "storage_reserve")
        assert "TRAINYARD_MIN_FREE_BYTES" in answer.json["detail"]

    @pytest.mark.parametrize("path", ["/train", "/sweeps"])
    def test_a_new_job_is_refused(self, nearly_full: Small, path: str) -> None:
        body: dict[str, Any] = a_training("here")
        if path == "/sweeps":
            body = {"train": body, "over": {"/seed": [1, 2]}, "search": "grid"}
            body["train"]["validation"] = DATA
        answer = nearly_full.client.post(path, body)
        assert (answer.status, answer.json["code"]) == (503, "storage_low"), answer.json
        assert answer.headers["retry-after"] == "60"
        assert nearly_full.client.get("/jobs").json["data"] == []

    def test_a_running_job_goes_on_saving(self, small: Small) -> None:
        small.with_reserve()
        client = small.client
        client.post("/models", a_model("here"))
        job = client.train(a_training("here", epochs=10**5, checkpoint={"every_epochs": 50, "keep": 1}))["id"]
        client.until_epoch(job, 1)
        fill(small.ballast, leave=KEPT - 2**20)
        newest = client.job(job)["checkpoint"]
        eventually(lambda: client.job(job)["checkpoint"] != newest, what="another checkpoint")
        client.post(f"/jobs/{job}/cancel")
        assert client.wait(job)["state"] == "cancelled"
        assert client.delete(f"/jobs/{job}").status == 204
        small.ballast.unlink()


class TestFull:
    """No byte is free."""

    def test_it_is_not_ready_and_predicts(self, small: Small) -> None:
        small.with_reserve()
        small.client.post("/models", a_model("served"))
        small.client.run(a_training("served"))
        fill(small.ballast)
        answer = small.client.get("/health/ready")
        assert (answer.status, answer.json["code"]) == (503, "not_ready")
        assert answer.json["storage"].startswith("full: ")
        assert answer.json["database"] == "ok"
        assert small.client.post("/predict", {"model": "served", "inputs": ROWS}).status == 200
        small.ballast.unlink()
        assert small.client.get("/health/ready").json["storage"] == "ok"

    @pytest.mark.sqlite
    def test_a_client_can_make_room(self, small: Small) -> None:
        """For each kind of request, the reserve is given up. Once there is room, there is one again."""
        small.with_reserve()
        client = small.client
        client.define(a_model("room"))
        assert client.post("/datasets", {"name": "room", **DATA}).status == 201
        ended = client.run(a_training("room"))["id"]
        client.put("/models/room/aliases/mine", {"version": 1})
        running = client.train(a_training("room", epochs=10**5))["id"]
        client.until_epoch(running, 1)
        requests: list[tuple[str, str, int]] = [
            ("DELETE", "/models/room/aliases/mine", 204),
            ("DELETE", "/datasets/room", 204),
            ("POST", f"/jobs/{running}/pause", 202),
            ("POST", f"/jobs/{running}/cancel", 202),
            ("DELETE", f"/jobs/{ended}", 204),
            ("DELETE", "/models/room", 204),
        ]
        for method, path, status in requests:
            small.with_reserve()
            fill(small.ballast)
            assert small.free() == 0
            assert client.post("/models", a_model("another")).json["code"] == "storage_full"
            assert small.reserve.exists()
            assert client.request(method, path).status == status, path
            assert not small.reserve.exists(), path
            if status == 202:
                client.until_state(running, "paused" if path.endswith("pause") else "cancelled")
        small.ballast.unlink()

    def test_a_client_can_save_what_it_deletes_then(self, small: Small) -> None:
        small.with_reserve()
        client = small.client
        client.define(a_model("saved"))
        assert client.post("/datasets", {"name": "saved", **DATA}).status == 201
        path = f"/checkpoints/{client.run(a_training('saved'))['checkpoint']}/file"
        whole = client.get(path).body
        fill(small.ballast)
        assert client.get(path).body == whole
        assert client.get("/datasets/saved/file").status == 200
        small.ballast.unlink()

    @pytest.mark.sqlite
    def test_a_start(self, small: Small) -> None:
        """It starts, says that the disk is full, and the trainer waits for space without a traceback."""
        small.with_reserve()
        small.server.terminate()
        small.server.wait_until_gone()
        fill(small.ballast)
        before = len(small.server.log)
        client = small.server.start()
        answer = client.get("/health/ready")
        assert (answer.status, answer.json["storage"][:5]) == (503, "full:")
        eventually(lambda: "database or disk is full" in small.server.log[before:], what="the trainer's word about it")
        trainer = small.server.trainer()
        small.ballast.unlink()
        eventually(lambda: client.get("/health/ready").json["trainer"] == "ok", what="a trainer")
        assert small.server.trainer() == trainer
        assert "Traceback" not in small.server.log[before:]


@pytest.mark.sqlite
@pytest.mark.parametrize("command", ["web", "trainer"])
@pytest.mark.parametrize("case", ["full", "read-only"])
def test_a_start_that_cannot_be_ends_with_one_sentence(tmp_path: Path, command: str, case: str) -> None:
    with tmpfs(tmp_path / "place", "64k" if case == "full" else "16m") as place:
        server = Server(place / "data", WORKERS=1)
        server.log_path = tmp_path / "log"
        if case == "full":
            fill(place / "ballast")
        else:
            (place / "data").mkdir()
            remount(place, "ro")
        process = (
            server._popen(Path(sys.executable).with_name("gunicorn"), "wsgi:app")
            if command == "web"
            else server.run_beside("trainer")
        )
        assert process.wait(30) == 4
        said = [line for line in server.log.splitlines() if str(server.data) in line]
        assert len(said) == 1, server.log
        wanted = "no disk space is left for" if case == "full" else "its filesystem may be read-only"
        assert wanted in said[0]
        assert "Traceback" not in server.log

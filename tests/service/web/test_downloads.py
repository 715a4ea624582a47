"""Downloads in the audit trail: one record for each, whatever else a client asks about a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from service.access.audit import record
from service.settings import Settings
from service.web import downloads
from service.web.app import create_app
from testing.harness import Client, Server
from testing.samples import DATA, a_model, a_training, fresh

HDF5 = {"Accept": "application/x-hdf5"}


@pytest.fixture(scope="module")
def files(server: Server) -> dict[str, str]:
    """The path of a file of each kind, by its subject."""
    client, dataset = server.client, fresh("dataset")
    client.define(a_model(model := fresh("model")))
    assert client.post("/datasets", {"name": dataset, **DATA}).status == 201
    checkpoint = client.run(a_training(model))["checkpoint"]
    folded = client.run(a_training(model, folds={"count": 2}, validation=None))["id"]
    return {
        checkpoint: f"/checkpoints/{checkpoint}/file",
        dataset: f"/datasets/{dataset}/file",
        folded: f"/jobs/{folded}/held_out",
    }


def records(client: Client, subject: str) -> int:
    return len(client.get(f"/audit?action=downloaded&subject={subject}").json["data"])


def test_each_download_has_a_record_and_no_other_request(client: Client, files: dict[str, str]) -> None:
    for subject, path in files.items():
        assert records(client, subject) == 0
        for number in (1, 2):
            assert client.get(path).status == 200
            assert records(client, subject) == number
        assert client.request("HEAD", path).status == 200
        if "checkpoints" not in path:  # These are sent whatever a client accepts.
            assert client.get(path, headers={"Accept": "image/png"}).status == 406
        assert records(client, subject) == 2, path


def test_files_are_sent_as_octets_to_those_who_prefer_that(client: Client, files: dict[str, str]) -> None:
    """Makers of clients know no ``application/x-hdf5``. The bytes are the same; without a wish the old types stay."""
    for path in files.values():
        if "held_out" in path:
            continue
        whole = client.get(path, headers=HDF5)
        octets = client.get(path, headers={"Accept": "application/octet-stream"})
        assert (whole.headers["content-type"], octets.headers["content-type"]) == (
            "application/x-hdf5",
            "application/octet-stream",
        )
        assert octets.body == whole.body
        anything = client.get(path, headers={"Accept": "*/*"}).headers["content-type"]
        assert anything == client.get(path).headers["content-type"] != "application/octet-stream"


def test_each_piece_of_a_download_has_a_record(client: Client, files: dict[str, str]) -> None:
    for subject, path in files.items():
        if "held_out" in path:
            continue
        before = records(client, subject)
        whole = client.get(path, headers=HDF5)
        tag = whole.headers["etag"]
        asked: list[tuple[dict[str, str], int, int]] = [
            ({"Range": "bytes=0-99"}, 206, 1),
            ({"Range": "bytes=100-199"}, 206, 1),
            ({"Range": "bytes=100-"}, 206, 1),
            ({"If-None-Match": tag}, 304, 0),
            ({"If-None-Match": '"other"'}, 200, 1),
            ({"Range": "bytes=100-", "If-Range": '"other"'}, 200, 1),
            ({"Range": f"bytes={len(whole.body) + 1}-"}, 416, 0),
        ]
        count = before + 1
        for headers, status, more in asked:
            answer: Any = client.get(path, headers={**HDF5, **headers})
            count += more
            assert (answer.status, records(client, subject)) == (status, count), (path, headers)


def test_on_a_full_disk_the_reserve_makes_room_for_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
    client, disk = app.test_client(), app.extensions["trainyard"].files.disk
    assert client.post("/datasets", json={"name": "full", **DATA}).status_code == 201
    disk.hold_reserve()

    def on_a_full_disk(*arguments: Any) -> None:
        if (tmp_path / ".reserve").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        record(*arguments)

    monkeypatch.setattr(downloads, "record", on_a_full_disk)
    for method in (client.head, client.get):
        assert (tmp_path / ".reserve").exists()
        with method("/datasets/full/file", headers=HDF5) as answer:
            assert answer.status_code == 200
    assert not (tmp_path / ".reserve").exists()
    assert len(client.get("/audit?action=downloaded").get_json()["data"]) == 1
    app.extensions["trainyard"].database.dispose()


def test_a_file_that_is_missing_or_damaged_was_not_downloaded(server: Server) -> None:
    client = server.client
    for change, status in (("missing", 404), ("damaged", 500)):
        name = fresh("broken")
        dataset_id = client.post("/datasets", {"name": name, **DATA}).json["id"]
        file = server.data / "datasets" / f"{dataset_id}.h5"
        content = file.read_bytes()
        if change == "missing":
            file.unlink()
        else:
            file.write_bytes(content[:-100])
        assert client.get(f"/datasets/{name}/file").status == status
        assert records(client, name) == 0
        assert client.delete(f"/datasets/{name}").status == 204

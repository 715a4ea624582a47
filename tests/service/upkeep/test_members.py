"""Upkeep of files of several members: retention, the check at the start, verify, backup and reindex know them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.formats.checkpoint_file import load_checkpoint
from models.registry.checkpoints import forget_checkpoints
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.upkeep.backup import back_up
from service.upkeep.reindex import reindex
from service.upkeep.verify import verify
from testing.bad_members import MEMBERS_DATA, MEMBERS_MODEL, MEMBERS_ROWS
from testing.databases import lose_database
from testing.harness import Client, Server, eventually

pytestmark = pytest.mark.processes

NAME = MEMBERS_MODEL["name"]


def answers(client: Client) -> dict[str, Any]:
    """What a client sees of the model, and what every version predicts."""
    versions = client.pages(f"/models/{NAME}/versions", 100)
    return {
        "model": client.get(f"/models/{NAME}").json,
        "versions": [client.get(f"/models/{NAME}/versions/{row['version']}").json for row in versions],
        "checkpoints": client.pages(f"/models/{NAME}/checkpoints", 100),
        "predictions": [
            client.post("/predict", {"model": NAME, "version": row["version"], "rows": MEMBERS_ROWS}).json
            for row in versions
        ],
    }


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server after a job that saved on its way and was paused once, and an import of what that made."""
    server = Server(tmp_path_factory.mktemp("members") / "data", WORKERS=1)
    try:
        client = server.start_ready()
        kinds = [{**kind, "epochs": 1500, "early_stopping": None} for kind in MEMBERS_MODEL["network"]["kinds"]]
        model = {**MEMBERS_MODEL, "network": {**MEMBERS_MODEL["network"], "kinds": kinds}}
        job = client.train({"model": model, "data": MEMBERS_DATA, "checkpoint": {"every_epochs": 4000, "keep": 2}})
        client.until_epoch(job["id"], 1)
        client.post(f"/jobs/{job['id']}/pause")
        paused = client.until_state(job["id"], "paused", "succeeded")
        if paused["state"] == "paused":
            assert client.post(f"/jobs/{job['id']}/resume").status == 202
        ended = client.wait(job["id"])
        assert ended["state"] == "succeeded", ended
        content = client.get(f"/checkpoints/{ended['checkpoint']}/file").body
        sent = client.post(f"/models/{NAME}/checkpoints", content, headers={"Content-Type": "application/x-hdf5"})
        assert sent.status == 201, sent
        yield server, ended
    finally:
        server.close()


def test_retention_keeps_the_newest_state(worked: tuple[Server, dict[str, Any]]) -> None:
    server, job = worked
    kept = server.client.get(f"/jobs/{job['id']}/checkpoints?limit=100").json["data"]
    # Newest first: the last one, at most two between, and the first one of the job.
    assert kept[0]["id"] == job["checkpoint"]
    assert 2 <= len(kept) <= 4
    steps = [row["step"] for row in kept]
    assert steps == sorted(steps, reverse=True)
    for row in kept:
        loaded = load_checkpoint(server.data / "checkpoints" / f"{row['id']}.h5")
        assert isinstance(loaded, EnsembleCheckpoint)
        assert (loaded.epoch, loaded.step) == (row["epoch"], row["step"])


def test_the_check_at_the_start_verify_backup_and_reindex(
    worked: tuple[Server, dict[str, Any]], tmp_path: Path
) -> None:
    server, job = worked
    known = answers(server.client)
    assert len(known["predictions"]) == 2
    first, second = ({k: v for k, v in each.items() if k != "version"} for each in known["predictions"])
    assert first == second
    target = tmp_path / "copy"
    backup = back_up(Settings.read(server.environment), target)
    assert backup.faults == []
    server.terminate()
    server.wait_until_gone()

    # A file that no row names, of a state that the database has a later one of, is deleted at the next start.
    steps = {row["id"]: row["step"] for row in known["checkpoints"]}
    earlier = min(steps, key=lambda name: steps[name])
    path = server.data / "checkpoints" / f"{earlier}.h5"
    assert steps[earlier] < max(steps.values())
    settings = Settings.read(server.environment)
    database = Database(settings)
    with database.write() as connection:
        forget_checkpoints(connection, [earlier])
    database.dispose()
    known["checkpoints"] = [row for row in known["checkpoints"] if row["id"] != earlier]
    client = server.start_ready()
    eventually(lambda: not path.exists(), what="the check")
    server.until_logged(f"removed {path.name}")
    assert answers(client) == known
    assert client.job(job["id"])["members"] == job["members"]
    server.terminate()
    server.wait_until_gone()
    assert verify(Database(settings), FileStore(server.data)).wrong == []

    for data in (server.data, target):
        lose_database(data)
        settings = Settings.read({"TRAINYARD_DATA": str(data)})
        rebuilt = reindex(Database(settings), FileStore(data))
        if data is server.data:
            assert rebuilt.warnings == []
        again = Server(data, TRAINER="external", WORKERS=1)
        try:
            found = answers(again.start())
        finally:
            again.close()
        assert found["predictions"] == known["predictions"]
        assert [row["definition"] for row in found["versions"]] == [row["definition"] for row in known["versions"]]
        assert [row["metrics"] for row in found["versions"]] == [row["metrics"] for row in known["versions"]]
        if data is server.data:
            assert found["checkpoints"] == known["checkpoints"]

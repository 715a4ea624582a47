"""Data directories of earlier states under the present service: every answer, the paused job, the queue, and keys."""

from __future__ import annotations

import copy
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from alembic.command import downgrade

from models.formats.model_file import load_model_file
from models.registry.snapshots import model_file
from models.registry.tables import MODELS, VERSIONS
from service.access.keys import Scope, create_key
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.store.migrations import configuration
from service.store.tables import JOBS
from service.upkeep.reindex import reindex
from service.upkeep.verify import verify
from testing.databases import copy_data, lose_database
from testing.harness import ROOT, Client, Server
from testing.jobs import arrays, timeless

#: The folder of each state, and its migration.
REVISIONS = {
    "release-0.1.0": "0006",
    "migration-0007": "0007",
    "migration-0009": "0009",
    "migration-0011": "0011",
    "migration-0013": "0013",
}
#: The first and the last of them, for tests that take long.
ENDS = pytest.mark.parametrize("state", ["release-0.1.0", "migration-0013"], indirect=True)
#: Answers under an Idempotency-Key and ended jobs are kept, however old the directory is.
SETTINGS = {"IDEMPOTENCY_SECONDS": 10**10, "JOB_RETENTION_DAYS": 0, "WORKERS": 1}


class State(NamedTuple):
    """A recorded directory, and what the service that made it answered."""

    folder: Path
    known: dict[str, Any]


@pytest.fixture(scope="module", params=REVISIONS)
def state(request: pytest.FixtureRequest) -> State:
    folder = ROOT / "tests" / "data" / request.param
    return State(folder, json.loads((folder / "answers.json").read_text()))


@pytest.fixture
def known(state: State) -> dict[str, Any]:
    return {**copy.deepcopy(state.known), "revision": REVISIONS[state.folder.name]}


def extracted(state: State, folder: Path) -> Path:
    with tarfile.open(state.folder / "data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "data"


@pytest.fixture
def data(state: State, tmp_path: Path) -> Path:
    return extracted(state, tmp_path)


@pytest.fixture(scope="module")
def unchanged(state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service on the directory without a trainer, for tests that change nothing there."""
    server = Server(extracted(state, tmp_path_factory.mktemp("unchanged")), TRAINER="external", **SETTINGS)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def database(data: Path) -> Any:
    migrated = Database(Settings.read({"TRAINYARD_DATA": str(data)}))
    migrated.migrate()
    yield migrated
    migrated.dispose()


def nearly(value: Any) -> Any:
    """A value to compare with, but for the last bits of its numbers, which another processor computes differently."""
    if isinstance(value, dict):
        return {name: nearly(member) for name, member in value.items()}
    if isinstance(value, list):
        return [nearly(member) for member in value]
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


def as_before(found: Any, known: Any) -> Any:
    """What was found without the members that a later release added."""
    if isinstance(found, dict) and isinstance(known, dict):
        return {name: as_before(found[name], known[name]) for name in known}
    if isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        return [as_before(one, other) for one, other in zip(found, known, strict=True)]
    return found


def assert_as_before(history: list[dict[str, Any]], known: list[dict[str, Any]]) -> None:
    assert as_before(history, known) == known


@pytest.mark.processes
def test_every_answer_is_as_it_was(unchanged: Client, known: dict[str, Any]) -> None:
    for one in known["answers"]:
        answer = unchanged.request(one["method"], one["path"], one["body"])
        found, expected = answer.json, one["answer"]
        expected.pop("request_id", None)
        found = as_before(found, expected)
        computed = one["path"] in ("/predict", "/evaluate")
        what = f"{one['method']} {one['path']} {one['body']}"
        assert (answer.status, found) == (one["status"], nearly(expected) if computed else expected), what


def assert_the_queue_went_on_in_order(client: Client, known: dict[str, Any]) -> None:
    ended = [client.wait(job) for job in known["queued"]]
    assert [job["state"] for job in ended] == ["succeeded"] * len(ended)
    starts = [job["started_at"] for job in ended]
    assert starts == sorted(starts)
    assert client.job(known["paused"])["state"] == "paused"
    histories = known.get("histories", {})
    for job in known["queued"] if histories else ():
        assert_as_before(client.history(job), nearly(timeless(histories[job])))


@pytest.mark.processes
def test_a_request_is_answered_again_under_its_key(unchanged: Client, known: dict[str, Any]) -> None:
    for keyed in known["keyed"]:
        again = unchanged.post(keyed["path"], keyed["body"], headers={"Idempotency-Key": keyed["key"]})
        assert (again.status, again.json) == (keyed["status"], keyed["answer"])
        assert again.headers["idempotent-replayed"] == "true"


@ENDS
def test_the_paused_job_goes_on(data: Path, known: dict[str, Any], make_server: Callable[..., Server]) -> None:
    """To the same bits, whether it is paused once more or not, and by the way of a run that was never paused."""
    paused = known["paused"]
    copy_data(data, data.with_name("twice"))
    ends: dict[str, Any] = {}
    undisturbed: list[dict[str, Any]] = []
    for name in ("data", "twice"):
        server = make_server(name, REPORT_SECONDS=0.02, **SETTINGS)
        client = server.start_ready()
        before = client.job(paused)
        epochs = before["request"]["epochs"]
        assert 0 < before["progress"]["epoch"] < epochs
        for state in ("paused", "succeeded") if name == "twice" else ("succeeded",):
            assert client.post(f"/jobs/{paused}/resume").status == 202
            if state == "paused":
                client.until_epoch(paused, before["progress"]["epoch"] + 10)
                assert client.post(f"/jobs/{paused}/pause").status == 202
            client.until_state(paused, state, timeout=60.0)
        resumed = client.job(paused)
        assert resumed["progress"]["epoch"] == epochs
        if "histories" in known:
            assert_as_before(client.history(paused), nearly(timeless(known["histories"][paused])))
        ends[name] = arrays(server.data / "checkpoints" / f"{resumed['checkpoint']}.h5", "parameters", "optimizer")
        assert ends[name]
        # Epochs of the earlier release lack what this one adds.
        resumed_history = timeless(client.history(paused))
        if name == "data":
            whole = client.run({**before["request"], "data": {"dataset": "shades"}})
            assert whole["version"] > resumed["version"]
            undisturbed = client.history(whole["id"])
        assert resumed_history == nearly(as_before(undisturbed, resumed_history))
        server.terminate()
        server.wait_until_gone()
        database = Database(Settings.read(server.environment))
        assert verify(database, FileStore(server.data)).wrong == []
        database.dispose()
    assert ends["data"] == ends["twice"]


def test_jobs_are_of_the_model_that_they_trained(database: Database) -> None:
    with database.read() as connection:
        names = {row.number: row.name for row in connection.execute(sa.select(MODELS))}
        jobs = list(connection.execute(sa.select(JOBS).order_by(JOBS.c.number)))
    of_model = [(job.model, names.get(job.model_number)) for job in jobs]
    # The first job of "again" was of a model that was deleted, and its name was defined once more.
    assert [pair for pair in of_model if pair[0] == "again"] == [("again", None), ("again", "again")]
    assert [pair for pair in of_model if pair[0] == "gone"] == [("gone", None)]
    assert all(name == number for name, number in of_model if name not in ("again", "gone"))
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)
    assert [job.number for job in jobs] == list(range(1, len(jobs) + 1))
    assert {job.id: job.start_from for job in jobs} == {
        job.id: json.loads(job.request).get("start_from") for job in jobs
    }
    assert any(job.start_from for job in jobs)
    # The rows of jobs that have ended are kept if they have a name, or if no trainer has seen the end yet.
    datasets = {job.id for job in jobs if job.dataset is not None}
    assert {job.id for job in jobs if job.state in ("queued", "paused")} <= datasets
    assert {job.id for job in jobs if '"dataset": "shades"' in job.request} <= datasets
    assert len(datasets) < len(jobs)


@pytest.mark.parametrize("state", [state for state in REVISIONS if REVISIONS[state] < "0012"], indirect=True)
def test_queued_jobs_have_waited_since_they_were_submitted(database: Database) -> None:
    with database.read() as connection:
        jobs = list(connection.execute(sa.select(JOBS.c.state, JOBS.c.created_at, JOBS.c.queued_at)))
    since = {state: datetime.fromisoformat(created_at).timestamp() for state, created_at, _ in jobs}
    assert "queued" in since
    for state, created_at, queued_at in jobs:
        expected = datetime.fromisoformat(created_at).timestamp() if state == "queued" else None
        assert queued_at == expected


@pytest.mark.parametrize("state", ["release-0.1.0", "migration-0007"], indirect=True)
def test_jobs_and_versions_have_the_one_definition_of_their_model(database: Database) -> None:
    with database.read() as connection:
        definitions = {row.number: row.definition for row in connection.execute(sa.select(MODELS))}
        found = list(connection.execute(sa.select(VERSIONS)))
        jobs = list(connection.execute(sa.select(JOBS)))
    assert found
    assert all(row.definition == definitions[row.model_number] for row in found)
    assert all(job.definition == definitions.get(job.model_number) for job in jobs)
    assert {job.id for job in jobs if job.definition is None} == {job.id for job in jobs if job.model_number is None}


@ENDS
def test_the_queue_goes_on_in_order_and_another_definition_makes_the_next_version(
    data: Path, known: dict[str, Any], make_server: Callable[..., Server]
) -> None:
    """Queued jobs and the versions of the release keep their definition, also if the database is lost."""
    server = make_server("data", TRAINER="external", **SETTINGS)
    client = server.start()
    old = client.get("/models/first").json
    versions = client.pages("/models/first/versions", 100)
    of_release = [client.get(f"/models/first/versions/{row['version']}").json["definition"] for row in versions]
    if known["revision"] < "0008":
        assert of_release == [{name: old[name] for name in of_release[0]}] * len(versions)
    assert (
        client.post("/models", {"name": "first", "inputs": 2, "classes": old["classes"], "hidden": [3]}).status == 200
    )
    server.terminate()
    server.wait_until_gone()
    server = make_server("data", **SETTINGS)
    client = server.start_ready()
    assert_the_queue_went_on_in_order(client, known)
    new = client.run({"model": "first", "data": {"dataset": "shades"}, "epochs": 2})["version"]
    shown = client.pages("/models/first/versions", 100)
    definitions = {row["version"]: client.get(f"/models/first/versions/{row['version']}").json for row in shown}
    assert [definitions[row["version"]]["definition"] for row in versions] == of_release
    assert [layer.get("units") for layer in definitions[new]["definition"]["layers"]] == [3, None, 3, None]
    between = [row["version"] for row in shown if row["version"] not in (new, *(row["version"] for row in versions))]
    assert all(definitions[number]["definition"]["layers"] == old["layers"] for number in between)
    server.terminate()
    server.wait_until_gone()
    (data / "trainyard.db").unlink()
    lose_database(data)
    database = Database(Settings.read(server.environment))
    assert reindex(database, FileStore(data)).warnings == []
    database.dispose()
    again = make_server("data", TRAINER="external", **SETTINGS).start()
    assert {number: again.get(f"/models/first/versions/{number}").json for number in definitions} == definitions


def test_files_of_models_are_still_what_the_database_says(data: Path, database: Database) -> None:
    """So that none of them is written again."""
    paths = sorted((data / "models").glob("*.h5"))
    assert len(paths) >= 3
    with database.read() as connection:
        for path in paths:
            # No trainer ran when a queued job decided the features of "open", so its file was to be written.
            if path.stem != "open":
                assert load_model_file(path) == model_file(connection, path.stem)


def test_back_and_forth(state: State, database: Database) -> None:
    """The migrations can be taken back, to what the old service reads."""

    def rows() -> dict[str, list[Any]]:
        with database.read() as connection:
            names = sorted(set(sa.inspect(connection).get_table_names()) - {"alembic_version", "identity"})
            return {name: sorted(map(repr, connection.execute(sa.text(f"SELECT * FROM {name}")))) for name in names}

    now = rows()
    revision = REVISIONS[state.folder.name]
    downgrade(configuration(database.engine), revision)
    with database.read() as connection:
        columns = {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
        of_datasets = {column["name"] for column in sa.inspect(connection).get_columns("datasets")}
        of_events = {column["name"] for column in sa.inspect(connection).get_columns("events")}
    assert ("number" in columns) is (revision >= "0007")
    assert {"model", "dataset"} <= columns
    assert ("definition" in columns) is (revision >= "0008")
    assert ("details" in of_datasets) is (revision >= "0009")
    assert ("member" in of_events) is (revision >= "0010")
    assert ("owner" in columns) is ("owner" in of_datasets) is (revision >= "0013")
    database.migrate()
    assert rows() == now


@pytest.mark.parametrize("state", ["migration-0011"], indirect=True)
def test_everything_belongs_to_the_owner_of_what_is_made_without_keys(
    data: Path, database: Database, make_server: Callable[..., Server]
) -> None:
    """A key of that owner finds all of it, and another one nothing."""
    with database.write() as connection:
        secrets = {owner: create_key(connection, owner, list(Scope))[1] for owner in ("local",)}
        secrets["alice"] = create_key(connection, "alice", [Scope.PREDICT, Scope.TRAIN])[1]
    client = make_server("data", TRAINER="external", **SETTINGS).start()
    assert client.get("/models").status == 401
    for owner, secret in secrets.items():
        given = {"Authorization": f"Bearer {secret}"}
        for path in ("/models", "/datasets", "/jobs"):
            found = client.get(path, headers=given).json["data"]
            assert bool(found) is (owner == "local"), (owner, path)
            assert all("owner" not in one for one in found)


@pytest.mark.parametrize("state", ["migration-0007"], indirect=True)
def test_a_model_by_inputs_goes_on_with_the_dataset_that_it_knows(
    data: Path, known: dict[str, Any], make_server: Callable[..., Server]
) -> None:
    """A new job trains to the numbers of an old one, versions predict alike, and a new version also reads names."""
    client = make_server("data", **SETTINGS).start_ready()
    versions = client.pages("/models/leaf/versions", 100)
    jobs = {row["version"]: client.job(row["job"]) for row in versions}
    asked = [one for one in known["answers"] if one["path"] == "/predict" and one["body"]["model"] == "leaf"]
    rows = asked[-1]["body"]["inputs"]
    columns = ["Blade length", "blade-width", "hairy"]
    for version in (1, 2):
        old = jobs[version]
        request = {**old["request"], "data": {"dataset": "leaves"}, "validation": {"fraction": 0.25}}
        again = client.run(request)
        assert_as_before(client.history(again["id"]), nearly(timeless(client.history(old["id"]))))
        (before,) = (one for one in asked if one["body"].get("version") == version and len(one["body"]["inputs"]) == 8)

        def predicted(version: int = again["version"], **members: Any) -> Any:
            answer = client.post("/predict", {"model": "leaf", "version": version, **members})
            assert answer.status == 200, answer
            return answer.json["probabilities"]

        assert predicted(version, inputs=rows) == nearly(before["answer"]["probabilities"])
        new = predicted(inputs=rows)
        assert new == nearly(before["answer"]["probabilities"])
        assert predicted(columns=columns, rows=rows) == new
        assert predicted(columns=columns[::-1], rows=[row[::-1] for row in rows]) == new
        assert predicted(rows=[dict(zip(columns, row, strict=True)) for row in rows]) == new
        scores = [
            client.post("/evaluate", {"model": "leaf", "version": number, "data": {"dataset": "leaves"}}).json
            for number in (version, again["version"])
        ]
        assert scores[1]["log_loss"] == pytest.approx(scores[0]["log_loss"], rel=1e-6)


@pytest.mark.parametrize("state", ["migration-0009"], indirect=True)
def test_models_of_a_table_go_on_as_they_were(
    data: Path, known: dict[str, Any], make_server: Callable[..., Server]
) -> None:
    """Their networks are those that this state chose, also for the next jobs and for files that are imported."""
    client = make_server("data", **SETTINGS).start_ready()
    for job in known["queued"]:
        client.wait(job)
    for model in ("trips", "open"):
        shown = client.get(f"/models/{model}").json
        assert "network" not in shown
        assert [layer.get("units") for layer in shown["layers"]] == [128, None, 2, None]
        (job,) = (job for job in known["queued"] if client.job(job)["model"] == model)
        old = client.job(job)
        again = client.run({**old["request"], "model": model, "data": {"dataset": "trips"}})
        assert timeless(client.history(again["id"])) == nearly(timeless(client.history(job)))
        assert again["members"] == []
    bodies = [one["body"] for one in known["answers"] if one["path"] == "/predict"]
    rows = next(body["rows"] for body in bodies if "rows" in body)

    def predicted(version: int) -> Any:
        answer = client.post("/predict", {"model": "tuned", "version": version, "rows": rows})
        assert answer.status == 200, answer
        return answer.json["probabilities"]

    image = client.get(f"/checkpoints/{client.get('/models/tuned/versions/3').json['checkpoint']}/file").body
    answer = client.post("/models/tuned/checkpoints", image, headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer
    assert predicted(answer.json["version"]) == predicted(3)
    # A model that is new under the same table gets this release's default.
    new = client.run({"data": "trips", "model": {"name": "new"}, "effort": "quick"})
    assert new["members"]

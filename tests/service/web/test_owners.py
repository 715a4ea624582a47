"""Owners: a caller cannot find out that another owner's things exist, in any route, by any identifier.

The requests are generated from the OpenAPI document. Each one is sent twice: once with identifiers of what another
owner has, and once with such as nobody has. Both answers must be the same.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from service.access.keys import Scope, create_key, revoke_key
from service.settings import Settings
from service.store.database import Database
from service.web.live_events import LiveEvents, LiveEventsOfAll
from testing.harness import Answer, Client, Server, serving
from testing.protocols import is_foreign

pytestmark = pytest.mark.processes

MODEL = {"name": "secret-model", "inputs": 2, "classes": ["hush", "quiet"], "hidden": [3]}
ROWS = {"inputs": [[0.0, 1.0], [1.0, 0.0]] * 4, "labels": ["hush", "quiet"] * 4}
#: Words that only the owner's answers have.
SECRETS = ("secret", "hush")


class Things(NamedTuple):
    """Identifiers of each kind."""

    model: str
    dataset: str
    dataset_id: str
    job: str
    checkpoint: str
    alias: str


NOTHING = Things("absent-model", "absent-data", "ds_" + "0" * 21, "job_" + "0" * 21, "ckpt_" + "0" * 21, "absent")


class Asker(NamedTuple):
    """A caller with a key, or without one."""

    client: Client
    secret: str | None

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = {} if self.secret is None else {"Authorization": f"Bearer {self.secret}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, body, {**given, **named})


class Place(NamedTuple):
    """A service with keys, what alice has, and the requests of its document."""

    server: Server
    keys: dict[str, str]
    things: Things
    document: dict[str, Any]

    def caller(self, name: str | None) -> Asker:
        return Asker(self.server.client, None if name is None else self.keys[name])


#: Each key, with its owner, scopes and models.
KEYS: dict[str, tuple[str, tuple[Scope, ...], list[str] | None]] = {
    "alice": ("alice", (Scope.PREDICT, Scope.TRAIN), None),
    "alice again": ("alice", (Scope.PREDICT, Scope.TRAIN), None),
    "alice predicts": ("alice", (Scope.PREDICT,), None),
    "alice trains": ("alice", (Scope.TRAIN,), None),
    "alice's other model": ("alice", (Scope.PREDICT, Scope.TRAIN), ["other"]),
    "bob": ("bob", (Scope.PREDICT, Scope.TRAIN), None),
    "carol": ("carol", (Scope.PREDICT, Scope.TRAIN), None),
    "admin": ("root", (Scope.ADMIN,), None),
    "revoked": ("alice", (Scope.ADMIN,), None),
    "expired": ("alice", (Scope.ADMIN,), None),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with serving(tmp_path_factory.mktemp("owners") / "data") as server:
        document = server.client.get("/openapi.json").json
        database, keys = Database(Settings.read({"TRAINYARD_DATA": str(server.data)})), {}
        with database.write() as connection:
            for name, (owner, scopes, models) in KEYS.items():
                expires = "2020-01-01T00:00:00.000Z" if name == "expired" else None
                key, keys[name] = create_key(connection, owner, scopes, models=models, expires_at=expires)
                if name == "revoked":
                    revoke_key(connection, key.id)
        database.dispose()
        yield Place(server, keys, _made(Asker(server.client, keys["alice"])), document)


def _made(alice: Asker) -> Things:
    """What alice makes: at least one of everything."""
    assert alice.ask("POST", "/models", MODEL).status == 201
    dataset = alice.ask("POST", "/datasets", {"name": "secret-data", **ROWS})
    assert dataset.status == 201, dataset
    request = {"model": "secret-model", "data": "secret-data", "epochs": 2, "validation": {"fraction": 0.25}}
    job = alice.ask("POST", "/train", request, Idempotency_Key="secret-key").json
    job = alice.ask("GET", f"/jobs/{job['id']}?wait=60").json
    assert job["state"] == "succeeded", job
    assert alice.ask("PUT", "/models/secret-model/aliases/secret-alias", {"version": 1}).status == 200
    return Things("secret-model", "secret-data", dataset.json["id"], job["id"], job["checkpoint"], "secret-alias")


#: How a parameter of a path is filled in.
PARAMETERS = {
    "name": lambda things: [things.model],
    "key": lambda things: [things.dataset, things.dataset_id],
    "job_id": lambda things: [things.job],
    "checkpoint_id": lambda things: [things.checkpoint],
    "version": lambda things: ["1", "default", things.alias],
    "alias": lambda things: [things.alias, "default", "latest"],
}


def bodies(things: Things) -> dict[str, list[Any]]:
    """Bodies that name things, by path."""
    model = things.model
    inline = {"inputs": [[0, 1], [1, 0]], "labels": ["hush", "quiet"]}
    wanted = (None, 1, things.alias, things.checkpoint, {"job": things.job, "checkpoint": "last"})
    data = ({"dataset": things.dataset}, {"dataset": things.dataset_id})
    jobs = ({"job": things.job, "part": part} for part in ("training", "validation"))
    mine = {"name": "mine", "inputs": 2, "classes": MODEL["classes"], "hidden": [2]}
    tensor = {"inputs": [{"name": "inputs", "shape": [1, 2], "datatype": "FP32", "data": [0, 1]}]}
    return {
        "/predict": [{"model": model, "version": each, "inputs": [[0, 1]]} for each in wanted],
        "/evaluate": [
            *({"model": model, "version": each, "data": inline} for each in wanted),
            *({"model": model, "data": each} for each in (*data, *jobs)),
        ],
        "/train": [
            {"model": model, "data": inline, "epochs": 1, "dry_run": True},
            *({"model": mine, "data": each, "epochs": 1, "dry_run": True} for each in data),
            {"model": mine, "data": inline, "validation": data[0], "epochs": 1, "dry_run": True},
            {"model": mine, "data": inline, "start_from": things.checkpoint, "epochs": 1, "dry_run": True},
        ],
        "/sweeps": [
            {
                "train": {"model": mine, "data": each, "epochs": 1},
                "search": {"type": "grid"},
                "over": {"/epochs": [1, 2]},
                "dry_run": True,
            }
            for each in data
        ],
        "/v1/models/{name}:predict": [{"instances": [[0, 1]]}, {"inputs": [[0, 1]]}],
        "/v1/models/{name}/versions/{version}:predict": [{"instances": [[0, 1]]}],
        "/v1/models/{name}/labels/{alias}:predict": [{"instances": [[0, 1]]}],
        "/v1/models/{name}:classify": [{"examples": [{"inputs": [0, 1]}]}],
        "/v1/models/{name}/versions/{version}:classify": [{"examples": [{"inputs": [0, 1]}]}],
        "/v1/models/{name}/labels/{alias}:classify": [{"examples": [{"inputs": [0, 1]}]}],
        "/invocations": [{"inputs": [[0, 1]]}],
        "/endpoints/{name}/invocations": [{"inputs": [[0, 1]]}],
        "/v2/models/{name}/infer": [tensor],
        "/v2/models/{name}/versions/{version}/infer": [tensor],
        "/models/{name}/checkpoints": [b"no HDF5"],
        "/models/{name}/versions": [{"checkpoint": things.checkpoint}],
        "/models/{name}/aliases/{alias}": [{"version": 1}],
    }


def requests(document: dict[str, Any], things: Things) -> Iterator[tuple[str, str, Any]]:
    """Every method and path of the document, with these things filled in, and a body if it takes one."""
    known = bodies(things)
    for path, operations in document["paths"].items():
        for method in operations.keys() & {"get", "post", "put", "delete"}:
            given = known.get(path, [b""]) if method in ("post", "put") else [None]
            for filled in _filled(path, things):
                for body in given:
                    yield method.upper(), filled, body
                if method == "get":
                    yield "GET", f"{filled}?after={things.job}", None
                    yield "GET", f"{filled}?after={things.model}", None


def _filled(path: str, things: Things) -> list[str]:
    paths = [path]
    for name in re.findall(r"{(\w+)}", path):
        paths = [each.replace(f"{{{name}}}", value) for each in paths for value in PARAMETERS[name](things)]
    return paths


def _neutral(answer: Answer, things: Things) -> tuple[int, str]:
    """An answer without the identifiers that were asked for, and without what differs from one request to the next."""
    text = answer.body.decode(errors="replace")
    for name, value in things._asdict().items():
        text = text.replace(value, f"<{name}>")
    text = re.sub(r'"request_id":"[^"]*"|"(seconds[a-z_]*|epoch_seconds)":[0-9.e-]+', "", text)
    return answer.status, text


#: Routes whose answers are about the service and not about anybody's things.
ABOUT_THE_SERVICE = (
    "/health",
    "/ping",
    "/v2/health",
    "/version",
    "/docs",
    "/openapi.json",
    "/key",
    "/metrics",
    "/audit",
)
#: Those that need no key.
OPEN = ("/health", "/ping", "/v2/health", "/docs", "/openapi.json")


@pytest.mark.parametrize("name", ["bob", "alice's other model"])
def test_what_another_owner_has_is_as_if_it_did_not_exist(place: Place, name: str) -> None:
    """So for a key of the owner that may use other models only; its datasets and their rows it may use."""
    other, count = place.caller(name), 0
    theirs, nothing = (list(requests(place.document, things)) for things in (place.things, NOTHING))
    assert len(theirs) == len(nothing) > 80
    for (method, path, body), (_, absent, without) in zip(theirs, nothing, strict=True):
        if path.startswith(ABOUT_THE_SERVICE):
            continue
        if name != "bob" and (
            "/datasets" in path or "secret-data" in str(body) or place.things.dataset_id in str(body)
        ):
            continue
        found, empty = other.ask(method, path, body), other.ask(method, absent, without)
        assert _neutral(found, place.things) == _neutral(empty, NOTHING), (method, path, body)
        assert found.status >= 400 or all(word not in found.body.decode() for word in SECRETS), (method, path, found)
        count += 1
    assert count > 50
    assert place.caller("alice").ask("GET", "/models/secret-model").status == 200, "nothing was changed by it"
    assert place.caller("alice").ask("GET", f"/jobs/{place.things.job}").json["state"] == "succeeded"


@pytest.mark.parametrize("name", ["alice", "alice again"])
def test_the_owner_sees_all_of_it_with_any_key(place: Place, name: str) -> None:
    """The same requests find it, so that the test above would notice a leak."""
    alice = place.caller(name)
    for method, path, body in requests(place.document, place.things):
        if re.match("/v1/.*/versions/[^0-9]", path):
            continue  # A version is a number there.
        if method == "GET" and "{" not in path and "?after" not in path and not path.startswith(ABOUT_THE_SERVICE):
            answer = alice.ask(method, path)
            assert answer.status == 200 or answer.json["code"] == "no_held_out_rows", (path, answer)
        if path in ("/predict", "/evaluate", "/train", "/sweeps") or path.endswith((":predict", ":classify", "/infer")):
            answer = alice.ask(method, path, body)
            assert answer.status == 200 or "start_from" in body, (path, body, answer)


def test_lists_hold_the_callers_own(place: Place) -> None:
    for path in ("/models", "/datasets", "/jobs"):
        assert place.caller("bob").ask("GET", path).json == {"data": [], "has_more": False}
        (mine,) = place.caller("alice").ask("GET", path).json["data"]
        assert "owner" not in mine
        (seen,) = place.caller("admin").ask("GET", path).json["data"]
        assert seen == {**mine, "owner": "alice"}
    assert place.caller("alice's other model").ask("GET", "/models").json["data"] == []
    assert place.caller("alice's other model").ask("GET", "/jobs").json["data"] == []
    mine = place.caller("alice").ask("GET", "/events").json["data"]
    assert {event["data"]["job"] for event in mine} == {place.things.job}
    assert place.caller("admin").ask("GET", "/events").json["data"] == mine
    for other in ("bob", "alice's other model"):
        assert place.caller(other).ask("GET", "/events").json == {"data": [], "has_more": False}


def test_owners_use_the_same_names(place: Place) -> None:
    """And each predicts with its own."""
    carol = place.caller("carol")
    assert carol.ask("POST", "/models", {**MODEL, "classes": ["loud", "shrill"], "exact": True}).status == 201
    rows = {**ROWS, "labels": ["loud", "shrill"] * 4}
    assert carol.ask("POST", "/datasets", {"name": "secret-data", **rows}).status == 201
    request = {"model": "secret-model", "data": "secret-data", "epochs": 1}
    job = carol.ask("POST", "/train", request, Idempotency_Key="secret-key")
    assert job.status == 202, "it is another owner's Idempotency-Key"
    job = carol.ask("GET", f"/jobs/{job.json['id']}?wait=60").json
    assert (job["state"], job["version"]) == ("succeeded", 1)
    asked = {"model": "secret-model", "inputs": [[0, 1]]}
    for name, classes in (("carol", {"loud", "shrill"}), ("alice", {"hush", "quiet"}), ("carol", {"loud", "shrill"})):
        (prediction,) = place.caller(name).ask("POST", "/predict", asked).json["predictions"]
        assert prediction["class"] in classes if isinstance(prediction, dict) else prediction in classes
    assert place.caller("admin").ask("GET", "/models/secret-model").status == 404, "names are the caller's own"
    shown = place.caller("admin").ask("GET", "/models/secret-model", Trainyard_Owner="carol").json
    assert shown["classes"] == ["loud", "shrill"]
    newest, older = place.caller("admin").ask("GET", "/models").json["data"]
    assert (newest["owner"], older["owner"]) == ("carol", "alice")
    below = place.caller("admin").ask("GET", "/models?after=carol~secret-model").json["data"]
    assert below == [older]
    assert carol.ask("DELETE", "/models/secret-model").status == 204
    assert carol.ask("DELETE", "/datasets/secret-data").status == 204


def test_an_admin_finds_everything_by_its_id_and_acts_for_an_owner(place: Place) -> None:
    admin = place.caller("admin")
    for path in (f"/jobs/{place.things.job}", f"/checkpoints/{place.things.checkpoint}/file"):
        assert admin.ask("GET", path).status == 200
    assert admin.ask("GET", f"/datasets/{place.things.dataset_id}").json["owner"] == "alice"
    assert admin.ask("GET", "/models/secret-model", Trainyard_Owner="alice").status == 200
    assert admin.ask("GET", "/models/secret-model", Trainyard_Owner="bob").status == 404
    refused = place.caller("bob").ask("GET", "/models/secret-model", Trainyard_Owner="alice")
    assert (refused.status, refused.json["code"]) == (403, "scope_missing")


def test_each_scope_reaches_its_routes_alone(place: Place) -> None:
    """A key that only predicts trains nothing, and the other way round; what needs no key is open to everybody."""
    reached: dict[str | None, set[int]] = {}
    for name in ("alice predicts", "alice trains", None, "revoked", "expired"):
        caller = place.caller(name)
        for method, path, _ in requests(place.document, NOTHING):
            answer = caller.ask(method, path, b"" if method in ("POST", "PUT") else None)
            if path.startswith(OPEN) or path.partition("?")[0] == "/":
                assert answer.status in (200, 422, 404), (path, answer)
                continue
            if name in (None, "revoked", "expired"):
                assert answer.status == 401, (name, method, path, answer)
                assert is_foreign(path) or answer.json["code"] == ("key_required" if name is None else "invalid_key")
                assert answer.headers["www-authenticate"].startswith("Bearer ")
            elif answer.status == 403:
                assert is_foreign(path) or answer.json["code"] == "scope_missing"
                assert name in ("alice predicts", "alice trains")
            reached.setdefault(name, set()).add(answer.status)
            if path == "/predict":
                assert (answer.status == 403) is (name == "alice trains") or name in (None, "revoked", "expired")
            if path in ("/train", "/datasets", "/jobs", "/sweeps", "/evaluate"):
                assert (answer.status == 403) is (name == "alice predicts") or name in (None, "revoked", "expired")
            if path in ("/metrics", "/audit"):
                assert answer.status in (401, 403)


def test_an_event_stream_ends_with_its_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next look, which comes with an event, or with the comment that keeps the connection."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(place.server.data)}))
    with database.write() as connection:
        key, _ = create_key(connection, "alice", [Scope.TRAIN])
    stream = LiveEvents(database.of(key.caller), place.things.job, 0, checks_key=True)
    stream.ended = False
    assert b"event: epoch" in stream.look()
    again = LiveEvents(database.of(key.caller), place.things.job, 0, checks_key=True)
    with database.write() as connection:
        revoke_key(connection, key.id)
    assert b"event" not in again.look()
    assert again.ended
    database.dispose()


def test_streams_of_all_events_have_the_callers_own_and_end_with_its_key(place: Place) -> None:
    database = Database(Settings.read({"TRAINYARD_DATA": str(place.server.data)}))
    with database.write() as connection:
        keys = {owner: create_key(connection, owner, [Scope.TRAIN])[0] for owner in ("alice", "bob")}
    streams = {owner: LiveEventsOfAll(database.of(key.caller), 0, checks_key=True) for owner, key in keys.items()}
    assert place.things.job.encode() in streams["alice"].look()
    assert b"event:" not in streams["bob"].look()
    with database.write() as connection:
        revoke_key(connection, keys["alice"].id)
    streams["alice"].look(), streams["bob"].look()
    assert (streams["alice"].ended, streams["bob"].ended) == (True, False)
    database.dispose()


def test_a_key_of_some_models_makes_no_others(place: Place) -> None:
    limited = place.caller("alice's other model")
    for path, body in (("/models", MODEL), ("/train", {"model": MODEL, "data": ROWS, "epochs": 1})):
        refused = limited.ask("POST", path, body)
        assert (refused.status, refused.json["code"]) == (403, "scope_missing"), (path, refused)
    assert limited.ask("POST", "/models", {**MODEL, "name": "other"}).status == 201
    assert limited.ask("DELETE", "/models/other").status == 204


def test_a_revoked_key_is_refused_at_once(place: Place) -> None:
    """By every worker, on connections that it has used before."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(place.server.data)}))
    with database.write() as connection:
        key, secret = create_key(connection, "dave", [Scope.TRAIN])
    dave = Asker(place.server.client, secret)
    assert all(dave.ask("GET", "/models").status == 200 for _ in range(8))
    with database.write() as connection:
        revoke_key(connection, key.id)
    assert all(dave.ask("GET", "/models").status == 401 for _ in range(8))
    database.dispose()


def test_a_revoked_key_is_refused_on_a_connection_that_repeats_its_head(place: Place) -> None:
    """What was found out about a head holds no longer than the key."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(place.server.data)}))
    with database.write() as connection:
        key, secret = create_key(connection, "alice", [Scope.PREDICT])
    body = json.dumps({"model": "secret-model", "inputs": [[0, 1]]})
    wire = http.client.HTTPConnection(place.server.client.base.removeprefix("http://"), timeout=30)

    def status() -> int:
        wire.request("POST", "/predict", body, {"Authorization": f"Bearer {secret}"})
        answer = wire.getresponse()
        answer.read()
        return answer.status

    assert [status() for _ in range(5)] == [200] * 5
    with database.write() as connection:
        revoke_key(connection, key.id)
    assert [status() for _ in range(3)] == [401] * 3
    wire.close()
    database.dispose()


def test_a_key_may_be_a_password(place: Place) -> None:
    for pair in (f"anybody:{place.keys['alice']}", f"{place.keys['alice']}:"):
        given = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        assert place.server.client.get("/models/secret-model", headers=given).status == 200
    for wrong in ("Basic", "Basic !", "Bearer", "Bearer  ", "Negotiate x", "ty_x", f"Basic {place.keys['alice']}"):
        assert place.server.client.get("/models", headers={"Authorization": wrong}).status == 401, wrong


def test_the_caller_sees_its_own_key(place: Place) -> None:
    shown = place.caller("alice's other model").ask("GET", "/key").json
    assert (shown["owner"], shown["scopes"], shown["models"]) == ("alice", ["predict", "train"], ["other"])
    assert shown["hint"].endswith(place.keys["alice's other model"][-4:])
    assert place.keys["alice's other model"] not in json.dumps(shown)


def test_the_audit_trail_says_who_did_what(place: Place) -> None:
    admin, mine = place.caller("admin"), f"/audit?owner=alice&subject={place.things.job}"
    (made,) = admin.ask("GET", mine).json["data"]
    assert (made["action"], made["kind"], made["owner"]) == ("made", "job", "alice")
    assert made["key"] == place.caller("alice").ask("GET", "/key").json["id"]
    assert made["request"]
    published = admin.ask("GET", "/audit?owner=alice&kind=version").json["data"]
    # Versions are also downloaded, as exports, by the tests of all routes.
    made_versions = [one for one in published if one["action"] != "downloaded"]
    assert [(one["action"], one["subject"], one["key"]) for one in made_versions] == [
        ("published", "secret-model/1", made["key"])
    ]
    taken = place.caller("alice").ask("GET", f"/checkpoints/{place.things.checkpoint}/file", X_Request_Id="the-one")
    assert taken.status == 200
    newest = admin.ask("GET", "/audit?owner=alice&limit=1").json["data"][0]
    assert admin.ask("POST", "/datasets", {"name": "gone", **ROWS}, Trainyard_Owner="alice").status == 201
    (made,) = (one for one in admin.ask("GET", "/datasets").json["data"] if one["name"] == "gone")
    assert admin.ask("DELETE", f"/datasets/{made['id']}").status == 204
    deleted = admin.ask("GET", "/audit?owner=alice&action=deleted&limit=1").json["data"][0]
    assert deleted["subject"] == "gone", "it was alice's"
    assert deleted["key"] == admin.ask("GET", "/key").json["id"]
    assert (newest["action"], newest["subject"], newest["request"]) == (
        "downloaded",
        place.things.checkpoint,
        "the-one",
    )

"""Sets, uncertainty, distances, reasons and importance over HTTP, recomputed from the checkpoint's file by NumPy."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import h5py
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.inspection import permutation_importance

from testing.harness import Answer, Client, Server
from testing.samples import fresh

pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.processes

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
#: Short members: 2 kinds × 3 folds, of which one kind reads no bins of numbers.
KIND = {"optimizer": {"type": "adamw", "learning_rate": 0.02, "average": 0.9}, "batch_size": 32, "epochs": 12}
NETWORK = {
    "folds": 3,
    "kinds": [
        {"name": "binned", "layers": [{"type": "dense", "units": 8}, "relu", {"type": "dense"}, "softmax"], **KIND},
        {
            "name": "plain",
            "bins": False,
            "layers": [{"type": "dense", "units": 6}, "tanh", {"type": "dense"}, "softmax"],
            **KIND,
        },
    ],
}
CLASSES = ["high", "low", "mid"]


def a_network() -> dict[str, Any]:
    network: dict[str, Any] = json.loads(json.dumps(NETWORK))
    for kind in network["kinds"]:
        kind["layers"][2]["units"] = len(CLASSES)
    return network


def some_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of numbers and words, whose label depends on all but one column."""
    random = np.random.default_rng(seed)
    rows = []
    for x, y, z, word in zip(*random.normal(size=(3, count)).round(4), random.choice([*"abc"], count), strict=True):
        score = 2 * x + (word == "a") * 1.5 - y + random.normal(scale=0.7)
        label = "low" if score < -0.7 else "high" if score > 1.3 else "mid"
        rows.append({"x": float(x), "y": float(y), "noise": float(z), "word": str(word), "label": label})
    return rows


class Version(NamedTuple):
    """A trained model, its job and its checkpoint's file."""

    model: str
    job: dict[str, Any]
    path: Path


def trained(server: Server, data: Any, **definition: Any) -> Version:
    name = fresh("trust")
    model = {"name": name, "network": a_network(), **definition}
    job = server.client.run({"model": model, "data": data, "seed": 3})
    return Version(name, job, server.data / "checkpoints" / f"{job['checkpoint']}.h5")


def matrix_of(rows: list[dict[str, Any]]) -> list[list[float]]:
    return [[row["x"], row["y"], row["noise"], float(row["word"] == "a")] for row in rows]


@pytest.fixture(scope="module")
def matrix(server: Server) -> Version:
    """A version that reads numbers as they are."""
    rows = some_rows(300, 1)
    data = {"inputs": matrix_of(rows), "labels": [row["label"] for row in rows]}
    return trained(server, data, inputs=4, classes=CLASSES)


@pytest.fixture(scope="module")
def table(server: Server) -> Version:
    """A version that reads the columns of a table."""
    return trained(server, {"rows": some_rows(400, 2), "label": "label"})


@pytest.fixture(scope="module")
def single(server: Server) -> str:
    """A single network with features."""
    name = fresh("single")
    rows = {"rows": some_rows(100, 3), "label": "label"}
    server.client.run({"model": {"name": name, "hidden": [6]}, "data": rows, "epochs": 20})
    return name


def predict(client: Client, model: str, **members: Any) -> dict[str, Any]:
    answer = client.post("/predict", {"model": model, **members})
    assert answer.status == 200, answer
    return dict(answer.json)


def trust_of(version: Version) -> dict[str, Any]:
    """The arrays below /trust and the held-out rows."""
    found: dict[str, Any] = {}
    with h5py.File(version.path) as file:
        for group in ("trust", "held_out"):
            file[group].visititems(
                lambda name, item, group=group: (
                    found.update({f"{group}/{name}": item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
    return found


def scores_by_hand(probabilities: Any, inputs: Any) -> Any:
    """Each class's score: the probabilities of the classes before it and its own, less its own times the draw."""
    scores = np.zeros(probabilities.shape)
    for row, (values, numbers) in enumerate(zip(np.asarray(probabilities, float), inputs, strict=True)):
        draw, total = crc32(np.asarray(numbers, "<f4") + np.float32(0)) / 2**32, 0.0
        for place in sorted(range(len(values)), key=lambda place: -values[place]):
            total += values[place]
            scores[row, place] = total - draw * values[place]
    return scores


def threshold(scores: Any, coverage: float) -> float:
    """The score that so many of n + 1 are at most."""
    number = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return float(np.sort(scores)[number - 1]) if number <= len(scores) else np.inf


class TestSets:
    @pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
    def test_held_out_rows_are_covered_as_asked_for(self, matrix: Version, coverage: float) -> None:
        found, inputs = trust_of(matrix), np.array(matrix_of(some_rows(300, 1)))
        codes, rows = found["held_out/codes"], found["held_out/rows"]
        scores = scores_by_hand(found["held_out/probabilities"], inputs[rows])
        true = scores[np.arange(len(codes)), codes]
        for code in range(3):
            start, stop = found["trust/sets/starts"][code : code + 2]
            np.testing.assert_allclose(found["trust/sets/scores"][start:stop], np.sort(true[codes == code]), atol=2e-6)
        covered = (true <= threshold(true, coverage)).mean()
        assert coverage <= covered <= coverage + 2 / len(codes) + 0.01

    @pytest.mark.parametrize("by_class", [False, True])
    @pytest.mark.parametrize("count", [1, 90])
    def test_the_sets_of_new_rows(self, client: Client, matrix: Version, by_class: bool, count: int) -> None:
        found, inputs = trust_of(matrix), matrix_of(some_rows(count, 7))
        answer = predict(client, matrix.model, inputs=inputs, coverage=0.8, by_class=by_class)
        probabilities = np.array(answer["probabilities"], np.float32)
        known, starts = found["trust/sets/scores"], found["trust/sets/starts"]
        pieces = [known[start:stop] for start, stop in pairwise(starts)]
        limits = [threshold(piece if by_class else known, 0.8) for piece in pieces]
        scores = scores_by_hand(probabilities, inputs)
        close = np.abs(scores - limits).min(axis=1) < 1e-6
        for row, labels in enumerate(answer["sets"]):
            if not close[row]:
                assert set(labels) == {CLASSES[place] for place in np.flatnonzero(scores[row] <= limits)}
                order = [probabilities[row][CLASSES.index(label)] for label in labels]
                assert order == sorted(order, reverse=True)

    def test_new_rows_are_covered(self, client: Client, table: Version) -> None:
        rows = some_rows(1500, 8)
        answer = predict(client, table.model, rows=rows, coverage=0.9)
        covered = np.mean([row["label"] in labels for row, labels in zip(rows, answer["sets"], strict=True)])
        assert 0.87 <= covered <= 0.95
        everything = predict(client, table.model, rows=rows[:5], coverage=0.9999)
        assert all(len(labels) == 3 for labels in everything["sets"])

    def test_one_row_alone_has_the_same_set(self, client: Client, table: Version) -> None:
        rows = some_rows(30, 9)
        together = predict(client, table.model, rows=rows, coverage=0.7, uncertainty=True)
        for place, row in enumerate(rows):
            alone = predict(client, table.model, rows=[row], coverage=0.7, uncertainty=True)
            assert alone["sets"] == [together["sets"][place]]
            assert alone["uncertainty"][0] == pytest.approx(together["uncertainty"][place], abs=1e-5)


def test_the_rest_of_the_answer_is_the_plain_one(client: Client, table: Version) -> None:
    rows = some_rows(40, 10)
    plain = predict(client, table.model, rows=rows)
    more = predict(client, table.model, rows=rows, coverage=0.9, uncertainty=True, report=True, explain=False)
    assert more.keys() - plain.keys() == {"sets", "uncertainty", "report"}
    assert {name: more[name] for name in plain} == plain


def test_uncertainty_is_the_mutual_information_of_class_and_member(client: Client, matrix: Version) -> None:
    inputs = matrix_of(some_rows(50, 11))
    x = np.array(inputs)
    members = []
    with h5py.File(matrix.path) as file:
        by_kind = json.loads(file["mixture"].attrs["weights"])
        weights = np.array([by_kind[file[f"members/{number}"].attrs["kind"]] for number in (1, 4)])
        for number in range(1, 7):
            average = file[f"members/{number}/optimizer/average"]
            hidden = x @ average["0_dense/weights"][()] + average["0_dense/bias"][()]
            hidden = np.maximum(hidden, 0) if number <= 3 else np.tanh(hidden)
            logits = hidden @ average["2_dense/weights"][()] + average["2_dense/bias"][()]
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            members.append(powers / powers.sum(axis=1, keepdims=True))
    shares = np.repeat(weights / 3, 3)
    probabilities = np.stack(members)

    def entropy(p: Any) -> Any:
        return -(p * np.log(p)).sum(axis=-1)

    mixture = np.tensordot(shares, probabilities, 1)
    expected = (entropy(mixture) - shares @ entropy(probabilities)) / np.log(3)
    found = predict(client, matrix.model, inputs=inputs, uncertainty=True)["uncertainty"]
    np.testing.assert_allclose(found, expected, atol=2e-5)


class TestReport:
    def test_the_distance(self, client: Client, matrix: Version) -> None:
        found, inputs = trust_of(matrix), [*matrix_of(some_rows(60, 12)), [9.0, -9.0, 9.0, 1.0]]
        z = (np.array(inputs) - found["trust/distance/mean"]) * found["trust/distance/scale"]
        squares = (z @ found["trust/distance/directions"]) ** 2 @ found["trust/distance/weights"]
        squares += found["trust/distance/rest"] * (z**2).sum(axis=1)
        report = predict(client, matrix.model, inputs=inputs, report=True)["report"]
        np.testing.assert_allclose([row["distance"] for row in report], np.sqrt(squares), rtol=1e-4)
        assert [row["unusual"] for row in report] == (np.sqrt(squares) > 1).tolist()
        assert report[-1]["unusual"]
        assert report[0].keys() == {"unseen", "missing", "out_of_range", "distance", "unusual"}

    def test_beside_the_columns(self, client: Client, table: Version, single: str) -> None:
        row = {"x": 50.0, "y": 0.1, "noise": 0.2, "word": "new"}
        (report,) = predict(client, table.model, rows=[row], report=True)["report"]
        assert (report["out_of_range"], report["unseen"], report["unusual"]) == (["x"], ["word"], True)
        (report,) = predict(client, single, rows=[row], report=True)["report"]
        assert report.keys() == {"unseen", "missing", "out_of_range"}

    def test_the_short_way_says_what_the_long_one_says(self, client: Client, table: Version) -> None:
        rows = some_rows(50, 14)
        rows[3]["x"], rows[9]["noise"] = -80.0, 1e9
        one = predict(client, table.model, rows=rows, report=True)["report"]
        plain = [{**row, "word": None} for row in rows]
        other = predict(client, table.model, rows=plain, report=True)["report"]
        assert [row["out_of_range"] for row in one] == [row["out_of_range"] for row in other]
        assert (one[3]["out_of_range"], one[9]["out_of_range"]) == (["x"], ["noise"])


class TestExplanations:
    @pytest.mark.parametrize("label", [None, "low"])
    def test_contributions_are_the_difference(
        self, client: Client, table: Version, matrix: Version, single: str, label: str | None
    ) -> None:
        asked = True if label is None else {"class": label}
        rows = some_rows(12, 15)
        for model, given in (
            (table.model, {"rows": rows}),
            (matrix.model, {"inputs": matrix_of(rows)}),
            (single, {"rows": rows}),
        ):
            answer = predict(client, model, **given, explain=asked)
            assert len(answer["explanations"]) == 12
            for place, found in enumerate(answer["explanations"]):
                assert found["class"] == (label or answer["predictions"][place])
                probability = answer["probabilities"][place][CLASSES.index(found["class"])]
                assert np.exp(found["log_probability"]) == pytest.approx(probability, rel=1e-3, abs=1e-6)
                contributions = found["contributions"]
                values = list(contributions.values()) if isinstance(contributions, dict) else contributions
                difference = found["log_probability"] - found["at_baseline"]
                assert sum(values) == pytest.approx(difference, abs=1e-6)
                assert 0 <= found["corrected"] <= 0.05 * np.abs(values).sum() + 1e-6

    def test_the_baseline_is_a_row(self, client: Client, table: Version, matrix: Version) -> None:
        rows = some_rows(400, 2)
        answer = predict(client, table.model, rows=rows[:1], explain={"class": "mid"})
        baseline = answer["baseline"]
        assert baseline["kind"] == "typical"
        assert baseline["values"]["x"] == pytest.approx(np.median([row["x"] for row in rows]))
        words = [row["word"] for row in rows]
        assert baseline["values"]["word"] == max(sorted(set(words)), key=words.count)
        again = predict(client, table.model, rows=[baseline["values"]])
        (found,) = answer["explanations"]
        assert np.exp(found["at_baseline"]) == pytest.approx(again["probabilities"][0][2], rel=1e-3)
        numbers = predict(client, matrix.model, inputs=matrix_of(rows[:1]), explain=True)["baseline"]
        assert numbers["kind"] == "mean"
        expected = np.mean(matrix_of(some_rows(300, 1)), axis=0)
        np.testing.assert_allclose(numbers["values"], expected, atol=1e-5)

    def test_what_matters_contributes(self, client: Client, table: Version) -> None:
        found = predict(client, table.model, rows=some_rows(60, 16), explain=True)["explanations"]
        names = found[0]["contributions"]
        sizes = {name: np.mean([abs(row["contributions"][name]) for row in found]) for name in names}
        assert sizes.keys() == {"x", "y", "noise", "word"}
        assert sizes["x"] == max(sizes.values())
        assert sizes["noise"] == min(sizes.values())

    def test_a_network_without_names_and_without_members_begins_at_zeros(self, client: Client) -> None:
        name = fresh("zeros")
        rows = some_rows(60, 17)
        client.run(
            {
                "model": {"name": name, "hidden": [4], "inputs": 4, "classes": CLASSES},
                "data": {"inputs": matrix_of(rows), "labels": [row["label"] for row in rows]},
                "epochs": 3,
            }
        )
        answer = predict(client, name, inputs=[1.0, 2.0, 3.0, 4.0], explain=True)
        assert answer["baseline"] == {"kind": "zeros", "values": [0.0] * 4}
        (found,) = answer["explanations"]
        expected = np.log(max(predict(client, name, inputs=[1.0, 2.0, 3.0, 4.0])["probabilities"][0]))
        assert found["log_probability"] == pytest.approx(expected, abs=1e-4)


def read(answer: Answer) -> Any:
    """A file of predictions, as pandas reads it."""
    assert answer.status == 200, answer
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == NDJSON:
        return pandas.DataFrame([json.loads(line) for line in answer.body.splitlines()])
    if kind == PARQUET:
        duckdb = pytest.importorskip("duckdb")
        path = Path(f"/tmp/{fresh('answer')}.parquet")
        path.write_bytes(answer.body)
        try:
            return duckdb.sql(f"select * from read_parquet('{path}')").df()
        finally:
            path.unlink()
    return pandas.read_csv(io.BytesIO(answer.body), keep_default_na=False)


class TestFiles:
    @pytest.mark.parametrize("kind", [CSV, NDJSON, PARQUET])
    def test_the_columns_are_what_rows_are_answered(self, client: Client, table: Version, kind: str) -> None:
        rows = [{name: value for name, value in row.items() if name != "label"} for row in some_rows(200, 18)]
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
        query = f"/predict?model={table.model}&coverage=0.8&uncertainty=true"
        frame = read(client.post(query, text.getvalue().encode(), headers={"Content-Type": CSV, "Accept": kind}))
        assert list(frame.columns) == [*rows[0], "prediction", "probability", "set", "uncertainty"]
        answer = predict(client, table.model, rows=rows, coverage=0.8, uncertainty=True)
        found = [set((text or "").split("|")) - {""} for text in frame["set"].where(frame["set"].notna(), "")]
        assert found == [set(labels) for labels in answer["sets"]]
        np.testing.assert_allclose(frame["uncertainty"].astype(float), answer["uncertainty"], atol=1e-6)

    @pytest.mark.parametrize(
        ("query", "pointers"),
        [
            ("coverage=1", ["/coverage"]),
            ("coverage=high", ["/coverage"]),
            ("uncertainty=1", ["/uncertainty"]),
            ("by_class=true", ["/by_class"]),
        ],
    )
    def test_refused(self, client: Client, table: Version, query: str, pointers: list[str]) -> None:
        answer = client.post(f"/predict?model={table.model}&{query}", b"x,y\n1,2\n", headers={"Content-Type": CSV})
        assert answer.status == 422, answer
        assert [each["pointer"] for each in answer.json["errors"]] == pointers

    def test_a_single_network_has_neither(self, client: Client, single: str) -> None:
        query = f"/predict?model={single}&coverage=0.9&uncertainty=true"
        answer = client.post(query, b"x,y\n1,2\n", headers={"Content-Type": CSV})
        assert answer.status == 422
        assert [each["pointer"] for each in answer.json["errors"]] == ["/coverage", "/uncertainty"]


@pytest.mark.parametrize("body", [{"coverage": 0.9, "uncertainty": True}])
def test_a_single_network_says_what_would_work(client: Client, single: str, body: dict[str, Any]) -> None:
    answer = client.post("/predict", {"model": single, "rows": some_rows(1, 19), **body})
    assert answer.status == 422
    assert [each["pointer"] for each in answer.json["errors"]] == ["/coverage", "/uncertainty"]
    assert all("folds" in each["detail"] for each in answer.json["errors"])
    answer = client.post("/evaluate", {"model": single, "data": _labelled(20), "coverage": 0.9})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/coverage")


def _labelled(count: int, seed: int = 20) -> dict[str, Any]:
    return {"rows": some_rows(count, seed), "label": "label"}


class Served(ClassifierMixin, BaseEstimator):
    """A model on the server as scikit-learn sees it: rows are lists of values."""

    def __init__(self, client: Client, model: str, columns: list[str]) -> None:
        self.client, self.model, self.columns = client, model, columns

    def fit(self, x: Any, y: Any) -> Served:
        return self

    @property
    def classes_(self) -> Any:
        return np.array(CLASSES)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict_proba(self, x: Any) -> Any:
        rows = [list(row) for row in x]
        found = predict(self.client, self.model, columns=self.columns, rows=rows)["probabilities"]
        return np.array(found) / np.sum(found, axis=1, keepdims=True)

    def predict(self, x: Any) -> Any:
        return self.classes_[self.predict_proba(x).argmax(axis=1)]


class TestEvaluation:
    def test_importance_is_that_of_scikit_learn(self, client: Client, table: Version) -> None:
        rows, columns = some_rows(600, 21), ["x", "y", "noise", "word"]
        x = np.array([[row[name] for name in columns] for row in rows], object)
        labels = [row["label"] for row in rows]
        expected = permutation_importance(
            Served(client, table.model, columns), x, labels, scoring=["neg_log_loss", "accuracy"], n_repeats=5,
            random_state=0,
        )  # fmt: skip
        body = {"model": table.model, "data": {"rows": rows, "label": "label"}, "importance": True}
        answer = client.post("/evaluate", body)
        assert answer.status == 200, answer
        found = answer.json["importance"]
        assert (found["rows"], found["repeats"]) == (600, 5)
        assert [each["column"] for each in found["columns"]] == columns
        for measure, scoring in (("log_loss", "neg_log_loss"), ("accuracy", "accuracy")):
            for place, each in enumerate(found["columns"]):
                ours, theirs = each[measure], expected[scoring].importances[place]
                error = np.hypot(ours["standard_error"], theirs.std(ddof=1) / np.sqrt(5))
                assert abs(ours["mean"] - theirs.mean()) <= 6 * error + 2e-3, (measure, each, theirs)
        assert client.post("/evaluate", body).json == answer.json

    def test_importance_of_a_matrix(self, client: Client, matrix: Version) -> None:
        rows = some_rows(200, 22)
        data = {"inputs": matrix_of(rows), "labels": [row["label"] for row in rows]}
        answer = client.post("/evaluate", {"model": matrix.model, "data": data, "importance": True}).json
        found = {each["column"]: each["log_loss"]["mean"] for each in answer["importance"]["columns"]}
        assert list(found) == ["feature_0", "feature_1", "feature_2", "feature_3"]
        assert found["feature_0"] == max(found.values())

    def test_a_large_table_is_sampled(self, client: Client, single: str) -> None:
        body = {"model": single, "data": _labelled(2100), "importance": True}
        assert client.post("/evaluate", body).json["importance"]["rows"] == 2000

    @pytest.mark.parametrize("by_class", [False, True])
    def test_coverage_is_that_of_the_sets(self, client: Client, table: Version, by_class: bool) -> None:
        rows = some_rows(700, 23)
        data = {"rows": rows, "label": "label"}
        asked = {"coverage": 0.8, "by_class": by_class}
        found = client.post("/evaluate", {"model": table.model, "data": data, **asked}).json["sets"]
        sets = predict(client, table.model, rows=rows, **asked)["sets"]
        covered = np.array([row["label"] in labels for row, labels in zip(rows, sets, strict=True)])
        labels = np.array([row["label"] for row in rows])
        assert {name: found[name] for name in asked} == asked
        assert found["covered"] == pytest.approx(covered.mean())
        assert found["mean_size"] == pytest.approx(np.mean([len(each) for each in sets]))
        assert found["empty"] == pytest.approx(np.mean([not each for each in sets]))
        for each in found["per_class"]:
            assert each["support"] == (labels == each["class"]).sum()
            assert each["covered"] == pytest.approx(covered[labels == each["class"]].mean())

    @pytest.mark.parametrize("body", [{"coverage": 0}, {"coverage": 1}, {"importance": 1}, {"by_class": True}], ids=str)
    def test_refused(self, client: Client, table: Version, body: dict[str, Any]) -> None:
        answer = client.post("/evaluate", {"model": table.model, "data": _labelled(20), **body})
        assert answer.status == 422
        assert [each["pointer"] for each in answer.json["errors"]] == [f"/{name}" for name in body]


def test_the_answers_are_as_described(client: Client, table: Version, matrix: Version) -> None:
    document = client.get("/openapi.json").json
    registry = Registry().with_resource("urn:openapi", Resource.from_contents(document, DRAFT202012))

    @cache
    def validator(name: str) -> Draft202012Validator:
        return Draft202012Validator({"$ref": f"urn:openapi#/components/schemas/{name}"}, registry=registry)

    rows, everything = some_rows(5, 24), {"coverage": 0.9, "uncertainty": True, "report": True, "explain": True}
    for body in (
        {"model": table.model, "rows": rows, **everything},
        {"model": matrix.model, "inputs": matrix_of(rows), **everything, "by_class": True, "explain": {"class": "mid"}},
    ):
        validator("PredictRequest").validate(body)
        answer = client.post("/predict", body).json
        validator("Prediction").validate(answer)
        assert answer.keys() <= document["components"]["schemas"]["Prediction"]["properties"].keys()
    answer = client.post(
        "/evaluate", {"model": table.model, "data": _labelled(50), "coverage": 0.9, "importance": True}
    ).json
    validator("Evaluation").validate(answer)
    assert answer.keys() <= document["components"]["schemas"]["Evaluation"]["properties"].keys()

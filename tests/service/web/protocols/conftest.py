"""Models on the shared server that protocols answer for, to be read only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from testing.harness import Client, Server
from testing.samples import fresh
from testing.tables import a_frame


class Tabled(NamedTuple):
    """A model of a table's columns, and rows as objects by column."""

    name: str
    rows: list[dict[str, Any]]


def _train(client: Client, kind: str, rows: list[dict[str, Any]], **model: Any) -> str:
    name = fresh(kind)
    data = {"rows": rows, "label": "label"}
    client.run({"model": {"name": name, "hidden": [4], **model}, "data": data, "epochs": 2, "seed": 1})
    return name


@pytest.fixture(scope="session")
def visits(server: Server) -> Tabled:
    """Columns of every kind; some values of the rows are missing."""
    frame = a_frame(40)
    days = frame["day"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    values = {name: frame[name].to_list() for name in frame.columns} | {"day": days.to_list()}
    columns = {name: [None if value != value else value for value in column] for name, column in values.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    name = _train(server.client, "visits", rows, features={"notes": {"type": "text", "buckets": 8}})
    return Tabled(name, [{key: value for key, value in row.items() if key != "label"} for row in rows])


@pytest.fixture(scope="session")
def sizes(server: Server) -> Tabled:
    """Two columns of numbers, and whole numbers as classes."""
    random = np.random.default_rng(7)
    lengths, widths = random.uniform(0, 9, 30).round(2), random.uniform(1, 4, 30).round(2)
    rows = [{"length": x, "width": y} for x, y in zip(lengths.tolist(), widths.tolist(), strict=True)]
    labelled = [{**row, "label": int(row["length"] > row["width"])} for row in rows]
    return Tabled(_train(server.client, "sizes", labelled), rows)


@pytest.fixture(scope="session")
def single(server: Server) -> str:
    """A model with one input."""
    name = fresh("single")
    data = {"inputs": [[-1.0], [1.0], [-2.0], [2.0]] * 3, "labels": ["low", "high"] * 6}
    model = {"name": name, "inputs": 1, "classes": ["low", "high"], "hidden": [3]}
    server.client.run({"model": model, "data": data, "epochs": 2, "seed": 1})
    return name

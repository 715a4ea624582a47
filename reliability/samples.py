"""The samples that the promises are tested with: a matrix, a table of mixed columns with gaps, and members on it."""

from __future__ import annotations

import csv
import io
import random
from typing import Any, NamedTuple

from testing.samples import CSV, ROWS, a_model, a_training

__all__ = ["MATRIX", "MEMBERS", "SAMPLES", "TABLE", "TABLE_FEATURES", "Sample", "table_rows"]

#: The features of the table's columns; the numbers that they become are fitted.
TABLE_FEATURES: list[dict[str, Any]] = [
    {"column": "age", "type": "number", "scale": "quantile"},
    {"column": "sex", "type": "category"},
    {"column": "member", "type": "boolean"},
    {"column": "day", "type": "datetime"},
    {"column": "notes", "type": "text", "buckets": 8},
]


def table_rows(seed: int, rows: int = 60) -> list[dict[str, Any]]:
    """Rows of the table as JSON has them, with gaps, and with a label that age, sex and member decide."""
    chance = random.Random(seed)
    found = []
    for number in range(rows):
        age, sex, member = round(chance.uniform(0, 90), 2), chance.choice(("female", "male")), chance.random() < 0.4
        row: dict[str, Any] = {
            "age": age,
            "sex": sex,
            "member": member,
            "day": f"20{chance.randrange(10, 24)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 28):02}",
            "notes": f"{chance.choice(('fine', 'very fine day', 'rain again'))} {chance.randrange(10**6)}",
        }
        gaps = {name: None for name in row if chance.random() < 0.1}
        good = number % 2 == 0 if number < 4 else age < 30 or (sex == "female" and member)
        found.append({**row, **gaps, "label": "yes" if good else "no"})
    return found


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Sample(NamedTuple):
    """A dataset as a CSV file, the definition of a model for it, and rows to predict."""

    dataset: str
    label: str
    csv: str
    model: dict[str, Any]
    rows: dict[str, Any]

    def named(self, name: str, **members: Any) -> dict[str, Any]:
        """The definition under another name."""
        return {**self.model, "name": name, **members}

    def training(self, model: Any, **members: Any) -> dict[str, Any]:
        """A training request on the dataset; members have epochs and batches of their own."""
        request = a_training(model, data={"dataset": self.dataset}, **members)
        of_kinds = ("epochs", "batch_size") if "network" in self.model else ()
        return {name: value for name, value in request.items() if name not in of_kinds}


MATRIX = Sample("plain", "colour", CSV, a_model("tried"), {"inputs": ROWS})
TABLE = Sample(
    "mixed",
    "label",
    _csv(table_rows(3)),
    {"name": "tried", "classes": ["no", "yes"], "features": TABLE_FEATURES, "hidden": [8]},
    {"rows": [{name: value for name, value in row.items() if name != "label"} for row in table_rows(4, 12)]},
)
SAMPLES = (MATRIX, TABLE)
_KIND: dict[str, Any] = {"optimizer": {"type": "adamw", "average": 0.9}, "batch_size": 20, "epochs": 40}
_LAST: list[Any] = [{"type": "dense", "units": 2}, "softmax"]
#: The table with a kind that reads bins, one that does not, and a baseline; six members.
MEMBERS = TABLE._replace(
    model={
        "name": "tried",
        "classes": ["no", "yes"],
        "features": [{**TABLE_FEATURES[0], "scale": "robust_bins"}, *TABLE_FEATURES[1:]],
        "network": {
            "folds": 2,
            "kinds": [
                {"name": "binned", "layers": [{"type": "dense", "units": 8}, "relu", *_LAST], **_KIND},
                {"name": "plain", "bins": False, "layers": [{"type": "dense", "units": 4}, "silu", *_LAST], **_KIND},
                {"name": "linear", "baseline": True, "layers": _LAST, **_KIND},
            ],
        },
    }
)

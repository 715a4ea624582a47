"""Sentences about datasets, networks and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainyard.cli import text

__all__ = ["columns_of", "counts_of", "describe_data", "describe_held_out", "describe_network", "hidden_units"]

_NOUNS = {
    "number": ("number", "numbers"),
    "category": ("category", "categories"),
    "boolean": ("yes or no", "yes or no"),
    "datetime": ("time", "times"),
    "text": ("text", "texts"),
}
#: Classes whose numbers of rows fit into a sentence.
FEW = 4


def columns_of(dataset: Mapping[str, Any], label: str | None, skipped: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """The columns that a model reads."""
    return [
        column
        for column in dataset.get("columns") or []
        if column["name"] != label and column.get("use", True) and column["name"] not in skipped
    ]


def counts_of(profile: Mapping[str, Any], label: str | None) -> dict[str, int]:
    """Number of rows of each class, as far as the profile tells."""
    for column in profile.get("columns") or []:
        if column["name"] == label:
            entries = column.get("levels") or column.get("values") or []
            return {str(entry["value"]): entry["count"] for entry in entries}
    return {}


def describe_data(
    dataset: Mapping[str, Any], label: str | None, skipped: Sequence[str], counts: Mapping[str, int]
) -> str:
    """``iris: 150 rows, 4 numbers, 3 classes (50 each)``."""
    kinds: dict[str, int] = {}
    for column in columns_of(dataset, label, skipped):
        kinds[column["type"]] = kinds.get(column["type"], 0) + 1
    features = [f"{count:,} {_NOUNS.get(kind, (kind, kind))[count != 1]}" for kind, count in kinds.items()]
    if not features and dataset.get("features"):
        features = [text.plural(len(dataset["features"]), "number")]
    classes = len(counts) or len(dataset.get("classes") or [])
    parts = [text.plural(dataset["rows"], "row"), *features]
    if classes:
        parts.append(text.plural(classes, "class", "classes") + _shares(counts))
    return f"{dataset['name']}: {', '.join(parts)}"


def _shares(counts: Mapping[str, int]) -> str:
    if not counts or len(counts) > FEW:
        return ""
    if len(set(counts.values())) == 1:
        return f" ({next(iter(counts.values())):,} each)"
    return f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"


def hidden_units(definition: Mapping[str, Any]) -> list[int]:
    """The units of each hidden layer of a definition in full."""
    units = [layer["units"] for layer in definition.get("layers") or [] if layer["type"] == "dense"]
    return units[:-1]


def describe_network(definition: Mapping[str, Any]) -> str:
    """``24 networks (binned, smooth, linear), each with an eighth held out``, or ``a network with 64 hidden units``."""
    network = definition.get("network")
    if network:
        kinds, folds = network["kinds"], network.get("used_folds") or network["folds"]
        names = ", ".join(kind["name"] for kind in kinds)
        return f"{text.plural(len(kinds) * folds, 'network')} ({names}), each holds out 1/{folds} of the rows"
    units = hidden_units(definition)
    if not units:
        return "a network without hidden layers"
    return f"a network with {' and '.join(f'{count:,}' for count in units)} hidden units"


def describe_held_out(job: Mapping[str, Any], version: Mapping[str, Any], counts: Mapping[str, int]) -> str | None:
    """``0.967 right on 30 held-out rows (always "setosa": 0.333)``; None if no rows were held out.

    The metrics are those of the version: it may be an earlier epoch than the job's last one.
    """
    held_out = job.get("held_out")
    if held_out:
        beat = held_out["to_beat"]
        told = [f"the largest class: {beat['majority']['accuracy']:.3f}"] if beat.get("majority") else []
        told += [f"a linear model: {beat['linear']['accuracy']:.3f}"] if beat.get("linear") else []
        return f"{held_out['accuracy']:.3f} right on {held_out['rows']:,} held-out rows{_beside(told)}"
    accuracy, part = (version.get("metrics") or {}).get("validation_accuracy"), (job["request"].get("validation") or {})
    if accuracy is None:
        return None
    largest = max(counts, key=lambda name: counts[name], default=None)
    told = [] if largest is None else [f'always "{largest}": {counts[largest] / sum(counts.values()):.3f}']
    rows = part.get("rows") or (
        round(part["fraction"] * job["request"]["data"]["rows"]) if "fraction" in part else None
    )
    return f"{accuracy:.3f} right on {'' if rows is None else f'{rows:,} '}held-out rows{_beside(told)}"


def _beside(told: Sequence[str]) -> str:
    return f" ({', '.join(told)})" if told else ""

"""Requests to train, from keyword arguments and rows in whatever form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainyard import tables
from trainyard.datasets import Dataset
from trainyard.errors import NotFound
from trainyard.uploads import fitting, upload

if TYPE_CHECKING:
    from trainyard.client import Trainyard

__all__ = ["DEFINITION", "labelled_rows", "training_request"]

#: Members of a definition that may be keyword arguments; the other ones belong to the request.
DEFINITION = ("hidden", "activation", "layers", "features", "network", "classes", "dtype")
#: Share of the rows that early stopping looks at if nothing else is said.
HELD_OUT = 0.2


def training_request(
    client: Trainyard,
    data: Any,
    *,
    label: str | None,
    name: str | None,
    model: str | None,
    held_out: Any,
    patience: int | None,
    skip: Sequence[str],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The document of ``POST /train``; rows that are not at the service yet are uploaded."""
    if name is not None and model is not None:
        raise ValueError("give `model`, an existing one, or `name`, that of a new definition")
    given = {key: value for key, value in options.items() if value is not None}
    definition = {key: given.pop(key) for key in DEFINITION if key in given}
    if skip:
        definition["features"] = {**definition.get("features", {}), **dict.fromkeys(skip, "ignore")}
    if model is not None and definition:
        raise ValueError(f"{', '.join(definition)} would make a new definition: give `name` in place of `model`")
    rows, base = _rows(client, data, label, name or model)
    request: dict[str, Any] = {"data": rows}
    if model is not None:
        request["model"] = model
    elif name is not None or definition:
        request["model"] = {"name": name or base, **definition}
    elif base != (rows if isinstance(rows, str) else rows["dataset"]):
        request["model"] = base if _exists(client, base) else {"name": base}
    if patience is not None and "early_stopping" not in given:
        given["early_stopping"] = {"patience": patience}
    if held_out is not None:
        given["validation"] = _held_out(client, held_out, label)
    elif patience is not None and not {"validation", "folds"} & given.keys():
        given["validation"] = HELD_OUT
    return {**request, **given}


def _exists(client: Trainyard, model: str) -> bool:
    try:
        client.model(model)
    except NotFound:
        return False
    return True


def _held_out(client: Trainyard, given: Any, label: str | None) -> Any:
    """A share, or rows."""
    return given if isinstance(given, float) else labelled_rows(client, given, label)


def labelled_rows(client: Trainyard, data: Any, label: str | None) -> Any:
    """The member ``data`` of a request, for rows in whatever form."""
    if isinstance(data, Mapping) and {"dataset", "job", "rows", "inputs"} & data.keys():
        return data
    return _rows(client, data, label, None)[0]


def _rows(client: Trainyard, data: Any, label: str | None, name: str | None) -> tuple[Any, str]:
    """The dataset to train on as a request names it, and the name for a model of it."""
    if isinstance(data, str) and tables.as_file(data) is None:
        return ({"dataset": data, "label": label} if label is not None else data), data
    if isinstance(data, Dataset):
        stored, base = data, data.name or data.id
    else:
        stored = upload(client, data, name, {"label": label}, exact=False)
        path = tables.as_file(data)
        base = fitting(name or (stored.name or stored.id if path is None else tables.ENDINGS.sub("", path.name)))
    known = stored.name or stored.id
    return ({"dataset": known, "label": label} if label not in (None, stored.label) else known), base

"""The request to train that options stand for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["HELD_OUT", "PLACES", "Plan", "read_value"]

#: The share of rows that a single network holds out, so that somebody knows how good it is.
HELD_OUT = 0.2
#: What of a definition or a request makes it a request for a single network; all else leaves the choice to the service.
_SINGLE = ("epochs", "batch_size", "optimizer", "loss", "early_stopping", "start_from", "shuffle", "publish")
_SINGLE_MODEL = ("hidden", "layers", "inputs", "optimizer", "loss")
#: The option that a place in the request is made from.
PLACES = {
    "/data": "DATA",
    "/data/dataset": "DATA",
    "/data/label": "--label",
    "/label": "--label",
    "/name": "--name",
    "/model": "--name",
    "/model/name": "--name",
    "/model/hidden": "--hidden",
    "/model/features": "--skip",
    "/validation": "--held-out",
    "/epochs": "--epochs",
    "/early_stopping": "--patience",
    "/start_from": "--from",
    "/seed": "--seed",
}


def read_value(written: str) -> Any:
    """A value as JSON; what is no JSON is text."""
    try:
        return json.loads(written, parse_constant=_no_number)
    except ValueError:
        return written


def _no_number(_name: str) -> Any:
    raise ValueError


@dataclass(frozen=True)
class Plan:
    """What is to be trained; what is None is left to the service.

    ``changes`` are further members of the request with their paths, and win over all else.
    """

    dataset: str
    label: str | None = None
    name: str | None = None
    hidden: tuple[int, ...] | None = None
    skip: tuple[str, ...] = ()
    held_out: float | None = None
    epochs: int | None = None
    patience: int | None = None
    start_from: str | None = None
    seed: int | None = None
    changes: Sequence[tuple[tuple[str, ...], Any]] = ()

    @property
    def model(self) -> str:
        """The model's name."""
        return self.name or self.dataset

    def request(self) -> dict[str, Any]:
        """The body of POST /train.

        Raises ValueError if a path of ``changes`` leads through something that has no members.
        """
        body: dict[str, Any] = {"data": {"dataset": self.dataset, **_given(label=self.label)}}
        model = self._definition()
        if model is not None:
            body["model"] = model
        body |= _given(epochs=self.epochs, start_from=self.start_from, seed=self.seed)
        if self.patience is not None:
            body["early_stopping"] = {"patience": self.patience}
        for path, value in self.changes:
            _put(body, path, value)
        self._hold_out(body)
        return body

    def _definition(self) -> Any:
        """The member ``model``; a checkpoint's layers are those of the model that is there."""
        if self.start_from is not None and self.hidden is None and not self.skip:
            return self.name
        of_model = any(path[0] == "model" for path, _ in self.changes)
        if self.name is None and self.hidden is None and not self.skip and not of_model:
            return None
        features = {"features": dict.fromkeys(self.skip, "ignore")} if self.skip else {}
        return {"name": self.model, **features, **({} if self.hidden is None else {"hidden": list(self.hidden)})}

    def _hold_out(self, body: dict[str, Any]) -> None:
        """Hold rows out: those asked for, else a share if there is a single network; its best epoch is published."""
        definition = body["model"] if isinstance(body.get("model"), dict) else {}
        single = any(name in body for name in _SINGLE) or any(name in definition for name in _SINGLE_MODEL)
        share = self.held_out
        if share is None:
            share = HELD_OUT if single and "folds" not in body else 0.0
        if share == 0.0 or "validation" in body:
            return
        body["validation"] = {"fraction": share}
        if single:
            body.setdefault("publish", "best")


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _put(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a member of a member, and make those on the way."""
    place: Any = body
    for name in path[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise ValueError(f"{'.'.join(path)}: {name} is {json.dumps(place)}, which has no members")  # noqa: TRY004
    place[path[-1]] = value

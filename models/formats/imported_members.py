"""The members of an untrusted file: what to read of each, of their mixture and of held-out rows, and what it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import marshmallow as ma
import numpy as np

from models.clock import utc_now
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.errors import InvalidError, describe
from models.features.fitted import FittedFeatures
from models.formats.foreign_arrays import Place, Places, group_of, names_below
from models.formats.imported_state import (
    COUNT,
    StateSchema,
    find_state,
    network_places,
    require_names,
    state_of,
    state_places,
)
from models.formats.untrusted_hdf5 import ForeignFile
from models.schemas import Number, StrictSchema, Text, Whole
from models.training.ensemble_checkpoint import ENDS, HELD_OUT, EnsembleCheckpoint, HeldOut, MemberState, Mixture
from models.trust.temperature import LIMIT
from models.trust.trust import Trust
from nncore.arrays import Array
from nncore.best import Best
from nncore.hyperparameters import Bounds
from nncore.stopping import Monitor

__all__ = [
    "MembersSchema",
    "check_members",
    "ensemble_of",
    "find_members",
    "members_places",
    "require_member_names",
]

MONITORS: tuple[Monitor, ...] = get_args(Monitor)
#: What rounding may add to a temperature at the end of its range.
ROUNDING = 1e-3
#: How far from 1 the sum of weights, and that of a row's probabilities, may be.
OF_WEIGHTS, OF_PROBABILITIES = 1e-6, 1e-3
#: The numbers of a best epoch.
_COUNTS = ("epoch", "step", "waited", "waited_steps")
_SECONDS = Bounds(minimum=0.0, maximum=1e12)


class BestSchema(StrictSchema):
    """What a run knows of its best epoch, but for the arrays."""

    monitor = Text(choices=MONITORS, required=True)
    min_delta = Number(Bounds(minimum=0.0), required=True)
    value = Number(required=True, allow_none=True)
    epoch = Whole(COUNT, required=True)
    step = Whole(COUNT, required=True)
    waited = Whole(COUNT, required=True)
    waited_steps = Whole(COUNT, required=True)


class MemberSchema(StateSchema):
    """A member; ``ended`` is null if its run has not."""

    member = Whole(COUNT, required=True)
    ended = Text(choices=ENDS, required=True, allow_none=True)
    best = ma.fields.Nested(BestSchema, required=True, allow_none=True)


class MembersSchema(StrictSchema):
    """A file of members except its arrays, of which some lengths are stated; null stands for what is not there."""

    members = ma.fields.List(ma.fields.Nested(MemberSchema), required=True)
    weights = ma.fields.Raw(required=True)
    temperature = ma.fields.Raw(required=True)
    seconds = Number(_SECONDS, required=True)
    held_out = Whole(COUNT, required=True, allow_none=True)
    scores = Whole(COUNT, required=True, allow_none=True)


def find_members(file: ForeignFile, definition: ModelDefinition) -> dict[str, Any]:
    """A document for ``MembersSchema``. Raises InvalidError with the first place that does not fit the definition."""
    ensemble = _ensemble(definition)
    numbers = [int(name) for name in file.present("/members", map(str, range(1, ensemble.members + 1)))]
    seconds = file.number("/training", "seconds")
    if seconds is not None and not 0.0 <= seconds <= 1e12:
        raise InvalidError.at("/training", f"the attribute 'seconds' must be from 0 to 1e12. Received: {seconds}")
    members = [_member(file, ensemble, number) for number in numbers]
    weights, temperature = file.json("/mixture", "weights"), file.number("/mixture", "temperature")
    _mixture(ensemble, members, weights, temperature)
    return {
        "members": members,
        "weights": weights,
        "temperature": temperature,
        "seconds": seconds or 0.0,
        "held_out": file.length("/held_out/rows") if file.has("/held_out") else None,
        "scores": file.length("/trust/sets/scores") if file.has("/trust") else None,
    }


def _ensemble(definition: ModelDefinition) -> Ensemble:
    assert isinstance(definition.ensemble, Ensemble)
    return definition.ensemble


def _member(file: ForeignFile, ensemble: Ensemble, number: int) -> dict[str, Any]:
    top = f"/members/{number}"
    stated = {"kind": file.text(top, "kind"), "fold": file.whole_number(top, "fold")}
    wanted = {"kind": ensemble.kind_of(number).name, "fold": ensemble.fold_of(number)}
    for name, expected in wanted.items():
        if stated[name] != expected:
            raise _wrong(top, name, f"{describe(expected)} for this member", stated[name])
    ended = file.text(top, "ended")
    if ended not in (*ENDS, ""):
        raise _wrong(top, "ended", f"one of {', '.join(ENDS)}, or empty", ended)
    state = find_state(file, top)
    return {"member": number, "ended": ended or None, "best": _best(file, f"{top}/best", state), **state}


def _best(file: ForeignFile, group: str, state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The attributes of a best epoch; None if there is none."""
    counts = {name: file.count(group, name) or 0 for name in _COUNTS}
    if not counts["epoch"]:
        return None
    monitor, value = file.text(group, "monitor"), file.number(group, "value")
    if monitor not in MONITORS:
        raise _wrong(group, "monitor", f"one of {', '.join(MONITORS)}", monitor)
    if value is not None and not math.isfinite(value):
        raise _wrong(group, "value", "a finite number", value)
    min_delta = file.number(group, "min_delta") or 0.0
    if not 0.0 <= min_delta < math.inf:
        raise _wrong(group, "min_delta", "a number of at least 0", min_delta)
    if state["epochs"] and counts["epoch"] > state["epochs"]:
        raise _wrong(group, "epoch", f"at most {state['epochs']}, the rows of history", counts["epoch"])
    return {"monitor": monitor, "value": value, "min_delta": min_delta, **counts}


def _wrong(place: str, name: str, wanted: str, received: object) -> InvalidError:
    found = "nothing" if received is None else repr(received)[:200]
    return InvalidError.at(place, f"the attribute {describe(name)} must be {wanted}. Received: {found}")


def _mixture(ensemble: Ensemble, members: list[dict[str, Any]], weights: Any, temperature: Any) -> Mixture:
    """How members answer together. Raises InvalidError unless those that have ended can."""
    if weights is None or temperature is None:
        detail = "must say with weights and temperature how the members that have ended answer together"
        raise InvalidError.at("/mixture", f"{detail}. Received: nothing")
    ended = {ensemble.kind_of(each["member"]).name for each in members if each["ended"] is not None}
    names = [kind.name for kind in ensemble.kinds if not kind.baseline]
    if not isinstance(weights, dict) or sorted(weights) != sorted(names):
        received = list(weights) if isinstance(weights, dict) else weights
        raise _wrong("/mixture", "weights", f"a JSON object with the kinds {', '.join(sorted(names))}", received)
    for name, weight in weights.items():
        if type(weight) not in (int, float) or not 0.0 <= weight <= 1.0:
            raise _wrong("/mixture", "weights", f"numbers from 0 to 1, also that of {name}", weight)
        if weight and name not in ended:
            raise _wrong("/mixture", "weights", f"0 for {name}, of which no member has ended", weight)
    if abs(sum(weights.values()) - 1.0) > OF_WEIGHTS:
        raise _wrong("/mixture", "weights", "numbers that sum to 1", sum(weights.values()))
    bounds = math.exp(-LIMIT) - ROUNDING, math.exp(LIMIT) + ROUNDING
    if type(temperature) is not float or not bounds[0] <= temperature <= bounds[1]:
        raise _wrong("/mixture", "temperature", f"from e^-{LIMIT} to e^{LIMIT}", temperature)
    return Mixture({name: float(weights[name]) for name in names}, temperature)


def members_places(definition: ModelDefinition, values: Mapping[str, Any], plain: int) -> Places:
    """All arrays of a file with these values of a ``MembersSchema``; ``plain`` inputs are no bins.

    Raises InvalidError for a number of no member.
    """
    ensemble, wanted = _ensemble(definition), Places()
    for each in values["members"]:
        number = each["member"]
        if not 1 <= number <= ensemble.members:
            raise InvalidError.at("/members", f"must hold numbers up to {ensemble.members}. Received: {number}")
        for places in _member_places(definition, ensemble, each).values():
            wanted |= places
    if values["held_out"] is not None:
        rows, classes = values["held_out"], len(definition.classes)
        shapes = {"rows": (rows,), "codes": (rows,), "folds": (rows,), "probabilities": (rows, classes)}
        wanted |= {f"/held_out/{name}": Place(shape, HELD_OUT[name]) for name, shape in shapes.items()}
    if values["scores"] is not None:
        for name, form in Trust.forms(len(definition.classes), plain).items():
            shape = tuple(values["scores"] if length is None else length for length in form.shape)
            wanted[f"/trust/{name}"] = Place(shape, form.dtype)
    return wanted


def _member_places(definition: ModelDefinition, ensemble: Ensemble, values: Mapping[str, Any]) -> dict[str, Places]:
    """The arrays of a member by the group that they lie below."""
    top = f"/members/{values['member']}"
    own = definition.of_kind(ensemble.kind_of(values["member"]))
    found = {top: state_places(own, values["optimizer"], values["epochs"], top)}
    return found if values["best"] is None else {**found, f"{top}/best": network_places(own, f"{top}/best")}


def require_member_names(
    file: ForeignFile, definition: ModelDefinition, values: Mapping[str, Any], wanted: Places
) -> None:
    """Raise InvalidError if a group of arrays holds a name that is not expected."""
    for each in values["members"]:
        for top, places in _member_places(definition, _ensemble(definition), each).items():
            require_names(file, places, top)
    rest = {path: place for path, place in wanted.items() if path.startswith(("/held_out/", "/trust/"))}
    for group, names in names_below(rest).items():
        file.require_names(group, names)


def check_members(
    definition: ModelDefinition, values: Mapping[str, Any], arrays: Mapping[str, Array], plain: int
) -> HeldOut | None:
    """What the file says of held-out rows. Raises InvalidError if that, or its trust, cannot be of this model."""
    if values["scores"] is not None:
        try:
            Trust.of(group_of(arrays, "/trust"), len(definition.classes), plain)
        except ValueError as error:
            place, _, detail = str(error).partition(": ")
            raise InvalidError.at(place, detail) from None
    if values["held_out"] is None:
        return None
    held_out = HeldOut(**{name: arrays[f"/held_out/{name}"] for name in HELD_OUT})
    bounds = {"codes": len(definition.classes), "folds": _ensemble(definition).folds}
    for name, bound in bounds.items():
        numbers = getattr(held_out, name)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < bound:
            received = f"{numbers.min()} to {numbers.max()}"
            raise InvalidError.at(f"/held_out/{name}", f"must be from 0 to {bound - 1}. Received: {received}")
    rows, probabilities = held_out.rows, held_out.probabilities
    if len(rows) and (rows[0] < 0 or (rows[1:] <= rows[:-1]).any()):
        raise InvalidError.at("/held_out/rows", "must be ascending numbers from 0. Received: others")
    sums = probabilities.sum(axis=1)
    if (probabilities < 0.0).any() or (np.abs(sums - 1.0) > OF_PROBABILITIES).any():
        detail = "must be probabilities, which sum to 1 in each row. Received: others"
        raise InvalidError.at("/held_out/probabilities", detail)
    return held_out


def ensemble_of(
    definition: ModelDefinition,
    values: Mapping[str, Any],
    arrays: Mapping[str, Array],
    features: FittedFeatures | None,
    plain: int,
) -> EnsembleCheckpoint:
    """A checkpoint from the values of a ``MembersSchema`` and the arrays of ``members_places``.

    Training rows and what each member says of held-out rows are left out, because no run continues from an import.
    Raises InvalidError if the values or arrays cannot be of this model.
    """
    ensemble = _ensemble(definition)
    mixture = _mixture(ensemble, values["members"], values["weights"], values["temperature"])
    held_out = check_members(definition, values, arrays, plain)
    return EnsembleCheckpoint(
        definition=definition,
        features=features,
        members={each["member"]: _member_state(definition, each, arrays) for each in values["members"]},
        rows=np.zeros(0, np.int64),
        seconds=values["seconds"],
        created_at=utc_now(),
        mixture=mixture,
        held_out=held_out,
        trust=group_of(arrays, "/trust"),
    )


def _member_state(definition: ModelDefinition, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> MemberState:
    ensemble, number, top = _ensemble(definition), values["member"], f"/members/{values['member']}"
    kind, groups = ensemble.kind_of(number), _member_places(definition, ensemble, values).values()
    own = {path.removeprefix(f"{top}/"): arrays[path] for places in groups for path in places}
    best = None
    if values["best"] is not None:
        best = Best(**values["best"])
        best.parameters, best.statistics = group_of(own, "best/parameters"), group_of(own, "best/statistics")
    state = state_of(definition.of_kind(kind), values, own, best=best)
    return MemberState(kind.name, ensemble.fold_of(number), state, values["ended"])

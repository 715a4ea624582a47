"""What a sweep tries: values for places in a training request, in a grid or at random."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, TypeVar, get_args

import marshmallow as ma
import numpy as np

from models.definition.rules import MAXIMUM_EPOCHS
from models.errors import InvalidError, Problem, describe, shortened, unknown_field
from models.schemas import DescribedField, Flag, Number, StrictSchema, Tagged, Text, load, shared
from models.training.request import MAXIMUM_SEED, TrainSchema
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.stopping import Monitor
from nncore.streams import stream

__all__ = [
    "SEARCHES",
    "Choices",
    "Grid",
    "Halving",
    "Parameters",
    "Random",
    "Range",
    "Search",
    "SweepSchema",
    "Trial",
    "checked",
    "of_each",
    "trials_of",
    "written",
]

MAXIMUM_TRIALS, MAXIMUM_PARAMETERS = 1000, 50
#: Maximum number of problems that are listed.
LISTED = 20
#: Significant digits of a number that is drawn.
DIGITS = 4
#: So many draws without a new combination end a random search: then there is probably none left.
DRAWS = 200


@dataclass(frozen=True)
class Search:
    """How a sweep searches: a member of ``SEARCHES``."""

    def __post_init__(self) -> None:
        check_hyperparameters(self)


@dataclass(frozen=True)
class Grid(Search):
    """Tries each combination of the values; the last parameter changes first."""


@dataclass(frozen=True)
class Random(Search):
    """Tries combinations drawn at random (Bergstra and Bengio 2012), all different."""

    trials: int = hyperparameter(32, minimum=1, maximum=MAXIMUM_TRIALS, help="Number of combinations to try.")
    seed: int = hyperparameter(0, minimum=0, maximum=MAXIMUM_SEED, help="Seed of what is drawn.")


@dataclass(frozen=True)
class Halving(Search):
    """Draws as ``random`` does, and trains only the best trials to their end (ASHA, Li et al. 2020).

    A trial pauses after ``minimum_epochs`` epochs, and after ``factor`` times as many, and so on. It goes on if it is
    among the best of those that have come as far: one of ``factor``.
    """

    trials: int = hyperparameter(32, minimum=1, maximum=MAXIMUM_TRIALS, help="Number of combinations to try.")
    seed: int = hyperparameter(0, minimum=0, maximum=MAXIMUM_SEED, help="Seed of what is drawn.")
    factor: int = hyperparameter(3, minimum=2, maximum=100, help="Of so many trials, one goes on after a pause.")
    minimum_epochs: int = hyperparameter(
        1, minimum=1, maximum=MAXIMUM_EPOCHS, help="Epochs that each trial is trained at least."
    )


@dataclass(frozen=True)
class Choices:
    """The values of a parameter, any JSON."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """The numbers from ``minimum`` to ``maximum``, drawn evenly, or evenly by their logarithm."""

    minimum: float
    maximum: float
    logarithmic: bool = False
    integer: bool = False

    def draw(self, generator: np.random.Generator) -> Any:
        # A whole number stands for the interval up to the next one, so that each end is as probable as the others.
        low, high = self.minimum, self.maximum + self.integer
        share = float(generator.random())
        if self.logarithmic:
            low, high = math.log(low), math.log(high)
        # Not the difference of the two, which may be infinite.
        found = (1 - share) * low + share * high
        if self.logarithmic:
            found = math.exp(found)
        found = math.floor(found) if self.integer else float(f"{found:.{DIGITS}g}")
        # Rounding may have left the range.
        return min(max(found, self.minimum), self.maximum)


Values = Choices | Range


def written(values: Mapping[str, Values]) -> dict[str, Any]:
    """The parameters of a search as a request has them."""
    return {pointer: _written(each) for pointer, each in values.items()}


def _written(values: Values) -> Any:
    if isinstance(values, Choices):
        return list(values.values)
    scale = "log" if values.logarithmic else "linear"
    return {"min": values.minimum, "max": values.maximum, "scale": scale, "integer": values.integer}


class Parameters(DescribedField):
    """For each JSON pointer into the request, a list of values or a range of numbers."""

    wanted = "an object of JSON pointers into the request"

    def json_schema(self) -> dict[str, Any]:
        limits = {"min": {"type": "number"}, "max": {"type": "number"}}
        scale = {"enum": ["linear", "log"], "default": "linear"}
        numbers = {
            "type": "object",
            "properties": {**limits, "scale": scale, "integer": {"type": "boolean", "default": False}},
            "required": ["min", "max"],
            "additionalProperties": False,
        }
        values = {"type": "array", "items": {}, "minItems": 1, "maxItems": MAXIMUM_TRIALS}
        return {
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {"oneOf": [values, numbers]},
            "minProperties": 1,
            "maxProperties": MAXIMUM_PARAMETERS,
        }

    def _validated(self, value: Any) -> dict[str, Values]:
        if not isinstance(value, dict):
            raise self.refusal(value)
        if not 1 <= len(value) <= MAXIMUM_PARAMETERS:
            raise ma.ValidationError(f"must have 1 to {MAXIMUM_PARAMETERS} parameters. Received: {len(value)}")
        found, problems = {}, dict[str, Any]()
        for pointer, values in value.items():
            try:
                _require_pointer(pointer, value)
                found[pointer] = _choices(values) if isinstance(values, list) else _range(values)
            except ma.ValidationError as error:
                problems[pointer] = error.messages
        if problems:
            raise ma.ValidationError(problems)
        return found


def _require_pointer(pointer: str, others: Collection[str]) -> None:
    """Raise ValidationError unless it is a pointer to a place that no other pointer contains."""
    if not pointer.startswith("/"):
        raise ma.ValidationError(
            f'must be a JSON pointer, as in "/optimizer/learning_rate". Received: {describe(pointer)}'
        )
    around = [other for other in others if other != pointer and pointer.startswith(f"{other}/")]
    if around:
        raise ma.ValidationError(f"must not lie within another parameter. Received: within {describe(around[0])}")


def _choices(values: list[Any]) -> Choices:
    if not 1 <= len(values) <= MAXIMUM_TRIALS:
        raise ma.ValidationError(f"must hold 1 to {MAXIMUM_TRIALS} values. Received: {len(values)}")
    seen: set[str] = set()
    for index, value in enumerate(values):
        text = _canonical(value)
        if text in seen:
            raise ma.ValidationError({index: [f"must not be repeated. Received: {describe(value)}"]})
        seen.add(text)
    return Choices(tuple(values))


def _range(values: Any) -> Range:
    if not isinstance(values, dict):
        raise ma.ValidationError(f'must be a list of values, or {{"min": …, "max": …}}. Received: {describe(values)}')
    known = ("min", "max", "scale", "integer")
    problems = {name: [unknown_field(name, known)] for name in values if name not in known}
    for name in ("min", "max"):
        try:
            Number().deserialize(values[name])
        except KeyError:
            problems[name] = ["is required"]
        except ma.ValidationError as error:
            problems[name] = list(map(str, error.messages))
    scale, integer = values.get("scale", "linear"), values.get("integer", False)
    if scale not in ("linear", "log"):
        problems["scale"] = [f"must be one of 'linear', 'log'. Received: {describe(scale)}"]
    if not isinstance(integer, bool):
        problems["integer"] = [f"must be true or false. Received: {describe(integer)}"]
    if not problems:
        problems = _disorder(values["min"], values["max"], logarithmic=scale == "log", integer=integer)
    if problems:
        raise ma.ValidationError(problems)
    return Range(values["min"], values["max"], scale == "log", integer)


def _disorder(minimum: float, maximum: float, *, logarithmic: bool, integer: bool) -> dict[str, list[str]]:
    """What is wrong with the two ends of a range together."""
    if integer:
        parts = {name: value for name, value in (("min", minimum), ("max", maximum)) if type(value) is not int}
        if parts:
            return {name: [f"must be a whole number. Received: {describe(value)}"] for name, value in parts.items()}
    if minimum >= maximum:
        return {"max": [f"must be greater than min, {minimum:g}. Received: {maximum:g}"]}
    if logarithmic and minimum <= 0:
        return {"min": [f"must be greater than 0 if the scale is log. Received: {minimum:g}"]}
    return {}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class VariedRequest(DescribedField):
    """A training request, which is checked once for each trial, with the trial's values."""

    wanted = "an object, as for POST /train"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def _validated(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refusal(value)
        return value


#: The searches by their names in requests.
SEARCHES: dict[str, type[Search]] = {"grid": Grid, "random": Random, "halving": Halving}


class SweepSchema(StrictSchema):
    """The body of ``POST /sweeps``: a training request, and what to try in it."""

    examples: ClassVar[Sequence[Any]] = (
        {
            "train": {"data": "sample", "model": {"name": "sample-sweep"}, "optimizer": "adam", "epochs": 20},
            "search": {"type": "grid"},
            "over": {"/model/hidden": [[4], [16]], "/optimizer/learning_rate": [0.001, 0.01]},
        },
    )

    train = VariedRequest(
        required=True,
        metadata={
            "description": "The request that is varied, as for `POST /train`. What `over` gives may be left out. "
            "Without `validation`, a fifth of the rows is held out."
        },
    )
    search = Tagged(
        SEARCHES,
        load_default=Random,
        metadata={"description": "How to search; `random` if left out."},
    )
    over = Parameters(
        required=True,
        metadata={
            "description": "What to vary: for each JSON pointer into `train` a list of values, or a range of "
            "numbers to draw from. Members that are not in the request are added."
        },
    )
    monitor = Text(
        choices=get_args(Monitor),
        load_default=None,
        allow_none=True,
        metadata={
            "description": "Metric that decides which trial is the best, and which of its epochs; that of "
            "`early_stopping` in the request if left out, or else validation_log_loss."
        },
    )
    dry_run = Flag(load_default=False, metadata={"description": "Check and estimate only; store nothing."})

    @ma.validates_schema
    def _fit(self, values: dict[str, Any], **_options: Any) -> None:
        search, parameters = values["search"], values["over"]
        problems = {}
        if isinstance(search, Grid):
            wanted = "must be a list of values, because a grid tries each. Received: a range"
            problems = {name: [wanted] for name, each in parameters.items() if isinstance(each, Range)}
            count = math.prod(len(each.values) for each in parameters.values() if isinstance(each, Choices))
            if not problems and count > MAXIMUM_TRIALS:
                wanted = f"must give at most {MAXIMUM_TRIALS} combinations"
                raise ma.ValidationError({"over": [f"{wanted}. Received: {count}"]})
        elif isinstance(search, Halving) and "/epochs" in parameters:
            problems = {"/epochs": ["must not vary, because halving compares trials after equal numbers of epochs"]}
        if problems:
            raise ma.ValidationError({"over": problems})


@dataclass(frozen=True)
class Trial:
    """One combination of values by pointer; trials are numbered from 1.

    ``sources`` says for each pointer where in ``over`` its value is written.
    """

    number: int
    values: Mapping[str, Any]
    sources: Mapping[str, str]

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request with this trial's values; the given one does not change.

        Raises InvalidError if a pointer leads through something that has no members.
        """
        changed = dict(body)
        for pointer, value in self.values.items():
            names = [_unescaped(part) for part in pointer.split("/")[1:]]
            try:
                changed = _with(changed, names, value, ())
            except _NoPlaceError as error:
                raise InvalidError.at(pointer, str(error)) from None
        return changed

    def __str__(self) -> str:
        values = ", ".join(f"{shortened(pointer)} {describe(value)}" for pointer, value in self.values.items())
        return f"trial {self.number}: {values}"

    def moved(self, error: InvalidError, request: str = "/train") -> list[Problem]:
        """The problems of this trial's request, with its values, and with pointers to what the client wrote.

        A problem with a value, or within one, lies where ``over`` gives the value; any other one lies in the request,
        whose place is ``request``.
        """
        return [self._moved(problem, request) for problem in error.problems]

    def _moved(self, problem: Problem, request: str) -> Problem:
        detail = f"{problem.detail} ({self})"
        for pointer, source in self.sources.items():
            if problem.pointer == pointer or problem.pointer.startswith(f"{pointer}/"):
                return replace(problem, pointer=source + problem.pointer[len(pointer) :], detail=detail)
        return replace(problem, pointer=request + problem.pointer, detail=detail)


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


class _NoPlaceError(Exception):
    """A pointer leads to no place; the message says why."""


def _with(container: Any, names: Sequence[str], value: Any, path: tuple[str, ...]) -> Any:
    """A copy of a container with a value at a place; raises _NoPlaceError if there can be no such place."""
    if not names:
        return value
    name, *rest = names
    if isinstance(container, list):
        if not (re.fullmatch("[0-9]{1,18}", name) and int(name) < len(container)):
            place = f"/{'/'.join(path)}"
            raise _NoPlaceError(f"must name one of the {len(container)} items of {place}. Received: {describe(name)}")
        index = int(name)
        return [*container[:index], _with(container[index], rest, value, (*path, name)), *container[index + 1 :]]
    if isinstance(container, str) and path != ("model",):
        container = {"type": container}  # A name is the short form of an object.
    if container is None:
        container = {}
    if not isinstance(container, dict):
        place = f"/{'/'.join(path)}"
        raise _NoPlaceError(f"leads through {place}, which has no members. Received: {describe(container)}")
    return {**container, name: _with(container.get(name), rest, value, (*path, name))}


def trials_of(search: Search, parameters: Mapping[str, Values], place: str = "/over") -> list[Trial]:
    """The trials of a search, the same ones each time.

    More trials with the same seed begin with the same ones. A random search has fewer trials if there are not so many
    combinations. ``place`` is the place of the parameters in the sweep's request.
    """
    pairs: Iterator[tuple[tuple[str, Any], ...]]
    if isinstance(search, Grid):
        named = [[(pointer, value) for value in _listed(values)] for pointer, values in parameters.items()]
        pairs, count = product(*named), MAXIMUM_TRIALS
    else:
        assert isinstance(search, (Random, Halving))
        pairs, count = _drawn(parameters, search.seed), search.trials
    found = []
    for number, chosen in zip(range(1, count + 1), pairs, strict=False):
        values = dict(chosen)
        sources = {pointer: _source(place, pointer, parameters[pointer], value) for pointer, value in chosen}
        found.append(Trial(number, values, sources))
    return found


def _listed(values: Values) -> tuple[Any, ...]:
    assert isinstance(values, Choices), "the schema refuses ranges in a grid"
    return values.values


def _drawn(parameters: Mapping[str, Values], seed: int) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Different combinations, until there seems to be no further one."""
    generator, seen, in_vain = stream(seed, "search"), set[str](), 0
    while in_vain < DRAWS:
        # In the order of the pointers' names: the order of an object's members means nothing.
        drawn = {pointer: parameters[pointer].draw(generator) for pointer in sorted(parameters)}
        text = _canonical(drawn)
        in_vain += 1
        if text not in seen:
            seen.add(text)
            in_vain = 0
            yield tuple((pointer, drawn[pointer]) for pointer in parameters)


def _source(place: str, pointer: str, values: Values, value: Any) -> str:
    escaped = pointer.replace("~", "~0").replace("/", "~1")
    if isinstance(values, Range):
        return f"{place}/{escaped}"
    index = next(index for index, each in enumerate(values.values) if each is value)
    return f"{place}/{escaped}/{index}"


def checked(trials: Sequence[Trial], body: Mapping[str, Any], request: str = "/train") -> list[dict[str, Any]]:
    """The body of each trial as ``TrainSchema`` loads it; rows that no trial changes are loaded once.

    Raises InvalidError for the rows, or else with the problems of all trials.
    """
    varied = {_unescaped(pointer.split("/")[1]) for trial in trials for pointer in trial.values}
    rows = {"data", "validation"} & body.keys() - varied
    rest = {name: value for name, value in body.items() if name not in rows}
    try:
        given = load(TrainSchema(only=tuple(rows)), {name: body[name] for name in rows}) if rows else {}
    except InvalidError as error:
        raise error.moved("", request) from None
    schema = TrainSchema(exclude=tuple(rows)) if rows else shared(TrainSchema)

    def loaded(trial: Trial) -> dict[str, Any]:
        found: dict[str, Any] = load(schema, trial.request(rest))
        return {**found, **{name: given[name] for name in rows}}

    return of_each(trials, loaded, request)


Found = TypeVar("Found")


def of_each(trials: Sequence[Trial], find: Callable[[Trial], Found], request: str = "/train") -> list[Found]:
    """What a function finds for each trial.

    Raises InvalidError with the problems of the trials that it refuses, each once at its place; it looks at no further
    trial if ``LISTED`` are found.
    """
    found, problems, total, codes = [], dict[tuple[str, str], Problem](), 0, set[str]()
    for trial in trials:
        if len(problems) >= LISTED:
            break
        try:
            found.append(find(trial))
        except InvalidError as error:
            total = max(total, error.total)
            codes.add(error.code)
            for before, after in zip(error.problems, trial.moved(error, request), strict=True):
                # Trials that share a wrong value have the same problem.
                problems.setdefault((after.pointer, before.detail), after)
    if problems:
        raise InvalidError.of([*problems.values()], total, codes.pop() if len(codes) == 1 else "validation_failed")
    return found

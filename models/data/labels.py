"""Labels: parsed from JSON or taken from a table's column, numbered by class, and matched by value.

``1``, ``"1"`` and ``1.0`` are the same label, as are ``true``, ``"true"`` and ``"TRUE"``. If a model's classes are
booleans or a pair of words such as no and yes, labels match them by truth. A label that equals a class exactly is
always that class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from models.data.columns import Column
from models.data.limits import MAXIMUM_CLASSES, class_fault
from models.data.rows import number_matrix
from models.data.words import boolean_levels, is_missing, number_of, number_text, truth_of
from models.errors import InvalidError, Problem, describe
from nncore.arrays import Array

__all__ = [
    "CLASS_LIST",
    "LABELS",
    "MISSING_LABEL",
    "UNKNOWN_LABEL",
    "Label",
    "Labels",
    "classes_of",
    "is_label",
    "label_text",
    "match",
    "parse_labels",
    "require_short_classes",
    "same_labels",
]


Label = bool | int | str
LABELS: dict[str, Any] = {
    "description": "One label per row: whole numbers, strings, booleans, or one-hot rows. Rows whose label is null or "
    "a word for a missing value, such as NA, are left out.",
    "oneOf": [
        {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer", "enum": [0, 1]}}},
    ],
}
CLASS_LIST: dict[str, Any] = {
    "type": "array",
    "items": {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}]},
}
#: The form of the labels: JSON values, text in a file, or one-hot rows.
LabelKind = Literal["values", "text", "one_hot"]
#: A word for a missing value that is a class among labels: none, mild, severe.
_CLASS_WORD = "none"
#: Codes of a label that is missing, and of one that is no class.
MISSING_LABEL, UNKNOWN_LABEL = -1, -2
#: More different numbers than these in a column are numbers to estimate, not classes.
MAXIMUM_NUMBERS = 50
#: Whole numbers from here on are not exact in every client.
INEXACT = 2**53


class Labels(NamedTuple):
    """Class codes of shape (n_samples,), and the class of each code; ``MISSING_LABEL`` is the code of no label."""

    codes: Array
    classes: tuple[Label, ...]
    kind: LabelKind


def is_label(value: object) -> bool:
    """Whether a JSON value may be a label: a string, a whole number or a boolean."""
    return isinstance(value, (str, int)) or (isinstance(value, float) and value.is_integer())


def label_text(label: Label) -> str:
    """A label as text: ``true`` and ``false`` as in JSON."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _is_missing(label: object) -> bool:
    """Whether a label is null, NaN or a word for a missing value."""
    if isinstance(label, str):
        return is_missing(label) and label.strip().lower() != _CLASS_WORD
    return label is None or label != label  # only NaN differs from itself


def same_labels(one: Sequence[Label], other: Sequence[Label]) -> bool:
    """Whether two lists hold the same labels of the same types; in Python alone, True equals 1."""
    return list(map(_exactly, one)) == list(map(_exactly, other))


def _exactly(label: object) -> object:
    return (type(label), label)


def _value(label: Any) -> object:
    """What labels of the same value have in common: a number, a truth (as a pair), or the text itself."""
    if isinstance(label, bool):
        return ("truth", label)
    if isinstance(label, str):
        text = label.strip()
        number = number_of(text)
        if number is not None:
            plain = text.lstrip("+-").isdigit()
            return int(text) if plain else number
        return ("truth", text.lower() == "true") if text.lower() in ("true", "false") else text
    return label


def match(labels: Iterable[bool | float | str | None], classes: Sequence[Label]) -> Array:
    """The place of each label among the classes, (n_labels,); ``MISSING_LABEL`` or ``UNKNOWN_LABEL`` if it has none."""
    exact = {_exactly(label): place for place, label in enumerate(classes)}
    values = [_value(label) for label in classes]
    counts = Counter(values)
    by_value = {value: place for place, value in enumerate(values) if counts[value] == 1}
    by_truth = _truths(classes)

    def code(label: bool | float | str | None) -> int:
        found = exact.get(_exactly(label))
        if found is not None:
            return found
        if _is_missing(label):
            return MISSING_LABEL
        truth = truth_of(label) if isinstance(label, str) else label
        if isinstance(truth, bool) and truth in by_truth:
            return by_truth[truth]
        return by_value.get(_value(label), UNKNOWN_LABEL)

    return np.fromiter(map(code, labels), np.intp)


def _truths(classes: Sequence[Label]) -> dict[bool, int]:
    """The places of false and true if the classes are two booleans or a pair of words; else nothing."""
    if len(classes) != 2:
        return {}
    words = [label_text(label) for label in classes if isinstance(label, (bool, str))]
    truths = {truth: place for place, word in enumerate(words) if (truth := truth_of(word)) is not None}
    return truths if len(truths) == 2 and boolean_levels(words) else {}


def parse_labels(value: Any, pointer: str) -> Labels:
    """Parse whole numbers, strings, booleans or one-hot rows. Classes are sorted; those of one-hot rows are ``0…n-1``.

    A label that is null or a word for a missing value has the code ``MISSING_LABEL``. If fewer than two classes were
    left, such words stand for themselves. Raises InvalidError for the first label that is of another type than the
    first one, and does not equal another label by value either.
    """
    if not isinstance(value, list) or not value:
        raise InvalidError.at(pointer, f"must be a list of labels, one per row. Received: {describe(value)}")
    kinds = set(map(type, value))
    if kinds == {list}:
        return _one_hot_labels(value, pointer)
    labels = _whole(value, pointer) if float in kinds else value
    if not kinds <= _LABEL_TYPES or len({bool, int, str} & set(map(type, labels))) > 1:
        _check_types(labels, pointer)
    distinct: set[Any] = {label for label in labels if label is not None}
    # Sets hold labels of one type, or such that are equal by value to one of the first one's type.
    leading = next((type(label) for label in labels if label is not None), None)
    words = {label for label in distinct if _is_missing(label)}
    present = [label for label in distinct - words if type(label) is leading]
    if len(_merged(present)) < 2 and words - {""}:
        present += [label for label in words if label]
    if not present:
        raise InvalidError.at(pointer, "must hold at least one label. Received: only missing ones")
    classes = tuple(_merged(present))
    by_label = dict(zip(distinct, match(distinct, classes).tolist(), strict=True))
    codes = np.fromiter((MISSING_LABEL if x is None else by_label[x] for x in labels), np.intp, len(labels))
    return Labels(codes, classes, "values")


_LABEL_TYPES = {bool, int, float, str, type(None)}
_NAMES: dict[type, str] = {bool: "a boolean", int: "a whole number", str: "a string"}


def _whole(labels: list[Any], pointer: str) -> list[Any]:
    """The labels with whole floats as integers; raises InvalidError for the first fraction."""
    whole = []
    for place, label in enumerate(labels):
        if type(label) is not float:
            whole.append(label)
            continue
        if not label.is_integer() or abs(label) >= INEXACT:
            detail = "must be a label: a whole number below 2^53, a string or a boolean"
            raise InvalidError.at(f"{pointer}/{place}", f"{detail}. Received: {describe(label)}")
        whole.append(int(label))
    return whole


def _check_types(labels: list[Any], pointer: str) -> None:
    """Raise InvalidError for the first label of another type than the first one, unless it equals one by value."""
    leading: type | None = None
    values: set[object] = set()
    for place, label in enumerate(labels):
        if _is_missing(label):
            continue
        if leading is None:
            if type(label) not in _NAMES:
                detail = f"must be a whole number, a string, a boolean or a one-hot row. Received: {describe(label)}"
                raise InvalidError.at(f"{pointer}/{place}", detail)
            leading = type(label)
            values = {_value(each) for each in labels if type(each) is leading}
        elif type(label) is not leading and (type(label) not in _NAMES or _value(label) not in values):
            detail = f"must be {_NAMES[leading]} like the first one. Received: {describe(label)}"
            raise InvalidError.at(f"{pointer}/{place}", detail)


def _merged(labels: Iterable[Any]) -> list[Any]:
    """The sorted labels without those that equal another one by value; the shortest text stands for them."""
    found: dict[object, Any] = {}
    for label in sorted(labels, key=lambda label: (len(str(label)), label)):
        found.setdefault(_value(label), label)
    return sorted(found.values())


def encode(labels: list[Any], kind: LabelKind) -> Labels:
    """Sort the distinct labels into classes, and encode each label as the index of its class."""
    classes = sorted(set(labels))
    numbers = {label: code for code, label in enumerate(classes)}
    return Labels(np.fromiter((numbers[label] for label in labels), np.intp, len(labels)), tuple(classes), kind)


def _one_hot_labels(value: list[Any], pointer: str) -> Labels:
    matrix = number_matrix(value, pointer)
    good = ((matrix == 0) | (matrix == 1)).all(axis=1) & ((matrix == 1).sum(axis=1) == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise InvalidError.at(f"{pointer}/{row}", f"must hold one 1, and 0 elsewhere. Received: {describe(value[row])}")
    return Labels(np.argmax(matrix, axis=1), tuple(range(matrix.shape[1])), "one_hot")


def require_short_classes(labels: Labels, pointer: str, place_of: Callable[[int], int] = int) -> None:
    """Raise InvalidError if the classes cannot be stored: at the first row with a name that is too long.

    ``place_of`` is the place of a row in the list at ``pointer``.
    """
    fault = class_fault(labels.classes)
    if fault is None:
        return
    place, detail = fault
    if place is None:
        raise InvalidError.at(pointer, detail)
    row = place_of(int(np.argmax(labels.codes == place)))
    raise InvalidError.of([Problem(f"{pointer}/{row}", detail, row=row + 1)])


def classes_of(column: Column, pointer: str = "/label") -> Labels:
    """The labels in a table's column: its words, whole numbers or booleans as sorted classes.

    Raises InvalidError at ``pointer`` if the column holds times, or more different values than classes can be.
    """
    match column.kind:
        case "number":
            labels = _number_labels(column)
        case "boolean":
            truths = tuple(word.strip().lower() for word in column.levels)
            classes: tuple[Label, ...] = (False, True) if truths == ("false", "true") else column.levels
            labels = Labels(column.values.astype(np.intp), classes, "text")
        case "category":
            labels = _sorted_words(column.levels, column.values)
        case "text":
            distinct = sorted({text for text in column.values if text})
            places = {text: place for place, text in enumerate(distinct)}
            codes = np.fromiter((places.get(text, -1) for text in column.values), np.intp, len(column.values))
            labels = Labels(codes, tuple(distinct), "text")
        case _:
            raise InvalidError.at(pointer, "must name a column of words, whole numbers or booleans. Received: times")
    count, numbers = len(labels.classes), column.kind == "number"
    if count > (MAXIMUM_NUMBERS if numbers else MAXIMUM_CLASSES):
        what = f"has {count:,} different {'numbers' if numbers else 'words'}"
        why = (
            "these are numbers to estimate, not classes; if they are classes, make the column a category (types)"
            if numbers
            else f"a classifier has at most {MAXIMUM_CLASSES:,} classes"
        )
        raise InvalidError.at(pointer, f"{what}: {why}")
    return labels


def _number_labels(column: Column) -> Labels:
    gaps = column.missing()
    distinct, places = np.unique(column.values[~gaps], return_inverse=True)
    whole = bool((np.abs(distinct) < INEXACT).all() and (distinct == np.trunc(distinct)).all())
    classes: list[Any] = [int(x) if whole else number_text(x) for x in distinct.tolist()]
    codes = np.full(len(column.values), MISSING_LABEL, np.intp)
    codes[~gaps] = places
    return Labels(codes, tuple(classes), "text")


def _sorted_words(words: Sequence[str], codes: Array) -> Labels:
    """Labels whose classes are sorted words: by number if all of them are numbers."""
    numbers = [number_of(word) for word in words]
    numeric = None not in numbers
    order = sorted(range(len(words)), key=lambda place: (numbers[place] if numeric else 0.0, words[place]))
    # The last place is that of a missing label, whose code is -1.
    places = np.full(len(words) + 1, MISSING_LABEL, np.intp)
    places[order] = np.arange(len(words))
    return Labels(places[codes], tuple(words[place] for place in order), "text")

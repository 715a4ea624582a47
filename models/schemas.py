"""Marshmallow schemas derived from dataclasses, and errors as JSON pointers.

A dataclass declares its fields and bounds once (``nncore.hyperparameters``); its schema is derived from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from itertools import islice
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import marshmallow as ma

from models.errors import LISTED, InvalidError, Problem, describe, escaped, nearest, unknown_field
from nncore.hyperparameters import MAXIMUM_ITEMS, Bounds, FieldError, bounds_of
from nncore.schedules import SCHEDULES, Schedule

__all__ = [
    "Bounds",
    "DescribedField",
    "Flag",
    "ItemMessages",
    "Items",
    "Number",
    "Numbers",
    "StrictSchema",
    "Tagged",
    "Text",
    "Texts",
    "Whole",
    "field_for",
    "left_out",
    "load",
    "problems_of",
    "refusal_of",
    "schema_for",
    "shared",
]


#: Members of an object, up to which the error for what is no object names them.
_SHOWN = 8


class _Unknown(str):
    """The message for an unknown field. ``problems_of`` completes it, since the field's name is in its place alone."""

    __slots__ = ("known",)
    known: tuple[str, ...]

    @classmethod
    def among(cls, known: Iterable[str]) -> _Unknown:
        message = cls("is not a known field")
        message.known = tuple(known)
        return message


class _Further(str):
    """A message that stands for ``problems`` that are not listed: their number."""

    __slots__ = ("problems",)
    problems: int

    @classmethod
    def of(cls, problems: int) -> _Further:
        message = cls("further problems are not listed")
        message.problems = problems
        return message


class ItemMessages:
    """What is wrong with the items of a list or the members of an object: ``LISTED`` messages, the others counted."""

    def __init__(self) -> None:
        self._messages: dict[Any, Any] = {}
        self._further = 0

    def add(self, place: Any, messages: Any) -> None:
        """Add what is wrong at an index or name, as a tree of marshmallow's messages."""
        if len(self._messages) < LISTED:
            self._messages[place] = messages
        else:
            self._further += _count(messages)

    def check(self) -> None:
        """Raise ValidationError if there are any."""
        if self._messages:
            further = {"_schema": [_Further.of(self._further)]} if self._further else {}
            raise ma.ValidationError({**self._messages, **further})


class StrictSchema(ma.Schema):
    """A schema that refuses unknown fields; the error lists the known ones, with the nearest one first."""

    class Meta:
        unknown = ma.RAISE

    #: What holds between fields, as members of the schema's JSON schema.
    rules: ClassVar[Mapping[str, Any]] = {}
    #: Documents that the schema accepts, for people who read or try them; they follow one another.
    examples: ClassVar[Sequence[Any]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error_messages["unknown"] = _Unknown.among(field.data_key or name for name, field in self.fields.items())

    def load(self, data: Any, **options: Any) -> Any:
        """Load a document. Of more than ``LISTED`` unknown fields, marshmallow sees so many and no more."""
        if not isinstance(data, Mapping):
            members = f" of {', '.join(self.fields)}" if len(self.fields) <= _SHOWN else ""
            raise ma.ValidationError(f"must be an object{members}. Received: {describe(data)}")
        if not isinstance(data, dict) or len(data) <= LISTED:
            return super().load(data, **options)
        known = {field.data_key or name for name, field in self.load_fields.items()}
        unknown = len(data) - sum(name in data for name in known)
        if unknown <= LISTED:
            return super().load(data, **options)
        listed = list(islice((name for name in data if name not in known), LISTED))
        try:
            return super().load({name: data[name] for name in (*known, *listed) if name in data}, **options)
        except ma.ValidationError as error:
            found: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
            others = {name: found.pop(name) for name in listed if name in found}
            further = {"_schema": [*found.pop("_schema", []), _Further.of(unknown - LISTED)]} if others else {}
            raise ma.ValidationError({**found, **others, **further}) from None


class DescribedField(ma.fields.Field[Any]):
    """A field that describes itself as JSON schema; its errors name the value received and a valid one."""

    wanted = ""

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the values that the field accepts."""
        raise NotImplementedError

    def refusal(self, value: Any, wanted: str | None = None, hint: str = "") -> ma.ValidationError:
        return ma.ValidationError(f"{wanted or 'must be ' + self.wanted}. Received: {describe(value)}{hint}")

    def _validated(self, value: Any) -> Any:
        raise NotImplementedError

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return self._validated(value)


class Number(DescribedField):
    """A finite JSON number within bounds; numeric strings and booleans are refused."""

    wanted = "a number"
    kinds: tuple[type, ...] = (int, float)

    def __init__(self, bounds: Bounds | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.bounds = bounds or Bounds()

    def json_schema(self) -> dict[str, Any]:
        limits = {
            "minimum": self.bounds.minimum,
            "maximum": self.bounds.maximum,
            "exclusiveMinimum": self.bounds.above,
            "exclusiveMaximum": self.bounds.below,
        }
        kind = "number" if float in self.kinds else "integer"
        return {"type": kind, **{name: value for name, value in limits.items() if value is not None}}

    def _validated(self, value: Any) -> Any:
        if type(value) not in self.kinds:
            raise self.refusal(value)
        violation = self.bounds.violation(value)
        if violation:
            raise self.refusal(value, violation)
        return float(value) if float in self.kinds else value


class Whole(Number):
    """A JSON integer within bounds."""

    wanted = "a whole number"
    kinds = (int,)


class Flag(DescribedField):
    """true or false."""

    wanted = "true or false"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def _validated(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.refusal(value)
        return value


class Text(DescribedField):
    """A string of 1 to ``maximum`` characters, limited to ``choices`` or to matches of ``pattern`` if given."""

    wanted = "a string"

    def __init__(
        self, *, choices: tuple[str, ...] = (), pattern: str = "", maximum: int = 1000, **options: Any
    ) -> None:
        super().__init__(**options)
        self.choices, self.maximum = choices, maximum
        self.pattern = pattern
        self._match = ma.validate.Regexp(rf"{pattern}\Z") if pattern else None

    def json_schema(self) -> dict[str, Any]:
        limits: dict[str, Any] = {"minLength": 1, "maxLength": self.maximum}
        if self.choices:
            limits = {"enum": list(self.choices)}
        return {"type": "string", **limits, **({"pattern": f"^{self.pattern}$"} if self.pattern else {})}

    def _validated(self, value: Any) -> str:
        if self.choices and value not in self.choices:
            raise self.refusal(value, f"must be one of {', '.join(map(repr, self.choices))}")
        if not isinstance(value, str):
            raise self.refusal(value)
        if not 1 <= len(value) <= self.maximum:
            raise self.refusal(value, f"must have 1 to {self.maximum} characters")
        if self._match:
            try:
                self._match(value)
            except ma.ValidationError:
                meant = _matching(value, self.pattern)
                raise self.refusal(value, f"must match {self.pattern}", f"; try {meant!r}" if meant else "") from None
        return value


def _matching(text: str, pattern: str) -> str | None:
    """A text in lower case, with hyphens for what a name does not have, if that matches a pattern."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.strip().lower())
    return name if re.fullmatch(pattern, name) else None


class Numbers(Number):
    """A list of finite numbers, each within bounds, as a tuple."""

    wanted = f"a list of at most {MAXIMUM_ITEMS} numbers"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": super().json_schema(), "maxItems": MAXIMUM_ITEMS}

    def _validated(self, value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) > MAXIMUM_ITEMS:
            raise self.refusal(value)
        item, numbers, problems = Number(self.bounds), [], ItemMessages()
        for index, each in enumerate(value):
            try:
                numbers.append(item.deserialize(each))
            except ma.ValidationError as error:
                problems.add(index, error.messages)
        problems.check()
        return tuple(numbers)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> list[float] | None:
        return None if value is None else list(value)


class Texts(DescribedField):
    """A list of different strings, limited to ``choices`` if given, as a tuple."""

    wanted = f"a list of at most {MAXIMUM_ITEMS} different strings"

    def __init__(self, *, choices: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(**options)
        self._item = Text(choices=choices)

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self._item.json_schema(), "maxItems": MAXIMUM_ITEMS, "uniqueItems": True}

    def _validated(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MAXIMUM_ITEMS:
            raise self.refusal(value)
        problems = ItemMessages()
        seen: set[str] = set()
        for index, each in enumerate(value):
            try:
                text = self._item.deserialize(each)
            except ma.ValidationError as error:
                problems.add(index, error.messages)
                continue
            if text in seen:
                problems.add(index, [f"must not be repeated. Received: {describe(each)}"])
            seen.add(text)
        problems.check()
        return tuple(value)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> list[str] | None:
        return None if value is None else list(value)


class Items(ma.fields.List[Any]):
    """A list of ``minimum`` to ``maximum`` items, each loaded by a field; its length is checked before its items."""

    def __init__(self, item: ma.fields.Field[Any], maximum: int, minimum: int = 0, **options: Any) -> None:
        super().__init__(item, validate=ma.validate.Length(minimum, maximum), **options)
        self.minimum, self.maximum = minimum, maximum

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ma.ValidationError(f"must be a list. Received: {describe(value)}")
        if not self.minimum <= len(value) <= self.maximum:
            wanted = f"{self.minimum} to {self.maximum}" if self.minimum else f"at most {self.maximum}"
            raise ma.ValidationError(f"must hold {wanted} items. Received: {len(value)}")
        items, messages = [], ItemMessages()
        for index, each in enumerate(value):
            try:
                items.append(self.inner.deserialize(each, **kwargs))
            except ma.ValidationError as error:
                messages.add(index, error.messages)
        messages.check()
        return items


class Tagged(ma.fields.Field[Any]):
    """An object whose member ``type`` names a class in ``table``; it becomes an instance of that class.

    The name alone is a short form if the class has a default for every field.
    """

    def __init__(self, table: Mapping[str, type], **options: Any) -> None:
        super().__init__(**options)
        self.table = table

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            return self._named(value)
        if not isinstance(value, dict):
            raise ma.ValidationError(f'must be a name, or an object with a "type". Received: {describe(value)}')
        name = value.get("type")
        if not isinstance(name, str) or name not in self.table:
            raise ma.ValidationError({"type": [self._no_member(name) if "type" in value else self._no_member()]})
        return self._member(name, {key: item for key, item in value.items() if key != "type"})

    @property
    def short_names(self) -> list[str]:
        """The names that stand for their class with all defaults."""
        return [name for name, rule in self.table.items() if not any(item.default is MISSING for item in fields(rule))]

    def _no_member(self, *name: Any) -> str:
        known = ", ".join(map(repr, self.table))
        near = nearest(name[0], self.table) if name else None
        received = describe(name[0]) if name else "no type"
        return f"must be one of {known}. Received: {received}" + ("" if near is None else f"; did you mean {near!r}?")

    def _named(self, name: str) -> Any:
        """The member of a short form."""
        if name not in self.table:
            raise ma.ValidationError(self._no_member(name))
        if name not in self.short_names:
            needed = [item.name for item in fields(self.table[name]) if item.default is MISSING]
            rest = "".join(f', "{field}": …' for field in needed)
            raise ma.ValidationError(f'must be an object, {{"type": "{name}"{rest}}}. Received: {describe(name)}')
        return self._member(name, {})

    def _member(self, name: str, rest: dict[str, Any]) -> Any:
        values = shared(schema_for(self.table[name])).load(rest)
        try:
            return self.table[name](**values)
        except FieldError as error:
            raise ma.ValidationError({error.field: [f"{error.wanted}. Received: {describe(error.value)}"]}) from None

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        name, rule = next(item for item in self.table.items() if item[1] is type(value))
        return {"type": name, **shared(schema_for(rule)).dump(value)}


#: Base classes that may be the type of another dataclass's field, each with the table of its members.
_TABLES: dict[type, Mapping[str, type]] = {Schedule: SCHEDULES}


@cache
def schema_for(rule: type) -> type[StrictSchema]:
    """The schema of a dataclass; ``field_for`` lists the supported types of fields."""
    hints = get_type_hints(rule)
    declared = {}
    for item in fields(rule):
        options: dict[str, Any] = {"required": True}
        if item.default is not MISSING:
            options = {"load_default": item.default}
        bounds = bounds_of(item.metadata)
        declared[item.name] = field_for(hints[item.name], bounds, metadata={"description": bounds.help}, **options)
    return type(f"{rule.__name__}Schema", (StrictSchema,), declared)


@cache
def shared(schema: type[StrictSchema]) -> StrictSchema:
    """A shared instance of a schema. Creating one takes longer than using it, and using it does not change it."""
    return schema()


def field_for(hint: Any, bounds: Bounds, **options: Any) -> ma.fields.Field[Any]:
    """The field for a type hint.

    These are int, float, bool, str, Literal, tuples of floats, strings or Literal, a class in ``_TABLES``, or one of
    these or None. Raises TypeError for any other type hint; such a field needs a hand-written schema.
    """
    options.setdefault("error_messages", {"required": "is required", "null": "must not be null"})
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (choice for choice in get_args(hint) if choice is not NoneType)
        return field_for(hint, bounds, allow_none=True, **options)
    if get_origin(hint) is Literal:
        return Text(choices=get_args(hint), **options)
    if get_origin(hint) is tuple and get_origin(get_args(hint)[0]) is Literal:
        return Texts(choices=get_args(get_args(hint)[0]), **options)
    if hint in _BOUNDED:
        return _BOUNDED[hint](bounds, **options)
    if hint in _PLAIN:
        return _PLAIN[hint](**options)
    if hint in _TABLES:
        return Tagged(_TABLES[hint], **options)
    raise TypeError(f"no field can be derived for {hint!r}")


#: The fields of types with bounds, and of types without.
_BOUNDED: dict[Any, type[Number]] = {int: Whole, float: Number, tuple[float, ...]: Numbers}
_PLAIN: dict[Any, type[DescribedField]] = {bool: Flag, str: Text, tuple[str, ...]: Texts}


def left_out() -> None:
    """The default of a parameter that is None if it is left out; given, it is never null."""


def load(schema: ma.Schema | ma.fields.Field[Any], document: Any) -> Any:
    """Load ``document`` with a schema or field. Raises InvalidError with a JSON pointer for each problem."""
    try:
        return schema.load(document) if isinstance(schema, ma.Schema) else schema.deserialize(document)
    except ma.ValidationError as error:
        raise refusal_of(error.messages) from None


def refusal_of(messages: Any) -> InvalidError:
    """The error of marshmallow's tree of messages."""
    problems = problems_of(messages)
    return InvalidError.of(problems, len(problems) + _further(messages))


def _further(messages: Any) -> int:
    """The number of problems in a tree of messages that it does not list."""
    if isinstance(messages, Mapping):
        messages = messages.values()
    elif not isinstance(messages, list):
        return messages.problems if isinstance(messages, _Further) else 0
    return sum(map(_further, messages))


def _count(messages: Any) -> int:
    """The number of problems in a tree of messages."""
    if isinstance(messages, Mapping):
        messages = messages.values()
    elif not isinstance(messages, list):
        return messages.problems if isinstance(messages, _Further) else 1
    return sum(map(_count, messages))


def problems_of(messages: Any, pointer: str = "") -> list[Problem]:
    """Flatten marshmallow's tree of messages into a list with JSON pointers (RFC 6901)."""
    if isinstance(messages, Mapping):
        return [
            problem
            for key, inner in messages.items()
            for problem in (
                [Problem(f"{pointer}/{escaped(key)}", unknown_field(key, text.known)) for text in _unknown(inner)]
                or problems_of(inner, pointer if key == "_schema" else f"{pointer}/{escaped(key)}")
            )
        ]
    if isinstance(messages, list):
        return [problem for inner in messages for problem in problems_of(inner, pointer)]
    if isinstance(messages, _Further):
        return []
    text = str(messages)
    return [Problem(pointer, _RENAMED.get(text, text))]


def _unknown(messages: Any) -> list[_Unknown]:
    return [text for text in messages if isinstance(text, _Unknown)] if isinstance(messages, list) else []


#: Replacements for messages that come from marshmallow itself.
_RENAMED = {
    "Missing data for required field.": "is required",
    "Field may not be null.": "must not be null",
    "Not a valid list.": "must be a list",
    "Not a valid mapping type.": "must be an object",
    "Invalid input type.": "must be an object",
}

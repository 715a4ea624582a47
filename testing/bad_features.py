"""Checkpoint files of a table model whose ``/features`` are invalid, made by hand, each with the place of the error.

All are for one small model, ``TABLE_MODEL``, that has a feature of each kind. Each is ``GOOD_TABLE`` with one change.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from testing.bad_files import HOST_FILE, Bad
from testing.samples import CLASSES

__all__ = [
    "BAD_FEATURES",
    "GOOD_TABLE",
    "LEARNED",
    "ODD_FEATURES",
    "TABLE_DATA",
    "TABLE_MODEL",
    "TABLE_ROWS",
    "table_file",
]

TABLE_MODEL: dict[str, Any] = {
    "name": "table-target",
    "classes": CLASSES,
    "features": [
        {"column": "age", "type": "number"},
        {"column": "income", "type": "number", "scale": "quantile"},
        {"column": "score", "type": "number", "scale": "piecewise_linear"},
        {"column": "sex", "type": "category"},
        {"column": "size", "type": "category", "levels": ["S", "L"]},
        {"column": "member", "type": "boolean"},
        {"column": "day", "type": "datetime", "parts": ["elapsed", "month"]},
        {"column": "notes", "type": "text", "buckets": 4},
        {"column": "id", "type": "ignore"},
        {"column": "height", "type": "number", "scale": "robust_bins"},
        {"column": "side", "type": "category", "signed": True, "max_levels": 2},
    ],
    "layers": [{"type": "dense", "units": 4}, {"type": "relu"}, {"type": "dense", "units": 3}, {"type": "softmax"}],
}


def _words(*words: str) -> Any:
    return np.frombuffer(json.dumps(words).encode(), np.uint8)


#: What the features have learned, in the types of docs/checkpoint-format.md.
LEARNED: dict[str, Any] = {
    "0_age/range": np.array([0.0, 90.0]),
    "0_age/fill": np.array([30.0]),
    "0_age/gaps": np.array([1], np.uint8),
    "0_age/center": np.array([30.0]),
    "0_age/scale": np.array([10.0]),
    "1_income/range": np.array([0.0, 4.0]),
    "1_income/fill": np.array([1.0]),
    "1_income/gaps": np.array([0], np.uint8),
    "1_income/quantiles": np.array([0.0, 1.0, 2.0, 4.0]),
    "2_score/range": np.array([0.0, 2.0]),
    "2_score/fill": np.array([1.0]),
    "2_score/gaps": np.array([0], np.uint8),
    "2_score/edges": np.array([0.0, 1.0, 2.0]),
    "3_sex/levels": _words("female", "male"),
    "3_sex/counts": np.array([3, 4]),
    "3_sex/rare": np.array([1], np.uint8),
    "3_sex/gaps": np.array([1], np.uint8),
    "4_size/levels": _words("S", "L"),
    "4_size/counts": np.array([3, 4]),
    "4_size/rare": np.array([0], np.uint8),
    "4_size/gaps": np.array([0], np.uint8),
    "5_member/levels": _words("no", "yes"),
    "5_member/counts": np.array([3, 4]),
    "5_member/gaps": np.array([1], np.uint8),
    "6_day/range": np.array([0, 10**15]),
    "6_day/center": np.array([1.0, 6.0]),
    "6_day/scale": np.array([2.0, 3.0]),
    "6_day/gaps": np.array([0], np.uint8),
    "7_notes/count": np.array([7]),
    "7_notes/gaps": np.array([0], np.uint8),
    "9_height/range": np.array([0.0, 4.0]),
    "9_height/fill": np.array([1.0]),
    "9_height/gaps": np.array([1], np.uint8),
    "9_height/center": np.array([1.0]),
    "9_height/scale": np.array([0.5]),
    "9_height/edges": np.array([0.0, 1.0, 2.0, 4.0]),
    "10_side/levels": _words("left", "right"),
    "10_side/counts": np.array([3, 4]),
    "10_side/rare": np.array([0], np.uint8),
    "10_side/gaps": np.array([0], np.uint8),
}
#: The numbers that the features become.
WIDTH = 2 + 1 + 2 + 4 + 2 + 2 + 3 + 4 + 5 + 1
_SHAPES = {"0_dense/weights": (WIDTH, 4), "0_dense/bias": (4,), "2_dense/weights": (4, 3), "2_dense/bias": (3,)}
#: Rows for predictions: usual ones, and ones that are missing, unseen or far away.
TABLE_ROWS: list[dict[str, Any]] = [
    {
        "age": 20,
        "income": 1,
        "score": 0.5,
        "sex": "male",
        "size": "S",
        "member": True,
        "day": "1970-02-01",
        "notes": "a",
        "height": 1.5,
        "side": "left",
    },
    {"age": None, "sex": "none of them", "notes": ""},
    {
        "age": 1e300,
        "income": -1e300,
        "score": 1e300,
        "day": "9999-12-31T23:59:59",
        "size": "M",
        "member": "no",
        "height": -1e300,
    },
]


def _row(number: int) -> dict[str, Any]:
    gap = number % 7 == 5
    return {
        "age": None if gap else number % 3 * 10 + number / 40,
        "income": number * 3 % 11,
        "score": number % 5,
        "sex": None if number % 9 == 4 else ["female", "male"][number % 2],
        "size": ["S", "L"][number // 2 % 2],
        "member": None if gap else number % 4 == 0,
        "day": f"2020-{number % 12 + 1:02}-11",
        "notes": ["sun", "rain and sun", ""][number % 3],
        "id": str(number),
        "height": None if gap else number * 7 % 23 / 3,
        "side": ["left", "right"][number % 2],
        "colour": CLASSES[number % 3],
    }


#: Rows to train the model on, with gaps; the age decides the label.
TABLE_DATA = {"rows": [_row(number) for number in range(40)], "label": "colour"}


def table_file(*changes: Callable[[h5py.File], None], **options: Any) -> bytes:
    """The bytes of a good file to which ``changes`` were made; ``options`` are those of ``h5py.File``."""
    buffer = io.BytesIO()
    generator = np.random.default_rng(0)
    with h5py.File(buffer, "w", **options) as file:
        file.attrs["format"], file.attrs["format_version"] = "trainyard-checkpoint", 1
        file.attrs["definition"], file.attrs["classes"] = json.dumps(TABLE_MODEL), json.dumps(CLASSES)
        for name, shape in _SHAPES.items():
            file[f"parameters/{name}"] = generator.normal(size=shape).astype("f4")
        for name, array in LEARNED.items():
            file[f"features/{name}"] = array
        for change in changes:
            change(file)
    return buffer.getvalue()


GOOD_TABLE = table_file()
BAD_FEATURES: dict[str, Bad] = {}
#: Good files with numbers at the ends of their range: predictions may overflow, but nothing else.
ODD_FEATURES: dict[str, Callable[[], bytes]] = {}


def bad(name: str, pointer: str, change: Callable[[h5py.File], None], **options: Any) -> None:
    """Register a change of the good file that makes it bad at one place."""
    BAD_FEATURES[name] = Bad(lambda: table_file(change, **options), pointer)


def instead(name: str, place: str, value: Any, pointer: str | None = None, **options: Any) -> None:
    """Register another object at a place below ``/features``: an array, a link, or a function that makes it."""
    whole = f"features/{place}"

    def change(file: h5py.File) -> None:
        del file[whole]
        if not callable(value):
            file[whole] = value
        elif (made := value(file, whole)) is not None:
            file[whole] = made

    bad(name, pointer or f"/{whole}", change, **options)


# Links and storage that lead elsewhere, sizes and types: for bytes of any length, and for a single number.


def _virtual(length: int, dtype: str, file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((length,), dtype)
    layout[...] = h5py.VirtualSource(HOST_FILE, name, (length,), dtype)
    file.create_virtual_dataset(name, layout)


def _endless_virtual(file: h5py.File, name: str) -> None:
    """Its extent is that of as many files as there are."""
    plan, space = h5p.create(h5p.DATASET_CREATE), h5s.create_simple((20,), (h5s.UNLIMITED,))
    space.select_hyperslab((0,), (h5s.UNLIMITED,), (1,), (1,))
    plan.set_virtual(space, b"/etc/passw%b", b"data", h5s.create_simple((1,)))
    group, _, last = name.rpartition("/")
    h5d.create(file[group].id, last.encode(), h5t.STD_U8LE, h5s.create_simple((20,), (h5s.UNLIMITED,)), plan)


def _unknown_filter(length: int, kind: Any, file: h5py.File, name: str) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((length,))
    plan.set_filter(h5z.FILTER_RESERVED + 32_000, h5z.FLAG_OPTIONAL, (1, 2))
    group, _, last = name.rpartition("/")
    h5d.create(file[group].id, last.encode(), kind, h5s.create_simple((length,)), plan)


def _compact(length: int, kind: Any, file: h5py.File, name: str) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.COMPACT)
    group, _, last = name.rpartition("/")
    made = h5d.create(file[group].id, last.encode(), kind, h5s.create_simple((length,)), plan)
    made.write(h5s.ALL, h5s.ALL, np.zeros(length, made.dtype))


def _created(shape: Any, dtype: Any, **options: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, shape, dtype, **options)

    return make


for _what, _place, _length, _dtype, _kind in (
    ("levels", "3_sex/levels", 18, "u1", h5t.STD_U8LE),
    ("a center", "0_age/center", 1, "f8", h5t.IEEE_F64LE),
):
    _zeros = np.zeros(_length, _dtype)
    for _name, _value in {
        "external link": h5py.ExternalLink(HOST_FILE, "/"),
        "soft link": h5py.SoftLink("/features/4_size/levels"),
        "soft-link loop": h5py.SoftLink(f"/features/{_place}"),
        "dangling soft link": h5py.SoftLink("/nowhere"),
        "external storage": _created(_length, _dtype, external=[(HOST_FILE, 0, _length * _zeros.itemsize)]),
        "virtual": lambda file, name, n=_length, d=_dtype: _virtual(n, d, file, name),
        "compact": lambda file, name, n=_length, k=_kind: _compact(n, k, file, name),
        "unknown filter": lambda file, name, n=_length, k=_kind: _unknown_filter(n, k, file, name),
        "chunks": _created(_length, _dtype, chunks=(_length,), data=_zeros),
        "deflate": _created(_length, _dtype, compression="gzip", data=_zeros),
        "never written": _created(_length, _dtype),
        "two axes": _zeros[:, None],
        "no axis": _zeros[0],
        "no space": h5py.Empty(_dtype),
        "petabytes": _created((2**50,), _dtype),
        "petabytes in chunks": _created((2**50,), _dtype, chunks=(2**20,)),
        "float32": _zeros.astype("f4"),
        "big-endian": _zeros.astype(">i8"),
        "booleans": _zeros.astype(bool),
        "fixed strings": _zeros.astype("S4"),
        "strings": _created(_length, h5py.string_dtype()),
        "compounds": np.zeros(_length, [("a", "u1")]),
        "references": _created(_length, h5py.ref_dtype),
        "a group": lambda file, name: file.create_group(name) and None,
        "a type": np.dtype(_dtype),
    }.items():
        instead(f"{_what}: {_name}", _place, _value)
instead("levels: virtual without end", "3_sex/levels", _endless_virtual, libver="latest")
instead("a center: none", "0_age/center", np.zeros(0))
instead("a center: two", "0_age/center", np.zeros(2))
instead("levels: more than may be", "3_sex/levels", np.full(2**24 + 1, 0x20, np.uint8))

# Levels that are none.

_SEX, _SIZE = "/features/3_sex", "/features/4_size"
for _name, _content in {
    "empty": b"",
    "no JSON": b'["female", "male"',
    "not UTF-8": b'["female", "m\xff"]',
    "UTF-16 that is cut": '["female", "male"]'.encode("utf-16-le")[:-1],
    "an object": b'{"female": 0, "male": 1}',
    "a number": b"1e999",
    "numbers": b"[0, 1]",
    "a level that is null": b'["female", null]',
    "a level that is a list": b'["female", ["male"]]',
    "twice the same": b'["female", "female"]',
    "one too few": b'["female"]',
    "one too many": b'["female", "male", "other"]',
    "half a character": b'["female", "\\ud800"]',
    "deep": b"[" * 100_000,
    "a number of many digits": b"[" + b"9" * 100_000 + b"]",
    "2,000 of them": json.dumps([str(number) for number in range(2000)]).encode(),
}.items():
    instead(f"levels: {_name}", "3_sex/levels", np.frombuffer(_content, np.uint8), _SEX)


def _many_levels(file: h5py.File) -> None:
    del file["features/3_sex/levels"], file["features/3_sex/counts"]
    file["features/3_sex/levels"] = _words(*map(str, range(2000)))
    file["features/3_sex/counts"] = np.ones(2000, np.int64)


bad("levels: 2,000 with counts", _SEX, _many_levels)
instead("levels: others than the definition's", "4_size/levels", _words("L", "S"), _SIZE)
instead("levels: more than the definition allows", "10_side/levels", _words(*"abc"), "/features/10_side")
instead("levels: three words of a boolean", "5_member/levels", _words("no", "yes", "maybe"), "/features/5_member")
instead("levels: equal words of a boolean", "5_member/levels", _words("no", "no"), "/features/5_member")

# Numbers that nothing has learned.

for _place, _bad_value, _at in (
    ("0_age/center", np.array([np.nan]), None),
    ("0_age/center", np.array([np.inf]), None),
    ("0_age/scale", np.array([0.0]), "/features/0_age"),
    ("0_age/scale", np.array([-1.0]), "/features/0_age"),
    ("0_age/range", np.array([1.0, 0.0]), "/features/0_age"),
    ("0_age/range", np.array([0.0, np.nan]), None),
    ("0_age/fill", np.array([-np.inf]), None),
    ("0_age/gaps", np.array([2], np.uint8), None),
    ("1_income/quantiles", np.array([0.0, 2.0, 1.0]), "/features/1_income"),
    ("1_income/quantiles", np.array([0.0]), "/features/1_income"),
    ("1_income/quantiles", np.zeros(0), "/features/1_income"),
    ("1_income/quantiles", np.arange(1001.0), "/features/1_income"),
    ("1_income/quantiles", np.array([0.0, np.nan]), None),
    ("2_score/edges", np.array([0.0, 0.0, 1.0]), "/features/2_score"),
    ("2_score/edges", np.arange(18.0), "/features/2_score"),
    ("9_height/edges", np.array([0.0, 0.0, 1.0]), "/features/9_height"),
    ("9_height/edges", np.array([0.0, 2.0, 1.0]), "/features/9_height"),
    ("9_height/edges", np.array([0.0, 1.0]), "/features/9_height"),
    ("9_height/edges", np.arange(19.0), "/features/9_height"),
    ("9_height/edges", np.array([0.0, 1.0, np.inf]), None),
    ("9_height/scale", np.array([0.0]), "/features/9_height"),
    ("9_height/gaps", np.array([2], np.uint8), None),
    ("10_side/gaps", np.array([2], np.uint8), None),
    ("3_sex/counts", np.array([3, -4]), _SEX),
    ("3_sex/counts", np.array([3, 4, 5]), _SEX),
    ("3_sex/rare", np.array([255], np.uint8), None),
    ("3_sex/gaps", np.array([255], np.uint8), None),
    ("5_member/counts", np.array([-1, 4]), "/features/5_member"),
    ("5_member/gaps", np.array([255], np.uint8), None),
    ("6_day/range", np.array([1, 0]), "/features/6_day"),
    ("6_day/range", np.array([np.iinfo(np.int64).min, 0]), "/features/6_day"),
    ("6_day/scale", np.array([-1.0, 1.0]), "/features/6_day"),
    ("6_day/scale", np.array([1.0]), None),
    ("7_notes/count", np.array([-1]), "/features/7_notes"),
    ("7_notes/gaps", np.array([7], np.uint8), None),
):
    instead(f"{_place}: {_bad_value.tolist()[:4]}, {len(_bad_value)} of them", _place, _bad_value, _at)


def odd(place: str, *values: float) -> None:
    """Register a good file with unusual numbers."""

    def change(file: h5py.File) -> None:
        del file[f"features/{place}"]
        file[f"features/{place}"] = np.array(values)

    ODD_FEATURES[f"{place}: {values}"] = lambda: table_file(change)


odd("0_age/scale", 5e-324)
odd("0_age/scale", 1.7e308)
odd("0_age/center", -1.7e308)
odd("0_age/fill", 1.7e308)
odd("0_age/range", -1.7e308, 1.7e308)
odd("1_income/quantiles", 0.0, 0.0, 0.0, 0.0)
odd("1_income/quantiles", 0.0, 5e-324)
odd("1_income/quantiles", -1.7e308, 1.7e308)
odd("2_score/edges", 0.0, 5e-324, 1.0)
odd("2_score/edges", -1.7e308, 1.7e308, 1.75e308)
odd("9_height/edges", 0.0, 5e-324, 1e-323, 4.0)
odd("9_height/edges", -1.7e308, 0.0, 1.0, 1.7e308)
odd("9_height/scale", 5e-324)
odd("9_height/center", 1.7e308)
odd("9_height/range", 1.0, 1.0)
odd("3_sex/counts", 2**62, 2**62)
odd("6_day/scale", 5e-324, 1.0)
odd("6_day/center", 1.7e308, 1.7e308)
odd("6_day/range", -(2**63) + 1, 2**63 - 1)
odd("7_notes/count", 2**62)


# Names.


def _without(place: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[place]

    return change


def _beside(place: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[place] = np.zeros(3)

    return change


def _renamed(file: h5py.File) -> None:
    file.move("features/3_sex", "features/4_sex")


def _outside(file: h5py.File) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink(HOST_FILE, "/features")


def _ring(file: h5py.File) -> None:
    file["features/3_sex/again"] = file["features"]


def _one_for_all(file: h5py.File) -> None:
    """The same 16 MB by many names: more than the file holds."""
    large = np.full(2**24, 0x20, np.uint8)
    del file["features/3_sex/levels"]
    file["features/3_sex/levels"] = large
    for group in ("4_size", "5_member"):
        del file[f"features/{group}/levels"]
        file[f"features/{group}/levels"] = file["features/3_sex/levels"]


def _another_width(file: h5py.File) -> None:
    file["features/3_sex/rare"][0] = 0


bad("no features", "/features/0_age/range", _without("features"))
bad("no group", "/features/3_sex/levels", _without("features/3_sex"))
for _place in LEARNED:
    bad(f"no {_place}", f"/features/{_place}", _without(f"features/{_place}"))
bad("also a feature", "/features", _beside("features/9_other"))
bad("also a feature that is set aside", "/features", _beside("features/8_id/levels"))
bad("also an array", "/features/3_sex", _beside("features/3_sex/other"))
bad("another name", "/features/3_sex/levels", _renamed)
bad("features elsewhere", "/features", _outside)
bad("features in a ring", "/features/3_sex", _ring)
bad("one array by many names", "/features", _one_for_all)
bad("features of another width", "/parameters/0_dense/weights", _another_width)

"""Invalid checkpoint files, made by hand, each with the status and place of the expected error.

All are for one small model, ``MODEL``. Each is ``GOOD`` with one change.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t, h5z

from testing.samples import CLASSES

MODEL: dict[str, Any] = {
    "name": "target",
    "inputs": 2,
    "classes": CLASSES,
    "layers": [
        {"type": "dense", "units": 4},
        {"type": "batch_norm"},
        {"type": "relu"},
        {"type": "dense", "units": 3},
        {"type": "softmax"},
    ],
}
PARAMETERS = {
    "0_dense/weights": (2, 4),
    "0_dense/bias": (4,),
    "1_batch_norm/gamma": (4,),
    "1_batch_norm/beta": (4,),
    "3_dense/weights": (4, 3),
    "3_dense/bias": (3,),
}
STATISTICS = {"1_batch_norm/running_mean": (4,), "1_batch_norm/running_variance": (4,)}
COLUMNS = (
    *("epoch", "loss", "accuracy", "validation_loss", "validation_log_loss", "validation_accuracy"),
    *("learning_rate", "seconds"),
)
WEIGHTS = "parameters/0_dense/weights"
#: A file that exists on every machine, and that no import may open.
HOST_FILE = "/etc/passwd"


def filled(file: h5py.File) -> None:
    """The documented layout, as another program would write it."""
    file.attrs["format"], file.attrs["format_version"] = "trainyard-checkpoint", 1
    file.attrs["definition"], file.attrs["classes"] = json.dumps(MODEL), json.dumps(CLASSES)
    generator = np.random.default_rng(0)
    for name, shape in PARAMETERS.items():
        file[f"parameters/{name}"] = generator.normal(size=shape).astype("f4")
        for vector in ("gradient_sum", "square_sum"):
            file[f"optimizer/{vector}/{name}"] = generator.random(shape).astype("f4")
    for name, shape in STATISTICS.items():
        file[f"statistics/{name}"] = generator.random(shape).astype("f4")
    optimizer = file["optimizer"].attrs
    optimizer["type"], optimizer["hyperparameters"], optimizer["iterations"] = "adam", json.dumps({"beta1": 0.8}), 6
    training = file.create_group("training").attrs
    training["epoch"], training["step"] = 3, 6
    for column in COLUMNS:
        file[f"history/{column}"] = np.arange(1, 4) if column == "epoch" else generator.random(3)


def image(*changes: Callable[[h5py.File], None], **options: Any) -> bytes:
    """The bytes of a good file to which ``changes`` were made; ``options`` are those of ``h5py.File``."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        filled(file)
        for change in changes:
            change(file)
    return buffer.getvalue()


GOOD = image()


class Bad(NamedTuple):
    """How to make a bad file, and the expected error; ``pointer`` is None if the file is not readable as HDF5."""

    make: Callable[[], bytes]
    pointer: str | None = None

    @property
    def status(self) -> int:
        return 400 if self.pointer is None else 422


BAD: dict[str, Bad] = {}


def bad(pointer: str, **options: Any) -> Callable[[Callable[[h5py.File], None]], None]:
    """Register a change of the good file that makes it bad at one place."""

    def register(change: Callable[[h5py.File], None]) -> None:
        BAD[change.__name__.replace("_", " ").strip()] = Bad(lambda: image(change, **options), pointer)

    return register


def in_place_of_weights(name: str, make: Callable[[h5py.File, str], Any], **options: Any) -> None:
    """Register an object in place of the first weights."""

    def change(file: h5py.File) -> None:
        del file[WEIGHTS]
        made = make(file, WEIGHTS)
        if made is not None:
            file[WEIGHTS] = made

    BAD[name] = Bad(lambda: image(change, **options), f"/{WEIGHTS}")


def attribute(name: str, place: str, key: str, value: Any, pointer: str | None = None) -> None:
    """Register another value of an attribute; None for no value."""

    def change(file: h5py.File) -> None:
        del file[place].attrs[key]
        if value is not None:
            file[place].attrs[key] = value

    BAD[name] = Bad(lambda: image(change), pointer or place)


# Links and storage that lead elsewhere.


def _external_storage(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (2, 4), "f4", external=[(HOST_FILE, 0, 32)])


def _virtual(source: str, file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((2, 4), "f4")
    layout[...] = h5py.VirtualSource(source, WEIGHTS, (2, 4), "f4")
    file.create_virtual_dataset(name, layout)


def _endless_virtual(file: h5py.File, name: str) -> None:
    """Its extent is that of as many files as there are."""
    plan, space = h5p.create(h5p.DATASET_CREATE), h5s.create_simple((2, 4), (h5s.UNLIMITED, 4))
    space.select_hyperslab((0, 0), (h5s.UNLIMITED, 1), (1, 1), (1, 4))
    source = h5s.create_simple((1, 4))
    plan.set_virtual(space, b"/etc/passw%b", b"data", source)
    h5d.create(
        file["parameters/0_dense"].id, b"weights", h5t.IEEE_F32LE, h5s.create_simple((2, 4), (h5s.UNLIMITED, 4)), plan
    )


in_place_of_weights("external link", lambda _file, _name: h5py.ExternalLink(HOST_FILE, "/"))
in_place_of_weights("soft link", lambda _file, _name: h5py.SoftLink("/parameters/3_dense/weights"))
in_place_of_weights("soft-link loop", lambda _file, name: h5py.SoftLink(f"/{name}"))
in_place_of_weights("dangling soft link", lambda _file, _name: h5py.SoftLink("/nowhere"))
in_place_of_weights("external raw storage", _external_storage)
in_place_of_weights("virtual dataset", lambda file, name: _virtual(HOST_FILE, file, name))
in_place_of_weights("virtual dataset of the file itself", lambda file, name: _virtual(".", file, name))
in_place_of_weights("virtual dataset without end", _endless_virtual, libver="latest")


@bad("/parameters")
def external_link_to_a_group(file: h5py.File) -> None:
    del file["parameters"]
    file["parameters"] = h5py.ExternalLink(HOST_FILE, "/parameters")


@bad("/optimizer")
def soft_link_to_a_group(file: h5py.File) -> None:
    file.move("optimizer", "elsewhere")
    file["optimizer"] = h5py.SoftLink("/elsewhere")


@bad("/parameters/0_dense")
def soft_links_in_a_ring(file: h5py.File) -> None:
    del file["parameters/0_dense"]
    file["parameters/0_dense"], file["ring"] = h5py.SoftLink("/ring"), h5py.SoftLink("/parameters/0_dense")


@bad("/parameters/0_dense")
def hard_link_loop(file: h5py.File) -> None:
    file["parameters/0_dense/again"] = file["parameters"]


@bad("/optimizer")
def parameters_as_the_optimizer(file: h5py.File) -> None:
    del file["optimizer"]
    file["optimizer"] = file["parameters"]


# Sizes and shapes.


def _compact(file: h5py.File, name: str) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.COMPACT)
    made = h5d.create(file["parameters/0_dense"].id, b"weights", h5t.IEEE_F32LE, h5s.create_simple((2, 4)), plan)
    made.write(h5s.ALL, h5s.ALL, np.zeros((2, 4), "f4"))


def _unknown_filter(file: h5py.File, name: str) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((2, 4))
    plan.set_filter(h5z.FILTER_RESERVED + 32_000, h5z.FLAG_OPTIONAL, (1, 2))
    h5d.create(file["parameters/0_dense"].id, b"weights", h5t.IEEE_F32LE, h5s.create_simple((2, 4)), plan)


for _name, _shape, _options in (
    ("other shape", (2, 5), {}),
    ("transposed", (4, 2), {}),
    ("flat", (8,), {}),
    ("one more axis", (2, 4, 1), {}),
    ("no axis", (), {}),
    ("no rows", (0, 4), {}),
    ("terabytes", (2**20, 2**20), {}),
    ("exabytes", (2**30, 2**30), {}),
    ("terabytes in chunks", (2**20, 2**20), {"chunks": (2**10, 2**10)}),
    ("a huge chunk", (2, 4), {"chunks": (2**14, 2**15), "maxshape": (None, None)}),
    ("never written", (2, 4), {}),
    ("chunks", (2, 4), {"chunks": (2, 4), "data": np.zeros((2, 4))}),
    ("deflate", (2, 4), {"compression": "gzip", "data": np.zeros((2, 4))}),
    ("shuffle and checksum", (2, 4), {"shuffle": True, "fletcher32": True, "data": np.zeros((2, 4))}),
):
    in_place_of_weights(
        _name,
        lambda file, name, shape=_shape, options=_options: file.create_dataset(name, shape, "f4", **options) and None,
    )
in_place_of_weights("compact", _compact)
in_place_of_weights("unknown filter", _unknown_filter)
in_place_of_weights("no space", lambda file, name: file.create_dataset(name, data=h5py.Empty("f4")) and None)


# Types.

_COMPOUND = np.dtype([("a", "f4"), ("b", "f4")])
for _name, _type in {
    "float64": "f8",
    "float16": "f2",
    "big-endian": ">f4",
    "integers": "i4",
    "booleans": "?",
    "complex": "c8",
    "compound": _COMPOUND,
    "arrays": np.dtype("(2,)f4"),
    "opaque": np.dtype("V4"),
    "enumeration": h5py.enum_dtype({"a": 1}, "i4"),
    "variable-length": h5py.vlen_dtype("f4"),
    "variable-length strings": h5py.string_dtype(),
    "fixed strings": "S4",
    "object references": h5py.ref_dtype,
    "region references": h5py.regionref_dtype,
}.items():
    in_place_of_weights(
        _name, lambda file, name, kind=_type: file.create_dataset(name, (2, 4), kind, fillvalue=None) and None
    )


def _odd_float(file: h5py.File, name: str) -> None:
    """Four bytes with one bit more for the exponent."""
    kind = h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 22, 9, 0, 22)
    kind.set_ebias(255)
    h5d.create(file["parameters/0_dense"].id, b"weights", kind, h5s.create_simple((2, 4)))


def _committed(file: h5py.File, name: str) -> None:
    file["kind"] = np.dtype("f4")
    made = h5d.create(file["parameters/0_dense"].id, b"weights", file["kind"].id, h5s.create_simple((2, 4)))
    made.write(h5s.ALL, h5s.ALL, np.zeros((2, 4), "f4"))


in_place_of_weights("floats with another exponent", _odd_float)
in_place_of_weights("committed type", _committed)
in_place_of_weights("a type in place of a dataset", lambda _file, _name: np.dtype("f4"))
in_place_of_weights("a group in place of a dataset", lambda file, name: file.create_group(name) and None)


# Values.


def value(name: str, place: str, number: float) -> None:
    def change(file: h5py.File) -> None:
        file[place][-1] = number

    BAD[name] = Bad(lambda: image(change), f"/{place}")


value("NaN", WEIGHTS, np.nan)
value("infinity", "parameters/3_dense/bias", np.inf)
value("negative infinity in a moment", "optimizer/square_sum/3_dense/bias", -np.inf)
value("NaN in a statistic", "statistics/1_batch_norm/running_variance", np.nan)
value("NaN in the history", "history/loss", np.nan)
value("infinity in the history", "history/validation_loss", np.inf)
value("infinity in an added column", "history/validation_log_loss", np.inf)


# Names.


def without(place: str, pointer: str | None = None) -> None:
    def change(file: h5py.File) -> None:
        del file[place]

    BAD[f"no {place}"] = Bad(lambda: image(change), pointer or f"/{place}")


def beside(place: str) -> None:
    def change(file: h5py.File) -> None:
        file[place] = np.zeros(3, "f4")

    BAD[f"also {place}"] = Bad(lambda: image(change), "/" + place.rpartition("/")[0])


without("parameters", f"/{WEIGHTS}")
without(WEIGHTS)
without("parameters/3_dense", "/parameters/3_dense/weights")
without("statistics", "/statistics/1_batch_norm/running_mean")
without("optimizer/square_sum", "/optimizer/square_sum/0_dense/weights")
without("history/loss")
without("history/epoch")
for _place in ("parameters/other", "parameters/0_dense/other", "statistics/other", "optimizer/cache"):
    beside(_place)


@bad("/parameters/0_dense")
def a_dataset_in_place_of_a_group(file: h5py.File) -> None:
    del file["parameters/0_dense"]
    file["parameters/0_dense"] = np.zeros(3, "f4")


@bad("/parameters")
def fifty_thousand_names(file: h5py.File) -> None:
    group = file["parameters"]
    for index in range(50_000):
        group.id.links.create_soft(f"n{index}".encode(), b"/")


@bad(f"/{WEIGHTS}", libver="latest")
def groups_two_thousand_deep(file: h5py.File) -> None:
    del file[WEIGHTS]
    here = file["parameters/0_dense"].id
    for _ in range(2000):
        here = h5g.create(here, b"weights")


@bad("/history/loss")
def columns_of_other_lengths(file: h5py.File) -> None:
    del file["history/loss"]
    file["history/loss"] = np.zeros(4)


@bad("/history/epoch")
def a_history_of_two_axes(file: h5py.File) -> None:
    del file["history/epoch"]
    file["history/epoch"] = np.zeros((3, 1), "i8")


@bad("/history/epoch")
def a_history_without_end(file: h5py.File) -> None:
    del file["history/epoch"]
    file.create_dataset("history/epoch", (2**40,), "i8")


# Attributes.


def _other(**members: Any) -> str:
    return json.dumps({**MODEL, **members})


_LAYERS = MODEL["layers"]
attribute("no format", "/", "format", None)
attribute("another format", "/", "format", "keras")
attribute("format a number", "/", "format", 3)
attribute("format of several strings", "/", "format", ["trainyard-checkpoint", "x"])
attribute("format a compound", "/", "format", np.zeros((), _COMPOUND))
attribute("format a vlen", "/", "format", np.array([1, 2]))
attribute("format not UTF-8", "/", "format", np.bytes_(b"\xff\xfe"))
attribute("format empty", "/", "format", h5py.Empty("S1"))
attribute("no version", "/", "format_version", None)
attribute("another version", "/", "format_version", 2)
attribute("version a fraction", "/", "format_version", 1.0)
attribute("version a string", "/", "format_version", "1")
attribute("version of 32 bits", "/", "format_version", np.int32(1))
attribute("definition no JSON", "/", "definition", "{")
attribute("definition deep", "/", "definition", "[" * 200_000)
attribute("definition long", "/", "definition", "x" * 2**22)
attribute("definition a list", "/", "definition", "[]", "/definition")
attribute("definition unknown", "/", "definition", _other(layers=[{"type": "none"}]), "/definition/layers/0/type")
attribute("other inputs", "/", "definition", _other(inputs=3), "/definition/inputs")
attribute("other classes", "/", "definition", _other(classes=CLASSES[::-1]), "/definition/classes/0")
attribute("other dtype", "/", "definition", _other(dtype="float64"), "/definition/dtype")
attribute(
    "other units",
    "/",
    "definition",
    _other(layers=[{"type": "dense", "units": 5}, *_LAYERS[1:]]),
    "/definition/layers/0/units",
)
attribute("fewer layers", "/", "definition", _other(layers=_LAYERS[:1] + _LAYERS[3:]), "/definition/layers")
attribute("classes in another order", "/", "classes", json.dumps(CLASSES[::-1]), "/classes/0")
attribute("classes as numbers", "/", "classes", "[0, 1, 2]", "/classes/0")
attribute("no optimizer type", "/optimizer", "type", None)
attribute("unknown optimizer", "/optimizer", "type", "none")
attribute("no hyperparameters", "/optimizer", "hyperparameters", None)
attribute("hyperparameters a list", "/optimizer", "hyperparameters", "[1]")
attribute("hyperparameters beyond bounds", "/optimizer", "hyperparameters", '{"beta1": 2}', "/optimizer/beta1")
attribute("hyperparameters NaN", "/optimizer", "hyperparameters", '{"beta1": NaN}', "/optimizer/beta1")
attribute("no iterations", "/optimizer", "iterations", None)
attribute("negative iterations", "/optimizer", "iterations", -1)
attribute("endless iterations", "/optimizer", "iterations", 2**62)
attribute("negative step", "/training", "step", -1)
attribute("epoch a list", "/training", "epoch", [1, 2])
BAD["unknown optimizer"] = BAD["unknown optimizer"]._replace(pointer="/optimizer/type")


def many_attributes(count: int) -> bytes:
    """A file whose root has ``count`` attributes, none of which is the format."""

    def change(file: h5py.File) -> None:
        del file.attrs["format"]
        space = h5s.create(h5s.SCALAR)
        for index in range(count):
            h5a.create(file.id, b"a%d" % index, h5t.STD_I8LE, space)

    return image(change, libver="latest")


BAD["many attributes"] = Bad(lambda: many_attributes(20_000), "/")


@bad("/")
def an_attribute_of_a_committed_type(file: h5py.File) -> None:
    del file.attrs["format_version"]
    file["kind"] = np.dtype("i8")
    h5a.create(file.id, b"format_version", file["kind"].id, h5s.create(h5s.SCALAR))


def large_attribute(count: int = 4096) -> bytes:
    """A file whose format attribute has this many times 64 KB; HDF5 reads it into memory as a whole."""

    def change(file: h5py.File) -> None:
        del file.attrs["format"]
        kind = h5t.C_S1.copy()
        kind.set_size(2**16 - 200)
        h5a.create(file.id, b"format", kind, h5s.create_simple((count,)))

    return image(change, libver="latest")


BAD["an attribute of several megabytes"] = Bad(lambda: large_attribute(64), "/")


# Not HDF5, or no longer.


def flipped(content: bytes, position: int, mask: int = 0xFF) -> bytes:
    """The content with one byte changed."""
    return content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :]


BAD["empty"] = Bad(lambda: b"")
BAD["text"] = Bad(lambda: b"hello, world\n" * 100)
BAD["JSON"] = Bad(lambda: json.dumps(MODEL).encode())
BAD["noise"] = Bad(lambda: secrets.token_bytes(10_000))
BAD["signature alone"] = Bad(lambda: GOOD[:8])
BAD["signature and noise"] = Bad(lambda: GOOD[:8] + secrets.token_bytes(10_000))
BAD["user block"] = Bad(lambda: image(userblock_size=512))
BAD["foreign bytes before"] = Bad(lambda: bytes(512) + GOOD)
BAD["version of the superblock"] = Bad(lambda: flipped(GOOD, 8))
BAD["size of offsets"] = Bad(lambda: flipped(GOOD, 13))
BAD["size of lengths"] = Bad(lambda: flipped(GOOD, 14))
BAD["base address"] = Bad(lambda: flipped(GOOD, 24 + 6))
BAD["end of file"] = Bad(lambda: flipped(GOOD, 40 + 5))
BAD["root's address"] = Bad(lambda: flipped(GOOD, 64 + 2))
BAD["superblock's checksum"] = Bad(lambda: flipped(image(libver="latest"), 44))


def truncated(content: bytes) -> Iterator[bytes]:
    """The content cut at every kilobyte, and before its last byte."""
    for end in [*range(0, len(content), 1024), len(content) - 1]:
        yield content[:end]

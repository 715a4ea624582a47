"""Reading an untrusted HDF5 file, by expected names only.

Every property is checked before it is used: the kind of a link before it is followed, the storage of a dataset before
its shape, and its size before its content is read. HDF5 is C code, and a malicious file may crash or exploit it.
Therefore run this in a disposable process that can open no other file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5fd, h5g, h5l, h5o, h5p, h5s, h5t

from models.errors import InvalidError, UnreadableError, describe
from nncore.arrays import Array

__all__ = ["MAXIMUM_COUNT", "ForeignFile", "read"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: The largest count in an attribute.
MAXIMUM_COUNT = 2**53

_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}
_LAYOUTS = {h5d.COMPACT: "compact", h5d.CHUNKED: "chunked", h5d.VIRTUAL: "virtual"}
_CLASSES = {
    h5t.INTEGER: "integers",
    h5t.FLOAT: "floating-point numbers",
    h5t.STRING: "strings",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "compounds",
    h5t.REFERENCE: "references",
    h5t.ENUM: "enumerations",
    h5t.VLEN: "variable-length lists",
    h5t.ARRAY: "arrays",
}
#: The accepted types by NumPy's name; little-endian, like this service's own files.
_TYPES = {
    "float32": h5t.IEEE_F32LE,
    "float64": h5t.IEEE_F64LE,
    "int64": h5t.STD_I64LE,
    "int32": h5t.STD_I32LE,
    "uint8": h5t.STD_U8LE,
}


class _Content:
    """A file-like object for h5py's driver for Python objects, so that HDF5 itself opens no file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._position = descriptor, 0
        self.size = os.fstat(descriptor).st_size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (self.size if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)
        while wanted.nbytes:
            count = os.preadv(self._descriptor, [wanted], self._position)
            if not count:
                raise OSError(f"the file ends at byte {self.size}, before the end of its content")
            self._position += count
            wanted = wanted[count:]
        return len(buffer)


class ForeignFile:
    """An open file; ``texts`` limits the bytes of each string that is read from it.

    Raises InvalidError with the place, the expected and the received content if the file differs from what a method
    asks for, UnreadableError if it is not HDF5, and any exception of h5py if it is damaged.
    """

    def __init__(self, descriptor: int, texts: int) -> None:
        self._texts = texts
        content = _Content(descriptor)
        self.size = content.size
        beginning = os.pread(descriptor, len(SIGNATURE), 0)
        # This also refuses a user block, which would precede the signature.
        if beginning != SIGNATURE:
            received = "an empty file" if not beginning else f"the bytes {beginning.hex(' ')}"
            wanted = "the file must begin as an HDF5 file, an ONNX file or a skops file"
            raise UnreadableError("invalid_hdf5", f"{wanted}. Received: {received}")
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fileobj_driver(h5fd.fileobj_driver, content)
        #: The groups that were found, by path, because thousands of arrays lie in a few of them.
        self._groups = {"": h5g.open(h5f.open(b"upload", h5f.ACC_RDONLY, access), b"/")}

    def has(self, place: str) -> bool:
        """Whether an object exists at a place. Raises InvalidError if a link on the path is not a hard link."""
        return self._find(place) is not None

    def text(self, place: str, name: str) -> str | None:
        """The string attribute of an object; None if the object or the attribute is missing."""
        attribute = self._attribute(place, name)
        if attribute is None:
            return None
        kind = attribute.get_type()
        if kind.get_class() != h5t.STRING or kind.committed():
            raise _refusal(place, f"the attribute {describe(name)} must be a string", _described(kind))
        if kind.get_size() > self._texts:
            raise self._too_long(place, name, kind.get_size())
        # The size of a variable-length string is known only after reading it. The process's memory is limited, and no
        # string is longer than its file.
        found: Array = np.empty((), kind.dtype)
        attribute.read(found)
        content: bytes = found.item()
        if len(content) > self._texts:
            raise self._too_long(place, name, len(content))
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise _refusal(place, f"the attribute {describe(name)} must be UTF-8", str(error)) from None

    def _too_long(self, place: str, name: str, received: int) -> InvalidError:
        return _refusal(place, f"the attribute {describe(name)} must have at most {self._texts} bytes", received)

    def whole_number(self, place: str, name: str) -> int | None:
        """The 64-bit integer attribute of an object; None if the object or the attribute is missing."""
        attribute = self._attribute(place, name)
        if attribute is None:
            return None
        kind = attribute.get_type()
        if kind.committed() or not kind.equal(_TYPES["int64"]):
            raise _refusal(place, f"the attribute {describe(name)} must be a 64-bit integer", _described(kind))
        found = np.empty((), np.int64)
        attribute.read(found)
        return int(found)

    def count(self, place: str, name: str) -> int | None:
        """A whole number that counts something."""
        found = self.whole_number(place, name)
        if found is not None and not 0 <= found <= MAXIMUM_COUNT:
            raise _refusal(place, f"the attribute {describe(name)} must be from 0 to {MAXIMUM_COUNT}", found)
        return found

    def number(self, place: str, name: str) -> float | None:
        """The float64 attribute of an object, which may be NaN; None if the object or the attribute is missing."""
        attribute = self._attribute(place, name)
        if attribute is None:
            return None
        kind = attribute.get_type()
        if kind.committed() or not kind.equal(_TYPES["float64"]):
            raise _refusal(
                place, f"the attribute {describe(name)} must be a 64-bit floating-point number", _described(kind)
            )
        found = np.empty((), np.float64)
        attribute.read(found)
        return float(found)

    def json(self, place: str, name: str) -> Any:
        """The JSON in a string attribute; None if there is no such attribute."""
        text = self.text(place, name)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _refusal(
                place, f"the attribute {describe(name)} must be JSON", f"{describe(text[:50])}, {error}"
            ) from None

    def _attribute(self, place: str, name: str) -> Any:
        """An open attribute with one value; None if the object or the attribute is missing."""
        owner = self._find(place)
        if owner is None or not h5a.exists(owner, name.encode()):
            return None
        attribute = h5a.open(owner, name.encode())
        if attribute.get_space().get_simple_extent_type() != h5s.SCALAR:
            raise _refusal(place, f"the attribute {describe(name)} must be one value", _shape_of(attribute.get_space()))
        return attribute

    def require_names(self, place: str, names: Iterable[str]) -> None:
        """Raise InvalidError if a group exists and holds a name that is not among these."""
        group, known = self._find(place), {name.encode() for name in names}
        if group is None or (isinstance(group, h5g.GroupID) and group.get_num_objs() <= len(known)):
            return  # If a name is wrong here, an expected one is missing, which is reported later.
        if not isinstance(group, h5g.GroupID):
            raise _refusal(place, "must be a group", _kind(group))
        other, _ = group.links.iterate(lambda name: name if name not in known else None)
        wanted = ", ".join(sorted(name.decode() for name in known))
        raise _refusal(place, f"must hold {wanted} and nothing else", (other or b"").decode(errors="replace"))

    def present(self, place: str, names: Iterable[str]) -> list[str]:
        """The names among these that a group holds, none if there is no group; raises InvalidError for another name."""
        found = [name for name in names if self.has(f"{place}/{name}")]
        group, known = self._find(place), {name.encode() for name in found}
        if isinstance(group, h5g.GroupID) and group.get_num_objs() > len(known):
            other, _ = group.links.iterate(lambda name: name if name not in known else None)
            raise _refusal(
                place, "must hold nothing but names that the definition has", (other or b"").decode(errors="replace")
            )
        return found

    def length(self, place: str) -> int:
        """The length of a one-dimensional dataset; call ``dataset`` before reading it."""
        found = self._stored(place, "a dataset of one dimension")
        space = found.get_space()
        if space.get_simple_extent_type() == h5s.NULL or space.get_simple_extent_ndims() != 1:
            raise _refusal(place, "must have one dimension", _shape_of(space))
        shape = space.get_simple_extent_dims()
        return int(shape[0])

    def dataset(self, place: str, shape: tuple[int, ...], dtype: str) -> h5d.DatasetID:
        """A contiguous dataset of this shape and type, not yet read."""
        wanted = f"little-endian {dtype} of shape {shape}"
        found = self._stored(place, wanted)
        kind = found.get_type()
        if kind.committed() or not kind.equal(_TYPES[dtype]):
            raise _refusal(place, f"must be {wanted}", _described(kind))
        space = found.get_space()
        if space.get_simple_extent_type() == h5s.NULL or space.get_simple_extent_dims() != shape:
            raise _refusal(place, f"must be {wanted}", _shape_of(space))
        offset, size = found.get_offset(), space.get_simple_extent_npoints() * kind.get_size()
        if size and (offset is None or offset + size > self.size):
            ends = "nothing was written" if offset is None else f"they would end at byte {offset + size}"
            raise _refusal(place, f"must have its {size} bytes within the file's {self.size}", ends)
        return found

    def _stored(self, place: str, wanted: str) -> h5d.DatasetID:
        """A dataset that is stored contiguously, without filters, inside the file.

        Checks the storage before the shape, because HDF5 opens other files to compute the shape of a virtual dataset.
        """
        found = self._find(place)
        if not isinstance(found, h5d.DatasetID):
            raise _refusal(place, f"must be {wanted}", "nothing" if found is None else _kind(found))
        plan = found.get_create_plist()
        layout = plan.get_layout()
        if layout != h5d.CONTIGUOUS:
            raise _refusal(place, "must be stored contiguously", f"{_LAYOUTS.get(layout, 'unknown')} storage")
        if plan.get_external_count():
            raise _refusal(place, "must have its values in this file", "external storage")
        if plan.get_nfilters():
            raise _refusal(place, "must be stored without filters", f"{plan.get_nfilters()} of them")
        return found

    def _find(self, place: str) -> Any:
        """The object at ``place``, following only hard links; None if a name on the path is missing."""
        path, found = "", self._groups.get(place.rstrip("/"))
        if found is not None:
            return found
        here: Any = self._groups[""]
        for part in filter(None, place.split("/")):
            if not isinstance(here, h5g.GroupID):
                raise _refusal(path, "must be a group", _kind(here))
            path, name = f"{path}/{part}", part.encode()
            if path in self._groups:
                here = self._groups[path]
                continue
            if not here.links.exists(name):
                return None
            link = here.links.get_info(name).type
            if link != h5l.TYPE_HARD:
                raise _refusal(path, "must be linked by a hard link", _LINKS.get(link, "a link of another kind"))
            here = h5o.open(here, name)
            if isinstance(here, h5g.GroupID):
                self._groups[path] = here
        return here


def read(place: str, found: h5d.DatasetID, dtype: str, *, nan: bool = False) -> Array:
    """Read a dataset that was checked. Raises InvalidError for values that are not finite; ``nan`` allows NaN."""
    values: Array = np.empty(found.get_space().get_simple_extent_dims(), dtype)
    found.read(h5s.ALL, h5s.ALL, values)
    good = np.isfinite(values)
    if nan:
        good |= np.isnan(values)
    if not good.all():
        where = np.unravel_index(int(np.argmin(good)), values.shape)
        at = ", ".join(str(int(index)) for index in where)
        raise _refusal(place, "must hold finite numbers", f"{values[where]} at ({at})")
    return values


def _refusal(place: str, wanted: str, received: object) -> InvalidError:
    return InvalidError.at(place, f"{wanted}. Received: {received}")


def _kind(found: Any) -> str:
    names: dict[type, str] = {h5g.GroupID: "a group", h5d.DatasetID: "a dataset"}
    return names.get(type(found), "a named type")


def _described(kind: Any) -> str:
    name = "a named type of " * bool(kind.committed()) + _CLASSES.get(kind.get_class(), "an unknown type")
    return f"{name}, {kind.get_size()} bytes each"


def _shape_of(space: Any) -> str:
    kind = space.get_simple_extent_type()
    return "no values" if kind == h5s.NULL else f"shape {space.get_simple_extent_dims()}"

"""Reading a skops file without trust: its tree of nodes and its arrays, by expected names only.

A skops file is a zip archive with the tree as ``schema.json`` and an ``.npy`` file for each array. A node names its
class, its module and the kind of its content in ``__class__``, ``__module__`` and ``__loader__``. Nothing here makes
an object of that class. https://skops.readthedocs.io/en/stable/persistence.html
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib import format as npy

from models.errors import UnreadableError, describe, escaped
from models.imports.chain import refused
from nncore.arrays import Array

__all__ = ["Node", "SkopsFile", "inflated_bytes"]

SCHEMA = "schema.json"
#: Bytes of the tree, and of what is unpacked beyond four times the file.
SCHEMA_BYTES, SPARE_BYTES = 16 * 2**20, 16 * 2**20
#: Longest text of a value in the tree, and bytes of an array's header.
TEXT, HEADER_BYTES = 2**16, 10_000
#: What zipfile and NumPy raise for damaged members.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


def inflated_bytes(size: int) -> int:
    """The most bytes that a file of this size may be unpacked to: weights hardly get smaller in a zip archive."""
    return 4 * size + SPARE_BYTES


class SkopsFile:
    """An open file. Raises UnreadableError if it is damaged or unpacks to too much."""

    def __init__(self, file: io.FileIO) -> None:
        self._left = inflated_bytes(file.seek(0, io.SEEK_END))
        try:
            self._archive = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise _unreadable(f"it is no zip archive: {error}") from None
        content = self._member(SCHEMA, SCHEMA_BYTES)
        try:
            self._tree = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _unreadable(f"{SCHEMA} is no JSON: {error}") from None

    @property
    def root(self) -> Node:
        """The object that was saved."""
        return Node(self, "", self._tree)

    def _member(self, name: str, most: int) -> bytes:
        """The content of a member; what all take together is bounded."""
        try:
            size = self._archive.getinfo(name).file_size
        except KeyError:
            raise _unreadable(f"there is no member {describe(name)}") from None
        if size > min(most, self._left):
            raise _unreadable(f"its member {describe(name)} unpacks to {size} bytes, more than it may")
        try:
            with self._archive.open(name) as member:
                content = member.read(size)
        except _DAMAGED as error:
            raise _unreadable(f"its member {describe(name)} is damaged: {error}") from None
        self._left -= len(content)
        return content

    def array(self, place: str, name: str) -> Array:
        """The array in a member of the archive."""
        content = self._member(name, self._left)
        stream = io.BytesIO(content)
        try:
            read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
            shape, by_column, dtype = read_header(stream, max_header_size=HEADER_BYTES)
        except (*_DAMAGED, KeyError) as error:
            raise _unreadable(f"its member {describe(name)} is no array: {error}") from None
        if dtype.kind not in "biufU" or dtype.itemsize == 0:
            raise refused(place, "the array must hold numbers, booleans or texts", dtype)
        rest = memoryview(content)[stream.tell() :]
        if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(rest):
            raise refused(
                place, f"the array's {len(rest)} bytes must be as many as its shape has", f"{dtype} of {shape}"
            )
        flat = np.frombuffer(rest, dtype)
        return flat.reshape(shape, order="F" if by_column else "C")


class Node:
    """A node of the tree at a place, a JSON pointer into ``schema.json``. Raises InvalidError with the place."""

    def __init__(self, file: SkopsFile, place: str, state: Any) -> None:
        if not isinstance(state, dict) or not isinstance(state.get("__loader__"), str):
            raise refused(place, "must be a node of a skops file", describe(state))
        self.place, self._file, self._state = place, file, state

    @property
    def kind(self) -> str:
        """Module and class, as in "sklearn.pipeline.Pipeline"."""
        return f"{self._state.get('__module__')}.{self._state.get('__class__')}"

    def _content(self, loader: str, kind: type) -> Any:
        """The content of a node of this kind."""
        found = self._state.get("content")
        if self._state["__loader__"] != loader or not isinstance(found, kind):
            raise refused(self.place, f"must be a {loader}", describe(self._state["__loader__"]))
        return found

    def has(self, name: str) -> bool:
        """Whether an object has an attribute that is not None."""
        attributes = self._attributes()
        return name in attributes and attributes[name].get("content") != "null"

    def _attributes(self) -> dict[str, Any]:
        inner = Node(self._file, f"{self.place}/content", self._content("ObjectNode", dict))
        found: dict[str, Any] = inner._content("DictNode", dict)
        return {name: each for name, each in found.items() if isinstance(each, dict)}

    def attribute(self, name: str) -> Node:
        """An attribute of an object."""
        attributes = self._attributes()
        if name not in attributes:
            raise refused(self.place, f"{self.kind} must be fitted and have {name}", "nothing of this name")
        return Node(self._file, f"{self.place}/content/content/{escaped(name)}", attributes[name])

    def items(self) -> Iterator[Node]:
        """The items of a list or a tuple."""
        loader = "TupleNode" if self._state["__loader__"] == "TupleNode" else "ListNode"
        for index, each in enumerate(self._content(loader, list)):
            yield Node(self._file, f"{self.place}/content/{index}", each)

    def value(self) -> Any:
        """A text, number, boolean or None; also of a NumPy scalar."""
        if self._state["__loader__"] == "NdArrayNode" and self._state.get("type") == "numpy":
            found = self.array()
            if found.size != 1:
                raise refused(self.place, "must be one value", f"shape {found.shape}")
            return found.reshape(()).item()
        text = self._content("JsonNode", str)
        try:
            found = json.loads(text[:TEXT])
        except (ValueError, RecursionError) as error:
            raise refused(self.place, "must be JSON", f"{describe(text)}, {error}") from None
        if isinstance(found, (dict, list)):
            raise refused(self.place, "must be a text, a number, a boolean or null", describe(found))
        return found

    def is_text(self, text: str) -> bool:
        """Whether this is a text, and which."""
        return bool(self._state["__loader__"] == "JsonNode" and self.value() == text)

    def array(self) -> Array:
        """An array of numbers, booleans or texts. One of objects has one dimension and holds texts or numbers."""
        if self._state["__loader__"] != "NdArrayNode":
            raise refused(self.place, "must be an array", describe(self._state["__loader__"]))
        if self._state.get("type") == "numpy":
            return self._file.array(self.place, str(self._state.get("file")))
        items = self._content("NdArrayNode", list)
        found = np.empty(len(items), object)
        for index, each in enumerate(items):
            found[index] = Node(self._file, f"{self.place}/content/{index}", each).value()
        return found


def _unreadable(why: str) -> UnreadableError:
    return UnreadableError("invalid_network_file", f"the skops file cannot be read: {why}"[:500])

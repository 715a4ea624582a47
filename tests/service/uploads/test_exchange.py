"""What a child that was taken over may write into the exchange: nothing but a refusal comes of it."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidError, NoRoomError
from models.reading.options import ReadOptions
from service.settings import Settings
from service.store.disk import Disk
from service.uploads.exchange_table import ExchangeTable
from service.uploads.parser import UploadParser
from service.uploads.parser_process import LENGTH

pytestmark = pytest.mark.processes

KINDS = ("number", "category", "boolean", "datetime", "text")
WORDS = ["fine weather", "größer als sonst", "", "it rains again €"]
FILE = "age,sex,member,day,notes,label\n" + "".join(
    f"{row / 8},{'fm'[row % 2]},{'yes' if row % 3 else 'no'},2024-0{row % 9 + 1}-11,"
    f"{WORDS[row % 4] and f'{WORDS[row % 4]} {row * 7919 % 997} {row}'},{'ab'[row % 5 > 2]}\n"
    for row in range(300)
)


class Answer:
    """What an honest child wrote: the document, and the bytes before it."""

    def __init__(self, content: bytes) -> None:
        (length,) = LENGTH.unpack(content[-LENGTH.size :])
        self.values = bytearray(content[: -LENGTH.size - length])
        self.document = json.loads(content[-LENGTH.size - length : -LENGTH.size])
        self.table = self.document["table"]
        self.columns = self.table["details"]["columns"]
        self.profiles = self.table["details"]["profile"]

    def place(self, kind: str) -> int:
        return [column["type"] for column in self.columns].index(kind)

    def array(self, kind: str, part: int = 0) -> Any:
        """The values of the first column of a kind, to be changed; they lie in one piece."""
        stored = self.table["arrays"][self.place(kind)][part]
        ((start, length),) = [span for span in stored["spans"] if span[1]]
        return np.frombuffer(memoryview(self.values)[start : start + length], stored["dtype"])

    def content(self) -> bytes:
        document = json.dumps(self.document).encode()
        return bytes(self.values) + document + LENGTH.pack(len(document))


class Liar:
    """In place of the process that reads tables: it answers what it is given."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def ask(self, _upload: int, exchange: int, *_others: int) -> int:
        os.ftruncate(exchange, 0)
        os.pwrite(exchange, self.content, 0)
        return 0

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadParser]:
    made = UploadParser(Settings.read({"TRAINYARD_DATA": str(tmp_path_factory.mktemp("data"))}))
    yield made
    made.close()


def read(parser: UploadParser, folder: Path, file: str = FILE) -> tuple[Any, bytes]:
    """The values of all columns, and the whole exchange."""
    with (
        (folder / "upload").open("w+b") as upload,
        (folder / "exchange").open("w+b") as exchange,
        (folder / "first").open("w+b") as first,
        (folder / "second").open("w+b") as second,
    ):
        upload.write(file.encode())
        received = parser.table(upload, exchange, (first, second), ReadOptions.of({"label": "label"}))
        table = ExchangeTable(received)
        found = [table.read(column.name).values.tolist() for column in table.columns]
        return found, (folder / "exchange").read_bytes()


@pytest.fixture(scope="module")
def honest(parser: UploadParser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes]:
    return read(parser, tmp_path_factory.mktemp("honest"))


def lied(honest: tuple[Any, bytes], change: Callable[[Answer], Any], folder: Path) -> Any:
    """The values that a reader takes whose child answers with a change."""
    answer = Answer(copy.deepcopy(honest[1]))
    change(answer)
    parser = UploadParser(Settings.read({"TRAINYARD_DATA": str(folder)}))
    parser._tables = Liar(answer.content())  # type: ignore[assignment]
    return read(parser, folder)[0]


def test_the_honest_answer_is_taken(honest: tuple[Any, bytes], tmp_path: Path) -> None:
    kinds = [column["type"] for column in Answer(honest[1]).columns]
    assert set(kinds) == set(KINDS)
    assert lied(honest, lambda _answer: None, tmp_path) == honest[0]


def first(kind: str, value: Any, part: int = 0, row: int = 0) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        answer.array(kind, part)[row] = value

    return change


def stated(*path: Any, value: Any) -> Callable[[Answer], None]:
    """Another member of the document; a kind in the path stands for the place of its column."""

    def change(answer: Answer) -> None:
        here: Any = answer.table
        keys = [answer.place(key) if key in KINDS else key for key in path]
        for key in keys[:-1]:
            here = here[key]
        here[keys[-1]] = value

    return change


def moved_into_a_character(answer: Answer) -> None:
    content, ends = answer.array("text", 1), answer.array("text")
    inside = int(np.flatnonzero((content & 0xC0) == 0x80)[0])
    ends[int(np.searchsorted(ends, inside))] = inside


LIES: dict[str, Callable[[Answer], Any]] = {
    "code too large": first("category", 2),
    "code far too large": first("category", 2**31 - 1, row=-1),
    "code below missing": first("category", -2),
    "truth of two": first("boolean", 2),
    "truth below missing": first("boolean", -128),
    "infinity": first("number", np.inf),
    "negative infinity at the end": first("number", -np.inf, row=-1),
    "ends descend": first("text", 0, row=5),
    "end below zero": first("text", -1),
    "end beyond the bytes": first("text", 2**62, row=-1),
    "bytes left over": first("text", 10, row=-1),
    "no UTF-8": first("text", 0xFF, part=1),
    "half a character at the end": first("text", 0xE2, part=1, row=-1),
    "an end within a character": moved_into_a_character,
    "piece beyond the file": stated("arrays", "number", 0, "spans", value=[[2**40, 2400]]),
    "piece before the file": stated("arrays", "number", 0, "spans", value=[[-8, 2400]]),
    "piece of negative length": stated("arrays", "number", 0, "spans", value=[[0, 2408], [8, -8]]),
    "piece of words": stated("arrays", "number", 0, "spans", value=[["x", "y"]]),
    "objects": stated("arrays", "number", 0, "dtype", value="|O"),
    "unknown type": stated("arrays", "number", 0, "dtype", value="none"),
    "no arrays": stated("arrays", value=[]),
    "more rows": stated("rows", value=301),
    "no rows": stated("rows", value=0),
    "rows a word": stated("rows", value="x"),
    "rows without end": stated("rows", value=2**70),
    "kind unknown": stated("details", "columns", "number", "type", value="none"),
    "name a number": stated("details", "columns", "number", "name", value=5),
    "name twice": stated("details", "columns", "number", "name", value="sex"),
    "half a character in a name": stated("details", "columns", "number", "name", value="\ud800"),
    "levels fewer": stated("details", "columns", "category", "levels", value=["f"]),
    "levels the same": stated("details", "columns", "category", "levels", value=["f", "f"]),
    "levels numbers": stated("details", "columns", "category", "levels", value=[0, 1]),
    "three words of a truth": stated("details", "columns", "boolean", "levels", value=["a", "b", "c"]),
    "label no column": stated("details", "label", value="none"),
    "weight no text": stated("details", "weight", value=[1]),
    "no profile": stated("details", "profile", value=[]),
    "profile empty": stated("details", "profile", "number", value={}),
    "profile of another": stated("details", "profile", "number", "name", value="sex"),
    "more missing than rows": stated("details", "profile", "number", "missing", value=301),
    "missing negative": stated("details", "profile", "number", "missing", value=-1),
    "distinct without end": stated("details", "profile", "category", "distinct", value=2**40),
    "distinct a word": stated("details", "profile", "category", "distinct", value="x"),
    "infinite mean": stated("details", "profile", "number", "mean", value=float("inf")),
    "NaN among quantiles": stated("details", "profile", "number", "quantiles", value=[float("nan")] * 7),
    "quantiles words": stated("details", "profile", "number", "quantiles", value=["x"]),
    "a level's count missing": stated("details", "profile", "category", "levels", value=[{"value": "f"}]),
    "no histogram": stated("details", "profile", "datetime", "histogram", value={}),
    "warnings a word": stated("details", "warnings", value="x"),
    "format a word": stated("details", "format", value="x"),
    "no details": stated("details", value=None),
}


class Narrow(Disk):
    """A disk with 3 MiB beyond what is kept."""

    spare = 3 * 2**20  # type: ignore[assignment]


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_takes_no_more_than_is_free_beyond_what_is_kept(
    parser: UploadParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    """Neither when it is unpacked nor by its values; a file that needs less is read."""
    monkeypatch.setattr(parser, "_disk", disk := Narrow(tmp_path, 1))
    assert len(read(parser, tmp_path)[0]) == 6
    text = "a,b,c,label\n" + "1,2,3,x\n2,3,4,y\n" * 100_000
    content = gzip.compress(text.encode()) if packed else text.encode()
    assert disk.spare < len(content) * (1000 if packed else 4)
    paths = [tmp_path / name for name in ("exchange", "first", "second")]
    with contextlib.ExitStack() as files:
        exchange, first, second = (files.enter_context(path.open("w+b")) for path in paths)
        upload = files.enter_context((tmp_path / "upload").open("w+b"))
        upload.write(content)
        with pytest.raises(NoRoomError, match="takes more than 1,048,576 bytes in each of 3 files"):
            parser.table(upload, exchange, (first, second), ReadOptions())
        assert sum(path.stat().st_size for path in paths) <= disk.spare


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused(honest: tuple[Any, bytes], tmp_path: Path, lie: str) -> None:
    with pytest.raises(InvalidError) as found:
        lied(honest, LIES[lie], tmp_path)
    assert found.value.code == "invalid_file"


@pytest.mark.parametrize("content", [b"", b"x", bytes(8), b"\xff" * 8, b"[]" + LENGTH.pack(2), b"{}" + LENGTH.pack(2)])
def test_an_exchange_without_a_document(tmp_path: Path, content: bytes) -> None:
    parser = UploadParser(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))
    parser._tables = Liar(content)  # type: ignore[assignment]
    with pytest.raises(InvalidError):
        read(parser, tmp_path)


def test_a_long_table_whose_counts_are_estimates(parser: UploadParser, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = 20_000
    numbers = generator.normal(size=rows)
    text = "a,t,label\n" + "".join(
        f"{number!r},text {row} {row * 7919 % 99991},{'xy'[row % 2]}\n" for row, number in enumerate(numbers.tolist())
    )
    found, _ = read(parser, tmp_path, text)
    assert found[0] == numbers.tolist()

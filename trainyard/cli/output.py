"""What a command prints: results on standard output, all else on standard error."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

import click

from trainyard.cli import text

__all__ = ["Column", "Output", "raw"]

_CONTROL_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, its value in a document, and how people read the value.

    ``right``: numbers, which are aligned at their ends.
    """

    heading: str
    value: Callable[[Mapping[str, Any]], Any]
    shown: Callable[[Any], str] = text.number
    right: bool = False


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at a stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@dataclass
class Output:
    """Prints for people at a terminal, and for programs in a pipe.

    In a pipe, tables have tabs, no headings, whole numbers and times as the service sends them. ``as_json`` prints the
    service's document in place of a table.
    """

    as_json: bool = False
    quiet: bool = False
    at_terminal: bool = field(default_factory=lambda: is_terminal(sys.stdout))
    watched: bool = field(default_factory=lambda: is_terminal(sys.stderr))

    def document(self, document: Any) -> None:
        """Print the service's document, and nothing else."""
        written = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        click.echo(_CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written).encode())

    def table(self, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], empty: str = "") -> None:
        """Print rows; ``empty`` tells on standard error what to do if there are none."""
        if not self.at_terminal:
            for row in rows:
                self.line("\t".join(raw(column.value(row)) for column in columns))
            return
        cells = [[_shown(column, row) for column in columns] for row in rows]
        if not cells:
            self.say(empty)
            return
        self.aligned([column.heading for column in columns], cells, [column.right for column in columns])

    def aligned(self, headings: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
        """Print cells below each other, cut at the terminal's width."""
        widths = [max(text.width(row[place]) for row in [headings, *cells]) for place in range(len(headings))]
        places = shutil.get_terminal_size().columns
        for index, row in enumerate([headings, *cells]):
            parts = [
                " " * (wide - text.width(cell)) + cell if to_right else cell + " " * (wide - text.width(cell))
                for cell, wide, to_right in zip(row, widths, right, strict=True)
            ]
            line = text.cut("  ".join(parts).rstrip(), places)
            self.line(self.styled(line, dim=True) if index == 0 else line)

    def pairs(self, values: Mapping[str, Any]) -> None:
        """Print names with their values."""
        known = {name: value for name, value in values.items() if value is not None}
        if not self.at_terminal:
            for name, value in known.items():
                self.line(f"{name}\t{raw(value)}")
            return
        wide = max((text.width(name) for name in known), default=0)
        for name, value in known.items():
            told = text.ago(value) if name.endswith("_at") else text.number(value)
            gap = " " * (wide - text.width(name) + 2)
            self.line(f"{self.styled(name.replace('_', ' '), dim=True)}{gap}{text.harmless(told)}")

    def line(self, line: str) -> None:
        """Print a line of the result."""
        click.echo(text.sign(line, sys.stdout.encoding))

    def say(self, line: str, *, mark: str = "", colour: str | None = None) -> None:
        """Tell people something that is not the result; ``mark`` is a sign before it."""
        if self.quiet or not line or (self.as_json and not self.watched):
            return
        sign = f"{click.style(mark, fg=colour) if self.coloured(self.watched) else mark} " if mark else ""
        whole = sign + text.harmless(line, lines=True)
        click.echo(text.sign(whole, sys.stderr.encoding), err=True)

    def stream(self, blocks: Iterable[bytes]) -> bytes:
        """Write bytes as they come, and return the last of them; a terminal gets no control characters."""
        out, last = sys.stdout.buffer, b""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for block in blocks:
            shown = text.harmless(decoder.decode(block), lines=True).encode() if self.at_terminal else block
            out.write(shown)
            out.flush()
            last = block
        return last

    def styled(self, line: str, **style: Any) -> str:
        """A line of the result in a colour, if there is a terminal and nobody forbids it."""
        return click.style(line, **style) if self.coloured(self.at_terminal) else line

    @staticmethod
    def coloured(terminal: bool) -> bool:
        """Whether to use colours (https://no-color.org)."""
        return terminal and not os.environ.get("NO_COLOR")


def _shown(column: Column, row: Mapping[str, Any]) -> str:
    value = column.value(row)
    return "" if value is None else text.harmless(column.shown(value))


def raw(value: Any) -> str:
    """A value for programs: exact, and without a tab or a line end."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.harmless(value)

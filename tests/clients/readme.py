"""The table of clients in the README."""

from __future__ import annotations

import re
from typing import NamedTuple

from testing.harness import ROOT

__all__ = ["LINES", "Line"]


class Line(NamedTuple):
    """A row of the table: who, the file that tests it, and the line of code, which asks ``localhost:8000``."""

    client: str
    test: str
    code: str

    def at(self, base: str) -> str:
        """The line with another address."""
        return self.code.replace("localhost:8000", base.removeprefix("http://"))


def _lines() -> list[Line]:
    page = (ROOT / "README.md").read_text()
    section = page.partition("\n## Who speaks to it, and how\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\[.*\].*) \|.*\| `(.*)` \|$", section, re.MULTILINE)
    found = [(re.match(r"\[(.*?)\]\((.*?)\)(.*)", client), code) for client, code in rows]
    return [Line(f"{link[1]}{link[3]}", link[2], code) for link, code in found if link]


LINES = _lines()

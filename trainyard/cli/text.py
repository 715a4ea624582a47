"""Words and numbers as people read them, and text of others made harmless for a terminal."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

__all__ = ["ago", "cut", "duration", "harmless", "number", "plural", "sign", "size", "spark", "width"]

#: Control characters, line separators, and signs that change the direction of writing: a terminal would obey them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_OF_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BARS = "▁▂▃▄▅▆▇█"
#: What stands for a sign that the terminal's encoding does not have.
_PLAIN = {"✓": "ok", "✗": "x", "–": "-", "·": "-", "…": "...", "×": "x"}


def harmless(text: object, *, lines: bool = False) -> str:
    r"""Text in which control characters are written as ``\x1b``; ``lines``: tabs and line ends stay."""
    return (_CONTROL_OF_LINES if lines else _CONTROL).sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def width(text: str) -> int:
    """Number of places that text takes in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def cut(text: str, places: int) -> str:
    """Text of at most so many places, with an ellipsis if it was longer."""
    if width(text) <= places:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) >= places:
            break
        kept += letter
    return f"{kept}…" if places > 0 else ""


def sign(wanted: str, encoding: str | None) -> str:
    """Text with what stands for the signs that an encoding does not have."""
    if wanted.isascii():
        return wanted
    return "".join(letter if _encodes(letter, encoding) else _PLAIN.get(letter, "?") for letter in wanted)


def _encodes(letter: str, encoding: str | None) -> bool:
    try:
        letter.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def number(value: Any) -> str:
    """A number in a few digits, as in ``1,309`` and ``0.0471``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value.is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """A number with its noun: ``1 row``, ``150 rows``."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def size(count: int) -> str:
    """Bytes in the largest unit that keeps a digit before the point."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float) -> str:
    """A time in one or two units: ``4 s``, ``2 min 5 s``, ``1 h 3 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def ago(time: str) -> str:
    """How long ago a time was: ``3 min ago``; a time that cannot be read stays as it is."""
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(time)
    except ValueError:
        return time
    seconds = (datetime.now(UTC) - then).total_seconds()
    return "now" if seconds < 1 else f"{duration(seconds).split(' ', 2)[0]} {duration(seconds).split(' ')[1]} ago"


def spark(values: list[float], places: int) -> str:
    """Values as bars of eight heights, each the mean of its share of the values."""
    if not values:
        return ""
    places = min(places, len(values))
    edges = [len(values) * place // places for place in range(places + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    low, high = min(means), max(means)
    if high <= low:
        return _BARS[0] * places
    return "".join(_BARS[min(7, int((mean - low) / (high - low) * 8))] for mean in means)

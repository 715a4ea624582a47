"""What notebooks show: tables, and curves as inline SVG. Everything that came from elsewhere is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["curves", "facts", "table"]

WIDTH, HEIGHT, EDGE = 420, 160, 34
#: Okabe and Ito's blue and orange, which people with any colour vision tell apart; the second line is dashed too.
STYLES = (("#0072b2", ""), ("#d55e00", ' stroke-dasharray="5 3"'))


def table(heads: Iterable[object], rows: Iterable[Iterable[object]], more: int = 0) -> str:
    """A table; ``more`` rows are not shown."""
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    note = f"<p>and {more:,} more</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def facts(title: str, members: Mapping[str, Any]) -> str:
    """A heading and a list of names and values; members that are None are left out."""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_text(value))}</dd>"
        for name, value in members.items()
        if value is not None
    )
    return f"<h4>{escape(title)}</h4><dl>{items}</dl>"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def curves(series: Mapping[str, Sequence[tuple[float, float]]], label: str) -> str:
    """Lines of (x, y) points with a scale at their ends, as an SVG with ``label`` as its text alternative."""
    shown = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in series.items()}
    points = [point for line in shown.values() for point in line]
    if not points:
        return ""
    (left, right), (low, high) = (_range(point[axis] for point in points) for axis in (0, 1))

    def place(point: tuple[float, float]) -> str:
        x = EDGE + (point[0] - left) / (right - left) * (WIDTH - 2 * EDGE)
        y = HEIGHT - EDGE - (point[1] - low) / (high - low) * (HEIGHT - 2 * EDGE)
        return f"{x:.1f},{y:.1f}"

    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}">',
        f'<path d="M{EDGE},{EDGE / 2} V{HEIGHT - EDGE} H{WIDTH - EDGE}" fill="none" stroke="#888888"/>',
        _word(EDGE - 4, HEIGHT - EDGE, "end", low),
        _word(EDGE - 4, EDGE, "end", high),
        _word(EDGE, HEIGHT - EDGE + 14, "start", left),
        _word(WIDTH - EDGE, HEIGHT - EDGE + 14, "end", right),
    ]
    for number, (name, line) in enumerate(shown.items()):
        colour, dash = STYLES[number % len(STYLES)]
        way = " ".join(map(place, line))
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
        parts.append(f'<text x="{EDGE + 8 + 130 * number}" y="12" fill="{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest value, which differ."""
    known = list(values)
    low, high = min(known), max(known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _word(x: float, y: float, anchor: str, value: float) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#888888">{value:.3g}</text>'

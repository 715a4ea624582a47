"""Three arms of a spiral, and the picture of what a classifier decides where."""

from __future__ import annotations

import random
from math import cos, sin
from pathlib import Path

from demo_service import Client

__all__ = ["COLORS", "draw", "spiral_points"]

COLORS = {"red": "#e4572e", "green": "#5fad56", "blue": "#3d7dca"}
TINTS = {"red": "#f6c4b7", "green": "#c9e2c5", "blue": "#bfd5ee"}


def spiral_points(seed: int) -> tuple[list[list[float]], list[str]]:
    """Return three arms c of 100 points: radius 0…1, angle 4c…4(c+1) with noise of standard deviation 0.2."""
    source = random.Random(seed)
    points, labels = [], []
    for arm, color in enumerate(COLORS):
        for index in range(100):
            radius = index / 99
            angle = 4 * arm + 4 * index / 99 + source.gauss(0, 0.2)
            points.append([radius * sin(2.5 * angle), radius * cos(2.5 * angle)])
            labels.append(color)
    return points, labels


def draw(client: Client, points: list[list[float]], labels: list[str], path: Path, cells: int = 120) -> None:
    """Write the decision regions as SVG, from predictions on a grid."""
    at = [-1.1 + 2.2 * (index + 0.5) / cells for index in range(cells)]
    grid = [[x, -y] for y in at for x in at]
    answer = client.call("POST", "/predict", {"model": "spiral", "inputs": grid})
    size, cell = 480, 480 / cells
    shapes = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}">']
    shapes.append('<title>Decision regions of the spiral classifier</title><g shape-rendering="crispEdges">')
    for row in range(cells):
        colors = answer["predictions"][row * cells : (row + 1) * cells]
        start = 0
        for column in range(1, cells + 1):
            if column == cells or colors[column] != colors[start]:
                place = f'x="{start * cell:g}" y="{row * cell:g}" width="{(column - start) * cell:g}" height="{cell:g}"'
                shapes.append(f'<rect {place} fill="{TINTS[colors[start]]}"/>')
                start = column
    shapes.append("</g>")
    for (x, y), label in zip(points, labels, strict=True):
        place = f'cx="{(x + 1.1) / 2.2 * size:.1f}" cy="{(1.1 - y) / 2.2 * size:.1f}"'
        shapes.append(f'<circle {place} r="4" fill="{COLORS[label]}" stroke="#fff"/>')
    path.write_text("\n".join([*shapes, "</svg>\n"]))

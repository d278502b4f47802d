#!/usr/bin/env python3
"""Draws the samples of the soak: python3 tests/live/soak/draw.py CSV SVG

Memory, descriptors and threads, and the latency of a poll, each over the minutes. The same data
give the same file, octet for octet.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benches"))

from plot import rule, text  # noqa: E402

WIDTH, PANEL, GAP = 720, 130, 44
LEFT, RIGHT, TOP = 64, 150, 56
COLOURS = ("#0b5cad", "#c2571a")
DASHES = ("", "6 3")


@dataclass(frozen=True)
class Panel:
    """A plot: its title, and its columns with their names and a factor."""

    title: str
    series: tuple[tuple[str, str, float], ...]


PANELS = (
    Panel("memory (MB)", (("memory_bytes", "resident", 1e-6),)),
    Panel("descriptors, threads", (("descriptors", "descriptors", 1), ("threads", "threads", 1))),
    Panel("time of a poll (ms)", (("p99_ms", "99 of 100", 1), ("p50_ms", "median", 1))),
)


def main() -> int:
    """Draws the file."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with Path(sys.argv[1]).open(newline="") as source:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(source)]
    Path(sys.argv[2]).write_text(draw(rows), "utf-8")
    return 0


def draw(rows: list[dict[str, float]]) -> str:
    """The whole picture."""
    height = TOP + len(PANELS) * (PANEL + GAP)
    minutes = max(row["seconds"] for row in rows) / 60
    last = rows[-1]
    title = f"{minutes:.0f} minutes: " + ", ".join(
        f"{last[what]:.0f} {name}" for what, name in (
            ("polls", "polls"), ("sessions", "other sessions"), ("fetched", "fetched"),
            ("removed", "removed"), ("reloads", "reloads"),
        )
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 22, title, 'font-size="13"'),
    ]
    for place, panel in enumerate(PANELS):
        parts += one(panel, rows, minutes, TOP + place * (PANEL + GAP))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, height - 6, "minutes", 'text-anchor="middle"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def one(panel: Panel, rows: list[dict[str, float]], minutes: float, top: float) -> list[str]:
    """One plot, its axis from zero."""
    most = max(row[column] * factor for row in rows for column, _, factor in panel.series)
    step, across = pace(most), pace(minutes)
    high = step * (int(most / step) + 1)
    right = WIDTH - RIGHT

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * x / minutes, top + PANEL * (1 - y / high)

    parts = [text(LEFT, top - 8, panel.title)]
    for level in range(int(high / step) + 1):
        y = at(0, level * step)[1]
        parts += [
            rule(LEFT, y, right, y, "#d0d0d0"),
            text(LEFT - 8, y + 4, f"{level * step:g}", 'text-anchor="end"'),
        ]
    for mark in range(int(minutes / across) + 1):
        x = at(mark * across, 0)[0]
        parts += [
            rule(x, top, x, top + PANEL, "#ececec"),
            text(x, top + PANEL + 16, f"{mark * across:g}", 'text-anchor="middle"'),
        ]
    for place, (column, name, factor) in enumerate(panel.series):
        points = " ".join(
            "{:.1f},{:.1f}".format(*at(row["seconds"] / 60, row[column] * factor)) for row in rows
        )
        look = f'stroke="{COLOURS[place]}" stroke-width="1.5"'
        look += f' stroke-dasharray="{DASHES[place]}"' if DASHES[place] else ""
        y = top + 12 + 20 * place
        parts += [
            f'<polyline points="{points}" fill="none" {look}/>',
            f'<line x1="{right + 12}" y1="{y - 4}" x2="{right + 36}" y2="{y - 4}" {look}/>',
            text(right + 42, y, name),
        ]
    return parts


def pace(most: float) -> float:
    """A round step for three to seven marks."""
    steps = (factor * 10.0**power for power in range(-6, 12) for factor in (1, 2, 5))
    return next(step for step in steps if most / step <= 7)


if __name__ == "__main__":
    sys.exit(main())

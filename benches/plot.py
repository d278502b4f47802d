#!/usr/bin/env python3
"""Draws what `cargo bench --bench compare -- growth --out DIR` has measured.

    python3 benches/plot.py DIR [OUT]

Reads messages.csv, size.csv and sessions.csv in DIR, as far as they are there, and writes an SVG
file for each figure, into OUT or DIR. Both axes are logarithmic. The same data gives the same
files, octet for octet.
"""

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Optional
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 44, 56

# Told apart by lightness and by dashes too, not by hue alone.
COLOURS = {"Restante": "#0b5cad", "Dovecot": "#c2571a", "readdir": "#777777"}
DASHES = {"first": "", "later": "6 3", "": ""}


@dataclass(frozen=True)
class Figure:
    """A plot: its file, its words, and which columns are drawn."""

    file: str
    title: str
    source: str
    x: str
    x_label: str
    # Column, what is put behind the name of the server in the legend, and a factor.
    series: tuple[tuple[str, str, float], ...]
    y_label: str


FIGURES = (
    Figure(
        "messages.svg", "A poll, by messages in the maildrop", "messages.csv",
        "messages", "messages",
        (("first_seconds", "first", 1e3), ("later_seconds", "later", 1e3)),
        "time of a poll (ms)",
    ),
    Figure(
        "size.svg", "RETR, by size of a message: processor time", "size.csv",
        "octets", "octets of a message",
        (("processor_seconds_per_gb", "", 1.0),),
        "processor time (s/GB)",
    ),
    Figure(
        "throughput.svg", "RETR, by size of a message: time", "size.csv",
        "octets", "octets of a message",
        (("wall_seconds_per_gb", "", 1.0),),
        "time (s/GB), one client, one at a time",
    ),
    Figure(
        "memory.svg", "Memory, by sessions that idle", "sessions.csv",
        "sessions", "sessions logged in",
        (("memory_bytes", "", 1e-6),),
        "memory above none (MB)",
    ),
    Figure(
        "polls.svg", "A poll of 100 messages, by sessions that idle", "sessions.csv",
        "sessions", "sessions logged in",
        (("processor_seconds_per_poll", "", 1e3),),
        "processor time of a poll (ms)",
    ),
)


@dataclass(frozen=True)
class Line:
    """A line of a plot."""

    name: str
    colour: str
    dash: str
    points: list[tuple[float, float]]


class Axis:
    """Decades onto pixels."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        values = list(values)
        self.first = math.floor(math.log10(min(values)) + 1e-9)
        self.last = max(math.ceil(math.log10(max(values)) - 1e-9), self.first + 1)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        """Where a value is."""
        part = (math.log10(value) - self.first) / (self.last - self.first)
        return self.start + part * (self.end - self.start)

    def decades(self) -> list[float]:
        """The powers of ten on it."""
        return [10.0**power for power in range(self.first, self.last + 1)]

    def between(self) -> list[float]:
        """Two to nine times those."""
        return [step * power for power in self.decades()[:-1] for step in range(2, 10)]


def main() -> int:
    """Draws what there is."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    data, out = Path(sys.argv[1]), Path(sys.argv[-1])
    drawn = 0
    for figure in FIGURES:
        if (data / figure.source).exists():
            with (data / figure.source).open(newline="") as source:
                rows = list(csv.DictReader(source))
            (out / figure.file).write_text(draw(figure, lines(figure, rows)), "utf-8")
            drawn += 1
    print(f"{drawn} figures in {out}")
    return 0 if drawn else 1


def lines(figure: Figure, rows: list[dict[str, str]]) -> list[Line]:
    """A line for each server and column. A log scale has no place for what is not above zero."""
    found = []
    for server in sorted({row["server"] for row in rows}):
        for column, name, factor in figure.series:
            points = [
                (float(row[figure.x]), float(row[column]) * factor)
                for row in rows
                if row["server"] == server and float(row[column]) > 0
            ]
            found.append(Line(f"{server} {name}".strip(), COLOURS[server], DASHES[name], points))
    scan = reference(figure, rows)
    return [line for line in [*found, scan] if line is not None and line.points]


def reference(figure: Figure, rows: list[dict[str, str]]) -> Optional[Line]:
    """What the machine needs to list the directory."""
    if not rows or "readdir_seconds" not in rows[0]:
        return None
    least: dict[float, float] = {}
    for row in rows:
        x, y = float(row[figure.x]), float(row["readdir_seconds"]) * 1e3
        least[x] = min(y, least.get(x, y))
    return Line("readdir alone", COLOURS["readdir"], "2 3", sorted(least.items()))


def draw(figure: Figure, found: list[Line]) -> str:
    """The SVG file."""
    across = Axis((x for line in found for x, _ in line.points), LEFT, WIDTH - RIGHT)
    up = Axis((y for line in found for _, y in line.points), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(figure.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(LEFT, 24, figure.title, 'font-size="15"'),
    ]
    for values, colour in ((up.between(), "#f2f2f2"), (up.decades(), "#d0d0d0")):
        parts += [rule(LEFT, up.at(y), WIDTH - RIGHT, up.at(y), colour) for y in values]
    for values, colour in ((across.between(), "#f2f2f2"), (across.decades(), "#d0d0d0")):
        parts += [rule(across.at(x), TOP, across.at(x), HEIGHT - BOTTOM, colour) for x in values]
    for x in across.decades():
        parts.append(text(across.at(x), HEIGHT - BOTTOM + 18, number(x), 'text-anchor="middle"'))
    for y in up.decades():
        parts.append(text(LEFT - 8, up.at(y) + 4, number(y), 'text-anchor="end"'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text(middle, HEIGHT - 14, figure.x_label, 'text-anchor="middle"'))
    centre = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        text(20, centre, figure.y_label, f'text-anchor="middle" transform="rotate(-90 20 {centre:g})"')
    )
    for place, line in enumerate(found):
        parts += curve(line, across, up)
        parts += legend(line, TOP + 12 + 20 * place)
    return "\n".join([*parts, "</svg>"]) + "\n"


def curve(line: Line, across: Axis, up: Axis) -> list[str]:
    """A line and its points."""
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>' for x, y in places]
    return [f'<polyline points="{path}" fill="none" {stroke(line)}/>', *dots]


def legend(line: Line, y: float) -> list[str]:
    """What a line is."""
    x = WIDTH - RIGHT + 12
    return [
        f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" {stroke(line)}/>',
        text(x + 30, y, line.name),
    ]


def stroke(line: Line) -> str:
    """How a line looks."""
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    return f'stroke="{line.colour}" stroke-width="2"{dash}'


def rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """A line of the grid."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
    )


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'.replace(" >", ">")


def number(value: float) -> str:
    """A power of ten: as it is up to a million, in groups of three."""
    if value < 1:
        return f"{value:.{round(-math.log10(value))}f}"
    return f"{round(value):,}".replace(",", " ")


if __name__ == "__main__":
    sys.exit(main())

"""The fenced blocks of a page, and the commands in them."""

import re
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

from lib.report import require


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.heading})"


def blocks(page: str) -> Iterator[Block]:
    """All fenced blocks of a page."""
    heading, start, language, text, indent = "", 0, "", "", 0
    for number, line in enumerate(Path(page).read_text().splitlines(), 1):
        if start == 0 and line.startswith("#"):
            heading = line.lstrip("# ")
        elif start == 0 and line.lstrip().startswith("```"):
            indent = line.index("`")
            start, language, text = number, line.strip("` "), ""
        elif start and line.strip() == "```":
            yield Block(page, start, heading, language, text)
            start = 0
        elif start:
            text += line[indent:] + "\n"


def only(page: str, beginning: str) -> Block:
    """The block of commands that begins with this text; the page has to have exactly one."""
    shell = [block for block in blocks(page) if block.language == "sh"]
    found = [block for block in shell if block.text.startswith(beginning)]
    require(len(found) == 1, f"{page} has {len(found)} blocks that begin with {beginning!r}")
    return found[0]


def commands(text: str) -> list[str]:
    """The commands of a block, each with its continuation lines."""
    found: list[str] = []
    end: Optional[str] = None
    goes_on = False
    for line in text.splitlines():
        if end is not None:
            found[-1] += "\n" + line
            end = None if line == end else end
            continue
        if goes_on:
            found[-1] += "\n" + line
        elif line.strip() and not line.startswith("#"):
            found.append(line)
        goes_on = line.endswith("\\")
        here = re.search(r"<<'?(\w+)'?", line)
        end = here.group(1) if here else None
    return found

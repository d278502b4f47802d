"""A terminal for programs that need one: reads their output, and types keys.

A text is searched in the output and on the resulting screen: a message may be overwritten at once,
and a program prints only the part of a text that is not yet on the screen.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Mapping

import pyte

from lib.process import environment, identity
from lib.report import Failed


class Terminal:
    """Runs a program during the `with` block."""

    def __init__(
        self, command: list[object], home: Path, variables: Mapping[str, object], limit: float
    ) -> None:
        self.text = ""
        self._ends = time.monotonic() + limit
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(word) for word in command],
                stdin=slave, stdout=slave, stderr=slave, cwd=home, start_new_session=True,
                env=environment(home, {"TERM": "xterm", **variables}), **identity(),
            )
        finally:
            os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Types these keys. Later waits ignore the output before them."""
        self.text = ""
        os.write(self._master, keys.encode())

    def ask(self, keys: str, pattern: str) -> str:
        """Types these keys and waits for this output.

        A program may discard keys while it draws a prompt: keys that cause no output are typed
        again.
        """
        self.type(keys)
        while not self.text and time.monotonic() < self._ends:
            if not self._read(seconds=3):
                self.type(keys)
        return self.until(pattern)

    def until(self, pattern: str) -> str:
        """Waits for this output, on the screen or in the text. Returns all output."""
        while re.search(pattern, said := self._said(), re.DOTALL) is None:
            if not self._read():
                raise Failed(f"ended or took too long before {pattern!r}: {said[-3000:]}")
        return said

    def end(self) -> None:
        """Waits for the program to end."""
        while self._read():
            pass
        if self._process.poll() is None and time.monotonic() >= self._ends:
            raise Failed(f"it did not end: {self._said()[-3000:]}")
        self._process.wait(10)

    def _said(self) -> str:
        lines = filter(None, map(str.strip, self._screen.display))
        return "\n".join([self.text, "On the screen:", *lines])

    def _read(self, seconds: float = float("inf")) -> bool:
        """Reads the next output. Returns false at its end, or after the time limit."""
        left = max(0.0, self._ends - time.monotonic())
        ready, _, _ = select.select([self._master], [], [], min(left, seconds))
        if not ready:
            return False
        try:
            printed = os.read(self._master, 65_536)
        except OSError:
            return False  # the program has closed its side
        self._stream.feed(printed)
        self.text += CONTROL.sub(" ", printed.decode(errors="replace"))
        return bool(printed)


COLUMNS, LINES = 200, 50
# Control sequences for the cursor and for colours.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]|[\x00-\x08\x0e-\x1f]")

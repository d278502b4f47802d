"""Counting and printing: a line for each thing that was checked, and the closing line."""

import sys
import threading
import time
from collections import Counter
from typing import Callable, Iterable

from lib.corpus import Message


class Failed(Exception):
    """The server or a client did not do what it should; the text says what happened."""


class Report:
    """Runs checks, prints how each went, and remembers the failures; from any thread."""

    def __init__(self, only: list[str]) -> None:
        self.only = only
        self._lock = threading.Lock()
        self.passed = 0
        self.failed: list[str] = []

    def wants(self, name: str) -> bool:
        """Whether a check of that name is to run; all do, unless names were asked for."""
        return not self.only or any(part in name for part in self.only)

    def check(self, name: str, body: Callable[[], str]) -> None:
        """Runs `body`; what it returns is printed in brackets. A client that is missing fails."""
        if not self.wants(name):
            return
        started = time.monotonic()
        try:
            detail = body()
        except Exception as error:  # whatever went wrong is this check's failure, not the run's
            with self._lock:
                self.failed.append(name)
                print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            return
        took = time.monotonic() - started
        with self._lock:
            self.passed += 1
            print(f"ok {name} ({detail}, {took:.1f} s)", flush=True)

    def expect(self, holds: bool, what: str) -> None:
        """Prints and counts something that was looked at already."""
        with self._lock:
            if holds:
                self.passed += 1
                print(f"ok {what}", flush=True)
            else:
                self.failed.append(what)
                print(f"FAILED {what}", flush=True)

    def close(self) -> int:
        """Prints the closing line and gives the exit code."""
        for name in self.failed:
            print(f"failed: {name}", file=sys.stderr)
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def require(condition: bool, text: str) -> None:
    """Fails with `text` unless the condition holds; `assert` would vanish under -O."""
    if not condition:
        raise Failed(text)


def same_messages(
    received: Iterable[bytes], wanted: Iterable[Message], shape: Callable[[bytes], bytes]
) -> str:
    """Compares what a client has stored with what it should have, octet for octet.

    `shape` turns the bytes on the wire into what this client makes of them.
    """
    names: dict[bytes, str] = {}
    expected: Counter[bytes] = Counter()
    for message in wanted:
        shaped = shape(message.wire)
        names[shaped] = message.name
        expected[shaped] += 1
    got = Counter(received)
    missing = [names[text] for text in (expected - got).elements()]
    strange = [describe(text) for text in (got - expected).elements()]
    require(not missing and not strange, f"missing or changed: {missing}; instead: {strange}")
    return f"{sum(expected.values())} messages"


def describe(text: bytes) -> str:
    """Enough of a message to recognise it."""
    if len(text) <= 160:
        return repr(text)
    return f"{len(text)} octets, {text[:200]!r} … {text[-60:]!r}"

"""The messages that every client fetches, and their octets as they are sent.

A message has its stored octets and marks. A mark is a property of the message; each client in
`clients.py` lists the marks of the messages that it does not store unchanged, with the reason.
"""

import re
from dataclasses import dataclass

# Marks: properties of a message because of which some client changes or refuses it.
EMPTY = "empty"
HEADERLESS = "headerless"  # no header that a mail parser would accept
NO_BLANK_LINE = "no-blank-line"  # between header and body
NUL = "nul"
LONE_CR = "lone-cr"
STORED_CRLF = "stored-crlf"
EIGHT_BIT = "eight-bit"
LONG_LINE = "long-line"  # longer than 8 KiB
HUGE_LINE = "huge-line"  # 10 MB
DOTS = "dots"  # lines that begin with dots
UNFINISHED = "unfinished"  # the last line has no end
BLANK_END = "blank-end"  # ends with empty lines


@dataclass(frozen=True)
class Message:
    """A message: its name in reports, the octets of its file, and its marks."""

    name: str
    stored: bytes
    marks: frozenset[str] = frozenset()

    @property
    def wire(self) -> bytes:
        """The message that a client must have after it has unstuffed the dots.

        Every LF is sent as CRLF, and all else unchanged; a last line without its end gets one.
        """
        text = re.sub(rb"(?<!\r)\n", b"\r\n", self.stored)
        if text and not text.endswith(b"\n"):
            text += b"\r\n"
        return text


def header(subject: str) -> bytes:
    """A header that every mail parser accepts, with its blank line."""
    return (
        f"From: Marshall Rose <mrose@example.org>\nTo: mrose@example.org\n"
        f"Subject: {subject}\nDate: Fri, 26 Jul 2024 12:00:00 +0000\n"
        f"Message-ID: <{subject.replace(' ', '.')}@example.org>\n\n"
    ).encode()


def ordinary(number: int, octets: int = 400) -> Message:
    """Plain mail of about this size."""
    line = f"Line of message {number}, of no interest to anybody.\n".encode()
    return Message(
        f"ordinary {number}", header(f"ordinary {number}") + line * (octets // len(line) + 1)
    )


def large(number: int) -> Message:
    """Well-formed mail above `LARGE`, which the removal run leaves on the server."""
    return ordinary(number, octets=96_000)


# Clients are configured to remove messages up to this number of octets.
LARGE = 80_000


def awkward() -> list[Message]:
    """Messages of all kinds that have caused errors in servers or clients."""

    def message(name: str, tail: bytes, *marks: str) -> Message:
        return Message(name, header(name) + tail, frozenset(marks))

    every_octet = bytes(octet for octet in range(256) if octet not in (0, 10, 13))
    shapes = [
        message("usual end", b"Body.\n"),
        message("no final newline", b"Body without its end", UNFINISHED),
        message("many blank lines at the end", b"Body.\n\n\n\n", BLANK_END),
        message("only blank lines", b"\n\n\n", BLANK_END),
        message("empty body", b""),
        Message("header without blank line", header("cut")[:-1], frozenset([NO_BLANK_LINE])),
        Message(
            "header without its last newline", header("cut short")[:-2],
            frozenset([NO_BLANK_LINE, UNFINISHED]),
        ),
        Message("no header at all", b"Just a line.\nAnd one more.\n", frozenset([HEADERLESS])),
        Message("empty file", b"", frozenset([EMPTY, HEADERLESS])),
        Message("one newline", b"\n", frozenset([HEADERLESS, BLANK_END])),
        Message("one dot", b".", frozenset([HEADERLESS, DOTS, UNFINISHED])),
        Message("dot first", b".\n.\nSubject: no\n\n.\n", frozenset([HEADERLESS, DOTS])),
        Message("one octet", b"x", frozenset([HEADERLESS, UNFINISHED])),
        message("a line of one dot", b"before\n.\nafter\n", DOTS),
        message("a line of two dots", b"before\n..\nafter\n", DOTS),
        message("dots at every start", b"".join(b"." * n + b" x\n" for n in range(1, 80)), DOTS),
        message("nothing but dots", b".\n" * 3000, DOTS),
        message("ends with a dot", b"the end\n.", DOTS, UNFINISHED),
        message("ends with a line of one dot", b"the end\n.\n", DOTS),
        message("stored with CRLF", b"one\r\n\r\n.two\r\nthree\r\n", STORED_CRLF, DOTS),
        message("the end mark inside", b"x\r\n.\r\nQUIT\r\n.\r\ny\r\n", STORED_CRLF, DOTS),
        message("both kinds of line end", b"one\r\ntwo\nthree\r\nfour\n", STORED_CRLF),
        message("lone CR", b"one\rtwo\r\rthree\n\rfour\r.five\n", LONE_CR),
        message("CR before CRLF", b"one\r\r\ntwo\r\r\r\n.\r\r\nthree\n", LONE_CR, DOTS),
        message("NUL", b"one\0two\n\0\n.\0\n\0", NUL, DOTS, UNFINISHED),
        message("every octet", every_octet * 4 + b"\n", EIGHT_BIT),
        message("UTF-8", "Grüße, poste restante à Liège\n".encode() * 9, EIGHT_BIT),
        message("Latin-1", "Grüße\n".encode("latin-1") * 9, EIGHT_BIT),
        message("line of 998", b"y" * 998 + b"\nshort\n"),
        message("line of 60 KB", b"z" * 60_000 + b"\nshort\n", LONG_LINE),
        message("line of 500 KB", b"w" * 500_000 + b"\n.\n", LONG_LINE, DOTS),
        message("line of 10 MB", b"v" * 10_000_000 + b"\n.\n", HUGE_LINE, LONG_LINE, DOTS),
    ]
    return shapes + dots_at_buffer_ends()


def dots_at_buffer_ends() -> list[Message]:
    """Lines of dots that begin just before, at and after the usual buffer sizes."""
    messages = []
    for size in (4096, 8192, 16_384, 65_536):
        start = header(f"dots around {size}")
        text = start + b"q" * (size - 3 - len(start)) + b"\n.\n..\n.x\n" + b"r" * 40 + b"\n"
        marks = frozenset([DOTS, LONG_LINE] if size > 8192 else [DOTS])
        messages.append(Message(f"dots around {size}", text, marks))
    return messages


def corpus() -> list[Message]:
    """The awkward messages, mixed with ordinary and large ones."""
    messages: list[Message] = []
    for number, shape in enumerate(awkward()):
        messages.append(shape)
        if number % 5 == 2:
            messages.append(ordinary(number))
        if number % 7 == 3:
            messages.append(large(1000 + number))
    return messages


def small_maildrop() -> list[Message]:
    """A small maildrop of ordinary mail, with one message of 5 MB."""
    wanted = (
        "usual end", "no final newline", "many blank lines at the end", "empty body",
        "a line of one dot", "dots at every start", "ends with a line of one dot",
        "stored with CRLF", "UTF-8", "Latin-1", "line of 998", "dots around 4096",
    )
    shapes = [message for message in awkward() if message.name in wanted]
    return [ordinary(1), *shapes, ordinary(2, octets=5_000_000), ordinary(3)]

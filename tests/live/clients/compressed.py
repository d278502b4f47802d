"""Messages that are stored compressed: written by Dovecot and by Python, read by Restante."""

import bz2
import gzip
import lzma
from pathlib import Path

from clients.fetchers import Poplib
from lib import dovecot
from lib.corpus import HEADERLESS, HUGE_LINE, Message, corpus, ordinary
from lib.process import SERVER_USER, run
from lib.report import Report, describe, require, same_messages
from lib.server import TLS, Server
from lib.site import Account, Site

POP3 = Path("/usr/lib/dovecot/pop3")

# The formats of Dovecot, and the first bytes of its files. Debian's Dovecot does not write xz.
FORMATS = {
    "gz": b"\x1f\x8b",
    "bz2": b"BZh",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"Dovecot-LZ4",
}


def checks(report: Report, site: Site, server: Server) -> None:
    """All of them."""
    for name, begin in FORMATS.items():
        report.check(
            f"compressed by Dovecot as {name}",
            lambda name=name, begin=begin: by_dovecot(site, server, name, begin),
        )
    report.check("compressed by Python", lambda: by_python(site, server))
    report.check("encrypted by Dovecot", lambda: encrypted(site, server))


def by_dovecot(site: Site, server: Server, name: str, begin: bytes) -> str:
    """Dovecot delivers compressed messages; Restante and Dovecot's POP3 serve the same octets."""
    account = site.account(f"compressed-{name}")
    zlib = dovecot.plugin("zlib", f"zlib_save = {name}")
    config = dovecot.configure(site, account, *zlib)
    messages = [message for message in corpus() if deliverable(message)]
    for message in messages:
        dovecot.deliver(config, message.stored)
    files = stored(account)
    require(len(files) == len(messages), f"{len(files)} of {len(messages)} were delivered")
    strange = [path.name for path in files if not path.read_bytes().startswith(begin)]
    require(not strange, f"not compressed as {name}: {strange}")
    ours = fetch(site, server, account)
    theirs = fetch_from_dovecot(config, len(messages))
    strange = [describe(text) for text in set(ours) ^ set(theirs)]
    require(sorted(ours) == sorted(theirs), f"Dovecot serves other octets: {strange}")
    saved = sum(map(len, ours)) - sum(path.stat().st_size for path in stored(account))
    return f"{len(ours)} messages, {saved} octets saved"


def by_python(site: Site, server: Server) -> str:
    """Messages in all formats, some of them in two parts."""
    messages = [message for message in corpus() if HUGE_LINE not in message.marks]
    compress = [gzip.compress, bz2.compress, lzma.compress]
    account = site.account("compressed-by-python")
    for number, message in enumerate(messages):
        packed = compress[number % len(compress)]
        half = len(message.stored) // 2 if number % 2 else 0
        parts = [message.stored[:half], message.stored[half:]]
        contents = b"".join(packed(part) for part in parts)
        site.deliver(account, Message(message.name, contents), number, seen=number % 3 == 1)
    return same_messages(fetch(site, server, account), messages, lambda wire: wire)


def encrypted(site: Site, server: Server) -> str:
    """A message that mail-crypt has encrypted is left out, with a warning in the log."""
    account = site.account("encrypted", [ordinary(1)])
    home = site.home()
    private, public = home / "private.pem", home / "public.pem"
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    run(["openssl", "genpkey", *curve, "-out", private], who=None)
    run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], who=None)
    site.own(home, SERVER_USER)
    plugin = dovecot.plugin(
        "mail_crypt",
        f"mail_crypt_global_private_key = <{private}",
        f"mail_crypt_global_public_key = <{public}",
        "mail_crypt_save_version = 2",
    )
    config = dovecot.configure(site, account, *plugin)
    dovecot.deliver(config, ordinary(2).stored)
    names = [path.name for path in stored(account) if path.read_bytes().startswith(b"CRYPTED")]
    require(len(names) == 1, f"not encrypted: {[path.name for path in stored(account)]}")
    said = same_messages(fetch(site, server, account), [ordinary(1)], lambda wire: wire)
    log = server.log.read_text(errors="replace").split("\n")
    warnings = [line for line in log if names[0] in line and "mail-crypt" in line]
    require(len(warnings) == 1, f"{len(warnings)} warnings about it: {warnings}")
    require(len(fetch_from_dovecot(config, 2)) == 2, "Dovecot cannot read it")
    return f"{said}, one left out"


def deliverable(message: Message) -> bool:
    """Whether Dovecot serves it unchanged: it is text, and does not begin with a dot, which
    Dovecot's POP3 does not double."""
    try:
        message.stored.decode()
    except UnicodeDecodeError:
        return False
    return message.marks.isdisjoint((HEADERLESS, HUGE_LINE))


def fetch(site: Site, server: Server, account: Account) -> list[bytes]:
    """Fetches all messages from Restante, and checks the announced octets."""
    pop = Poplib(site).open(account, server.endpoint(TLS))
    count, total = pop.stat()
    messages = []
    for number in range(1, count + 1):
        octets = int(pop.list(number).split()[2])
        reply, lines, _ = pop.retr(number)
        message = b"".join(line + b"\r\n" for line in lines)
        announced = int(reply.split()[1])
        require(
            octets == announced == len(message),
            f"message {number}: {octets} listed, {announced} announced, {len(message)} sent",
        )
        _, top, _ = pop.top(number, len(lines))
        require(top == lines, f"TOP of message {number} is another")
        messages.append(message)
    pop.quit()
    require(total == sum(map(len, messages)), f"STAT says {total}")
    return messages


def fetch_from_dovecot(config: Path, count: int) -> list[bytes]:
    """Fetches this number of messages from Dovecot's POP3, which serves the user that starts it."""
    commands = "".join(f"RETR {number}\r\n" for number in range(1, count + 1)) + "QUIT\r\n"
    said = run(
        ["env", f"USER={SERVER_USER}", POP3, "-c", config],
        stdin=commands, who=SERVER_USER, home=config.parent,
    ).stdout.encode()
    messages = []
    for reply in said.split(b"\r\n.\r\n")[:count]:
        lines = reply.split(b"\r\n")
        while lines and lines[0].startswith(b"+OK"):
            lines.pop(0)
        stuffed = (line[1:] if line.startswith(b".") else line for line in lines)
        messages.append(b"".join(line + b"\r\n" for line in stuffed))
    return messages


def stored(account: Account) -> list[Path]:
    """The message files."""
    return [path for part in ("new", "cur") for path in (account.maildir / part).iterdir()]

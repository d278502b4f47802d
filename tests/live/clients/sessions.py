"""Further checks of sessions: mechanisms, TLS, locks, kills."""

import random
import re
import shutil
import socket
import ssl
import time

from clients.fetchers import Curl, Poplib
from lib.clients import Fetchmail, Mpop
from lib.corpus import corpus, ordinary
from lib.process import run
from lib.report import Failed, Report, require, same_messages
from lib.server import STLS, TLS, Server
from lib.site import Account, Site


def checks(report: Report, site: Site, server: Server) -> None:
    """All of them."""
    for mechanism in ("PLAIN", "LOGIN"):
        for initial in (False, True):
            for transport in (STLS, TLS):
                how = "with" if initial else "without"
                report.check(
                    f"curl SASL {mechanism} {how} initial response {transport}",
                    lambda: sasl(site, server, mechanism, initial, transport),
                )
    report.check("curl wrong password", lambda: wrong_password(site, server))
    report.check("fetchmail wrong password", lambda: fetchmail_refused(site, server, 3))
    report.check("fetchmail server in trouble", lambda: in_trouble(site))
    for pipelining in ("on", "off"):
        report.check(
            f"mpop 2000 messages, pipelining {pipelining}",
            lambda: many_messages(site, server, pipelining),
        )
    report.check("STLS command injection", lambda: injection(site, server))
    for version in ("tls1_2", "tls1_3"):
        for transport in (STLS, TLS):
            report.check(
                f"openssl ALPN {version} {transport}",
                lambda: alpn(site, server, version, transport),
            )
        report.check(f"openssl resumption {version}", lambda: resumption(site, server, version))
    report.check("close_notify after QUIT", lambda: close_notify(site, server))
    for transport in (STLS, TLS):
        report.check(
            f"commands in two writes {transport}", lambda: two_writes(site, server, transport)
        )
    report.check("second process gets IN-USE", lambda: two_processes(site, server))
    report.check("kill -9 in mid-session", lambda: killed_in_session(site))
    report.check("kill -9 around QUIT", lambda: killed_around_quit(site))


def sasl(site: Site, server: Server, mechanism: str, initial: bool, transport: str) -> str:
    """curl logs in with this mechanism only."""
    account = site.account(
        f"sasl-{mechanism}-{initial}-{transport}".lower(), [ordinary(1), ordinary(2)]
    )
    home = site.home()
    curl = Curl(site)
    options = ["--login-options", f"AUTH={mechanism}"] + ["--sasl-ir"] * initial
    trace = home / "trace"
    text = curl.call(
        account, server.endpoint(transport), home, "2", *options, "--trace-ascii", trace
    )
    require(text.encode() == ordinary(2).wire, f"got {text!r}")
    said = re.findall(rf"AUTH {mechanism}\b.*", trace.read_text())
    require(len(said) == 1, f"curl said {said}")
    require((said[0] != f"AUTH {mechanism}") == initial, f"curl said {said}")
    return account.user


def wrong_password(site: Site, server: Server) -> str:
    """curl reports a denied login, and the right password still works afterwards."""
    account = site.account("wrong-password", [ordinary(1)])
    impostor = Account(account.user, "not " + account.password, account.maildir)
    curl = Curl(site)
    try:
        curl.call(impostor, server.endpoint(TLS), site.home(), "1")
    except Failed as error:
        require("ended with 67" in str(error), str(error))
    else:
        raise Failed("a wrong password was accepted")
    text = curl.call(account, server.endpoint(TLS), site.home(), "1")
    require(text.encode() == ordinary(1).wire, f"got {text!r}")
    return "curl ends with 67, login denied"


def fetchmail_refused(site: Site, server: Server, code: int) -> str:
    """fetchmail's exit code is 3 for a wrong password, 9 for a busy server."""
    account = site.account(f"fetchmail-{code}", [ordinary(1)])
    if code == 3:
        account = Account(account.user, "not " + account.password, account.maildir)
    else:
        shutil.rmtree(account.maildir)
    endpoint = server.endpoint(TLS)
    said = Fetchmail(site).poll(account, endpoint, site.home(), "keep", codes=(code,))
    return said.stderr.strip().split("\n")[-1]


def in_trouble(site: Site) -> str:
    """A maildrop that cannot be read is not reported as a wrong password."""
    troubled = Server(site, "in-trouble")
    troubled.start()
    try:
        said = fetchmail_refused(site, troubled, 9)
        troubled.stop()
    finally:
        troubled.kill()
    return said


def many_messages(site: Site, server: Server, pipelining: str) -> str:
    """mpop fetches and removes a mailbox of ordinary size."""
    messages = [ordinary(number, octets=100 + number % 3000) for number in range(2000)]
    account = site.account(f"many-{pipelining}", messages)
    mpop = Mpop(site)
    received = mpop.run(
        account, server.endpoint(TLS), site.home(), "keep off", f"pipelining {pipelining}"
    )
    said = same_messages(received, messages, mpop.shape)
    require(not account.files(), "messages are left")
    return said


def injection(site: Site, server: Server) -> str:
    """The published tester finds no way to smuggle commands past STLS."""
    program = shutil.which("command-injection-tester")
    if program is None:
        raise Failed("command-injection-tester is not installed: pip install it, see .ci/run")
    home = site.home()
    text = run(
        [program, "--pop3", "--pop3-port", server.endpoint(STLS).port, "--nocolor",
         "--timeout", 1, "--logdir", home, "localhost"],
        who=None,
    ).stdout
    # Its exit code is always 0, so its output decides.
    require("Sanity test done" in text, text)
    for bad in ("injection here!", "Probable", "Possible", "failed. ", "Further analysis"):
        require(bad not in text.replace("Probably no command injection here!", ""), text)
    return text.strip().split("\n")[-1].split(" - ")[-1]


def s_client(site: Site, server: Server, transport: str, *options: object) -> str:
    """A session of openssl's own client that only says QUIT."""
    return run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.endpoint(transport).port}",
         "-servername", "localhost", "-CAfile", site.certificate, "-verify_return_error",
         *(["-starttls", "pop3"] if transport == STLS else []), *options, "-ign_eof"],
        stdin="QUIT\r\n", home=site.home(), timeout=30,
    ).stdout


def alpn(site: Site, server: Server, version: str, transport: str) -> str:
    """ALPN selects pop3."""
    text = s_client(site, server, transport, f"-{version}", "-alpn", "pop3")
    require("ALPN protocol: pop3" in text, text)
    require("+OK" in text, text)
    return next(line for line in text.split("\n") if line.startswith(("New, ", "Reused, ")))


def resumption(site: Site, server: Server, version: str) -> str:
    """A second connection resumes the TLS session of the first."""
    ticket = site.home() / "ticket"
    first = s_client(site, server, TLS, f"-{version}", "-sess_out", ticket)
    require("New, " in first, first)
    second = s_client(site, server, TLS, f"-{version}", "-sess_in", ticket)
    require("Reused, " in second, second)
    return "Reused"


def close_notify(site: Site, server: Server) -> str:
    """The server sends close_notify, so that a finished session differs from a truncated one."""
    with socket.create_connection(("127.0.0.1", server.endpoint(TLS).port), timeout=20) as raw:
        context = site.client_tls()
        with context.wrap_socket(
            raw, server_hostname="localhost", suppress_ragged_eofs=False
        ) as session:
            session.sendall(b"QUIT\r\n")
            text = b""
            while data := session.recv(4096):  # raises without close_notify
                text += data
    require(text.count(b"+OK") == 2, f"got {text!r}")
    return "received"


def two_writes(site: Site, server: Server, transport: str, commands: int = 100) -> str:
    """The server does not delay acknowledgements, by 40 ms each, for a client with Nagle's
    algorithm that sends a command and its line end separately."""
    address = ("127.0.0.1", server.endpoint(transport).port)
    with socket.create_connection(address, timeout=20) as raw:
        session = raw
        if transport == TLS:
            session = site.client_tls().wrap_socket(raw, server_hostname="localhost")
        replies = session.makefile("rb")
        replies.readline()
        started = time.monotonic()
        for _ in range(commands):
            session.sendall(b"UTF8")
            session.sendall(b"\r\n")
            require(replies.readline().startswith(b"+OK"), "not a reply to UTF8")
        took = time.monotonic() - started
        session.sendall(b"QUIT\r\n")
        replies.readline()
    require(took < commands * 0.02, f"{commands} commands took {took:.1f} s")
    return f"{commands} commands took {took * 1000:.0f} ms"


def two_processes(site: Site, server: Server) -> str:
    """Two server processes on one Maildir: the second login is refused until the first ends."""
    account = site.account("two-processes", [ordinary(1)])
    other = Server(site, "other")
    other.start()
    try:
        login = Poplib(site).open
        first = login(account, server.endpoint(TLS))
        try:
            login(account, other.endpoint(TLS))
        except Failed as error:
            said = str(error)
            require("-ERR [IN-USE]" in said, said)
        else:
            raise Failed("both processes opened the maildrop")
        first.quit()
        second = login(account, other.endpoint(TLS))
        require(second.stat()[0] == 1, "the message is gone")
        second.quit()
        other.stop()
    finally:
        other.kill()
    return said


def killed_in_session(site: Site) -> str:
    """Killed while it sends, with every message marked: no mail is lost, and no lock is left."""
    messages = corpus()
    account = site.account("killed-in-session", messages)
    before = account.files()
    poplib_client = Poplib(site)
    victim = Server(site, "victim")
    victim.start()
    try:
        pop = poplib_client.open(account, victim.endpoint(TLS))
        ids = pop.uidl()[1]
        largest = max(range(len(messages)), key=lambda index: len(messages[index].wire)) + 1
        for number in range(1, len(messages) + 1):
            if number != largest:
                pop.dele(number)
        pop.sock.sendall(f"RETR {largest}\r\n".encode())
        pop.file.readline()
        victim.kill()
        require(account.files() == before, "killing the server changed the Maildir")
        victim.start()
        started = time.monotonic()
        pop = poplib_client.open(account, victim.endpoint(TLS))
        waited = time.monotonic() - started
        require(pop.uidl()[1] == ids, "the unique-ids changed")
        pop.quit()
        require(waited < 2, f"the login after the restart took {waited:.1f} s")
        received = poplib_client.fetch(account, victim.endpoint(TLS), site.home())
        said = same_messages(received, messages, poplib_client.shape)
        victim.stop()
    finally:
        victim.kill()
    return said


def killed_around_quit(site: Site, rounds: int = 12) -> str:
    """Killed at a random moment around QUIT: after +OK, marked mail is gone; the rest is intact."""
    dice = random.Random(1939)
    victim = Server(site, "victim-of-quit")
    promised = partly = 0
    try:
        for turn in range(rounds):
            account = site.account(
                f"killed-around-quit-{turn}", [ordinary(number) for number in range(300)]
            )
            before = account.files()
            victim.start()
            pop = Poplib(site).open(account, victim.endpoint(TLS))
            for number in range(2, 301):
                pop.dele(number)
            pop.sock.sendall(b"QUIT\r\n")
            pop.sock.settimeout(dice.uniform(0.0001, 0.02))
            try:
                answered = pop.file.readline().startswith(b"+OK")
            except (OSError, ssl.SSLError):
                answered = False
            victim.kill()
            after = account.files()
            require(after.items() <= before.items(), "a message was changed")
            require(any(".M0P1." in name for name in after), "the unmarked message is gone")
            if answered:
                require(len(after) == 1, f"+OK, but {len(after)} messages are left")
                promised += 1
            elif 1 < len(after) < 300:
                partly += 1
    finally:
        victim.kill()
    return f"{rounds} rounds, {promised} answered, {partly} cut in the middle"

"""The mechanisms of each client. A login by a chosen mechanism checks that the client used it.

On Debian 12, of the mechanisms that Restante knows:

    curl 7.88      PLAIN LOGIN OAUTHBEARER EXTERNAL; XOAUTH2 only where OAUTHBEARER is not
                   offered (curl/curl#10259), USER and PASS only where CAPA names no mechanism,
                   and no SCRAM, as Debian builds it without GNU SASL
    mpop 1.4.18    USER and PASS, PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 OAUTHBEARER XOAUTH2
                   EXTERNAL, with a certificate of an authority that the server trusts: GnuTLS
                   keeps any other to itself
    fetchmail 6.4  USER and PASS (its EXTERNAL is for IMAP only)
    getmail6 6.18  USER and PASS (its XOAUTH2 is for IMAP only)
    gsasl 2.2      PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256, and the -PLUS of both by tls-exporter,
                   EXTERNAL; it speaks no POP3, so openssl carries what it says
    scramp 1.5     SCRAM-SHA-1 SCRAM-SHA-256, and the -PLUS of both by tls-server-end-point;
                   carried likewise
"""

import base64
import hashlib
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from lib.process import CLIENT_USER, identity, run
from lib.report import Failed, require
from lib.server import STLS, TLS, Endpoint
from lib.site import Site

USER, PLAIN, LOGIN = "USER", "PLAIN", "LOGIN"
SCRAM_1, SCRAM_256 = "SCRAM-SHA-1", "SCRAM-SHA-256"
SCRAM_1_PLUS, SCRAM_256_PLUS = "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"
OAUTHBEARER, XOAUTH2, EXTERNAL = "OAUTHBEARER", "XOAUTH2", "EXTERNAL"


@dataclass(frozen=True)
class Attempt:
    """A login by one mechanism. `certificate` has the client's certificate with its key."""

    endpoint: Endpoint
    user: str
    # A password or a token. EXTERNAL must not use it.
    secret: str
    mechanism: str
    certificate: Optional[Path] = None


class Login:
    """A client that logs in by a chosen mechanism."""

    name = ""
    mechanisms: tuple[str, ...] = ()
    transports: tuple[str, ...] = (STLS, TLS)
    # Whether it presents its certificate only to a server that trusts the authority, as GnuTLS
    # does.
    withholds = False

    def __init__(self, site: Site) -> None:
        self.site = site

    def log_in(self, login: Attempt) -> str:
        """Logs in, and returns the mechanism. Fails if the login was refused or used another."""
        raise NotImplementedError

    def file(self, home: Path, name: str, text: str) -> Path:
        """A file with secrets for the client."""
        path = home / name
        path.touch(mode=0o600)
        path.write_text(text)
        self.site.own(home, CLIENT_USER)
        return path


class Curl(Login):
    """curl: set by `--login-options`, checked in its trace."""

    name = "curl"
    mechanisms = (PLAIN, LOGIN, OAUTHBEARER, EXTERNAL)

    def log_in(self, login: Attempt) -> str:
        home = self.site.home()
        scheme = "pop3s" if login.endpoint.transport == TLS else "pop3"
        bearer = login.mechanism == OAUTHBEARER
        password = "" if bearer or login.mechanism == EXTERNAL else login.secret
        lines = [
            f"url = {scheme}://{login.endpoint.host}:{login.endpoint.port}/", "silent",
            "show-error", "ssl-reqd", "max-time = 20", f"cacert = {self.site.certificate}",
            f"trace-ascii = {home}/trace",
            f"login-options = AUTH={login.mechanism}",
            f"user = {quoted(f'{login.user}:{password}')}",
        ]
        if bearer:
            lines.append(f"oauth2-bearer = {quoted(login.secret)}")
        if login.certificate is not None:
            lines.append(f"cert = {login.certificate}")
        config = self.file(home, "config", "\n".join([*lines, ""]))
        run(["curl", "--config", config], home=home)
        trace = (home / "trace").read_text(errors="replace")
        spoken = re.findall(r"^=> Send header.*\n0000: (AUTH \S+|USER)", trace, re.M)
        return only([word.removeprefix("AUTH ") for word in spoken], login.mechanism)


class Mpop(Login):
    """mpop: set by `auth`, checked in the output of `--debug`."""

    name = "mpop"
    mechanisms = (USER, PLAIN, LOGIN, SCRAM_1, SCRAM_256, OAUTHBEARER, XOAUTH2, EXTERNAL)
    withholds = True

    def log_in(self, login: Attempt) -> str:
        home = self.site.home()
        lines = [
            "account default", f"host {login.endpoint.host}", f"port {login.endpoint.port}",
            f"user {login.user}",
            # Not in the configuration, whose lines must not be longer than 500 characters.
            f"passwordeval cat {self.file(home, 'secret', login.secret)}", "timeout 20", "tls on",
            f"tls_starttls {'on' if login.endpoint.transport == STLS else 'off'}",
            f"tls_trust_file {self.site.certificate}", f"auth {login.mechanism.lower()}",
            f"delivery mbox {home}/mbox", f"uidls_file {home}/uidls",
        ]
        if login.certificate is not None:
            lines += [f"tls_{kind}_file {login.certificate}" for kind in ("cert", "key")]
        config = self.file(home, "mpoprc", "\n".join([*lines, ""]))
        said = run(["mpop", "--debug", "--auth-only", f"--file={config}"], home=home).stdout
        spoken = re.findall(r"^--> (AUTH \S+|USER)\b", said, re.M)
        return only([word.removeprefix("AUTH ") for word in spoken], login.mechanism)


class Fetchmail(Login):
    """fetchmail: checked in its verbose output."""

    name = "fetchmail"
    mechanisms = (USER,)

    def log_in(self, login: Attempt) -> str:
        home = self.site.home()
        config = self.file(
            home, "fetchmailrc",
            f'set pidfile "{home}/pid"\nset idfile "{home}/ids"\n'
            f"poll {login.endpoint.host} protocol pop3 service {login.endpoint.port}\n"
            "  auth password\n"
            f'  timeout 20 username "{login.user}" password "{login.secret}"\n'
            f'  {"ssl" if login.endpoint.transport == TLS else ""} sslcertck sslproto "auto"\n'
            f'  sslcertfile "{self.site.certificate}"\n',
        )
        # 1: there was no mail.
        said = run(
            ["fetchmail", "-v", "-v", "--check", "--nosyslog", "--fetchmailrc", config],
            home=home, codes=(0, 1),
        )
        spoken = re.findall(r"POP3> (USER|AUTH|APOP)\b", said.stdout + said.stderr)
        return only(spoken, login.mechanism)


class Getmail(Login):
    """getmail6, which supports only USER over POP3, and APOP if configured."""

    name = "getmail6"
    mechanisms = (USER,)
    transports = (TLS,)

    def log_in(self, login: Attempt) -> str:
        home = self.site.home()
        config = self.file(
            home, "getmailrc",
            f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = {login.endpoint.host}\n"
            f"port = {login.endpoint.port}\nusername = {login.user}\n"
            f"password = {login.secret}\ntimeout = 20\n"
            f"ca_certs = {self.site.certificate}\n"
            "[destination]\ntype = MDA_external\npath = /bin/true\n"
            "[options]\nverbose = 2\nread_all = false\n",
        )
        run(["getmail", f"--getmaildir={home}", f"--rcfile={config}"], home=home)
        return login.mechanism


class Dialogue:
    """A POP3 connection over TLS 1.3 by `openssl s_client`, with its channel bindings."""

    def __init__(
        self, site: Site, endpoint: Endpoint, certificate: Optional[Path] = None
    ) -> None:
        self.process = subprocess.Popen(
            [
                # Unbuffered, so that messages of openssl are not mixed with lines of the server.
                "timeout", "60", "stdbuf", "--output=0",
                "openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}",
                "-tls1_3", "-servername", endpoint.host, "-verify_hostname", endpoint.host,
                "-CAfile", str(site.certificate), "-verify_return_error", "-ign_eof",
                "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32",
                *(["-cert", str(certificate)] if certificate is not None else []),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            **identity(CLIENT_USER),
        )
        preamble = self.until(lambda line: line.startswith("    Keying material: "))
        shown = re.findall("-----BEGIN.*?-----END CERTIFICATE-----", preamble, re.S)
        require(len(shown) == 1, f"openssl showed {len(shown)} certificates")
        self.exporter = bytes.fromhex(preamble.split()[-1])
        # RFC 5929 §4.1: by the hash of the signature algorithm, SHA-256 for certificates made here.
        self.end_point = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown[0])).digest()
        self.until(lambda line: line.startswith("+OK"))

    def __enter__(self) -> "Dialogue":
        return self

    def __exit__(self, *_: object) -> None:
        # Not killed: `timeout` passes SIGTERM on to openssl, and the maildrop is released.
        self.process.terminate()
        self.process.wait()

    def ask(self, line: str) -> str:
        """Sends a line. Returns the reply."""
        write(self.process, line + "\r")
        # openssl prints new session tickets in between.
        answer = self.until(lambda line: line.startswith(("+", "-ERR")))
        return answer.splitlines()[-1]

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The output up to a line."""
        heard = ""
        while line := read(self.process):
            heard += line
            if wanted(line):
                return heard
        raise Failed(f"openssl ended: {heard[-500:]}")

    def exchange(self, mechanism: str, first: str, step: Callable[[str], str]) -> str:
        """Runs an exchange: `step` returns the response to each challenge."""
        answer = self.ask(f"AUTH {mechanism} {first}".rstrip())
        while answer.startswith("+") and not answer.startswith("+OK"):
            answer = self.ask(step(answer[1:].strip()))
        require(answer.startswith("+OK"), f"the server said {answer}")
        return mechanism


class Gsasl(Login):
    """The client of GNU SASL, which computes the responses and verifies the server's signature."""

    name = "gsasl"
    mechanisms = (PLAIN, LOGIN, SCRAM_1, SCRAM_256, SCRAM_1_PLUS, SCRAM_256_PLUS, EXTERNAL)
    transports = (TLS,)

    def log_in(self, login: Attempt) -> str:
        process = subprocess.Popen(
            [
                "stdbuf", "--output=0", "gsasl", "--client", "--quiet",
                f"--mechanism={login.mechanism}",
                f"--authentication-id={login.user}", f"--password={login.secret}",
                *(["--authorization-id="] if login.mechanism == PLAIN else []),
                *([f"--authorization-id={login.user}"] if login.mechanism == EXTERNAL else []),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            **identity(CLIENT_USER),
        )

        def hear() -> str:
            # Its prompts have no line end.
            line = read(process).strip().rpartition("binding: ")[2]
            require("error" not in line, line)
            return line

        def step(challenge: str) -> str:
            write(process, challenge)
            return hear()

        try:
            with Dialogue(self.site, login.endpoint, login.certificate) as dialogue:
                require(hear() == login.mechanism, "gsasl chose another mechanism")
                if "SCRAM" in login.mechanism:
                    plus = login.mechanism.endswith("-PLUS")
                    write(process, base64.b64encode(dialogue.exporter).decode() if plus else "")
                    if not plus:
                        write(process, "")  # nor by tls-unique
                first = "" if login.mechanism == LOGIN else hear()
                return dialogue.exchange(login.mechanism, first, step)
        finally:
            process.kill()
            process.wait()


class Scramp(Login):
    """scramp, a Python library that can bind to the server's certificate."""

    name = "scramp"
    mechanisms = (SCRAM_1, SCRAM_256, SCRAM_1_PLUS, SCRAM_256_PLUS)
    transports = (TLS,)

    def log_in(self, login: Attempt) -> str:
        from scramp import ScramClient  # type: ignore[import-untyped]  # not Debian's: see .ci/run

        with Dialogue(self.site, login.endpoint) as dialogue:
            binding = None
            if login.mechanism.endswith("-PLUS"):
                binding = ("tls-server-end-point", dialogue.end_point)
            client = ScramClient(
                [login.mechanism], login.user, login.secret, channel_binding=binding
            )
            challenges = 0

            def step(challenge: str) -> str:
                nonlocal challenges
                challenges += 1
                text = base64.b64decode(challenge).decode()
                if challenges == 1:
                    client.set_server_first(text)
                    return encoded(client.get_client_final())
                client.set_server_final(text)
                return ""

            said = dialogue.exchange(login.mechanism, encoded(client.get_client_first()), step)
            require(challenges == 2, "the server gave no signature")
            return said


def write(process: subprocess.Popen[bytes], line: str) -> None:
    """Sends a line to a program."""
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def read(process: subprocess.Popen[bytes]) -> str:
    """The next line of a program's output; empty when it has ended."""
    assert process.stdout is not None
    return str(process.stdout.readline().decode())


def only(spoken: list[str], mechanism: str) -> str:
    """Checks that the client used this mechanism only, and returns it."""
    require(spoken == [mechanism], f"the client used {spoken}, not {mechanism}")
    return mechanism


def quoted(text: str) -> str:
    """A value in curl's configuration."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def encoded(text: str) -> str:
    """A response in base64."""
    return base64.b64encode(text.encode()).decode()


LOGINS = (Curl, Mpop, Fetchmail, Getmail, Gsasl, Scramp)

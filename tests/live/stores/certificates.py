"""Logins with a client certificate, by every client that can. Any other certificate is refused."""

from pathlib import Path

from lib.corpus import ordinary
from lib.pop3 import WRONG, Pop3
from lib.process import CLIENT_USER, run, until
from lib.report import Failed, Report, require
from lib.server import Restante
from lib.site import Site
from stores.mechanisms import EXTERNAL, LOGINS, Attempt, Login

# The log lines about an untrusted certificate, and about a client without a usable one.
HANDSHAKE, LEFT = "why=tls-handshake-failed", "why=peer-closed"


class Asking(Restante):
    """A server that asks clients for a certificate."""

    def __init__(self, site: Site, name: str, authority: Path) -> None:
        users = f'[[credentials]]\nkind = "file"\npath = "{site.users}"'
        super().__init__(site, name, lambda: users)
        self.authority = authority

    def configuration(self) -> str:
        asking = f'[tls]\nclient-ca = "{self.authority}"\n'
        return super().configuration().replace("[tls]\n", asking)


class Authority:
    """A certificate authority, by openssl."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.root = site.root / name
        self.root.mkdir()
        self.certificate = self.root / "ca.pem"
        self.key = self.root / "ca-key.pem"
        self._make(f"/CN={name}", self.certificate, self.key)

    def issue(self, user: str) -> Path:
        """A certificate for the mail address of a user, with its key in the same file."""
        path, key = self.root / f"{user}.pem", self.root / f"{user}-key.pem"
        self._make(
            "/CN=client", path, key, "-CA", self.certificate, "-CAkey", self.key,
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", f"subjectAltName=email:{user}",
        )
        path.chmod(0o600)
        path.write_text(path.read_text() + key.read_text())
        self.site.own(path, CLIENT_USER)
        return path

    def _make(self, subject: str, certificate: Path, key: Path, *words: object) -> None:
        run(
            [
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                "-subj", subject, "-keyout", key, "-out", certificate, *words,
            ],
            who=None,
        )


def checks(report: Report, site: Site) -> None:
    """The right certificate, that of another user, that of another authority, and none."""
    authority, stranger = Authority(site, "authority"), Authority(site, "stranger")
    server = Asking(site, "certificates", authority.certificate)
    owner = site.account("by-certificate@example.org", [ordinary(1)])
    other = site.account("another-by-certificate@example.org", [ordinary(1)])
    right, others = authority.issue(owner.user), authority.issue(other.user)
    forged = stranger.issue(owner.user)

    def starts() -> str:
        server.start()
        return authority.certificate.name

    def listed() -> str:
        with server.connect(certificate=right) as session:
            require(EXTERNAL in mechanisms(session), "EXTERNAL is not offered with a certificate")
        with server.connect() as session:
            offered = mechanisms(session)
            require(EXTERNAL not in offered, f"offered without a certificate: {offered}")
            said = session.ask("AUTH EXTERNAL =")
            require(said.startswith("-ERR"), f"without a certificate it got {said!r}")
        return f"without: {' '.join(offered)}"

    def replies() -> str:
        """The exact replies, which clients rarely show."""
        with server.connect(certificate=others) as session:
            refused = session.external(owner.user)
            require(refused.startswith(WRONG), f"another user's certificate got {refused!r}")
            said = session.external("")
            require(said.startswith("+OK"), f"the user's own certificate got {said!r}")
        return refused

    def by(client: Login, transport: str) -> str:
        def log_in(certificate: Path) -> str:
            # A wrong password: EXTERNAL must not use it.
            endpoint = server.endpoint(transport)
            return client.log_in(Attempt(endpoint, owner.user, "unused", EXTERNAL, certificate))

        def refused(certificate: Path, why: str) -> str:
            heard = server.log.stat().st_size
            try:
                log_in(certificate)
            except Failed as error:
                until(lambda: why.encode() in server.log.read_bytes()[heard:], 5)
                return str(error)
            raise Failed(f"{certificate} was accepted for {owner.user}")

        used = log_in(right)
        refused(others, WRONG)
        if client.withholds:
            said = refused(forged, LEFT)
            require("SASL PLAIN LOGIN" in said, f"not refused for want of EXTERNAL: {said}")
        else:
            refused(forged, HANDSHAKE)
        return used

    try:
        report.check("certificates starts", starts)
        report.check("certificates EXTERNAL is offered with a certificate only", listed)
        report.check("certificates of another user", replies)
        for kind in filter(lambda each: EXTERNAL in each.mechanisms, LOGINS):
            client = kind(site)
            for transport in client.transports:
                report.check(
                    f"{client.name} {EXTERNAL} {transport}", lambda: by(client, transport)
                )
    finally:
        server.kill()


def mechanisms(session: Pop3) -> list[str]:
    """The mechanisms in the SASL line of CAPA."""
    lines = (line.decode() for line in session.lines("CAPA"))
    return next((line.split()[1:] for line in lines if line.startswith("SASL ")), [])

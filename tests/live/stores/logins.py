"""Logins of every client by every mechanism that it shares with Restante."""

from lib.corpus import ordinary
from lib.process import SERVER_USER
from lib.report import Failed, Report
from lib.server import Restante
from lib.site import Site
from stores.mechanisms import EXTERNAL, LOGINS, OAUTHBEARER, USER, XOAUTH2, Attempt, Login
from stores.openid import OpenId

# USER is not a SASL mechanism.
OFFERED = sorted({each for kind in LOGINS for each in kind.mechanisms} - {USER})


def checks(report: Report, site: Site) -> None:
    """All clients, all mechanisms, all transports: the right secret, and a wrong one."""
    provider = OpenId(site, "provider-of-tokens")
    users = site.root / "plain-users"

    def sections() -> str:
        # All by name, because -PLUS is only offered then. The section before this one is [auth].
        offered = ", ".join(f'"{each}"' for each in OFFERED)
        return f'mechanisms = [{offered}]\n[[credentials]]\nkind = "file"\npath = "{users}"\n' + provider.settings(site.root)

    server = Restante(site, "mechanisms", sections)
    account = site.mailbox("by-mechanism", [ordinary(1)])

    def starts() -> str:
        # The only verifier for all mechanisms.
        users.touch(mode=0o600)
        users.write_text(f"{account.user}:{{PLAIN}}{account.password}\n")
        site.own(users, SERVER_USER)
        provider.start()
        provider.add(account.user, account.password)
        server.start()
        return account.user

    def both(client: Login, mechanism: str, transport: str) -> str:
        secret = account.password
        if mechanism in (OAUTHBEARER, XOAUTH2):
            secret = provider.token(account.user)
        endpoint = server.endpoint(transport)
        said = client.log_in(Attempt(endpoint, account.user, secret, mechanism))
        try:
            client.log_in(Attempt(endpoint, account.user, "wrong", mechanism))
        except Failed:
            return said
        raise Failed("a wrong secret was accepted")

    try:
        report.check("mechanisms starts", starts)
        for kind in LOGINS:
            client = kind(site)
            for mechanism in client.mechanisms:
                if mechanism == EXTERNAL:
                    continue  # by certificates, see certificates.py
                for transport in client.transports:
                    report.check(
                        f"{client.name} {mechanism} {transport}",
                        lambda: both(client, mechanism, transport),
                    )
    finally:
        server.kill()
        provider.close()

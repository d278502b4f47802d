"""The checks of a token provider, with its keys and with introspection."""

import base64
import hashlib
import hmac
import json
import urllib.request
from typing import Any

from lib.corpus import ordinary
from lib.pop3 import DOWN, WRONG
from lib.process import until
from lib.report import Report, require
from lib.server import Restante
from lib.site import Account, Site
from stores.openid import OPAQUE, OpenId
from stores.scenarios import RECOVERY


class Tokens:
    """The checks of one provider, in this order."""

    def __init__(self, report: Report, site: Site, provider: OpenId) -> None:
        self.report = report
        self.site = site
        self.provider = provider
        self.server = Restante(
            site, f"with-{provider.name}", lambda: provider.settings(site.root)
        )
        self.algorithms = (OPAQUE,) if provider.introspection else ("RS256", "ES256")

    def run(self) -> None:
        """All of them."""
        steps = [("starts", self.starts), ("right token", self.right), ("wrong token", self.wrong)]
        if not self.provider.introspection:
            steps += [("forged token", self.forged), ("new keys", self.new_keys)]
        steps += [
            ("hanging", self.hanging), ("back from hanging", self.released),
            ("stopped", self.stopped), ("back from stopping", self.back),
        ]
        try:
            for step, body in steps:
                self.report.check(f"{self.provider.name} {step}", body)
        finally:
            self.server.kill()
            self.provider.close()

    def starts(self) -> str:
        self.provider.start()
        self.account = self._account("mrose")
        self.other = self._account("crocker")
        self.server.start()
        return self.provider.issuer

    def right(self) -> str:
        for alg in self.algorithms:
            self._taken(self.provider.token(self.account.user, alg))
        return ", ".join(self.algorithms)

    def wrong(self) -> str:
        """Another user's, another service's and expired tokens, and garbage: all get the same refusal."""
        token, user, alg = self.provider.token, self.account.user, self.algorithms[0]
        right = token(user, alg)
        refused = {
            "another user's": token(self.other.user, alg),
            "another audience": token(user, alg, audience="somebody-else"),
            "another scope": token(user, alg, scope="calendar"),
            "expired": token(user, alg, lifetime=-600),
            "cut": right[:-6],
            "changed": right[:-6] + "AAAAAA",
            "two dots": "..",
            "empty": "",
            "long": "x" * 8000,
            "injected": f"{right}\x01auth=Bearer {right}",
        }
        for what, text in refused.items():
            for mechanism in (bearer, xoauth2):
                said = self._say(text, mechanism)
                # A malformed response has no token.
                refusal = "-ERR " if what == "injected" else WRONG
                require(said.startswith(refusal), f"{what} got {said!r}")
        self._taken(right)
        return ", ".join(refused)

    def forged(self) -> str:
        """Tokens with a forged signature of the provider."""
        right = self.provider.token(self.account.user)
        payload = right.split(".")[1]
        published = urllib.request.urlopen(f"{self.provider.issuer}/jwks", timeout=5).read()
        key = json.loads(published)["keys"][0]
        for alg, secret in (("none", b""), ("HS256", published), ("HS256", key["n"].encode())):
            start = f"{part({'alg': alg, 'kid': key['kid'], 'typ': 'at+jwt'})}.{payload}"
            mac = hmac.new(secret, start.encode(), hashlib.sha256).digest()
            said = self._say(f"{start}.{'' if alg == 'none' else encoded(mac)}", bearer)
            require(said.startswith(WRONG), f"{alg} got {said!r}")
        self._taken(right)
        return "none, HS256 by what is public"

    def new_keys(self) -> str:
        """New keys are fetched, whether or not the old ones are still in the set."""
        old = self.provider.token(self.account.user)
        self.provider.rotate(keep=True)
        self._back(self.provider.token(self.account.user))
        self._taken(old)
        self.provider.rotate(keep=False)
        self._back(self.provider.token(self.account.user))
        return "both, only the new ones"

    def hanging(self) -> str:
        token = self.provider.token(self.account.user, self.algorithms[0])
        self.provider.hang()
        return self._unavailable(token)

    def released(self) -> str:
        self.provider.resume()
        return self._back(self.provider.token(self.account.user, self.algorithms[0]))

    def stopped(self) -> str:
        token = self.provider.token(self.account.user, self.algorithms[0])
        self.provider.stop()
        return self._unavailable(token)

    def back(self) -> str:
        self.provider.start()
        said = self._back(self.provider.token(self.account.user, self.algorithms[0]))
        self.server.stop()
        return said

    def _account(self, user: str) -> Account:
        account = self.site.mailbox(f"{user}-{self.provider.name}", [ordinary(1)])
        self.provider.add(account.user, account.password)
        return account

    def _taken(self, token: str) -> None:
        for mechanism in (bearer, xoauth2):
            said = self._say(token, mechanism)
            require(said.startswith("+OK"), f"the right token got {said!r}")

    def _unavailable(self, token: str) -> str:
        """It is not reported as a wrong token. With cached keys, the right token is accepted."""
        said = self._say(token, bearer)
        fine = (DOWN,) if self.provider.introspection else (DOWN, "+OK")
        require(said.startswith(fine), f"got {said!r}")
        return said

    def _back(self, token: str) -> str:
        until(lambda: self._say(token, bearer).startswith("+OK"), RECOVERY)
        self._taken(token)
        return "by itself"

    def _say(self, token: str, mechanism: Any) -> str:
        name, response = mechanism(self.account.user, token)
        with self.server.connect(timeout=5) as session:
            if not session.greeting.startswith("+OK"):
                return session.greeting
            said = session.ask(f"AUTH {name}".encode())
            if said.startswith("+ "):
                said = session.ask(base64.b64encode(response))
            # The reason, which the client answers with an empty response (RFC 7628 §3.2.3).
            return session.ask("AQ==") if said.startswith("+ ") else said


def bearer(user: str, token: str) -> tuple[str, bytes]:
    """RFC 7628 §3.1."""
    return "OAUTHBEARER", f"n,a={user},\x01auth=Bearer {token}\x01\x01".encode()


def xoauth2(user: str, token: str) -> tuple[str, bytes]:
    """The form that Google and Microsoft document."""
    return "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


def part(value: dict[str, str]) -> str:
    """A part of a JWT."""
    return encoded(json.dumps(value).encode())


def encoded(octets: bytes) -> str:
    """Base64 as JWT has it."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

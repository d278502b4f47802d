"""An OpenID provider, npm's oidc-provider. Tokens are verified by its keys or by introspection."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lib.process import CLIENT_USER, LOOPBACK, free_port, run
from lib.report import Failed, require
from lib.site import Site
from stores.backend import Daemon, Served, program

HERE = Path(__file__).resolve().parent / "oidc"

RESTANTE, MAILER = "restante", "mailer"  # who asks about tokens, and who is given them

# The value of `alg` for an opaque token.
OPAQUE = "opaque"


class OpenId(Served):
    """The provider. With `introspection`, Restante asks it about every token."""

    def __init__(
        self, site: Site, name: str = "oidc-provider", introspection: bool = False
    ) -> None:
        self.name = name
        super().__init__(site)
        self.introspection = introspection
        self.port = free_port()
        self.issuer = f"http://{LOOPBACK}:{self.port}"
        self.users: dict[str, dict[str, str]] = {}
        self.clients = {client: secrets.token_hex(12) for client in (RESTANTE, MAILER)}
        self.daemon = Daemon(
            [program("node", "nodejs"), self.root / "provider.mjs", self.root, self.port],
            CLIENT_USER, self.root,
        )

    def start(self) -> None:
        if not (self.root / "keys.json").exists():
            self._install()
        self.daemon.start(self._ready)

    def add(self, user: str, password: str, **attributes: object) -> None:
        # The subject is not a user name: the configured claim decides.
        subject = secrets.token_hex(6)
        self.users[subject] = {"email": user, "password": password}
        self._write("users.json", self.users)

    def admits(self, user: str, password: str) -> bool:
        return self._ask(user, password, "RS256", "restante", "mail", 60) is not None

    def token(
        self, user: str, alg: str = "RS256", audience: str = "restante", scope: str = "mail",
        lifetime: int = 600,
    ) -> str:
        """A token for a user; `alg` is RS256, ES256 or `OPAQUE`."""
        password = self.users[self._subject(user)]["password"]
        token = self._ask(user, password, alg, audience, scope, lifetime)
        require(token is not None, f"the provider gave no token for {user}")
        return str(token)

    def rotate(self, keep: bool) -> None:
        """Restarts it with new keys; the old ones stay in the set or are removed."""
        self.stop()
        old = json.loads((self.root / "keys.json").read_text())
        self._write("keys.json", self._fresh_keys() + (old if keep else []))
        self.start()

    def settings(self, directory: Path) -> str:
        text = (
            f'[[credentials]]\nkind = "oauth2"\nissuer = "{self.issuer}"\naudience = "restante"\n'
            'scope = "mail"\nuser-claim = "email"\ndeadline = "2s"\n'
        )
        if self.introspection:
            path = self.secret(directory / f"{self.name}-secret", self.clients[RESTANTE])
            text += (
                f'introspection = "{self.issuer}/token/introspection"\n'
                f'client-id = "{RESTANTE}"\nclient-secret-file = "{path}"\n'
            )
        return text

    def introspected(self, token: str) -> dict[str, Any]:
        """The provider's answer about a token."""
        return dict(self._post("token/introspection", RESTANTE, {"token": token}))

    def _install(self) -> None:
        for name in ("package.json", "package-lock.json", "provider.mjs"):
            shutil.copy(HERE / name, self.root)
        self.site.own(self.root, CLIENT_USER)
        run(
            [program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            home=self.root, timeout=300,
        )
        self._write("keys.json", self._fresh_keys())
        self._write("users.json", self.users)
        self._write(
            "clients.json",
            [{"client_id": id, "client_secret": secret} for id, secret in self.clients.items()],
        )

    def _fresh_keys(self) -> list[dict[str, str]]:
        command = [program("node", "nodejs"), self.root / "provider.mjs", "keys"]
        return list(json.loads(run(command, home=self.root).stdout))

    def _write(self, name: str, value: object) -> None:
        path = self.root / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(value))
        self.site.own(path, CLIENT_USER)

    def _ready(self) -> bool:
        try:
            self._curl(f"{self.issuer}/.well-known/openid-configuration")
        except Failed:
            return False
        return True

    def _subject(self, user: str) -> str:
        """The subject by whose claim this is."""
        matching = [subject for subject, each in self.users.items() if each["email"] == user]
        return matching[0] if matching else user

    def _ask(
        self, user: str, password: str, alg: str, audience: str, scope: str, lifetime: int
    ) -> Any:
        answer = self._post(
            "token", MAILER,
            {
                "grant_type": "password", "username": self._subject(user), "password": password,
                "alg": alg, "audience": audience, "scope": scope, "lifetime": lifetime,
            },
        )
        return answer.get("access_token")

    def _post(self, path: str, client: str, form: dict[str, object]) -> dict[str, Any]:
        said = self._curl(
            "--user", f"{client}:{self.clients[client]}", "--data", urlencode(form),
            f"{self.issuer}/{path}",
        )
        return dict(json.loads(said))

    def _curl(self, *words: str) -> str:
        return run(["curl", "--silent", "--show-error", "--max-time", "2", *words]).stdout

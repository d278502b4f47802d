"""A server with defaults that also accepts passwords in the clear."""

import re

from lib.server import Restante
from lib.site import Site


class Target(Restante):
    """One file of users, argon2id; `auth`, `throttle` and `limits` are lines for those sections."""

    def __init__(
        self, site: Site, name: str, auth: str = "", throttle: str = "", limits: str = "",
        level: str = "info",
    ) -> None:
        super().__init__(
            site, name, lambda: f'[[credentials]]\nkind = "file"\npath = "{site.users}"'
        )
        # Otherwise most of the time of hydra and of the measured logins would be TLS.
        self.allow_cleartext = True
        self.auth = auth
        self.throttle = throttle
        self.limits = limits
        self.level = level

    def configuration(self) -> str:
        text = re.sub("(?m)^failure-delay = .*$", self.auth, super().configuration())
        text = re.sub("(?m)^trusted = .*$", self.throttle, text)
        return f'{text}level = "{self.level}"\n[limits]\n{self.limits}\n'
